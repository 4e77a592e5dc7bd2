/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

bool
cli_recover (Cli *cli, int argc, char **argv, GError **error)
{
  gboolean dry_run = FALSE;
  const GOptionEntry entries[] = {
    { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "only tell", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, NULL, "Ends what killed runs left behind.", error))
    return false;
  if (argc != 1)
    return cli_usage (error, "No argument is expected.");
  return varve_recover (NULL, dry_run, cli_output_event, &cli->output, cli->cancellable, error);
}
