/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>

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
  { "checkpoint", cli_checkpoint, "list, check and change checkpoints" },
  { "export", cli_export, "serve disks to readers that are not varve" },
  { "recover", cli_recover, "end what killed runs left behind" },
};

/* --- signals ---------------------------------------------------------------------------------- */

/* A handler may only write; a thread turns what it wrote into a cancellation. Signals are not
 * blocked instead, as children would inherit that. */
static int signal_pipe[2] = { -1, -1 };
static volatile sig_atomic_t last_signal;

static void
on_signal (int signum)
{
  char byte = 0;

  last_signal = signum;
  if (write (signal_pipe[1], &byte, 1) < 0)
    _exit (128 + signum);
}

static gpointer
wait_for_signal (gpointer cancellable)
{
  char byte;

  while (read (signal_pipe[0], &byte, 1) == 1)
    g_cancellable_cancel (cancellable);
  return NULL;
}

static bool
catch_signals (GCancellable *cancellable, GError **error)
{
  struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

  if (!g_unix_open_pipe (signal_pipe, FD_CLOEXEC, error))
    return false;
  g_thread_unref (g_thread_new ("signals", wait_for_signal, cancellable));
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  signal (SIGPIPE, SIG_IGN);
  return true;
}

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
  if (!catch_signals (cancellable, &error) || !verb->run (&cli, argc, argv, &error)) {
    status = last_signal ? 128 + last_signal : varve_error_exit_status (error);
    cli_output_error (&cli.output, error, status);
  }
  g_free (cli.output.disk);
  return status;
}

int
main (int argc, char **argv)
{
  const Verb *verb;

  setlocale (LC_ALL, "");
  g_log_writer_default_set_use_stderr (TRUE);
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
