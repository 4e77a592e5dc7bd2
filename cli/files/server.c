/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/server.h"

#include <signal.h>
#include <string.h>

#include <glib/gstdio.h>

/* How often it is asked whether nbdkit is there, in us. */
#define LOOK 10000

struct Server {
  char *directory;
  char *socket, *pid_file, *log; /* in it */
  GSubprocess *process;
};

/* The first line that tells of an error, without what nbdkit says before that. */
static char *
find_error (const char *words)
{
  static const char mark[] = "error: ";
  const char *first = strstr (words, mark);

  if (first == NULL)
    return NULL;
  first += strlen (mark);
  return g_strndup (first, strcspn (first, "\n"));
}

char *
server_complaint (const Server *server)
{
  g_autofree char *words = NULL;

  return g_file_get_contents (server->log, &words, NULL, NULL) ? find_error (words) : NULL;
}

static bool
is_ready (const Server *server)
{
  GStatBuf st;

  return g_stat (server->pid_file, &st) == 0 && st.st_size > 0;
}

static bool
not_served (const Server *server, GError **error)
{
  g_autofree char *complaint = server_complaint (server);

  g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED, "The backup cannot be served: %s",
               complaint ? complaint : "nbdkit ended and did not say why.");
  return false;
}

/* It opens all layers first, which may take its time. */
static bool
wait_until_ready (const Server *server, GCancellable *cancellable, GError **error)
{
  while (!is_ready (server)) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    if (g_subprocess_get_identifier (server->process) == NULL)
      return not_served (server, error);
    g_usleep (LOOK);
  }
  return true;
}

static bool
spawn (Server *server, GPtrArray *arguments, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  g_autoptr (GError) why = NULL;

  g_subprocess_launcher_set_stderr_file_path (launcher, server->log);
  server->process =
      g_subprocess_launcher_spawnv (launcher, (const char *const *)arguments->pdata, &why);
  return server->process != NULL || cli_nbdkit_not_started (why->message, error);
}

static bool
make_directory (Server *server, GError **error)
{
  server->directory = g_dir_make_tmp ("varve-files-XXXXXX", error);
  if (server->directory == NULL)
    return false;
  server->socket = g_build_filename (server->directory, "socket", NULL);
  server->pid_file = g_build_filename (server->directory, "pid", NULL);
  server->log = g_build_filename (server->directory, "log", NULL);
  return true;
}

Server *
server_start (const char *store, VarveBackup *backup, const char *disk, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (Server) server = g_new0 (Server, 1);
  g_autoptr (GPtrArray) arguments = cli_nbdkit_begin ();

  if (!make_directory (server, error))
    return NULL;
  cli_nbdkit_add (arguments, "--exit-with-parent", NULL);
  cli_nbdkit_add (arguments, "--unix", server->socket);
  cli_nbdkit_add (arguments, "--pidfile", server->pid_file);
  cli_nbdkit_end (arguments, store, backup, disk);
  cli_nbdkit_raise_file_limit ();
  if (!spawn (server, arguments, error) || !wait_until_ready (server, cancellable, error))
    return NULL;
  return g_steal_pointer (&server);
}

const char *
server_socket (const Server *server)
{
  return server->socket;
}

static void
remove_directory (Server *server)
{
  if (server->directory == NULL)
    return;
  g_unlink (server->socket);
  g_unlink (server->pid_file);
  g_unlink (server->log);
  g_rmdir (server->directory);
}

void
server_stop (Server *server)
{
  if (server == NULL)
    return;
  if (server->process) {
    g_subprocess_send_signal (server->process, SIGTERM);
    g_subprocess_wait (server->process, NULL, NULL);
    g_object_unref (server->process);
  }
  remove_directory (server);
  g_free (server->directory);
  g_free (server->socket);
  g_free (server->pid_file);
  g_free (server->log);
  g_free (server);
}
