/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <string.h>

static void
show_disk (Cli *cli, const VarveBackupDisk *disk)
{
  g_autofree char *size = cli_format_size (disk->size);
  g_autofree char *read = cli_format_size (disk->read);
  g_autofree char *stored = cli_format_size (disk->stored);
  g_autofree char *zeroed = cli_format_size (disk->zeroed);

  cli_output_line (&cli->output, "%s: %s, %s", disk->name, size, disk->file);
  cli_output_line (&cli->output, "  %s: %s", disk->decision, disk->reason);
  if (disk->base)
    cli_output_line (&cli->output, "  on %s (%u layers in all)", disk->base, disk->links);
  cli_output_line (&cli->output, "  %s read, %s stored, %s zeros", read, stored, zeroed);
  if (strcmp (disk->sums, "none") == 0)
    cli_output_line (&cli->output, "  no sums: its data cannot be verified");
}

static void
show (Cli *cli, VarveBackup *backup)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (varve_backup_get_time (backup));
  g_autofree char *when = g_date_time_format_iso8601 (time);

  cli_output_backup (&cli->output, backup);
  cli_output_line (&cli->output, "backup      %s", varve_backup_get_id (backup));
  cli_output_line (&cli->output, "domain      %s (%s)", varve_backup_get_domain (backup),
                   varve_backup_get_uuid (backup));
  cli_output_line (&cli->output, "instant     %s, consistency: %s", when,
                   varve_backup_get_consistency (backup));
  cli_output_line (&cli->output, "owner       %s", varve_backup_get_owner (backup));
  cli_output_line (&cli->output, "checkpoint  %s",
                   varve_backup_get_checkpoint (backup) ? varve_backup_get_checkpoint (backup)
                                                        : "none");
  cli_output_line (&cli->output, "directory   %s", varve_backup_get_directory (backup));
  for (guint i = 0; i < disks->len; i++)
    show_disk (cli, g_ptr_array_index (disks, i));
}

bool
cli_show (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *name = NULL;
  g_autofree char *text = NULL;
  g_autoptr (VarveStore) store = NULL;
  g_autoptr (VarveBackup) backup = NULL;
  gboolean manifest = FALSE;
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, "the store: images:DIR", "STORE" },
    { "manifest", 0, 0, G_OPTION_ARG_NONE, &manifest, "print the manifest as it is", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "BACKUP", "Shows one backup.", error))
    return false;
  if (argc != 2 || from == NULL)
    return cli_usage (error, "Name one backup, and a store by --from images:DIR.");
  name = cli_store (from);
  store = varve_store_open (name, error);
  if (store != NULL)
    backup = varve_store_find (store, argv[1], cli->cancellable, error);
  if (backup == NULL)
    return false;
  if (!manifest) {
    show (cli, backup);
    return true;
  }
  text = varve_backup_get_manifest (backup, error);
  if (text != NULL)
    cli_output_line (&cli->output, "%s", g_strchomp (text));
  return text != NULL;
}
