/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Starting a guard, and beating. The guard gets two descriptors: one end of a socket pair, and a pidfd
 * of the worker, which tells of his end even where a fork of his still holds the other end. It says
 * READY when neither ^C nor a hangup can end it any more. */
#include "config.h"
#include "session/guard.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qemu/child.h"
#include "session/guard-wire.h"
#include "util/error.h"
#include "util/program.h"

#define PROGRAM         "varve-guard"
#define READY_TIMEOUT_S 30
#define LEAVE_TIMEOUT_S 5
#define REPLACEMENTS    3

struct VarveGuard {
  const VarveStateDir *dir;
  char *session;
  int fd;
  unsigned replacements;
};

static int
open_self (GError **error)
{
  int fd = (int)syscall (SYS_pidfd_open, getpid (), 0);

  if (fd < 0)
    varve_throw_errno (error, VARVE_ERROR_UNSUPPORTED, errno,
                       "The guard cannot be given a descriptor of this process (Linux 5.3 can)");
  return fd;
}

/* A failure point of the worker is not one of the guard. */
static void
set_environment (GSubprocessLauncher *launcher)
{
  const char *own = g_getenv ("VARVE_GUARD_FAILPOINT");

  if (own)
    g_subprocess_launcher_setenv (launcher, "VARVE_FAILPOINT", own, TRUE);
  else
    g_subprocess_launcher_unsetenv (launcher, "VARVE_FAILPOINT");
  g_subprocess_launcher_set_cwd (launcher, "/");
}

/* Starts the program with @socket (closed here, whatever happens) and a pidfd of ours. */
static bool
spawn (const VarveGuard *guard, int socket, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (VARVE_CHILD_OUTLIVES_US, G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
  g_autofree char *program = varve_program_path (PROGRAM);
  g_autofree char *pid = g_strdup_printf ("%d", (int)getpid ());
  const char *argv[] = { program, varve_state_dir_path (guard->dir), guard->session, pid, NULL };
  g_autoptr (GSubprocess) process = NULL;
  int self;

  g_subprocess_launcher_take_fd (launcher, socket, VARVE_GUARD_SOCKET_FD);
  self = open_self (error);
  if (self < 0)
    return false;
  g_subprocess_launcher_take_fd (launcher, self, VARVE_GUARD_WORKER_FD);
  if (!g_file_test (program, G_FILE_TEST_IS_EXECUTABLE))
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The guard, '%s', is not there: a session without it could harm the guest. "
                        "Install varve as a whole.",
                        program);
  set_environment (launcher);
  process = varve_child_spawn (launcher, argv, error);
  return process != NULL;
}

/* GLib reaps the child, whenever it ends. */
static bool
connect_new (VarveGuard *guard, GError **error)
{
  int ends[2];

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "A socket pair for the guard could not be made");
  if (!spawn (guard, ends[1], error)) {
    close (ends[0]);
    return false;
  }
  guard->fd = ends[0];
  return true;
}

static bool
wait_for (int fd, short events, unsigned seconds)
{
  struct pollfd poll_fd = { .fd = fd, .events = events };
  gint64 deadline = g_get_monotonic_time () + (gint64)seconds * G_USEC_PER_SEC;
  gint64 left = (gint64)seconds * G_USEC_PER_SEC;

  while (left > 0) {
    int n = poll (&poll_fd, 1, (int)(left / 1000) + 1);

    if (n > 0 && poll_fd.revents)
      return true;
    if (n < 0 && errno != EINTR)
      return false;
    left = deadline - g_get_monotonic_time ();
  }
  return false;
}

static bool
wait_until_ready (VarveGuard *guard, GError **error)
{
  VarveGuardMessage message = { 0 };

  if (wait_for (guard->fd, POLLIN, READY_TIMEOUT_S) &&
      recv (guard->fd, &message, sizeof message, MSG_DONTWAIT) == sizeof message &&
      message.kind == VARVE_GUARD_READY)
    return true;
  return varve_throw (error, VARVE_ERROR_FAILED,
                      "The guard of session %s was started, and is not there: the system log may "
                      "say why.",
                      guard->session);
}

bool
varve_guard_start (const VarveStateDir *dir, const char *session, VarveGuard **out, GError **error)
{
  g_autoptr (VarveGuard) guard = NULL;

  *out = NULL;
  if (g_strcmp0 (g_getenv ("VARVE_GUARD"), "none") == 0)
    return true;
  guard = g_new0 (VarveGuard, 1);
  guard->dir = dir;
  guard->session = g_strdup (session);
  guard->fd = -1;
  if (!connect_new (guard, error) || !wait_until_ready (guard, error))
    return false;
  *out = g_steal_pointer (&guard);
  return true;
}

/* False when nobody is there to hear it. A guard that does not listen now has a full queue to read
 * later: that is no failure. */
static bool
say (const VarveGuard *guard, VarveGuardKind kind, unsigned seconds)
{
  VarveGuardMessage message = { kind, seconds };

  return guard->fd >= 0 &&
         (send (guard->fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
          errno == EAGAIN);
}

/* Somebody has killed the guard. What is said to the next one waits in its socket until it stands. */
static bool
replace (VarveGuard *guard)
{
  g_autoptr (GError) error = NULL;

  if (guard->fd >= 0)
    close (guard->fd);
  guard->fd = -1;
  if (guard->replacements == REPLACEMENTS)
    return false;
  guard->replacements++;
  if (!connect_new (guard, &error))
    g_warning ("The guard of session %s has gone and could not be replaced: %s", guard->session,
               error->message);
  return guard->fd >= 0;
}

void
varve_guard_beat (VarveGuard *guard, unsigned seconds)
{
  if (guard && !say (guard, VARVE_GUARD_BEAT, seconds) && replace (guard))
    say (guard, VARVE_GUARD_BEAT, seconds);
}

/* Waits for it to go, so that nothing of a session is left behind it. */
void
varve_guard_dismiss (VarveGuard *guard)
{
  if (guard && say (guard, VARVE_GUARD_ENDED, 0))
    wait_for (guard->fd, 0, LEAVE_TIMEOUT_S);
}

void
varve_guard_free (VarveGuard *guard)
{
  if (!guard)
    return;
  if (guard->fd >= 0)
    close (guard->fd);
  g_free (guard->session);
  g_free (guard);
}
