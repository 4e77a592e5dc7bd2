/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Documents by example: tests/data/job. in/X.xml read and written again must be out/X.xml, and that
 * must be a fixed point; X-invalid.xml must be refused with the problems of X-invalid.txt. With
 * VARVE_REGENERATE=1 in the environment the expected files are written instead of compared. */
#include "config.h"

#include <string.h>
#include <glib.h>

#include "job/varve-job.h"

static char *
data_path (const char *directory, const char *name)
{
  return g_test_build_filename (G_TEST_DIST, "..", "data", "job", directory, name, NULL);
}

static char *
schema_path (void)
{
  return g_test_build_filename (G_TEST_DIST, "..", "..", "xml-schemas", "job.rng", NULL);
}

static char *
read_all (const char *path)
{
  g_autoptr (GError) error = NULL;
  char *text = NULL;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return text;
}

static void
compare_or_write (const char *path, const char *text)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *expected = NULL;

  if (g_getenv ("VARVE_REGENERATE")) {
    g_file_set_contents (path, text, -1, &error);
    g_assert_no_error (error);
    return;
  }
  expected = read_all (path);
  g_assert_cmpstr (text, ==, expected);
}

static char *
problems_of (const char *path)
{
  g_autofree char *schema = schema_path ();
  g_autofree char *directory = g_path_get_dirname (path);
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new (NULL);

  gboolean read = varve_job_validate (path, schema, &problems, &error);
  g_assert_no_error (error);
  g_assert_true (read);
  for (guint i = 0; i < problems->len; i++) {
    const char *line = g_ptr_array_index (problems, i);

    g_assert_true (g_str_has_prefix (line, directory));
    g_string_append_printf (text, "%s\n", line + strlen (directory) + 1);
  }
  return g_string_free (text, FALSE);
}

static void
test_valid (gconstpointer data)
{
  const char *name = data;
  g_autofree char *in = data_path ("in", name);
  g_autofree char *out = data_path ("out", name);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveJob) job = varve_job_load (in, &error);

  g_assert_no_error (error);
  g_autofree char *text = varve_job_to_xml (job);
  compare_or_write (out, text);

  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "again", &error);
  g_assert_no_error (error);
  g_autofree char *text_again = varve_job_to_xml (again);
  g_assert_cmpstr (text, ==, text_again);

  g_autofree char *in_problems = problems_of (in);
  g_autofree char *out_problems = problems_of (out);
  g_assert_cmpstr (in_problems, ==, "");
  g_assert_cmpstr (out_problems, ==, "");
}

static void
test_invalid (gconstpointer data)
{
  const char *name = data;
  g_autofree char *path = data_path ("invalid", name);
  g_autofree char *stem = g_strndup (path, strlen (path) - strlen (".xml"));
  g_autofree char *expected = g_strconcat (stem, ".txt", NULL);
  g_autoptr (GError) error = NULL;

  /* Safe without the schema: the reader alone refuses each of them, and says where. */
  g_autoptr (VarveJob) job = varve_job_load (path, &error);
  g_assert_null (job);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_DOCUMENT);
  g_autofree char *place = g_strconcat (path, ":", NULL);
  g_assert_true (g_str_has_prefix (error->message, place));
  g_assert_true (g_ascii_isdigit (error->message[strlen (place)]));

  g_autofree char *problems = problems_of (path);
  g_assert_cmpstr (problems, !=, "");
  compare_or_write (expected, problems);
}

static guint
add_all (const char *directory, const char *suffix, GTestDataFunc test)
{
  g_autofree char *path = data_path (directory, "");
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  guint count = 0;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *test_path = g_strdup_printf ("/job/%s/%s", directory, name);

    if (!g_str_has_suffix (name, suffix))
      continue;
    g_test_add_data_func_full (test_path, g_strdup (name), test, g_free);
    count++;
  }
  return count;
}

/* What the man page and docs/examples show must be true. */
static void
test_examples (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "..", "docs", "examples", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  guint count = 0;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *file = g_build_filename (path, name, NULL);

    if (!g_str_has_suffix (name, ".xml"))
      continue;
    g_autofree char *problems = problems_of (file);
    g_assert_cmpstr (problems, ==, "");
    count++;
  }
  g_assert_cmpuint (count, >, 0);
}

/* The verbatim blocks of the man page that are documents. */
static void
test_man_page (void)
{
  g_autofree char *path =
      g_test_build_filename (G_TEST_DIST, "..", "..", "docs", "man", "varve-job.pod", NULL);
  g_autofree char *page = read_all (path);
  g_autoptr (GRegex) regex =
      g_regex_new ("^  <job .*?^  </job>$", G_REGEX_MULTILINE | G_REGEX_DOTALL, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  guint count = 0;

  for (g_regex_match (regex, page, 0, &match); g_match_info_matches (match);
       g_match_info_next (match, NULL)) {
    g_autofree char *text = g_match_info_fetch (match, 0);
    g_autoptr (GError) error = NULL;
    g_autoptr (VarveJob) job = varve_job_parse (text, strlen (text), path, &error);

    g_assert_no_error (error);
    g_assert_nonnull (job);
    count++;
  }
  g_assert_cmpuint (count, >=, 6);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  /* Directories that lost their files must not pass as tests. */
  g_assert_cmpuint (add_all ("in", ".xml", test_valid), >=, 9);
  g_assert_cmpuint (add_all ("invalid", "-invalid.xml", test_invalid), >=, 90);
  g_test_add_func ("/job/examples", test_examples);
  g_test_add_func ("/job/man-page", test_man_page);
  return g_test_run ();
}
