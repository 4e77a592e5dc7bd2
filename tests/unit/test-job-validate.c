/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The schema beside the reader: neither may take what the other refuses, but for what a schema
 * cannot say; and a schema that is missing or broken is told as that. */
#include "config.h"

#include <string.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>

#include "effort.h"
#include "job/varve-job.h"

typedef struct {
  char *directory;
  char *schema;
  char *document;
} Fixture;

static char *
source_path (const char *first, const char *second)
{
  return g_test_build_filename (G_TEST_DIST, "..", "..", first, second, NULL);
}

static void
copy (const char *from, const char *to)
{
  g_autofree char *text = NULL;
  gsize length = 0;

  g_assert_true (g_file_get_contents (from, &text, &length, NULL));
  g_assert_true (g_file_set_contents (to, text, (gssize)length, NULL));
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autofree char *document =
      g_test_build_filename (G_TEST_DIST, "..", "data", "job", "in", "everything.xml", NULL);

  fixture->directory = g_dir_make_tmp ("varve-XXXXXX", NULL);
  fixture->schema = g_build_filename (fixture->directory, "job.rng", NULL);
  fixture->document = g_build_filename (fixture->directory, "document.xml", NULL);
  copy (document, fixture->document);
  for (const char *const *name = (const char *const[]){ "job.rng", "types.rng", NULL }; *name;
       name++) {
    g_autofree char *from = source_path ("xml-schemas", *name);
    g_autofree char *to = g_build_filename (fixture->directory, *name, NULL);

    copy (from, to);
  }
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GDir) dir = g_dir_open (fixture->directory, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (fixture->directory, name, NULL);

    g_assert_cmpint (g_unlink (path), ==, 0);
  }
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  g_free (fixture->schema);
  g_free (fixture->document);
}

static void
write_text (const char *path, const char *text)
{
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

static void
assert_problems (Fixture *fixture, const char *schema, guint count, const char *words)
{
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_job_validate (fixture->document, schema, &problems, &error));
  g_assert_no_error (error);
  for (guint i = 0; i < problems->len && problems->len != count; i++)
    g_test_message ("%s", (char *)g_ptr_array_index (problems, i));
  g_assert_cmpuint (problems->len, ==, count);
  if (words)
    g_assert_nonnull (strstr (g_ptr_array_index (problems, 0), words));
}

static void
assert_unusable (Fixture *fixture, const char *words)
{
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_job_validate (fixture->document, fixture->schema, &problems, &error));
  g_assert_nonnull (error);
  g_assert_null (problems);
  if (!strstr (error->message, words))
    g_error ("'%s' does not say '%s'", error->message, words);
  g_assert_false (varve_job_validate (fixture->document, fixture->schema, &problems, NULL));
}

static void
test_found (Fixture *fixture, gconstpointer data)
{
  assert_problems (fixture, fixture->schema, 0, NULL);
  g_setenv ("VARVE_SCHEMA_DIR", fixture->directory, TRUE);
  assert_problems (fixture, NULL, 0, NULL);

  g_setenv ("VARVE_SCHEMA_DIR", "/nowhere", TRUE);
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;
  g_assert_false (varve_job_validate (fixture->document, NULL, &problems, &error));
  g_assert_nonnull (strstr (error->message, "/nowhere/job.rng"));
  g_unsetenv ("VARVE_SCHEMA_DIR");
}

static void
test_unusable (Fixture *fixture, gconstpointer data)
{
  g_autofree char *types = g_build_filename (fixture->directory, "types.rng", NULL);
  static const char head[] = "<grammar xmlns='http://relaxng.org/ns/structure/1.0'>";

  write_text (types, "<grammar");
  assert_unusable (fixture, "types.rng:1: ");
  write_text (types, "<!DOCTYPE grammar><grammar/>");
  assert_unusable (fixture, "DOCTYPE");
  g_unlink (types);
  assert_unusable (fixture, "types.rng");

  g_autofree char *far =
      g_strconcat (head, "<include href='http://127.0.0.1:1/x.rng'/></grammar>", NULL);
  write_text (fixture->schema, far);
  assert_unusable (fixture, "no plain file name");
  g_autofree char *up = g_strconcat (head, "<include href='../x.rng'/></grammar>", NULL);
  write_text (fixture->schema, up);
  assert_unusable (fixture, "no plain file name");

  g_autofree char *hollow = g_strconcat (head, "</grammar>", NULL);
  write_text (fixture->schema, hollow);
  assert_unusable (fixture, "is not a RelaxNG schema");
  g_autofree char *dangling = g_strconcat (head, "<start><ref name='x'/></start></grammar>", NULL);
  write_text (fixture->schema, dangling);
  assert_unusable (fixture, "is not a RelaxNG schema");
  write_text (fixture->schema, "<job/>");
  assert_unusable (fixture, "is not a RelaxNG schema");
  write_text (fixture->schema, "");
  assert_unusable (fixture, "empty");
  g_unlink (fixture->schema);
  assert_unusable (fixture, "No such file");
}

/* A schema that is stricter than the reader is heard. */
static void
test_stricter_schema (Fixture *fixture, gconstpointer data)
{
  write_text (fixture->schema, "<element name='job' xmlns='http://relaxng.org/ns/structure/1.0'>"
                               "<attribute name='name'/><element name='verify'><empty/></element>"
                               "</element>");
  assert_problems (fixture, fixture->schema, 1, "document.xml:3: ");
}

/* --- schema against reader -----------------------------------------------------------------------
 */

static void
ignore_error (void *data, xmlError *error)
{
}

static xmlRelaxNG *
load_schema (void)
{
  g_autofree char *path = source_path ("xml-schemas", "job.rng");
  xmlRelaxNGParserCtxt *context = xmlRelaxNGNewParserCtxt (path);
  xmlRelaxNG *schema = xmlRelaxNGParse (context);

  xmlRelaxNGFreeParserCtxt (context);
  g_assert_nonnull (schema);
  return schema;
}

static bool
schema_takes (xmlRelaxNG *schema, const char *text, size_t length)
{
  xmlParserCtxt *parser = xmlNewParserCtxt ();
  parser->sax->serror = ignore_error;
  xmlDoc *doc = xmlCtxtReadMemory (parser, text, (int)length, "doc", NULL, XML_PARSE_NONET);
  xmlFreeParserCtxt (parser);
  if (!doc)
    return false;

  xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt (schema);
  xmlRelaxNGSetValidStructuredErrors (context, ignore_error, NULL);
  int result = xmlRelaxNGValidateDoc (context, doc);
  xmlRelaxNGFreeValidCtxt (context);
  xmlFreeDoc (doc);
  return result == 0;
}

/* What needs two values to be compared, or arithmetic, or the text before it was taken apart. */
static const char *const beyond_schema[] = {
  "action-name-twice",
  "declared-encoding",
  "disk-twice",
  "domain-control",
  "export-auto",
  "export-server",
  "guard-overflow",
  "image-luks-key",
  "image-missing",
  "image-no-disks",
  "image-none-included",
  "libvirt-image",
  "libvirt-qdev",
  "restore-backup-time",
  "restore-define-nbd",
  "restore-disk-twice",
  "restore-force-over",
  "restore-nowhere",
  "restore-nowhere-disks",
  "restore-same-path",
  "server-bare-qemu",
  "uuid-libvirt",
  "verify-memory",
  "verify-no-backup",
  "doctype",
  "utf-16",
  NULL,
};

static void
test_invalid_examples (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "data", "job", "invalid", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  xmlRelaxNG *schema = load_schema ();
  const char *name;
  guint taken = 0;

  while ((name = g_dir_read_name (dir))) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    g_autofree char *text = NULL;
    gsize length;

    if (!g_str_has_suffix (name, "-invalid.xml"))
      continue;
    g_assert_true (g_file_get_contents (file, &text, &length, NULL));
    if (!schema_takes (schema, text, length))
      continue;
    g_autofree char *stem = g_strndup (name, strlen (name) - strlen ("-invalid.xml"));
    if (!g_strv_contains (beyond_schema, stem))
      g_error ("The schema takes %s.", name);
    taken++;
  }
  xmlRelaxNGFree (schema);
  g_assert_cmpuint (taken, ==, g_strv_length ((char **)beyond_schema));
}

/* Puts another piece of a document in the place of one between two quotes or brackets. */
static char *
mutate (const char *text)
{
  static const char *const values[] = {
    "",          "0",        "1",        "4",    "5",
    "-1",        "+1",       " 1",       "1 ",   "x",
    "yes",       "no",       "B",        "GiB",  "raw",
    "luks",      "/",        "/a b",     "a/b",  "image:",
    "auto",      "a@latest", "\xc3\xbc", "a  b", "99999999999999999999",
    "qemu:///x", "pull",     "push",
  };
  g_autoptr (GPtrArray) starts = g_ptr_array_new ();

  for (const char *p = text; *p; p++) {
    if (*p == '\'' || *p == '>')
      g_ptr_array_add (starts, (char *)p + 1);
  }
  const char *start = g_ptr_array_index (starts, g_test_rand_int_range (0, (gint32)starts->len));
  const char *end = start + strcspn (start, "'<");
  const char *value = values[g_test_rand_int_range (0, (gint32)G_N_ELEMENTS (values))];
  g_autofree char *head = g_strndup (text, (gsize)(start - text));

  return g_strconcat (head, value, end, NULL);
}

/* The reader's documents are among the schema's. */
static void
test_reader_within_schema (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "data", "job", "out", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  xmlRelaxNG *schema = load_schema ();
  const char *name;
  guint good = 0;

  while ((name = g_dir_read_name (dir))) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    g_autofree char *text = NULL;

    g_assert_true (g_file_get_contents (file, &text, NULL, NULL));
    for (unsigned i = 0; i < rounds_of (300); i++) {
      g_autofree char *changed = mutate (text);
      g_autoptr (VarveJob) job = varve_job_parse (changed, strlen (changed), "doc", NULL);

      if (job && !schema_takes (schema, changed, strlen (changed)))
        g_error ("The reader takes what the schema does not:\n%s", changed);
      good += job != NULL;
    }
  }
  xmlRelaxNGFree (schema);
  g_assert_cmpuint (good, >, rounds_of (100));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/job-validate/found", Fixture, NULL, set_up, test_found, tear_down);
  g_test_add ("/job-validate/unusable", Fixture, NULL, set_up, test_unusable, tear_down);
  g_test_add ("/job-validate/stricter-schema", Fixture, NULL, set_up, test_stricter_schema,
              tear_down);
  g_test_add_func ("/job-validate/invalid-examples", test_invalid_examples);
  g_test_add_func ("/job-validate/reader-within-schema", test_reader_within_schema);
  return g_test_run ();
}
