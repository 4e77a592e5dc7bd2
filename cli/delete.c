/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

bool
cli_delete (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *name = NULL;
  g_autoptr (VarveStore) store = NULL;
  g_autoptr (VarveBackup) backup = NULL;
  g_autoptr (GPtrArray) deleted = NULL;
  gboolean with_dependents = FALSE;
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, "the store: images:DIR", "STORE" },
    { "with-dependents", 0, 0, G_OPTION_ARG_NONE, &with_dependents,
      "and all backups that build on it", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "BACKUP", "Deletes a backup.", error))
    return false;
  if (argc != 2 || from == NULL)
    return cli_usage (error, "Name one backup, and a store by --from images:DIR.");
  name = cli_store (from);
  store = varve_store_open (name, error);
  if (store != NULL)
    backup = varve_store_find (store, argv[1], cli->cancellable, error);
  if (backup == NULL ||
      !varve_store_delete (store, backup, with_dependents, NULL, &deleted, cli->cancellable, error))
    return false;
  for (guint i = 0; i < deleted->len; i++) {
    g_autoptr (JsonBuilder) object = cli_json_begin ("deleted");

    cli_json_string (object, "backup", g_ptr_array_index (deleted, i));
    cli_output_json (&cli->output, object);
    cli_output_line (&cli->output, "deleted %s", (char *)g_ptr_array_index (deleted, i));
  }
  return true;
}
