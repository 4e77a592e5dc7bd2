/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>

static bool
report (Cli *cli, GPtrArray *problems, GError **error)
{
  for (guint i = 0; i < problems->len; i++) {
    cli_output_problem (&cli->output, g_ptr_array_index (problems, i));
    if (!cli->output.json)
      fprintf (stderr, "varve: %s\n", (char *)g_ptr_array_index (problems, i));
  }
  if (problems->len == 0) {
    cli_output_line (&cli->output, "All that was checked is as it was written.");
    return true;
  }
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED,
               "%u %s, named above: the store is damaged, or has what cannot be verified.",
               problems->len, problems->len == 1 ? "finding" : "findings");
  return false;
}

bool
cli_verify (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *name = NULL;
  g_autoptr (VarveStore) store = NULL;
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func (g_free);
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, "the store: images:DIR", "STORE" },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (
          cli, &argc, &argv, entries, "[BACKUP]…",
          "Checks every layer of backups against its sums; without BACKUP, the whole store.",
          error))
    return false;
  if (from == NULL)
    return cli_usage (error, "Name a store by --from images:DIR.");
  name = cli_store (from);
  store = varve_store_open (name, error);
  if (store == NULL)
    return false;
  for (int i = 1; i < MAX (argc, 2); i++) {
    g_autoptr (VarveBackup) backup = NULL;
    g_autoptr (GPtrArray) problems = NULL;

    if (i < argc) {
      backup = varve_store_find (store, argv[i], cli->cancellable, error);
      if (backup == NULL)
        return false;
    }
    if (!varve_store_verify (store, backup, cli_output_event, &cli->output, &problems,
                             cli->cancellable, error))
      return false;
    g_ptr_array_extend_and_steal (all, g_steal_pointer (&problems));
  }
  return report (cli, all, error);
}
