/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How nbdkit is told to serve a backup, by the plugin of varve. The backup is found here first, so that what is wrong is
 * told as everywhere else. */
#include "config.h"

#include "cli.h"

#include <string.h>
#include <sys/resource.h>

static bool
check_disk (VarveBackup *backup, const char *name, GError **error)
{
  GPtrArray *disks = varve_backup_get_disks (backup);

  for (guint i = 0; i < disks->len; i++)
    if (name == NULL || strcmp (((VarveBackupDisk *)g_ptr_array_index (disks, i))->name, name) == 0)
      return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "Backup %s has no disk '%s'.",
               varve_backup_get_id (backup), name ? name : "");
  return false;
}

static bool
check_plugin (GError **error)
{
  g_autofree char *plugin = varve_nbdkit_plugin ();

  if (g_file_test (plugin, G_FILE_TEST_EXISTS))
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED,
               "The plugin '%s', by which nbdkit serves backups, is not there: varve was built "
               "without it.",
               plugin);
  return false;
}

VarveBackup *
cli_nbdkit_find (const char *store_name, const char *name, const char *disk,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStore) store = varve_store_open (store_name, error);
  g_autoptr (VarveBackup) backup = NULL;

  if (store != NULL)
    backup = varve_store_find (store, name, cancellable, error);
  if (backup == NULL || !check_disk (backup, disk, error) || !check_plugin (error))
    return NULL;
  return g_steal_pointer (&backup);
}

/* --- the command line ------------------------------------------------------------------------- */

GPtrArray *
cli_nbdkit_begin (void)
{
  GPtrArray *arguments = g_ptr_array_new_with_free_func (g_free);

  cli_nbdkit_add (arguments, "nbdkit", "--foreground");
  cli_nbdkit_add (arguments, "--readonly", NULL);
  return arguments;
}

void
cli_nbdkit_add (GPtrArray *arguments, const char *name, const char *value)
{
  g_ptr_array_add (arguments, g_strdup (name));
  if (value != NULL)
    g_ptr_array_add (arguments, g_strdup (value));
}

void
cli_nbdkit_add_path (GPtrArray *arguments, const char *name, const char *path)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);

  cli_nbdkit_add (arguments, name, absolute);
}

static void
add_parameter (GPtrArray *arguments, const char *name, const char *value)
{
  g_ptr_array_add (arguments, g_strconcat (name, "=", value, NULL));
}

void
cli_nbdkit_end (GPtrArray *arguments, const char *store, VarveBackup *backup, const char *disk)
{
  g_autofree char *plugin = varve_nbdkit_plugin ();

  cli_nbdkit_add (arguments, plugin, NULL);
  add_parameter (arguments, "store", store);
  add_parameter (arguments, "backup", varve_backup_get_id (backup));
  if (disk)
    add_parameter (arguments, "disk", disk);
  g_ptr_array_add (arguments, NULL);
}

/* --- what it is started with ------------------------------------------------------------------ */

void
cli_nbdkit_raise_file_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}

bool
cli_nbdkit_not_started (const char *why, GError **error)
{
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED,
               "nbdkit, which serves backups, cannot be started (install the package nbdkit): %s.",
               why);
  return false;
}
