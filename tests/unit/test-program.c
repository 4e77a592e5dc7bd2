/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "util/program.h"

#include <gio/gio.h>

static void
test_by_variable (void)
{
  g_autofree char *path = NULL;

  g_setenv ("VARVE_LIBEXEC_DIR", "/some/where", TRUE);
  path = varve_program_path ("varve-guard");
  g_assert_cmpstr (path, ==, "/some/where/varve-guard");
}

/* What is relative would be found by the working directory. */
static void
test_relative (void)
{
  g_autofree char *path = NULL;

  g_setenv ("VARVE_LIBEXEC_DIR", "some/where", TRUE);
  path = varve_program_path ("varve-guard");
  g_assert_true (g_path_is_absolute (path));
  g_assert_null (strstr (path, "some/where"));
}

static void
test_installed (void)
{
  g_autofree char *path = NULL;

  g_unsetenv ("VARVE_LIBEXEC_DIR");
  path = varve_program_path ("varve-nothing");
  g_assert_cmpstr (path, ==, VARVE_LIBEXEC_DIR "/varve-nothing");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/program/by-variable", test_by_variable);
  g_test_add_func ("/program/relative", test_relative);
  g_test_add_func ("/program/installed", test_installed);
  return g_test_run ();
}
