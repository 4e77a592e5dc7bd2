/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who has promised to beat within N seconds, and does not, is killed: he may hang anywhere, and a
 * guest may stand still for want of him. Whether he is stopped (SIGSTOP, a terminal's ^Z) the kernel
 * tells, so that is found out much sooner. A worker that owes nothing is only waited for. */
#include "config.h"
#include "session/guard-wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session/guard-wire.h"

#define LOOK_MS  250 /* how often a silent worker is looked at */
#define LOOKS    4 /* so many looks in a row must say the same: a host that slept proves nothing */
#define DYING_MS 500 /* a dying worker's descriptors are closed so long before he is dead */

typedef struct {
  int socket;
  int worker_fd;
  pid_t worker;
  gint64 heard;     /* when the last beat came, monotonic us */
  gint64 deadline;  /* of the next one; 0: none is owed */
  unsigned stopped; /* looks in a row that found him stopped */
  unsigned silent;  /* looks in a row behind the deadline */
} Wait;

/* The state letter in /proc/PID/stat, behind the name in parentheses, which may hold anything. */
static bool
is_stopped (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", (int)pid);
  g_autofree char *text = NULL;
  const char *end;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return false;
  end = strrchr (text, ')');
  return end != NULL && g_str_has_prefix (end, ") T");
}

/* How long to sleep before the next look, ms; -1: until something happens. */
static int
pause_ms (const Wait *wait)
{
  gint64 quiet = wait->heard + VARVE_GUARD_STOPPED_MS * 1000 - g_get_monotonic_time ();

  if (wait->deadline == 0)
    return -1;
  return quiet > 0 ? (int)(quiet / 1000) + 1 : LOOK_MS;
}

/* He may not die at once: whoever sleeps in the kernel does so when that lets him go. */
static void
kill_worker (const Wait *wait)
{
  struct pollfd dead = { .fd = wait->worker_fd, .events = POLLIN };

  syscall (SYS_pidfd_send_signal, wait->worker_fd, SIGKILL, NULL, 0);
  while (poll (&dead, 1, -1) < 0 && errno == EINTR)
    continue;
}

/* A silence that is too long. */
static bool
judge_silence (Wait *wait, VarveGuardVerdict *out)
{
  gint64 now = g_get_monotonic_time ();

  if (wait->deadline == 0 || now < wait->heard + VARVE_GUARD_STOPPED_MS * 1000)
    return false;
  wait->stopped = is_stopped (wait->worker) ? wait->stopped + 1 : 0;
  wait->silent = now >= wait->deadline ? wait->silent + 1 : 0;
  if (wait->stopped < LOOKS && wait->silent < LOOKS)
    return false;
  *out = wait->stopped >= LOOKS ? VARVE_GUARD_STOPPED : VARVE_GUARD_SILENT;
  kill_worker (wait);
  return true;
}

static bool
is_dead (const Wait *wait, int patience_ms)
{
  struct pollfd dead = { .fd = wait->worker_fd, .events = POLLIN };

  return poll (&dead, 1, patience_ms) > 0;
}

/* All that has been said. True when it was the last. */
static bool
listen_to_worker (Wait *wait, VarveGuardVerdict *out)
{
  VarveGuardMessage message;
  ssize_t n;

  while ((n = recv (wait->socket, &message, sizeof message, MSG_DONTWAIT)) == sizeof message) {
    if (message.kind == VARVE_GUARD_ENDED) {
      *out = VARVE_GUARD_DISMISSED;
      return true;
    }
    wait->heard = g_get_monotonic_time ();
    wait->deadline = message.seconds ? wait->heard + (gint64)message.seconds * G_USEC_PER_SEC : 0;
    wait->stopped = wait->silent = 0;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return false;
  *out = is_dead (wait, DYING_MS) ? VARVE_GUARD_DEAD : VARVE_GUARD_GIVEN_UP;
  return true;
}

VarveGuardVerdict
varve_guard_wait (int socket, int worker_fd, pid_t worker)
{
  VarveGuardMessage ready = { VARVE_GUARD_READY, 0 };
  Wait wait = { socket, worker_fd, worker, g_get_monotonic_time (), 0, 0, 0 };
  struct pollfd fds[] = { { .fd = socket, .events = POLLIN },
                          { .fd = worker_fd, .events = POLLIN } };
  VarveGuardVerdict verdict;

  send (socket, &ready, sizeof ready, MSG_NOSIGNAL | MSG_DONTWAIT);
  for (;;) {
    poll (fds, G_N_ELEMENTS (fds), pause_ms (&wait));
    if (listen_to_worker (&wait, &verdict) || judge_silence (&wait, &verdict))
      return verdict;
    /* What he said before he died counts. */
    if (is_dead (&wait, 0))
      return listen_to_worker (&wait, &verdict) ? verdict : VARVE_GUARD_DEAD;
  }
}

const char *
varve_guard_verdict_text (VarveGuardVerdict verdict)
{
  switch (verdict) {
  case VARVE_GUARD_DISMISSED:
    return "has ended the session";
  case VARVE_GUARD_GIVEN_UP:
    return "could not end the session";
  case VARVE_GUARD_DEAD:
    return "has died";
  case VARVE_GUARD_STOPPED:
    return "was stopped, and has been killed";
  case VARVE_GUARD_SILENT:
    return "no longer gave a sign of life, and has been killed";
  }
  return "?";
}
