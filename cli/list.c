/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>

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

/* "vda incremental, vdb full" (transfer full) */
static char *
describe_disks (VarveBackup *backup)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < disks->len; i++) {
    const VarveBackupDisk *disk = g_ptr_array_index (disks, i);

    g_string_append_printf (text, "%s%s %s", i ? ", " : "", disk->name, disk->decision);
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
  g_autoptr (JsonBuilder) object = cli_json_begin ("backup");

  cli_json_string (object, "backup", varve_backup_get_id (backup));
  cli_json_string (object, "domain", varve_backup_get_domain (backup));
  cli_json_string (object, "uuid", varve_backup_get_uuid (backup));
  cli_json_string (object, "owner", varve_backup_get_owner (backup));
  cli_json_string (object, "checkpoint", varve_backup_get_checkpoint (backup));
  cli_json_number (object, "time", varve_backup_get_time (backup));
  cli_json_number (object, "read", (gint64)sums.read);
  cli_json_number (object, "stored", (gint64)sums.stored);
  cli_json_string (object, "disks", disks);
  cli_output_json (&cli->output, object);
  cli_output_line (&cli->output, "%-33s  %-16s %10s %10s  %s", varve_backup_get_id (backup),
                   varve_backup_get_domain (backup), read, stored, disks);
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
  for (guint i = 0; i < problems->len; i++)
    fprintf (stderr, "varve: warning: %s\n", (char *)g_ptr_array_index (problems, i));
  if (problems->len == 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED,
               "%u backups of the store cannot be read; the warnings say why.", problems->len);
  return false;
}
