/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

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

typedef struct {
  char *from;
  gboolean boot;
  char *sign;
  char *timeout;
  char *screenshot;
  char *memory;
  gboolean print_xml;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->from);
  g_free (options->sign);
  g_free (options->timeout);
  g_free (options->screenshot);
  g_free (options->memory);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &o->from, "the store: images:DIR", "STORE" },
    { "boot", 0, 0, G_OPTION_ARG_NONE, &o->boot,
      "start one backup, isolated, and wait for a sign of life", NULL },
    { "sign", 0, 0, G_OPTION_ARG_STRING, &o->sign,
      "agent: it answers (default); console:TEXT: said on its serial console; mounted:PATH: a file "
      "system is mounted there",
      "SIGN" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &o->timeout, "how long that may take (default: 5m)",
      "TIME" },
    { "screenshot", 0, 0, G_OPTION_ARG_FILENAME, &o->screenshot,
      "where the last picture of its screen is kept", "FILE" },
    { "memory", 0, 0, G_OPTION_ARG_STRING, &o->memory,
      "how much it gets (default: as much as the domain had)", "SIZE" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &o->print_xml, "print the job and do nothing", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, argc, argv, entries, "[BACKUP]…",
                  "Checks every layer of backups against its sums; without BACKUP, the whole "
                  "store. Or starts one.",
                  error))
    return false;
  if (o->from == NULL)
    return cli_usage (error, "Name a store by --from images:DIR.");
  if (!o->boot && (o->sign || o->timeout || o->screenshot || o->memory || o->print_xml))
    return cli_usage (error, "--sign, --timeout, --screenshot, --memory and --print-xml go with "
                             "--boot.");
  if (o->boot && *argc != 2)
    return cli_usage (error, "--boot starts one backup: name it.");
  return true;
}

/* --- --boot ----------------------------------------------------------------------------------- */

/* "console:TEXT" → TEXT; NULL: it is another sign. */
static const char *
behind (const char *sign, const char *prefix)
{
  return g_str_has_prefix (sign, prefix) ? sign + strlen (prefix) : NULL;
}

static bool
set_sign (VarveVerifyAction *action, const char *sign, GError **error)
{
  varve_verify_action_set_console (action, behind (sign, "console:"));
  varve_verify_action_set_mounted (action, behind (sign, "mounted:"));
  return behind (sign, "console:") || behind (sign, "mounted:") || strcmp (sign, "agent") == 0 ||
         cli_usage (error, "'%s' is no sign: it can be agent, console:TEXT, or mounted:PATH.",
                    sign);
}

static bool
boot (Cli *cli, const Options *o, const char *store, const char *backup, GError **error)
{
  g_autoptr (VarveJob) job = varve_job_new ("varve");
  VarveVerifyAction *action = varve_job_add_verify (job, store, backup);
  guint64 memory = 0;
  guint seconds = 0;

  if ((o->timeout && !cli_parse_seconds (o->timeout, &seconds, error)) ||
      (o->sign && !set_sign (action, o->sign, error)) ||
      (o->memory && !cli_parse_size (o->memory, &memory, error)))
    return false;
  varve_verify_action_set_boot (action, seconds);
  varve_verify_action_set_memory (action, memory);
  if (o->screenshot) {
    g_autofree char *path = g_canonicalize_filename (o->screenshot, NULL);

    varve_verify_action_set_screenshot (action, path);
  }
  return cli_run_job (cli, job, NULL, o->print_xml, error);
}

/* --- sums ------------------------------------------------------------------------------------- */

static bool
check (Cli *cli, const char *name, char **backups, GError **error)
{
  g_autoptr (VarveStore) store = varve_store_open (name, error);
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func (g_free);
  gsize i = 0;

  if (store == NULL)
    return false;
  do {
    g_autoptr (VarveBackup) backup = NULL;
    g_autoptr (GPtrArray) problems = NULL;

    if (backups[i]) {
      backup = varve_store_find (store, backups[i], cli->cancellable, error);
      if (backup == NULL)
        return false;
    }
    if (!varve_store_verify (store, backup, cli_output_event, &cli->output, &problems,
                             cli->cancellable, error))
      return false;
    g_ptr_array_extend_and_steal (all, g_steal_pointer (&problems));
  } while (backups[i] && backups[++i]);
  return report (cli, all, error);
}

bool
cli_verify (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  g_autofree char *store = NULL;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  store = cli_store (o.from);
  return o.boot ? boot (cli, &o, store, argv[1], error) : check (cli, store, argv + 1, error);
}
