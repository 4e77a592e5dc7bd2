/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Locks, with other descriptions, threads and processes as the other party. */
#include "config.h"
#include "state/lock.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state-fixture.h"
#include "util/error.h"

static VarveLock *
take (Fixture *f, const char *name, unsigned wait_s, GError **error)
{
  return varve_lock_take (f->dir, name, "domain 'web01'", "backup A, pid 4711", wait_s, NULL,
                          error);
}

static size_t
count_lock_files (Fixture *f)
{
  g_autofree char *path = varve_state_dir_file (f->dir, "locks", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  size_t count = 0;

  while (g_dir_read_name (dir))
    count++;
  return count;
}

static void
test_take_and_free (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *holder = NULL;

  g_assert_false (varve_lock_is_held (f->dir, "web01", &holder));
  g_assert_null (holder);
  g_autoptr (VarveLock) lock = take (f, "web01", 0, &error);
  g_assert_no_error (error);
  g_assert_true (varve_lock_is_held (f->dir, "web01", &holder));
  g_assert_cmpstr (holder, ==, "backup A, pid 4711");
  g_assert_true (varve_lock_is_held (f->dir, "web01", NULL));
  g_assert_false (varve_lock_is_held (f->dir, "web02", NULL));
  g_assert_cmpuint (count_lock_files (f), ==, 1);

  g_clear_pointer (&lock, varve_lock_free);
  g_assert_false (varve_lock_is_held (f->dir, "web01", NULL));
  g_assert_cmpuint (count_lock_files (f), ==, 0);
}

/* A second take in this process is another party too: descriptions lock, not processes. */
static void
test_busy (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveLock) lock = take (f, "web01", 0, NULL);
  g_autoptr (VarveLock) other = take (f, "web02", 0, NULL);

  g_assert_nonnull (lock);
  g_assert_nonnull (other);
  g_assert_null (take (f, "web01", 0, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_nonnull (strstr (error->message, "domain 'web01'"));
  g_assert_nonnull (strstr (error->message, "backup A, pid 4711"));
  /* The attempt above must not have let go of anything by closing its descriptor. */
  g_assert_true (varve_lock_is_held (f->dir, "web01", NULL));
}

static void
test_wait_runs_out (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveLock) lock = take (f, "web01", 0, NULL);
  gint64 before = g_get_monotonic_time ();

  g_assert_null (take (f, "web01", 1, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_cmpint (g_get_monotonic_time () - before, >=, G_USEC_PER_SEC);
}

static pid_t
fork_holder (Fixture *f, const char *name, unsigned hold_ms)
{
  int pipe_fds[2];
  char byte;

  g_assert_cmpint (pipe (pipe_fds), ==, 0);
  pid_t pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0) {
    VarveLock *lock = take (f, name, 0, NULL);
    if (!lock || write (pipe_fds[1], "x", 1) != 1)
      _exit (1);
    g_usleep (hold_ms * 1000);
    varve_lock_free (lock);
    _exit (0);
  }
  close (pipe_fds[1]);
  g_assert_cmpint (read (pipe_fds[0], &byte, 1), ==, 1);
  close (pipe_fds[0]);
  return pid;
}

static void
reap (pid_t pid)
{
  int status;

  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
}

static void
test_wait_succeeds (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  pid_t pid = fork_holder (f, "web01", 300);
  g_autoptr (VarveLock) lock = take (f, "web01", 60, &error);

  g_assert_no_error (error);
  g_assert_nonnull (lock);
  reap (pid);
}

static void
test_dies_with_holder (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  pid_t pid = fork_holder (f, "web01", 60000);

  g_assert_true (varve_lock_is_held (f->dir, "web01", NULL));
  g_assert_cmpint (kill (pid, SIGKILL), ==, 0);
  reap (pid);
  /* His file is still there; the lock is not. */
  g_assert_cmpuint (count_lock_files (f), ==, 1);
  g_assert_false (varve_lock_is_held (f->dir, "web01", NULL));
  g_autoptr (VarveLock) lock = take (f, "web01", 0, &error);
  g_assert_no_error (error);
}

static gpointer
cancel_soon (gpointer cancellable)
{
  g_usleep (100000);
  g_cancellable_cancel (cancellable);
  return NULL;
}

static void
test_cancel (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (VarveLock) lock = take (f, "web01", 0, NULL);
  GThread *thread = g_thread_new ("cancel", cancel_soon, cancellable);

  g_assert_null (varve_lock_take (f->dir, "web01", "x", "y", 3600, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);

  g_clear_error (&error);
  g_assert_null (varve_lock_take (f->dir, "free", "x", "y", 0, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_fork_has_a_copy_only (Fixture *f, gconstpointer data)
{
  VarveLock *lock = take (f, "web01", 0, NULL);
  pid_t pid = fork ();

  if (pid == 0) {
    varve_lock_free (lock);
    _exit (0);
  }
  reap (pid);
  g_assert_true (varve_lock_is_held (f->dir, "web01", NULL));

  /* And a child that lives on does not keep what its parent lets go. */
  pid = fork ();
  if (pid == 0) {
    g_usleep (60 * G_USEC_PER_SEC);
    _exit (0);
  }
  varve_lock_free (lock);
  g_assert_false (varve_lock_is_held (f->dir, "web01", NULL));
  g_assert_cmpint (kill (pid, SIGKILL), ==, 0);
  reap (pid);
}

static void
test_names (Fixture *f, gconstpointer data)
{
  g_autofree char *long_a = g_strnfill (1000, 'a');
  g_autofree char *long_b = g_strconcat (long_a, "b", NULL);
  g_autofree char *umlauts = g_strnfill (150, '\xc3');
  const char *const names[] = { "a",   "A",   "../a", "a/b", "a%2Fb", ".",    "..",   ".a",
                                "a.b", "a b", "\n",   "",    long_a,  long_b, umlauts };
  g_autoptr (GPtrArray) locks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_lock_free);

  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    VarveLock *lock = take (f, names[i], 0, &error);
    g_assert_no_error (error);
    g_ptr_array_add (locks, lock);
  }
  g_assert_cmpuint (count_lock_files (f), ==, G_N_ELEMENTS (names));
}

static void
test_long_holder (Fixture *f, gconstpointer data)
{
  g_autofree char *holder = g_strnfill (5000, 'h');
  g_autofree char *seen = NULL;
  g_autoptr (VarveLock) lock = varve_lock_take (f->dir, "a", "x", holder, 0, NULL, NULL);

  g_assert_nonnull (lock);
  g_assert_true (varve_lock_is_held (f->dir, "a", &seen));
  g_assert_true (g_str_has_prefix (holder, seen));
  g_assert_cmpuint (strlen (seen), >, 100);
}

static void
test_unreadable_counts_as_held (Fixture *f, gconstpointer data)
{
  g_autofree char *path = varve_state_dir_file (f->dir, "locks", "a.lock");
  g_autofree char *holder = NULL;

  g_assert_cmpint (symlink ("/nowhere", path), ==, 0);
  g_assert_true (varve_lock_is_held (f->dir, "a", &holder));
  g_assert_nonnull (strstr (holder, "cannot be opened"));
}

#define ROUNDS  200
#define WORKERS 4

typedef struct {
  Fixture *fixture;
  int value; /* read and written in two steps: only the lock keeps them together */
} Counter;

static gpointer
count_under_lock (gpointer data)
{
  Counter *counter = data;

  for (int i = 0; i < ROUNDS; i++) {
    g_autoptr (VarveLock) lock = NULL;

    /* No wait: the attempts follow each other at once, which is what races with the unlink. */
    while (!lock)
      lock = take (counter->fixture, "counter", 0, NULL);
    int before = g_atomic_int_get (&counter->value);
    g_thread_yield ();
    g_atomic_int_set (&counter->value, before + 1);
  }
  return NULL;
}

static void
test_exclusion (Fixture *f, gconstpointer data)
{
  Counter counter = { .fixture = f };
  GThread *threads[WORKERS];

  for (int i = 0; i < WORKERS; i++)
    threads[i] = g_thread_new ("count", count_under_lock, &counter);
  for (int i = 0; i < WORKERS; i++)
    g_thread_join (threads[i]);
  g_assert_cmpint (counter.value, ==, ROUNDS * WORKERS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)
  ADD ("/lock/take-and-free", test_take_and_free);
  ADD ("/lock/busy", test_busy);
  ADD ("/lock/wait-runs-out", test_wait_runs_out);
  ADD ("/lock/wait-succeeds", test_wait_succeeds);
  ADD ("/lock/dies-with-holder", test_dies_with_holder);
  ADD ("/lock/cancel", test_cancel);
  ADD ("/lock/fork", test_fork_has_a_copy_only);
  ADD ("/lock/names", test_names);
  ADD ("/lock/long-holder", test_long_holder);
  ADD ("/lock/unreadable", test_unreadable_counts_as_held);
  ADD ("/lock/exclusion", test_exclusion);
#undef ADD
  return g_test_run ();
}
