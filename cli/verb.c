/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A verb from its beginning to its exit status: what all programs of the command do around it. */
#include "config.h"

#include "cli.h"
#include "libexec/quiet.h"
#include "libexec/signals.h"

#include <locale.h>
#include <unistd.h>

void
cli_begin (void)
{
  setlocale (LC_ALL, "");
  g_log_writer_default_set_use_stderr (TRUE);
  varve_quiet_libvirt ();
}

int
cli_run_verb (CliVerb verb, int argc, char **argv)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  Cli cli = { .cancellable = cancellable };
  int status = 0;

  cli.output.terminal = isatty (STDERR_FILENO);
  if (!varve_signals_catch (cancellable, &error) || !verb (&cli, argc, argv, &error)) {
    status = varve_signals_last () ? 128 + varve_signals_last () : varve_error_exit_status (error);
    cli_output_error (&cli.output, error, status);
  }
  g_free (cli.output.disk);
  g_free (cli.output.backup);
  return status;
}
