/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Runs a fuzz target over the files that are named on the command line, or that lie in directories
 * named there: so that a corpus, with all old finds, is a plain test. Without a single file it
 * fails. */
#include "config.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <glib.h>

static unsigned
run_file (const char *path)
{
  g_autofree char *data = NULL;
  gsize length = 0;
  g_autoptr (GError) error = NULL;

  if (!g_file_get_contents (path, &data, &length, &error)) {
    fprintf (stderr, "%s\n", error->message);
    exit (EXIT_FAILURE);
  }
  /* In memory of its exact size, so that reading past the end is seen. */
  g_autofree uint8_t *exact = g_memdup2 (data, length);
  LLVMFuzzerTestOneInput (exact ? exact : (const uint8_t *)"", length);
  return 1;
}

static unsigned
run_path (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  unsigned count = 0;

  if (!dir)
    return run_file (path);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *file = g_build_filename (path, name, NULL);

    count += run_file (file);
  }
  return count;
}

int
main (int argc, char **argv)
{
  unsigned count = 0;

  for (int i = 1; i < argc; i++)
    count += run_path (argv[i]);
  printf ("%u inputs\n", count);
  return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
