/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct {
  guint64 read;
  guint64 stored;
} Sums;

static Sums
add_up (VarveBackup *backup)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  Sums sums = { 0 };

  for (guint i = 0; i < disks->len; i++) {
    const VarveBackupDisk *disk = g_ptr_array_index (disks, i);

    sums.read += disk->read;
    sums.stored += disk->stored;
  }
  return sums;
}

/* "vda incremental, vdb full (no sums)" (transfer full) */
static char *
describe_disks (VarveBackup *backup)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < disks->len; i++) {
    const VarveBackupDisk *disk = g_ptr_array_index (disks, i);

    g_string_append_printf (text, "%s%s %s%s", i ? ", " : "", disk->name, disk->decision,
                            strcmp (disk->sums, "none") == 0 ? " (no sums)" : "");
  }
  return g_strdup (text->str);
}

static void
print_backup (Cli *cli, VarveBackup *backup)
{
  Sums sums = add_up (backup);
  g_autofree char *read = cli_format_size (sums.read);
  g_autofree char *stored = cli_format_size (sums.stored);
  g_autofree char *disks = describe_disks (backup);

  cli_output_backup (&cli->output, backup);
  cli_output_line (&cli->output, "%-33s  %-16s %10s %10s  %s", varve_backup_get_id (backup),
                   varve_backup_get_domain (backup), read, stored, disks);
}

static bool
throw_unreadable (Cli *cli, GPtrArray *problems, GError **error)
{
  for (guint i = 0; i < problems->len; i++) {
    const char *text = g_ptr_array_index (problems, i);

    cli_output_problem (&cli->output, text);
    if (!cli->output.json)
      fprintf (stderr, "varve: warning: %s\n", text);
  }
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED,
               problems->len == 1 ? "%u backup of the store cannot be read; the warning says why."
                                  : "%u backups of the store cannot be read; the warnings say why.",
               problems->len);
  return false;
}

bool
cli_list (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *name = NULL;
  g_autoptr (VarveStore) store = NULL;
  g_autoptr (GPtrArray) backups = NULL;
  g_autoptr (GPtrArray) problems = NULL;
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, "the store: images:DIR", "STORE" },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "[DOMAIN]",
                  "Lists the backups of a store, oldest first.", error))
    return false;
  if (argc > 2 || from == NULL)
    return cli_usage (error, "Name a store by --from images:DIR, and one domain at most.");
  name = cli_store (from);
  store = varve_store_open (name, error);
  if (store == NULL)
    return false;
  backups =
      varve_store_list (store, argc == 2 ? argv[1] : NULL, &problems, cli->cancellable, error);
  if (backups == NULL)
    return false;
  if (backups->len > 0)
    cli_output_line (&cli->output, "%-33s  %-16s %10s %10s  %s", "BACKUP", "DOMAIN", "READ",
                     "STORED", "DISKS");
  else
    cli_output_line (&cli->output, "The store has no backup%s%s.", argc == 2 ? " of " : "",
                     argc == 2 ? argv[1] : "");
  for (guint i = 0; i < backups->len; i++)
    print_backup (cli, g_ptr_array_index (backups, i));
  return problems->len == 0 || throw_unreadable (cli, problems, error);
}
