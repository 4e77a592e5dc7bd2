/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Its process is the one that listens on the socket, whoever started it: the kernel tells which that is, and a descriptor of
 * the process (pidfd) holds on to it, so that no other is ever ended in its place. */
#include "config.h"

#include "qemu/backup-server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "qemu/fill.h"
#include "util/error.h"
#include "util/program.h"

#define START_TIMEOUT_S 60 /* chains of many layers on storage that is slow */
#define END_TIMEOUT_MS  5000
#define POLL_US         (10 * 1000)
#define MAX_COMPLAINT   2048

struct VarveBackupServer {
  char *backup;
  char *socket;
  char *log;
  GPtrArray *command; /* of char *, with the NULL */
  VarveChildKind kind;
  VarveBackupServer *front; /* the storage daemon, or NULL */
  GSubprocess *process;     /* NULL: taken over */
  pid_t pid;
  int pidfd; /* -1: none */
};

char *
varve_backup_server_socket_in (const char *directory, bool fronted)
{
  return g_build_filename (directory, fronted ? "front.sock" : "backup.sock", NULL);
}

const char *
varve_backup_server_socket (const VarveBackupServer *server)
{
  return server->front ? server->front->socket : server->socket;
}

char *
varve_backup_server_words (const VarveBackupServer *server)
{
  g_autofree char *log = NULL;
  const char *last;

  if (!g_file_get_contents (server->log, &log, NULL, NULL))
    return g_strdup ("");
  g_strchomp (log);
  last = strrchr (log, '\n');
  return g_utf8_make_valid (last ? last + 1 : log, -1);
}

pid_t
varve_backup_server_pid (const VarveBackupServer *server)
{
  return server->pid;
}

/* --- its process ------------------------------------------------------------------------------ */

static void
forget_process (VarveBackupServer *server)
{
  if (server->pidfd >= 0)
    close (server->pidfd);
  server->pidfd = -1;
  server->pid = 0;
  g_clear_object (&server->process);
}

/* As NBD has it, so that nbdkit does not complain of us: its greeting read, our flags, NBD_OPT_ABORT. */
static void
take_leave (int fd)
{
  static const char parting[] = "\0\0\0\3IHAVEOPT\0\0\0\2\0\0\0\0";
  const struct timeval patience = { .tv_sec = 2 };
  char greeting[18], answer[20];

  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (recv (fd, greeting, sizeof greeting, MSG_WAITALL) == sizeof greeting &&
      send (fd, parting, sizeof parting - 1, MSG_NOSIGNAL) == sizeof parting - 1)
    recv (fd, answer, sizeof answer, MSG_WAITALL);
}

/* The process that listens on the socket; 0: none does. */
static pid_t
listener (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct ucred peer = { 0 };
  socklen_t length = sizeof peer;
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return 0;
  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  if (connect (fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    peer.pid = 0;
  if (peer.pid > 0)
    take_leave (fd);
  close (fd);
  return peer.pid;
}

/* Takes hold of who listens. False: nobody does. */
static bool
find_process (VarveBackupServer *server)
{
  pid_t pid = listener (server->socket);
  int pidfd = pid > 0 ? (int)syscall (SYS_pidfd_open, pid, 0) : -1;

  if (pidfd < 0)
    return false;
  /* Still the same one: its number was not somebody else's by then. */
  if (listener (server->socket) != pid) {
    close (pidfd);
    return false;
  }
  fcntl (pidfd, F_SETFD, FD_CLOEXEC);
  server->pid = pid;
  server->pidfd = pidfd;
  return true;
}

static bool
has_ended (const VarveBackupServer *server, int timeout_ms)
{
  struct pollfd poll_fd = { .fd = server->pidfd, .events = POLLIN };

  return server->pidfd < 0 || poll (&poll_fd, 1, timeout_ms) > 0;
}

bool
varve_backup_server_alive (const VarveBackupServer *server)
{
  return !has_ended (server, 0) && (!server->front || !has_ended (server->front, 0));
}

static void
end_process (VarveBackupServer *server)
{
  static const int signals[] = { SIGTERM, SIGKILL };

  for (gsize i = 0; i < G_N_ELEMENTS (signals) && !has_ended (server, 0); i++) {
    syscall (SYS_pidfd_send_signal, server->pidfd, signals[i], NULL, 0);
    has_ended (server, END_TIMEOUT_MS);
  }
  forget_process (server);
}

/* --- starting --------------------------------------------------------------------------------- */

/* Each layer of each disk is an open file. */
static void
raise_file_limit (GSubprocess *process)
{
  const char *identifier = g_subprocess_get_identifier (process);
  pid_t pid = identifier ? (pid_t)g_ascii_strtoll (identifier, NULL, 10) : 0;
  struct rlimit limit;

  if (pid <= 0 || prlimit (pid, RLIMIT_NOFILE, NULL, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  prlimit (pid, RLIMIT_NOFILE, &limit, NULL);
}

static bool
spawn (VarveBackupServer *server, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (server->kind, G_SUBPROCESS_FLAGS_STDOUT_SILENCE);

  unlink (server->log);
  g_subprocess_launcher_set_stderr_file_path (launcher, server->log);
  server->process =
      varve_child_spawn (launcher, (const char *const *)server->command->pdata, error);
  if (server->process == NULL)
    return varve_prefix (error, "The server of backup %s", server->backup);
  raise_file_limit (server->process);
  return true;
}

static bool
throw_no_start (const VarveBackupServer *server, const char *what, GError **error)
{
  g_autofree char *said = NULL;

  g_file_get_contents (server->log, &said, NULL, NULL);
  if (said)
    g_strstrip (said);
  return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE, "The server of backup %s %s.%s%.*s",
                      server->backup, what, said && *said ? " It said: " : "", MAX_COMPLAINT,
                      said ? said : "");
}

/* The directory keeps others out; QEMU may be another user than we. */
static bool
wait_until_ready (VarveBackupServer *server, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time () + START_TIMEOUT_S * (gint64)G_USEC_PER_SEC;

  while (!find_process (server)) {
    if (!g_subprocess_get_identifier (server->process))
      return throw_no_start (server, "has ended", error);
    if (g_get_monotonic_time () > deadline)
      return throw_no_start (server, "does not listen", error);
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    g_usleep (POLL_US);
  }
  return chmod (server->socket, 0666) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                            "The socket '%s' cannot be opened to QEMU", server->socket);
}

static bool
restart (VarveBackupServer *server, GCancellable *cancellable, GError **error)
{
  if (!has_ended (server, 0))
    return true;
  forget_process (server);
  unlink (server->socket);
  if (!spawn (server, error))
    return false;
  if (wait_until_ready (server, cancellable, error))
    return true;
  g_subprocess_force_exit (server->process);
  forget_process (server);
  return false;
}

bool
varve_backup_server_restart (VarveBackupServer *server, GCancellable *cancellable, GError **error)
{
  return restart (server, cancellable, error) &&
         (!server->front || restart (server->front, cancellable, error));
}

/* --- what is started -------------------------------------------------------------------------- */

static VarveBackupServer *
server_new (const VarveBackupServerOptions *options, bool fronted)
{
  VarveBackupServer *server = g_new0 (VarveBackupServer, 1);

  server->backup = g_strdup (options->backup);
  server->socket = varve_backup_server_socket_in (options->directory, fronted);
  server->log = g_build_filename (options->directory, fronted ? "front.log" : "backup.log", NULL);
  server->command = g_ptr_array_new_with_free_func (g_free);
  server->kind = options->kind;
  server->pidfd = -1;
  return server;
}

static void
add (VarveBackupServer *server, char *argument)
{
  g_ptr_array_add (server->command, argument);
}

static bool
set_command (VarveBackupServer *server, const VarveBackupServerOptions *options, GError **error)
{
  char *plugin = varve_nbdkit_plugin_path ();

  add (server, g_strdup ("nbdkit"));
  add (server, g_strdup ("--foreground"));
  add (server, g_strdup ("--readonly"));
  add (server, g_strdup ("--unix"));
  add (server, g_strdup (server->socket));
  add (server, plugin);
  add (server, g_strconcat ("store=", options->store, NULL));
  add (server, g_strconcat ("backup=", options->backup, NULL));
  if (options->kind == VARVE_CHILD_KEPT)
    add (server, g_strdup ("hold=yes"));
  add (server, NULL);
  return g_file_test (plugin, G_FILE_TEST_EXISTS) ||
         varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                      "The plugin '%s', by which nbdkit serves backups, is not there: varve was "
                      "built without it.",
                      plugin);
}

static char *
as_text (JsonObject *object)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (root, object);
  return json_to_string (root, FALSE);
}

static VarveBackupServer *
front_new (const VarveBackupServerOptions *options, const char *behind)
{
  VarveBackupServer *front = server_new (options, true);

  add (front, g_strdup ("qemu-storage-daemon"));
  add (front, g_strdup ("--nbd-server"));
  add (front, as_text (varve_qmp_args ("{'addr':{'type':'unix','path':%s},'max-connections':0}",
                                       front->socket)));
  for (guint i = 0; i < options->fronted->len; i++) {
    const char *name = g_ptr_array_index (options->fronted, i);
    g_autofree char *node = g_strdup_printf ("disk-%u", i);
    JsonObject *source = varve_fill_server_node (behind, name);

    json_object_set_string_member (source, "node-name", node);
    json_object_set_boolean_member (source, "read-only", TRUE);
    add (front, g_strdup ("--blockdev"));
    add (front, as_text (source));
    add (front, g_strdup ("--export"));
    add (front,
         as_text (varve_qmp_args ("{'type':'nbd','id':%s,'node-name':%s,'name':%s,'writable':%b}",
                                  node, node, name, false)));
  }
  add (front, NULL);
  return front;
}

static bool
begin (VarveBackupServer *server, GCancellable *cancellable, GError **error)
{
  return find_process (server) || restart (server, cancellable, error);
}

VarveBackupServer *
varve_backup_server_begin (const VarveBackupServerOptions *options, GCancellable *cancellable,
                           GError **error)
{
  g_autoptr (VarveBackupServer) server = server_new (options, false);

  if (strlen (server->socket) >= sizeof ((struct sockaddr_un *)NULL)->sun_path) {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "The socket '%s' would have a longer path than a UNIX socket may have; choose a "
                 "state directory with a shorter one.",
                 server->socket);
    return NULL;
  }
  if (!set_command (server, options, error) || !begin (server, cancellable, error))
    return NULL;
  server->front = options->fronted ? front_new (options, server->socket) : NULL;
  if (server->front && !begin (server->front, cancellable, error))
    return NULL;
  return g_steal_pointer (&server);
}

/* --- the end ---------------------------------------------------------------------------------- */

void
varve_backup_server_leave (VarveBackupServer *server)
{
  if (server == NULL)
    return;
  varve_backup_server_leave (server->front);
  forget_process (server);
  g_ptr_array_unref (server->command);
  g_free (server->backup);
  g_free (server->socket);
  g_free (server->log);
  g_free (server);
}

void
varve_backup_server_end (VarveBackupServer *server)
{
  if (server == NULL)
    return;
  varve_backup_server_end (g_steal_pointer (&server->front));
  end_process (server);
  unlink (server->socket);
  unlink (server->log);
  varve_backup_server_leave (server);
}

void
varve_backup_server_end_left (const char *directory)
{
  VarveBackupServerOptions options = { .directory = directory };

  for (int fronted = 1; fronted >= 0; fronted--) {
    VarveBackupServer *server = server_new (&options, fronted);

    find_process (server);
    varve_backup_server_end (server);
  }
}
