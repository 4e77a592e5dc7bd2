/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"
#include "libexec/quiet.h"
#include "libexec/signals.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  const char *name;
  CliVerb run;
  const char *summary;
} Verb;

static const Verb verbs[] = {
  { "run", cli_run, "run a job document" },
  { "validate", cli_validate, "check job documents" },
  { "backup", cli_backup, "back up a domain" },
  { "list", cli_list, "list the backups of a store" },
  { "show", cli_show, "show one backup" },
  { "verify", cli_verify, "check backups against their sums" },
  { "delete", cli_delete, "delete a backup" },
  { "restore", cli_restore, "restore disks of a backup" },
  { "serve", cli_serve, "serve a backup, read-only, over NBD" },
  { "revert", cli_revert, "put the disks of a domain back, in place" },
  { "checkpoint", cli_checkpoint, "list, check and change checkpoints" },
  { "export", cli_export, "serve disks to readers that are not varve" },
  { "recover", cli_recover, "end what killed runs left behind" },
};

/* --- the command ------------------------------------------------------------------------------ */

static void
print_help (FILE *file)
{
  fprintf (file, "Usage: varve VERB [OPTION…] …\n\n"
                 "Backs up and restores the disks of QEMU/KVM virtual machines.\n\nVerbs:\n");
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    fprintf (file, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
  fprintf (file,
           "\n'varve VERB --help' tells more; so do the manual pages varve(1), varve-VERB(1), "
           "varve-job(5).\n");
}

static const Verb *
find_verb (const char *name)
{
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    if (strcmp (verbs[i].name, name) == 0)
      return &verbs[i];
  return NULL;
}

static int
run_verb (const Verb *verb, int argc, char **argv)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  Cli cli = { .cancellable = cancellable };
  int status = 0;

  cli.output.terminal = isatty (STDERR_FILENO);
  if (!varve_signals_catch (cancellable, &error) || !verb->run (&cli, argc, argv, &error)) {
    status = varve_signals_last () ? 128 + varve_signals_last () : varve_error_exit_status (error);
    cli_output_error (&cli.output, error, status);
  }
  g_free (cli.output.disk);
  g_free (cli.output.backup);
  g_free (cli.output.why_nothing);
  return status;
}

int
main (int argc, char **argv)
{
  const Verb *verb;

  setlocale (LC_ALL, "");
  g_log_writer_default_set_use_stderr (TRUE);
  varve_quiet_libvirt ();
  if (argc < 2) {
    print_help (stderr);
    return 2;
  }
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0 ||
      strcmp (argv[1], "help") == 0) {
    print_help (stdout);
    return 0;
  }
  if (strcmp (argv[1], "--version") == 0) {
    puts ("varve " VARVE_VERSION);
    return 0;
  }
  verb = find_verb (argv[1]);
  if (verb == NULL) {
    fprintf (stderr, "varve: There is no verb '%s'. 'varve --help' lists them.\n", argv[1]);
    return 2;
  }
  return run_verb (verb, argc - 1, argv + 1);
}
