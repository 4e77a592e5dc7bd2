/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* nbdkit is what serves, with the plugin of varve: this makes way for the socket, and becomes nbdkit. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>

typedef struct {
  char *from;
  char *disk;
  CliServer server;
  char *command;
  char *pid_file;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->from);
  g_free (options->disk);
  cli_server_clear (&options->server);
  g_free (options->command);
  g_free (options->pid_file);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &o->from, "the store: images:DIR", "STORE" },
    { "disk", 0, 0, G_OPTION_ARG_STRING, &o->disk, "only this disk", "NAME" },
    CLI_SERVER_ENTRIES (&o->server),
    { "run", 0, 0, G_OPTION_ARG_STRING, &o->command,
      "serve while this shell command runs, which finds the URI in $uri", "COMMAND" },
    { "pid-file", 0, 0, G_OPTION_ARG_FILENAME, &o->pid_file,
      "written when readers can connect: the process to end", "PATH" },
    G_OPTION_ENTRY_NULL,
  };

  return cli_parse (cli, argc, argv, entries, "BACKUP", "Serves a backup, read-only, over NBD.",
                    error);
}

static bool
check (int argc, const Options *o, GError **error)
{
  if (argc != 2 || o->from == NULL)
    return cli_usage (error, "Name one backup, and a store by --from images:DIR.");
  if (o->server.socket && o->server.listen)
    return cli_usage (error, "--socket and --listen exclude each other.");
  if (!o->server.socket && !o->server.listen && !o->command)
    return cli_usage (error, "Say where readers connect (--socket, --listen), or which command is "
                             "the reader (--run).");
  if (!o->server.listen && (o->server.credentials || o->server.no_tls))
    return cli_usage (error, "--tls-creds and --no-tls go with --listen.");
  if (o->server.listen && !o->server.credentials == !o->server.no_tls)
    return cli_usage (error, "With --listen, say either --tls-creds DIR, or --no-tls if whoever "
                             "can connect may read the disks (on a loopback address).");
  return true;
}

/* What is in @directory says of which kind they are, as for export sessions. */
static void
add_credentials (GPtrArray *arguments, const char *directory)
{
  g_autofree char *path = g_canonicalize_filename (directory, NULL);
  g_autofree char *keys = g_build_filename (path, "keys.psk", NULL);

  cli_nbdkit_add (arguments, "--tls", "require");
  if (g_file_test (keys, G_FILE_TEST_EXISTS)) {
    cli_nbdkit_add (arguments, "--tls-psk", keys);
    return;
  }
  cli_nbdkit_add (arguments, "--tls-certificates", path);
  cli_nbdkit_add (arguments, "--tls-verify-peer", NULL);
}

/* As for export sessions: what is not encrypted does not leave the host. */
static bool
check_clear_text (const char *host, GError **error)
{
  g_autoptr (GInetAddress) address = g_inet_address_new_from_string (host);

  if (strcmp (host, "localhost") == 0 || (address && g_inet_address_get_is_loopback (address)))
    return true;
  return cli_usage (error,
                    "Clear text is served on a loopback address only, and '%s' is none: use "
                    "--tls-creds, or localhost and a tunnel.",
                    host);
}

static bool
add_address (GPtrArray *arguments, const Options *o, GError **error)
{
  g_autofree char *host = NULL;
  g_autofree char *port = NULL;
  guint number;

  if (o->server.socket)
    cli_nbdkit_add_path (arguments, "--unix", o->server.socket);
  if (!o->server.listen)
    return true;
  if (!cli_parse_address (o->server.listen, &host, &number, error) ||
      (o->server.no_tls && !check_clear_text (host, error)))
    return false;
  port = g_strdup_printf ("%u", number);
  cli_nbdkit_add (arguments, "--ipaddr", host);
  cli_nbdkit_add (arguments, "--port", port);
  if (o->server.credentials)
    add_credentials (arguments, o->server.credentials);
  return true;
}

static GPtrArray *
command_line (const Options *o, const char *store, VarveBackup *backup, GError **error)
{
  g_autoptr (GPtrArray) arguments = cli_nbdkit_begin ();

  if (!add_address (arguments, o, error))
    return NULL;
  if (o->command)
    cli_nbdkit_add (arguments, "--run", o->command);
  if (o->pid_file)
    cli_nbdkit_add_path (arguments, "--pidfile", o->pid_file);
  cli_nbdkit_end (arguments, store, backup, o->disk);
  return g_steal_pointer (&arguments);
}

/* nbdkit leaves its socket behind. One at which nobody listens any more makes way, as it does for an export session. */
static bool
clear_socket (const char *path, GError **error)
{
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocket) probe =
      g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
  g_autoptr (GError) refused = NULL;
  GStatBuf st;

  if (probe == NULL)
    return false;
  if (g_lstat (path, &st) != 0)
    return true;
  if (S_ISSOCK (st.st_mode) && !g_socket_connect (probe, address, NULL, &refused) &&
      g_error_matches (refused, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) && g_unlink (path) == 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS,
               "'%s' exists already, and is no socket that a dead process left behind: remove it, "
               "or choose another path.",
               path);
  return false;
}

/* Does not come back where all is well. */
static bool
become (Cli *cli, GPtrArray *arguments, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cli->cancellable, error))
    return false;
  signal (SIGPIPE, SIG_DFL);
  cli_nbdkit_raise_file_limit ();
  execvp ("nbdkit", (char **)arguments->pdata);
  return cli_nbdkit_not_started (g_strerror (errno), error);
}

bool
cli_serve (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  g_autofree char *name = NULL;
  g_autoptr (VarveBackup) backup = NULL;
  g_autoptr (GPtrArray) arguments = NULL;

  if (!parse (cli, &argc, &argv, &o, error) || !check (argc, &o, error))
    return false;
  name = cli_store (o.from);
  backup = cli_nbdkit_find (name, argv[1], o.disk, cli->cancellable, error);
  if (backup == NULL)
    return false;
  arguments = command_line (&o, name, backup, error);
  if (arguments == NULL || (o.server.socket && !clear_socket (o.server.socket, error)))
    return false;
  if (!o.command)
    cli_output_line (&cli->output, "Serving backup %s of %s", varve_backup_get_id (backup),
                     varve_backup_get_domain (backup));
  fflush (NULL);
  return become (cli, arguments, error);
}
