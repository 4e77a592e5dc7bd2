/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How children of ours are started, seen from within them. */
#include "config.h"
#include "qemu/child.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "qemu-fixture.h"

static VarveChildResult *
run_child (const char *const *argv)
{
  g_autoptr (GError) error = NULL;
  VarveChildResult *result = varve_child_run (argv, VARVE_CHILD_FINISHES, NULL, &error);

  g_assert_no_error (error);
  return result;
}

static void
test_result (void)
{
  const char *argv[] = { "sh", "-c", "echo out; echo ' err ' >&2; read line || exit 7", NULL };
  const char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
  g_autoptr (VarveChildResult) result = run_child (argv);
  g_autoptr (VarveChildResult) signalled = run_child (killed);

  /* 7: there is nothing to read from stdin. */
  g_assert_cmpint (result->status, ==, 7);
  g_assert_cmpstr (result->output, ==, "out\n");
  g_assert_cmpstr (result->complaint, ==, "err");
  g_assert_cmpint (signalled->status, ==, 128 + SIGKILL);
}

/* Our own thread blocks SIGTERM and the process ignores SIGINT: no child may inherit either. */
static void
test_setup (void)
{
  const char *argv[] = { "sh", "-c",
                         "tr -d '\\t' < /proc/self/status | grep '^Sig[BI]'; "
                         "grep -o 'NoNewPrivs.*1' /proc/self/status; "
                         "cut -d' ' -f5 /proc/$$/stat; echo $$ $LC_ALL",
                         NULL };
  sigset_t blocked, before;

  sigemptyset (&blocked);
  sigaddset (&blocked, SIGTERM);
  pthread_sigmask (SIG_BLOCK, &blocked, &before);
  void (*handler) (int) = signal (SIGINT, SIG_IGN);
  g_autoptr (VarveChildResult) result = run_child (argv);
  signal (SIGINT, handler);
  pthread_sigmask (SIG_SETMASK, &before, NULL);

  g_auto (GStrv) lines = g_strsplit (result->output, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), >=, 5);
  g_assert_cmpstr (lines[0], ==, "SigBlk:0000000000000000");
  g_assert_cmpint (g_ascii_strtoull (strchr (lines[1], ':') + 1, NULL, 16) &
                       (1u << (SIGINT - 1) | 1u << (SIGTERM - 1)),
                   ==, 0);
  g_assert_cmpstr (lines[2], ==, "NoNewPrivs:\t1");
  g_autofree char *leader = g_strconcat (lines[3], " C", NULL);
  g_assert_cmpstr (lines[4], ==, leader);
}

static gpointer
cancel_soon (gpointer cancellable)
{
  g_usleep (100000);
  g_cancellable_cancel (cancellable);
  return NULL;
}

/* What only reads is killed at once; what writes comes to its end. */
static void
test_cancel (void)
{
  const char *reader[] = { "sleep", "600", NULL };
  const char *writer[] = { "sleep", "1", NULL };
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  GThread *thread = g_thread_new ("canceller", cancel_soon, cancellable);

  g_assert_null (varve_child_run (reader, VARVE_CHILD_MAY_BE_ENDED, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);

  g_clear_error (&error);
  g_cancellable_reset (cancellable);
  thread = g_thread_new ("canceller", cancel_soon, cancellable);
  g_autoptr (VarveChildResult) result =
      varve_child_run (writer, VARVE_CHILD_FINISHES, cancellable, &error);
  g_assert_no_error (error);
  g_assert_cmpint (result->status, ==, 0);
  g_assert_true (g_cancellable_is_cancelled (cancellable));
  g_thread_join (thread);
}

static void
test_not_installed (void)
{
  const char *argv[] = { "varve-no-such-program", NULL };
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_child_run (argv, VARVE_CHILD_FINISHES, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_UNSUPPORTED, "varve-no-such-program");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/child/result", test_result);
  g_test_add_func ("/child/setup", test_setup);
  g_test_add_func ("/child/cancel", test_cancel);
  g_test_add_func ("/child/not-installed", test_not_installed);
  return g_test_run ();
}
