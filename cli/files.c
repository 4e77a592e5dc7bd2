/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What reads file systems is a program of its own, varve-files, so that nobody needs libguestfs who only backs up: this
 * becomes that program. Its code is in files/. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRAM "varve-files"

/* Beside the command, where both are run from the tree that they were built in. */
static char *
beside_us (void)
{
  g_autofree char *us = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *directory = us ? g_path_get_dirname (us) : NULL;
  g_autofree char *path = directory ? g_build_filename (directory, PROGRAM, NULL) : NULL;

  if (path == NULL || !g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
    return NULL;
  return g_steal_pointer (&path);
}

static char *
find (void)
{
  const char *directory = g_getenv ("VARVE_LIBEXEC_DIR");
  char *path;

  if (directory && g_path_is_absolute (directory))
    return g_build_filename (directory, PROGRAM, NULL);
  path = beside_us ();
  return path ? path : g_build_filename (VARVE_LIBEXEC_DIR, PROGRAM, NULL);
}

bool
cli_files (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *path = find ();

  if (g_cancellable_set_error_if_cancelled (cli->cancellable, error))
    return false;
  signal (SIGPIPE, SIG_DFL);
  fflush (NULL);
  execv (path, argv);
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED,
               "'%s', which reads file systems by libguestfs, cannot be started: %s. It is there "
               "where varve was built with libguestfs.",
               path, g_strerror (errno));
  return false;
}
