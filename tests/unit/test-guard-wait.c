/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The guard while the worker lives: whom it waits for, and whom it kills. The worker is a process that
 * sleeps; its part of the talk is the test's. */
#include "config.h"

#include "session/guard-wait.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session/guard-wire.h"

typedef struct {
  GPid worker;
  int worker_fd;
  int ours;
  int guards;
  GThread *thread;
  gint64 started;
} Fixture;

static gpointer
run_guard (gpointer data)
{
  Fixture *f = data;

  return GINT_TO_POINTER (varve_guard_wait (f->guards, f->worker_fd, f->worker));
}

static void
set_up (Fixture *f, gconstpointer data)
{
  const char *argv[] = { "sleep", "1000", NULL };
  g_autoptr (GError) error = NULL;
  VarveGuardMessage message = { 0 };
  int ends[2];

  g_spawn_async (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                 NULL, &f->worker, &error);
  g_assert_no_error (error);
  f->worker_fd = (int)syscall (SYS_pidfd_open, f->worker, 0);
  g_assert_cmpint (f->worker_fd, >=, 0);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), ==, 0);
  f->ours = ends[0];
  f->guards = ends[1];
  f->thread = g_thread_new ("guard", run_guard, f);
  g_assert_cmpint (recv (f->ours, &message, sizeof message, 0), ==, sizeof message);
  g_assert_cmpint (message.kind, ==, VARVE_GUARD_READY);
  f->started = g_get_monotonic_time ();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  kill (f->worker, SIGKILL);
  waitpid (f->worker, NULL, 0);
  if (f->ours >= 0)
    close (f->ours);
  close (f->guards);
  close (f->worker_fd);
}

static void
say (Fixture *f, VarveGuardKind kind, unsigned seconds)
{
  VarveGuardMessage message = { kind, seconds };

  g_assert_cmpint (send (f->ours, &message, sizeof message, MSG_NOSIGNAL), ==, sizeof message);
}

static bool
worker_is_dead (Fixture *f)
{
  siginfo_t info = { 0 };

  g_assert_cmpint (waitid (P_PID, (id_t)f->worker, &info, WEXITED | WNOHANG | WNOWAIT), ==, 0);
  return info.si_pid != 0;
}

static void
assert_verdict (Fixture *f, VarveGuardVerdict expected, bool dead)
{
  VarveGuardVerdict verdict = GPOINTER_TO_INT (g_thread_join (f->thread));

  g_assert_cmpint (verdict, ==, expected);
  g_assert_cmpint (worker_is_dead (f), ==, dead);
  g_assert_nonnull (varve_guard_verdict_text (verdict));
}

static double
seconds_since_start (const Fixture *f)
{
  return (double)(g_get_monotonic_time () - f->started) / G_USEC_PER_SEC;
}

static void
test_dismissed (Fixture *f, gconstpointer data)
{
  say (f, VARVE_GUARD_BEAT, 10);
  say (f, VARVE_GUARD_ENDED, 0);
  assert_verdict (f, VARVE_GUARD_DISMISSED, false);
}

static void
test_given_up (Fixture *f, gconstpointer data)
{
  close (f->ours);
  f->ours = -1;
  assert_verdict (f, VARVE_GUARD_GIVEN_UP, false);
}

static void
test_dead (Fixture *f, gconstpointer data)
{
  say (f, VARVE_GUARD_BEAT, 100);
  kill (f->worker, SIGKILL);
  assert_verdict (f, VARVE_GUARD_DEAD, true);
}

/* His end of the socket may live on, in a child of his: his death counts. */
static void
test_dead_and_closed (Fixture *f, gconstpointer data)
{
  say (f, VARVE_GUARD_BEAT, 100);
  kill (f->worker, SIGKILL);
  close (f->ours);
  f->ours = -1;
  assert_verdict (f, VARVE_GUARD_DEAD, true);
}

static void
test_stopped (Fixture *f, gconstpointer data)
{
  say (f, VARVE_GUARD_BEAT, 100);
  kill (f->worker, SIGSTOP);
  assert_verdict (f, VARVE_GUARD_STOPPED, true);
  g_assert_cmpfloat (seconds_since_start (f), >=, VARVE_GUARD_STOPPED_MS / 1000.0);
}

/* Who goes on in time is left alone, and so is who owes nothing. */
static void
test_stopped_in_vain (Fixture *f, gconstpointer data)
{
  say (f, VARVE_GUARD_BEAT, 100);
  kill (f->worker, SIGSTOP);
  g_usleep (300 * 1000);
  kill (f->worker, SIGCONT);
  say (f, VARVE_GUARD_BEAT, 100);
  g_usleep (300 * 1000);
  kill (f->worker, SIGSTOP);
  say (f, VARVE_GUARD_BEAT, 0);
  g_usleep ((VARVE_GUARD_STOPPED_MS + 1500) * 1000);
  g_assert_false (worker_is_dead (f));
  say (f, VARVE_GUARD_ENDED, 0);
  assert_verdict (f, VARVE_GUARD_DISMISSED, false);
}

static void
test_silent (Fixture *f, gconstpointer data)
{
  for (int i = 0; i < 4; i++) {
    say (f, VARVE_GUARD_BEAT, 3);
    g_usleep (500 * 1000);
  }
  assert_verdict (f, VARVE_GUARD_SILENT, true);
  g_assert_cmpfloat (seconds_since_start (f), >=, 4.0);
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/guard-wait/dismissed", test_dismissed);
  ADD ("/guard-wait/given-up", test_given_up);
  ADD ("/guard-wait/dead", test_dead);
  ADD ("/guard-wait/dead-and-closed", test_dead_and_closed);
  ADD ("/guard-wait/stopped", test_stopped);
  ADD ("/guard-wait/stopped-in-vain", test_stopped_in_vain);
  ADD ("/guard-wait/silent", test_silent);
  return g_test_run ();
}
