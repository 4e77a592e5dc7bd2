/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The plan is told first, by a run that writes nothing; what writes is a second run, of the backup that was
 * planned with, when somebody has said yes to it. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  CliSource source;
  char *store;
  gboolean dry_run;
  gboolean yes;
  gboolean no_keep;
  gboolean restart;
} Options;

static void
options_clear (Options *options)
{
  cli_source_clear (&options->source);
  g_free (options->store);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &o->store, "the store: images:DIR", "STORE" },
    { "dry-run", 0, 0, G_OPTION_ARG_NONE, &o->dry_run, "only tell what would be written", NULL },
    { "yes", 0, 0, G_OPTION_ARG_NONE, &o->yes, "write without asking", NULL },
    { "no-keep", 0, 0, G_OPTION_ARG_NONE, &o->no_keep, "do not back up the present state first",
      NULL },
    { "restart", 0, 0, G_OPTION_ARG_NONE, &o->restart,
      "turn off a domain that runs, and start it again", NULL },
    G_OPTION_ENTRY_NULL,
  };
  const CliSourceUsage usage = {
    .own = entries,
    .parameters = "DOMAIN [BACKUP | @TIME]",
    .summary =
        "Puts the disks of a domain back to a backup, in place; only what differs is written.",
    .off = true,
  };

  return cli_source_parse (&o->source, cli, argc, argv, &usage, error);
}

static bool
fill (VarveRevertAction *action, const Options *o, bool dry_run, GError **error)
{
  static const CliSourceSetters setters = { CLI_SOURCE_SETTERS (varve_revert_action) };

  if (o->source.owner)
    varve_revert_action_set_owner (action, o->source.owner);
  varve_revert_action_set_keep (action, !o->no_keep);
  varve_revert_action_set_dry_run (action, dry_run);
  varve_revert_action_set_restart (action, o->restart);
  return cli_source_fill (&o->source, &setters, action, error);
}

static bool
run (Cli *cli, const Options *o, const char *domain, const char *backup, bool dry_run,
     GError **error)
{
  g_autofree char *store = cli_store (o->store);
  g_autoptr (VarveJob) job = varve_job_new ("varve");
  VarveRevertAction *action =
      varve_job_add_revert (job, domain, cli_source_uri (&o->source), store, backup);

  return fill (action, o, dry_run, error) &&
         cli_run_job (cli, job, NULL, o->source.print_xml, error);
}

/* @TIME is said of the domain that is named anyway. */
static char *
whole_backup (const char *domain, const char *backup)
{
  if (backup == NULL)
    return g_strconcat (domain, "@latest", NULL);
  return backup[0] == '@' ? g_strconcat (domain, backup, NULL) : g_strdup (backup);
}

static bool
is_yes (const char *answer)
{
  return g_ascii_strcasecmp (answer, "y") == 0 || g_ascii_strcasecmp (answer, "yes") == 0;
}

/* Anything but a yes is a no. */
static bool
ask (Cli *cli, const char *domain, GError **error)
{
  char answer[16] = "";

  if (isatty (STDIN_FILENO) && !cli->output.json) {
    fprintf (stderr, "Write this to the disks of %s? [y/N] ", domain);
    if (fgets (answer, sizeof answer, stdin) == NULL)
      answer[0] = '\0';
    if (is_yes (g_strstrip (answer)))
      return true;
  }
  if (error)
    *error = g_error_new (VARVE_ERROR, VARVE_ERROR_REFUSED,
                          "Nothing was written to the disks of '%s'. If the plan is what is meant, "
                          "say --yes.",
                          domain);
  return false;
}

bool
cli_revert (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { { NULL } };
  g_autofree char *backup = NULL;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  if (argc < 2 || argc > 3 || o.store == NULL)
    return cli_usage (error,
                      "Name one domain, perhaps a backup, and a store by --from images:DIR.");
  if (o.yes && o.dry_run)
    return cli_usage (error, "--yes and --dry-run exclude each other.");
  backup = whole_backup (argv[1], argc > 2 ? argv[2] : NULL);
  if (o.yes || o.dry_run || o.source.print_xml)
    return run (cli, &o, argv[1], backup, o.dry_run, error);
  if (!run (cli, &o, argv[1], backup, true, error))
    return false;
  /* Where the plan found that there is nothing to write, there is nothing to ask. */
  return cli->output.unchanged ||
         (ask (cli, argv[1], error) && run (cli, &o, argv[1], cli->output.backup, false, error));
}
