/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Documents that want to do harm, or are none at all. */
#include "config.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib.h>
#include <glib/gstdio.h>

#include "effort.h"
#include "job/varve-job.h"

#define GOOD                                                                                       \
  "<job name='j'><backup><domain uri='qemu:///system'>d</domain>"                                  \
  "<target><images directory='/t'/></target></backup></job>"

static void
assert_refused (const char *data, size_t length, const char *words)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveJob) job = varve_job_parse (data, length, "doc", &error);

  g_assert_null (job);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_DOCUMENT);
  if (!strstr (error->message, words))
    g_error ("'%s' does not say '%s'", error->message, words);
  g_assert_true (g_str_has_prefix (error->message, "doc:"));
  g_assert_cmpuint (strlen (error->message), <, 1000);
  g_assert_null (strchr (error->message, '\n'));
}

static void
assert_text_refused (const char *text, const char *words)
{
  assert_refused (text, strlen (text), words);
}

static void
assert_good (const char *text)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveJob) job = varve_job_parse (text, strlen (text), "doc", &error);

  g_assert_no_error (error);
  g_assert_nonnull (job);
}

static void
test_entities (void)
{
  static const char *const doctypes[] = {
    "<!DOCTYPE job>",
    "<!DOCTYPE job SYSTEM 'http://127.0.0.1:1/job.dtd'>",
    "<!DOCTYPE job PUBLIC '-//x//EN' 'file:///dev/zero'>",
    "<!DOCTYPE job [<!ENTITY a 'b'>]>",
    "<!DOCTYPE job [<!ENTITY % p SYSTEM 'file:///etc/passwd'> %p;]>",
    "<!DOCTYPE job [<!ENTITY a '&b;'><!ENTITY b '&a;'>]>",
    "<!DOCTYPE job [<!ATTLIST job name CDATA 'from-the-dtd'>]>",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (doctypes); i++) {
    g_autofree char *text = g_strconcat ("\n", doctypes[i], GOOD, NULL);

    assert_text_refused (text, "doc:2: A DOCTYPE is not allowed");
  }
  /* A declaration that is broken too is refused for one reason or the other, but refused. */
  assert_text_refused ("<!DOCTYPE job [<!ENTITY a 'b'", "doc:1: A DOCTYPE");
  assert_text_refused ("<!DOCTYPE", "doc:1: ");
  assert_text_refused ("<job name='&a;'/>", "Entity 'a' not defined");
}

/* The names of the external entities above are never opened: this one would say so. */
static void
test_no_file_is_opened (void)
{
  g_autofree char *directory = g_dir_make_tmp ("varve-XXXXXX", NULL);
  g_autofree char *secret = g_build_filename (directory, "secret", NULL);
  g_autofree char *text = g_strdup_printf (
      "<!DOCTYPE job [<!ENTITY s SYSTEM 'file://%s'>]><job name='&s;'>&s;</job>", secret);

  /* A FIFO: whoever opens it for reading waits, and the test times out. */
  g_assert_cmpint (mkfifo (secret, 0600), ==, 0);
  assert_text_refused (text, "DOCTYPE");
  g_unlink (secret);
  g_rmdir (directory);
}

static void
test_encodings (void)
{
  assert_good ("\xef\xbb\xbf" GOOD);
  assert_good ("<?xml version='1.0' encoding='utf-8'?>" GOOD);
  assert_good ("<?xml version='1.0' encoding='US-ASCII' standalone='yes'?>" GOOD);
  assert_text_refused ("<?xml version='1.0' encoding='latin1'?>" GOOD,
                       "doc:1: The declared encoding");
  assert_text_refused ("\xef\xbb\xbf<?xml version='1.0' encoding=\"UTF-7\"?>" GOOD, "'UTF-7'");
  assert_text_refused ("<?xml version='1.0'\nencoding = 'UTF-32'?>" GOOD, "'UTF-32'");
  assert_text_refused ("<job\n name='\xc3'/>", "doc:2: Byte 0xc3");
  assert_text_refused ("<job name='\xc0\xaf'/>", "Byte 0xc0");
  assert_text_refused ("<job name='\xed\xa0\x80'/>", "Byte 0xed");
  assert_refused ("<job\0name='a'/>", 16, "Byte 0x00");
  assert_refused ("\xff\xfe<\0j\0", 6, "Byte 0xff");
  assert_refused ("\0\0\0<", 4, "Byte 0x00");
}

static void
test_size (void)
{
  const size_t max = 1024 * 1024;
  g_autofree char *text = g_malloc (max + 2);

  memset (text, ' ', max + 2);
  memcpy (text, GOOD, strlen (GOOD));
  text[max] = '\0';
  assert_good (text);
  text[max] = ' ';
  assert_refused (text, max + 1, "larger than 1048576 bytes");
  assert_refused (NULL, 0, "empty");
  assert_refused ("", 0, "empty");
  assert_text_refused ("  \n ", "doc:");
}

static char *
repeat (const char *before, const char *unit, size_t count, const char *after)
{
  GString *text = g_string_new (before);

  for (size_t i = 0; i < count; i++)
    g_string_append (text, unit);
  g_string_append (text, after);
  return g_string_free (text, FALSE);
}

static void
test_depth (void)
{
  g_autofree char *open = repeat ("<job name='j'>", "<backup>", rounds_of (100000), "");
  g_autofree char *ends = repeat ("", "</backup>", 200, "</job>");
  g_autofree char *shallow = repeat ("<job name='j'>", "<backup>", 200, ends);

  assert_text_refused (open, "doc:1: ");
  assert_text_refused (shallow, "<backup> is not known in <backup>");
}

/* None of these takes long, and none makes a long message. */
static void
test_masses (void)
{
  g_autofree char *attribute = repeat ("<job name='", "x", 900000, "'/>");
  g_autofree char *element = repeat ("<", "x", 40000, "/>");
  g_autofree char *actions = repeat ("<job name='j'>", "<backup/>", rounds_of (100000), "</job>");
  g_autofree char *lines = repeat ("<job name='j'>", "\n", 100000, "<x/></job>");
  g_autofree char *disks = repeat (
      "<job name='j'><backup><domain uri='qemu:///s'>d</domain><disks>", "<disk name='a'/>",
      rounds_of (20000), "</disks><target><images directory='/t'/></target></backup></job>");
  GString *many = g_string_new ("<job name='j'");

  assert_text_refused (attribute, "job's name is");
  assert_text_refused (element, "root element is");
  assert_text_refused (actions, "more: 'varve validate' lists them");
  assert_text_refused (lines, "doc:100001: <x> is not known");
  assert_text_refused (disks, "'a' is named twice");
  for (unsigned i = 0; i < rounds_of (20000); i++)
    g_string_append_printf (many, " a%u='%u'", i, i);
  g_string_append (many, "/>");
  assert_text_refused (many->str, "<job> has no attribute 'a0'");
  g_string_free (many, TRUE);
}

static void
test_garbage (void)
{
  for (unsigned i = 0; i < rounds_of (3000); i++) {
    char data[200];
    size_t length = (size_t)g_test_rand_int_range (1, sizeof data);

    for (size_t j = 0; j < length; j++)
      data[j] = (char)g_test_rand_int_range (0, i % 2 ? 256 : 128);
    if (i % 3 == 0)
      data[0] = '<';
    assert_refused (data, length, "doc:");
  }
}

/* Every prefix of a document, and every byte of it changed. */
static void
test_mutations (void)
{
  g_autofree char *text = g_strdup (GOOD);
  size_t length = strlen (text);

  for (size_t i = 0; i < length; i++)
    assert_refused (text, i, "doc:");
  for (size_t i = 0; i < length; i++) {
    for (const char *c = "<>&'\"/ a\x01\xff"; *c; c++) {
      char saved = text[i];
      text[i] = *c;
      g_autoptr (GError) error = NULL;
      g_autoptr (VarveJob) job = varve_job_parse (text, length, "doc", &error);
      g_assert_true ((job == NULL) == (error != NULL));
      text[i] = saved;
    }
  }
}

static void
assert_file_refused (const char *path, const char *words)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) problems = NULL;

  g_assert_null (varve_job_load (path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_DOCUMENT);
  g_assert_nonnull (strstr (error->message, words));
  g_assert_nonnull (strstr (error->message, path));
  g_assert_null (varve_job_load (path, NULL));

  g_clear_error (&error);
  g_assert_false (varve_job_validate (path, NULL, &problems, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_DOCUMENT);
}

static void
test_files (void)
{
  g_autofree char *directory = g_dir_make_tmp ("varve-XXXXXX", NULL);
  g_autofree char *huge = g_build_filename (directory, "huge.xml", NULL);
  g_autofree char *fifo = g_build_filename (directory, "fifo.xml", NULL);
  g_autofree char *missing = g_build_filename (directory, "missing.xml", NULL);
  FILE *file = g_fopen (huge, "w");

  g_assert_nonnull (file);
  g_assert_cmpint (ftruncate (fileno (file), G_GINT64_CONSTANT (1) << 40), ==, 0);
  fclose (file);
  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);

  assert_file_refused (huge, "larger");
  assert_file_refused (fifo, "regular");
  assert_file_refused (missing, "No such file");
  assert_file_refused (directory, "regular");
  g_unlink (huge);
  g_unlink (fifo);
  g_rmdir (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/job-hostile/entities", test_entities);
  g_test_add_func ("/job-hostile/no-file-is-opened", test_no_file_is_opened);
  g_test_add_func ("/job-hostile/encodings", test_encodings);
  g_test_add_func ("/job-hostile/size", test_size);
  g_test_add_func ("/job-hostile/depth", test_depth);
  g_test_add_func ("/job-hostile/masses", test_masses);
  g_test_add_func ("/job-hostile/garbage", test_garbage);
  g_test_add_func ("/job-hostile/mutations", test_mutations);
  g_test_add_func ("/job-hostile/files", test_files);
  return g_test_run ();
}
