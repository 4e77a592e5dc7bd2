/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Our own helper programs are found by a path and never by $PATH: who runs varve as root trusts the
 * library's directory, and need not trust more than that. */
#include "config.h"
#include "util/program.h"

#include <dlfcn.h>
#include <gio/gio.h>

static char *
if_executable (const char *directory, const char *below, const char *name)
{
  g_autofree char *path = g_build_filename (directory, below, name, NULL);

  if (!g_path_is_absolute (path) || !g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
    return NULL;
  return g_steal_pointer (&path);
}

/* libexec/NAME beside the object that this code was loaded from; NAME itself where that is another of our programs. */
static char *
beside_us (const char *name)
{
  Dl_info info;

  if (dladdr ((void *)varve_program_path, &info) == 0 || info.dli_fname == NULL)
    return NULL;

  g_autofree char *directory = g_path_get_dirname (info.dli_fname);
  char *path = if_executable (directory, "libexec", name);
  return path ? path : if_executable (directory, "", name);
}

static char *
find (const char *name, const char *installed)
{
  const char *directory = g_getenv ("VARVE_LIBEXEC_DIR");
  char *path;

  if (directory && g_path_is_absolute (directory))
    return g_build_filename (directory, name, NULL);
  path = beside_us (name);
  return path ? path : g_build_filename (installed, name, NULL);
}

char *
varve_program_path (const char *name)
{
  return find (name, VARVE_LIBEXEC_DIR);
}

char *
varve_nbdkit_plugin_path (void)
{
  return find ("nbdkit-varve-plugin.so", VARVE_NBDKIT_PLUGIN_DIR);
}
