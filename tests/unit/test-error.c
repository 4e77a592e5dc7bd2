/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Errors: their text, their codes, and the exit status that scripts decide by. */
#include "config.h"
#include "util/error.h"

#include <errno.h>

static void
test_throw (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_throw (&error, VARVE_ERROR_BUSY, "Domain '%s' is busy.", "web01"));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_cmpstr (error->message, ==, "Domain 'web01' is busy.");
  g_assert_true (varve_error_matches (error, VARVE_ERROR_BUSY));
  g_assert_false (varve_error_matches (error, VARVE_ERROR_FAILED));
  g_assert_false (varve_error_matches (NULL, VARVE_ERROR_FAILED));
  g_assert_false (varve_throw (NULL, VARVE_ERROR_BUSY, "Nobody listens to %d.", 1));
}

static void
test_throw_errno (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_throw_errno (&error, VARVE_ERROR_FAILED, EACCES, "Cannot open '%s'", "/x"));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_cmpstr (error->message, ==, "Cannot open '/x': Permission denied");
  g_assert_false (varve_throw_errno (NULL, VARVE_ERROR_FAILED, EACCES, "Nobody listens"));
}

static void
test_full_disk_has_its_code (void)
{
  static const int full[] = { ENOSPC, EDQUOT };

  for (size_t i = 0; i < G_N_ELEMENTS (full); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (varve_throw_errno (&error, VARVE_ERROR_STORE_UNREACHABLE, full[i], "Writing"));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  }
}

static void
test_prefix (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_prefix (&error, "There is no error yet"));
  g_assert_no_error (error);
  g_assert_false (varve_prefix (NULL, "Nobody listens"));

  varve_throw (&error, VARVE_ERROR_NO_SPACE, "It is full.");
  g_assert_false (varve_prefix (&error, "Cannot write disk '%s'", "vda"));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  g_assert_cmpstr (error->message, ==, "Cannot write disk 'vda': It is full.");
}

static void
test_keep_first (void)
{
  g_autoptr (GError) kept = NULL;
  GError *next = NULL;

  varve_keep_first (&kept, &next);
  g_assert_no_error (kept);

  varve_throw (&next, VARVE_ERROR_BUSY, "first");
  varve_keep_first (&kept, &next);
  g_assert_no_error (next);
  g_assert_cmpstr (kept->message, ==, "first");

  varve_throw (&next, VARVE_ERROR_FAILED, "second");
  varve_keep_first (&kept, &next);
  g_assert_no_error (next);
  g_assert_cmpstr (kept->message, ==, "first");
}

static void
test_exit_status (void)
{
  static const struct {
    VarveError code;
    int status;
  } table[] = {
    { VARVE_ERROR_FAILED, 1 },
    { VARVE_ERROR_USAGE, 2 },
    { VARVE_ERROR_DOCUMENT, 2 },
    { VARVE_ERROR_NOT_FOUND, 1 },
    { VARVE_ERROR_UNSUPPORTED, 1 },
    { VARVE_ERROR_PARTIAL, 3 },
    { VARVE_ERROR_REFUSED, 4 },
    { VARVE_ERROR_HYPERVISOR, 1 },
    { VARVE_ERROR_SOURCE_UNREACHABLE, 5 },
    { VARVE_ERROR_SOURCE_LOST, 5 },
    { VARVE_ERROR_SOURCE_READ, 5 },
    { VARVE_ERROR_SOURCE_PROTOCOL, 5 },
    { VARVE_ERROR_STORE_UNREACHABLE, 6 },
    { VARVE_ERROR_NO_SPACE, 6 },
    { VARVE_ERROR_STORE_DAMAGED, 7 },
    { VARVE_ERROR_EXISTS, 1 },
    { VARVE_ERROR_BUSY, 8 },
    { VARVE_ERROR_CHECKPOINT, 1 },
    { VARVE_ERROR_NOT_PROVED, 9 },
  };

  g_autoptr (GEnumClass) codes = g_type_class_ref (VARVE_TYPE_ERROR);

  g_assert_cmpuint (codes->n_values, ==, G_N_ELEMENTS (table));
  g_assert_cmpint (varve_error_exit_status (NULL), ==, 0);
  for (size_t i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GError) error = g_error_new_literal (VARVE_ERROR, (int)table[i].code, "x");
    g_assert_cmpint (varve_error_exit_status (error), ==, table[i].status);
  }
}

static void
test_exit_status_of_other_domains (void)
{
  g_autoptr (GError) cancelled = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED, "x");
  /* The same number as VARVE_ERROR_BUSY: only the domain tells them apart. */
  g_autoptr (GError) foreign = g_error_new_literal (G_IO_ERROR, (int)VARVE_ERROR_BUSY, "x");
  g_autoptr (GError) unknown = g_error_new_literal (VARVE_ERROR, 9999, "x");

  g_assert_cmpint (varve_error_exit_status (cancelled), ==, 130);
  g_assert_cmpint (varve_error_exit_status (foreign), ==, 1);
  g_assert_cmpint (varve_error_exit_status (unknown), ==, 1);
}

static void
test_classify (void)
{
  g_autoptr (GError) plain = NULL;
  g_autoptr (GError) special = NULL;
  GError *none = NULL;

  varve_throw (&plain, VARVE_ERROR_FAILED, "x");
  varve_throw (&special, VARVE_ERROR_NO_SPACE, "x");
  g_assert_false (varve_classify (false, VARVE_ERROR_STORE_UNREACHABLE, &plain));
  g_assert_false (varve_classify (false, VARVE_ERROR_STORE_UNREACHABLE, &special));
  g_assert_true (varve_error_matches (plain, VARVE_ERROR_STORE_UNREACHABLE));
  g_assert_true (varve_error_matches (special, VARVE_ERROR_NO_SPACE));
  g_assert_false (varve_classify (false, VARVE_ERROR_BUSY, NULL));
  g_assert_true (varve_classify (true, VARVE_ERROR_BUSY, &none));
  g_assert_null (none);
}

static void
test_reclassify (void)
{
  g_autoptr (GError) ours = g_error_new_literal (VARVE_ERROR, VARVE_ERROR_BUSY, "busy");
  g_autoptr (GError) other = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_FAILED, "failed");

  g_assert_false (varve_reclassify (&ours, VARVE_ERROR_REFUSED));
  g_assert_error (ours, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_cmpstr (ours->message, ==, "busy");
  g_assert_false (varve_reclassify (&other, VARVE_ERROR_PARTIAL));
  g_assert_error (other, VARVE_ERROR, VARVE_ERROR_PARTIAL);
  g_assert_false (varve_reclassify (NULL, VARVE_ERROR_BUSY));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/error/throw", test_throw);
  g_test_add_func ("/error/throw-errno", test_throw_errno);
  g_test_add_func ("/error/full-disk", test_full_disk_has_its_code);
  g_test_add_func ("/error/prefix", test_prefix);
  g_test_add_func ("/error/classify", test_classify);
  g_test_add_func ("/error/reclassify", test_reclassify);
  g_test_add_func ("/error/keep-first", test_keep_first);
  g_test_add_func ("/error/exit-status", test_exit_status);
  g_test_add_func ("/error/exit-status-other", test_exit_status_of_other_domains);
  return g_test_run ();
}
