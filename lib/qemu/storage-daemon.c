/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The life of a storage daemon: start, exports, end. It starts empty, with nothing but a monitor on
 * an inherited socket, and gets all else over that: so every failure comes with QEMU's words for
 * the one image that it is about, there is no socket file to wait for, and the arguments that all
 * can see name no image. What it writes to stderr goes into a memory file, which never blocks it.
 *
 * Invariant: from a successful spawn on, every way out passes through end_process.
 */
#include "config.h"
#include "qemu/storage-daemon.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "qemu/child.h"
#include "qemu/daemon-export.h"
#include "qemu/json-get.h"
#include "util/clock.h"
#include "util/error.h"

#define PROGRAM         "qemu-storage-daemon"
#define MONITOR_FD      3
#define START_TIMEOUT_S 15
#define REPLY_TIMEOUT_S 60 /* opening an image on a slow network file system */
#define QUIT_READER_S   5
#define QUIT_WRITER_S   60 /* flushing what it has in its caches */
#define TERM_S          10
#define KILL_S          10
#define POLL_US         2000

struct VarveStorageDaemon {
  GSubprocess *process;
  pid_t pid;
  VarveQmp *qmp;
  int stderr_fd;     /* memory file; -1 before the start */
  char *socket_path; /* NULL: nothing is served */
  GHashTable *nodes; /* export name → node name */
  bool writes;       /* has an image open read-write */
  bool ended;        /* quit has run */
};

static char *
make_socket_path (const char *directory, GError **error)
{
  g_autofree char *nonce = varve_random_hex (4);
  g_autofree char *name = g_strdup_printf ("nbd-%s.sock", nonce);
  g_autofree char *full = g_canonicalize_filename (directory, NULL);
  g_autofree char *path = g_build_filename (full, name, NULL);
  size_t room = sizeof ((struct sockaddr_un *)NULL)->sun_path;

  if (strlen (path) < room)
    return g_steal_pointer (&path);
  varve_throw (error, VARVE_ERROR_USAGE,
               "The socket '%s' would have a longer path than the %zu bytes that a UNIX socket may "
               "have; choose a directory with a shorter one.",
               path, room - 1);
  return NULL;
}

static off_t
complaint_length (const VarveStorageDaemon *daemon)
{
  struct stat info;

  return daemon->stderr_fd >= 0 && fstat (daemon->stderr_fd, &info) == 0 ? info.st_size : 0;
}

bool
varve_storage_daemon_alive (VarveStorageDaemon *daemon)
{
  return varve_child_is_alive (daemon->process, daemon->pid);
}

static bool
wait_for_end (VarveStorageDaemon *daemon, unsigned seconds)
{
  int64_t deadline = g_get_monotonic_time () + (int64_t)seconds * G_USEC_PER_SEC;

  while (varve_storage_daemon_alive (daemon)) {
    if (g_get_monotonic_time () > deadline)
      return false;
    g_usleep (POLL_US);
  }
  return true;
}

/* Brings the process to its end, however it must be, and forgets its sockets. @gently: it was asked
 * to quit and gets the time that this may take. False when it took a signal. */
static bool
end_process (VarveStorageDaemon *daemon, bool gently)
{
  bool by_itself = wait_for_end (daemon, !gently          ? 0
                                         : daemon->writes ? QUIT_WRITER_S
                                                          : QUIT_READER_S);

  g_clear_pointer (&daemon->qmp, varve_qmp_free);
  if (!by_itself) {
    g_subprocess_send_signal (daemon->process, SIGTERM);
    if (!wait_for_end (daemon, daemon->writes ? QUIT_WRITER_S : TERM_S)) {
      g_subprocess_force_exit (daemon->process);
      wait_for_end (daemon, KILL_S);
    }
  }
  if (!varve_storage_daemon_alive (daemon))
    g_subprocess_wait (daemon->process, NULL, NULL);
  if (daemon->socket_path)
    unlink (daemon->socket_path);
  return by_itself;
}

static bool
throw_ended_badly (VarveStorageDaemon *daemon, const char *what, const char *words, GError **error)
{
  return varve_throw (error, VARVE_ERROR_FAILED, "The storage daemon (pid %d) %s.%s%s%s",
                      (int)daemon->pid, what, *words ? " It said: " : "", words,
                      daemon->writes ? " The bitmaps of the images that it wrote to may be lost."
                                     : "");
}

bool
varve_storage_daemon_quit (VarveStorageDaemon *daemon, GError **error)
{
  if (daemon->ended || !daemon->process)
    return true;
  daemon->ended = true;

  bool was_alive = varve_storage_daemon_alive (daemon);
  off_t before = was_alive ? complaint_length (daemon) : 0;
  bool asked = was_alive && daemon->qmp && varve_qmp_run (daemon->qmp, "quit", NULL, NULL, NULL);
  bool by_itself = end_process (daemon, asked);
  g_autofree char *words = varve_child_complaint (daemon->stderr_fd, before);

  if (!was_alive)
    return throw_ended_badly (daemon, "had ended before it was asked to", words, error);
  if (varve_storage_daemon_alive (daemon))
    return throw_ended_badly (daemon, "could not be ended, not even by force", words, error);
  if (!by_itself)
    return throw_ended_badly (daemon, "did not quit when asked to, and was ended by force", words,
                              error);
  if (!g_subprocess_get_successful (daemon->process))
    return throw_ended_badly (daemon, "ended with a failure", words, error);
  /* A bitmap that cannot be stored is told on stderr only; the exit status is 0. */
  if (daemon->writes && *words) {
    throw_ended_badly (daemon, "complained when it quit", words, error);
    return varve_reclassify (error, VARVE_ERROR_STORE_UNREACHABLE);
  }
  return true;
}

void
varve_storage_daemon_free (VarveStorageDaemon *daemon)
{
  if (!daemon)
    return;
  varve_storage_daemon_quit (daemon, NULL);
  g_clear_pointer (&daemon->qmp, varve_qmp_free);
  g_clear_object (&daemon->process);
  if (daemon->stderr_fd >= 0)
    close (daemon->stderr_fd);
  g_hash_table_unref (daemon->nodes);
  g_free (daemon->socket_path);
  g_free (daemon);
}

static bool
spawn (VarveStorageDaemon *daemon, GSocket **out_monitor, GError **error)
{
  static const char *const argv[] = {
    PROGRAM,     "--chardev",       "socket,id=monitor,fd=" G_STRINGIFY (MONITOR_FD),
    "--monitor", "chardev=monitor", NULL
  };
  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (VARVE_CHILD_DIES_WITH_US, G_SUBPROCESS_FLAGS_STDOUT_SILENCE);

  daemon->stderr_fd = varve_child_complaints (launcher, error);
  g_autoptr (GSocket) monitor =
      daemon->stderr_fd >= 0 ? varve_child_socket (launcher, MONITOR_FD, error) : NULL;
  if (!monitor)
    return false;
  daemon->process = varve_child_spawn (launcher, argv, error);
  g_subprocess_launcher_close (launcher);
  if (!daemon->process)
    return false;

  const char *pid = g_subprocess_get_identifier (daemon->process); /* NULL: gone already */
  daemon->pid = pid ? (pid_t)g_ascii_strtoll (pid, NULL, 10) : 0;
  *out_monitor = g_steal_pointer (&monitor);
  return true;
}

/* A daemon that has just failed may still be on its way out: its words come first. */
static bool
throw_no_start (VarveStorageDaemon *daemon, const GError *inner, GError **error)
{
  wait_for_end (daemon, 1);

  g_autofree char *words = varve_child_complaint (daemon->stderr_fd, 0);
  return varve_throw (error, VARVE_ERROR_FAILED, "The program '" PROGRAM "' did not start: %s",
                      *words ? words : inner->message);
}

static bool
start_process (VarveStorageDaemon *daemon, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) inner = NULL;
  GSocket *monitor = NULL;

  if (!spawn (daemon, &monitor, error))
    return false;

  daemon->qmp = varve_qmp_connect_socket (monitor, PROGRAM, START_TIMEOUT_S, cancellable, &inner);
  if (daemon->qmp) {
    varve_qmp_set_timeout (daemon->qmp, REPLY_TIMEOUT_S);
    return true;
  }
  if (!g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return throw_no_start (daemon, inner, error);
  g_propagate_error (error, g_steal_pointer (&inner));
  return false;
}

static bool
start_server (VarveStorageDaemon *daemon, GCancellable *cancellable, GError **error)
{
  JsonObject *arguments = varve_qmp_args (
      "{'addr':{'type':'unix','data':{'path':%s}},'max-connections':0}", daemon->socket_path);

  if (!varve_qmp_run (daemon->qmp, "nbd-server-start", arguments, cancellable, error))
    return varve_prefix (error, "Starting the NBD server at '%s'", daemon->socket_path);
  return true;
}

static bool
set_up (VarveStorageDaemon *daemon, const VarveDaemonExport *exports, size_t n_exports,
        GCancellable *cancellable, GError **error)
{
  if (!start_process (daemon, cancellable, error) ||
      (daemon->socket_path && !start_server (daemon, cancellable, error)))
    return false;

  for (size_t i = 0; i < n_exports; i++) {
    const char *node = g_hash_table_lookup (daemon->nodes, exports[i].export_name);

    if (!varve_daemon_export_open (daemon->qmp, &exports[i], node, cancellable, error) ||
        (daemon->socket_path &&
         !varve_daemon_export_publish (daemon->qmp, &exports[i], node, cancellable, error)))
      return false;
  }
  return true;
}

static bool
check_exports (VarveStorageDaemon *daemon, const VarveDaemonExport *exports, size_t n_exports,
               GError **error)
{
  for (size_t i = 0; i < n_exports; i++) {
    const VarveDaemonExport *export = &exports[i];
    char *node = varve_daemon_export_node (export->export_name, i);

    if (!g_hash_table_insert (daemon->nodes, g_strdup (export->export_name), node))
      return varve_throw (error, VARVE_ERROR_USAGE, "Two disks have the same name '%s'.",
                          export->export_name);
    if (export->shared && export->writable)
      return varve_throw (error, VARVE_ERROR_USAGE,
                          "Image '%s' cannot be opened for writing without a lock.",
                          export->image->path);
    daemon->writes = daemon->writes || export->writable;
  }
  return true;
}

VarveStorageDaemon *
varve_storage_daemon_start (const char *directory, const VarveDaemonExport *exports,
                            size_t n_exports, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStorageDaemon) daemon = g_new0 (VarveStorageDaemon, 1);

  daemon->stderr_fd = -1;
  daemon->nodes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  daemon->socket_path = directory ? make_socket_path (directory, error) : NULL;
  if ((directory && !daemon->socket_path) || !check_exports (daemon, exports, n_exports, error) ||
      !set_up (daemon, exports, n_exports, cancellable, error))
    return NULL;
  return g_steal_pointer (&daemon);
}

void
varve_storage_daemon_will_write (VarveStorageDaemon *daemon)
{
  daemon->writes = true;
}

VarveQmp *
varve_storage_daemon_qmp (VarveStorageDaemon *daemon)
{
  return daemon->qmp;
}

const char *
varve_storage_daemon_socket (const VarveStorageDaemon *daemon)
{
  return daemon->socket_path;
}

char *
varve_storage_daemon_uri (VarveStorageDaemon *daemon, const char *export_name)
{
  if (!daemon->socket_path)
    return NULL;

  g_autofree char *name = g_uri_escape_string (export_name, NULL, FALSE);
  g_autofree char *path = g_uri_escape_string (daemon->socket_path, "/", FALSE);

  return g_strdup_printf ("nbd+unix:///%s?socket=%s", name, path);
}

const char *
varve_storage_daemon_node (const VarveStorageDaemon *daemon, const char *export_name)
{
  return g_hash_table_lookup (daemon->nodes, export_name);
}

pid_t
varve_storage_daemon_pid (const VarveStorageDaemon *daemon)
{
  return daemon->pid;
}
