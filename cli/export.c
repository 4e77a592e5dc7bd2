/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* varve export: sessions for readers that are not varve. What `begin` prints on stdout is for a program to read, and
 * nothing else is there. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- begin: what the command line said -------------------------------------------------------- */

typedef struct {
  CliSource source;
  char *since;
  char *max_age;
  CliServer server;
  char *mode;
  char *group;
  char *command;
  char *format;
  gboolean allow_trim;
} Options;

static void
options_clear (Options *options)
{
  cli_source_clear (&options->source);
  g_free (options->since);
  g_free (options->max_age);
  g_free (options->mode);
  g_free (options->group);
  cli_server_clear (&options->server);
  g_free (options->command);
  g_free (options->format);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "since", 0, 0, G_OPTION_ARG_STRING, &o->since, "tell what changed since this checkpoint",
      "CHECKPOINT" },
    { "max-age", 0, 0, G_OPTION_ARG_STRING, &o->max_age, "end by itself then (default: 4h)",
      "TIME" },
    { "socket-mode", 0, 0, G_OPTION_ARG_STRING, &o->mode, "its mode (default: 0600)", "MODE" },
    { "socket-group", 0, 0, G_OPTION_ARG_STRING, &o->group, "its group", "GROUP" },
    CLI_SERVER_ENTRIES (&o->server),
    { "run", 0, 0, G_OPTION_ARG_STRING, &o->command,
      "run it, and end the session by its exit status", "COMMAND" },
    { "allow-trim", 0, 0, G_OPTION_ARG_NONE, &o->allow_trim, "readers may trim what they have read",
      NULL },
    { "format", 0, 0, G_OPTION_ARG_STRING, &o->format, "json (default) or xml", "FORMAT" },
    G_OPTION_ENTRY_NULL,
  };

  const CliSourceUsage usage = {
    .own = entries,
    .parameters = "DOMAIN",
    .summary = "Serves the disks of a domain, as they are now, over NBD.",
  };

  return cli_source_parse (&o->source, cli, argc, argv, &usage, error);
}

static bool
fill_server (VarveExportAction *action, const Options *o, GError **error)
{
  g_autofree char *host = NULL;
  guint64 mode = 0600;
  guint port;

  if (o->mode && !g_ascii_string_to_unsigned (o->mode, 8, 0, 0777, &mode, NULL))
    return cli_usage (error, "'%s' is no mode: write an octal number, such as 0660.", o->mode);
  if ((o->mode || o->group) && !o->server.socket)
    return cli_usage (error, "--socket-mode and --socket-group need a --socket.");
  if (o->server.socket) {
    g_autofree char *path = g_canonicalize_filename (o->server.socket, NULL);

    varve_export_action_set_socket (action, path, (guint)mode, o->group);
  }
  if (o->server.listen) {
    if (!cli_parse_address (o->server.listen, &host, &port, error))
      return false;
    varve_export_action_set_listen (action, host, port);
  }
  if (o->server.credentials) {
    g_autofree char *path = g_canonicalize_filename (o->server.credentials, NULL);

    varve_export_action_set_credentials (action, path);
  }
  varve_export_action_set_clear_text (action, o->server.no_tls);
  varve_export_action_set_allow_trim (action, o->allow_trim);
  return true;
}

static bool
fill (VarveExportAction *action, const Options *o, GError **error)
{
  static const CliSourceSetters setters = { CLI_SOURCE_SETTERS (varve_export_action),
                                            CLI_QUIESCE_SETTERS (varve_export_action) };
  guint seconds;

  if (o->max_age) {
    if (!cli_parse_seconds (o->max_age, &seconds, error))
      return false;
    varve_export_action_set_max_age (action, seconds);
  }
  if (o->since)
    varve_export_action_set_since (action, o->since);
  if (o->command)
    varve_export_action_set_command (action, o->command);
  return cli_source_fill (&o->source, &setters, action, error) && fill_server (action, o, error);
}

/* --- begin: what is told ---------------------------------------------------------------------- */

typedef struct {
  char *session;
} Begun;

/* People are told what they should know; the rest is in what is printed. */
static void
on_event (const VarveEvent *event, gpointer data)
{
  Begun *begun = data;

  if (event->type == VARVE_EVENT_WARNING)
    fprintf (stderr, "varve: warning: %s\n", event->text);
  else if (event->type == VARVE_EVENT_RECOVERED)
    fprintf (stderr, "varve: recovered: %s\n", event->text);
  else if (event->type == VARVE_EVENT_EXPORT_READY)
    begun->session = g_strdup (event->session);
}

static bool
print_session (const char *session, bool xml, GError **error)
{
  g_autoptr (VarveExport) found = varve_export_find (NULL, session, error);
  g_autofree char *text = NULL;

  if (found == NULL)
    return false;
  text = xml ? varve_export_to_xml (found) : varve_export_to_json (found);
  printf ("%s\n", text);
  fflush (stdout);
  return true;
}

/* Of a session with a command nothing is left to tell of, and stdout is the command's; but with --json it is
 * a program's, and what the command says goes to stderr. */
static bool
run (Cli *cli, VarveJob *job, const Options *o, bool xml, GError **error)
{
  g_autoptr (VarveRun) run = varve_run_new (job);
  Begun begun = { NULL };
  bool ok;

  varve_run_set_event_func (run, on_event, &begun, NULL);
  if (cli->output.json)
    varve_run_set_output (run, STDERR_FILENO);
  ok = varve_run_execute (run, cli->cancellable, error) &&
       (o->command || print_session (begun.session, xml, error));
  g_free (begun.session);
  return ok;
}

static bool
begin (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { { NULL } };
  g_autoptr (VarveJob) job = NULL;
  VarveExportAction *action;
  bool xml;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  if (argc != 2 || o.source.owner == NULL)
    return cli_usage (error, "Name one domain, and whose checkpoints are made by --owner LABEL.");
  xml = g_strcmp0 (o.format, "xml") == 0;
  if (o.format && !xml && strcmp (o.format, "json") != 0)
    return cli_usage (error, "There is no format '%s': json and xml are.", o.format);
  job = varve_job_new ("export");
  action = varve_job_add_export (job, argv[1], cli_source_uri (&o.source), o.source.owner);
  if (!fill (action, &o, error))
    return false;
  return o.source.print_xml ? cli_run_job (cli, job, NULL, true, error)
                            : run (cli, job, &o, xml, error);
}

/* --- list, end -------------------------------------------------------------------------------- */

static const char *
describe_state (VarveExport *session)
{
  switch (varve_export_get_state (session)) {
  case VARVE_EXPORT_STATE_SERVING:
    return "serving";
  case VARVE_EXPORT_STATE_BROKEN:
    return "broken";
  case VARVE_EXPORT_STATE_DEAD:
    return "dead";
  }
  return "?";
}

static void
print_line (Cli *cli, VarveExport *session)
{
  g_autoptr (GDateTime) expires =
      g_date_time_new_from_unix_utc (varve_export_get_expires (session));
  g_autofree char *until = g_date_time_format (expires, "%Y-%m-%dT%H:%M:%SZ");
  g_autoptr (JsonBuilder) object = cli_json_begin ("export");

  cli_json_string (object, "session", varve_export_get_id (session));
  cli_json_string (object, "domain", varve_export_get_domain (session));
  cli_json_string (object, "owner", varve_export_get_owner (session));
  cli_json_string (object, "checkpoint", varve_export_get_checkpoint (session));
  cli_json_string (object, "state", describe_state (session));
  cli_json_string (object, "consistency", varve_export_get_consistency (session));
  cli_json_string (object, "trouble", varve_export_get_trouble (session));
  cli_json_string (object, "expires", until);
  cli_json_string (object, "file", varve_export_get_path (session));
  cli_output_json (&cli->output, object);
  cli_output_line (&cli->output, "%-16s  %-16s %-20s %-8s %s", varve_export_get_id (session),
                   varve_export_get_domain (session), varve_export_get_owner (session),
                   describe_state (session), until);
  if (varve_export_get_trouble (session))
    cli_output_line (&cli->output, "  %s", varve_export_get_trouble (session));
}

static int
compare_started (gconstpointer a, gconstpointer b)
{
  gint64 x = varve_export_get_started (*(VarveExport *const *)a);
  gint64 y = varve_export_get_started (*(VarveExport *const *)b);

  return (x > y) - (x < y);
}

static bool
list (Cli *cli, int argc, char **argv, GError **error)
{
  g_autoptr (GPtrArray) sessions = NULL;

  if (!cli_parse (cli, &argc, &argv, NULL, NULL, "Lists the export sessions of this host.", error))
    return false;
  if (argc != 1)
    return cli_usage (error, "No argument is expected.");
  sessions = varve_export_list (NULL, error);
  if (sessions == NULL)
    return false;
  g_ptr_array_sort (sessions, compare_started);
  if (sessions->len > 0)
    cli_output_line (&cli->output, "%-16s  %-16s %-20s %-8s %s", "SESSION", "DOMAIN", "OWNER",
                     "STATE", "EXPIRES");
  for (guint i = 0; i < sessions->len; i++)
    print_line (cli, g_ptr_array_index (sessions, i));
  return true;
}

static bool
end (Cli *cli, int argc, char **argv, GError **error)
{
  g_autoptr (VarveExport) session = NULL;
  gboolean keep = FALSE, discard = FALSE;
  const GOptionEntry entries[] = {
    { "keep-checkpoint", 0, 0, G_OPTION_ARG_NONE, &keep,
      "all was read: the next --since may name the checkpoint", NULL },
    { "discard-checkpoint", 0, 0, G_OPTION_ARG_NONE, &discard, "drop the new checkpoint", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "SESSION",
                  "Ends an export session, whatever its readers do.", error))
    return false;
  if (argc != 2 || keep == discard)
    return cli_usage (error, "Name one session, and say either --keep-checkpoint or "
                             "--discard-checkpoint.");
  session = varve_export_find (NULL, argv[1], error);
  return session != NULL && varve_export_end (session, keep, cli->cancellable, error);
}

static const struct {
  const char *name;
  CliVerb run;
  const char *summary;
} verbs[] = {
  { "begin", begin, "serve the disks of a domain, as they are now" },
  { "list", list, "list the sessions of this host" },
  { "end", end, "end a session" },
};

static void
print_help (void)
{
  puts ("Usage: varve export VERB [OPTION…] …\n\nVerbs:");
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    printf ("  %-10s %s\n", verbs[i].name, verbs[i].summary);
  puts ("\n'varve export VERB --help' tells more; so does the manual page varve-export(1).");
}

bool
cli_export (Cli *cli, int argc, char **argv, GError **error)
{
  const char *name = argc > 1 ? argv[1] : "--help";

  if (strcmp (name, "--help") == 0 || strcmp (name, "-h") == 0) {
    print_help ();
    return argc > 1 || cli_usage (error, "Say what to do with export sessions.");
  }
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++) {
    g_autofree char *whole = g_strconcat ("export ", verbs[i].name, NULL);

    if (strcmp (verbs[i].name, name) != 0)
      continue;
    argv[1] = whole;
    return verbs[i].run (cli, argc - 1, argv + 1, error);
  }
  return cli_usage (error, "There is no verb 'export %s'. 'varve export --help' lists them.", name);
}
