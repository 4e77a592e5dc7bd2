/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

bool
cli_run (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *only = NULL;
  gboolean print_xml = FALSE;
  g_autoptr (VarveJob) job = NULL;
  const GOptionEntry entries[] = {
    { "only", 0, 0, G_OPTION_ARG_STRING, &only, "run just the action of this name", "NAME" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &print_xml, "print the job and do nothing", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "JOB.xml", "Runs a job document.", error))
    return false;
  if (argc != 2)
    return cli_usage (error, "Name one job document.");
  job = varve_job_load (argv[1], error);
  return job != NULL && cli_run_job (cli, job, only, print_xml, error);
}
