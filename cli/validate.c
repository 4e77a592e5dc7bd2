/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>

static void
tell_problem (Cli *cli, const char *problem)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("problem");

  cli_json_string (object, "text", problem);
  cli_output_json (&cli->output, object);
  if (!cli->output.json)
    fprintf (stderr, "%s\n", problem);
}

bool
cli_validate (Cli *cli, int argc, char **argv, GError **error)
{
  unsigned invalid = 0;

  if (!cli_parse (cli, &argc, &argv, NULL, "JOB.xml…", "Checks job documents against the schema.",
                  error))
    return false;
  if (argc < 2)
    return cli_usage (error, "Name at least one job document.");
  for (int i = 1; i < argc; i++) {
    g_autoptr (GPtrArray) problems = NULL;

    if (!varve_job_validate (argv[i], NULL, &problems, error))
      return false;
    for (guint j = 0; j < problems->len; j++)
      tell_problem (cli, g_ptr_array_index (problems, j));
    if (problems->len > 0)
      invalid++;
    else
      cli_output_line (&cli->output, "%s: valid", argv[i]);
  }
  if (invalid == 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_DOCUMENT, "%u of %d documents are not valid.",
               invalid, argc - 1);
  return false;
}
