/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Failure points: each action, in a process of its own where it ends that. */
#include "config.h"
#include "util/failpoint.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"

static void
test_unset (void)
{
  g_autoptr (GError) error = NULL;

  g_unsetenv ("VARVE_FAILPOINT");
  g_assert_true (varve_failpoint ("a", &error));
  g_assert_no_error (error);
}

static void
test_other_names (void)
{
  static const char *const specs[] = {
    "", ",", "ab", "xa:kill", "b:error,ab:kill", ":kill", "b:a"
  };

  for (size_t i = 0; i < G_N_ELEMENTS (specs); i++) {
    g_autoptr (GError) error = NULL;
    g_setenv ("VARVE_FAILPOINT", specs[i], TRUE);
    g_assert_true (varve_failpoint ("a", &error));
    g_assert_no_error (error);
  }
}

static void
test_error (void)
{
  g_autoptr (GError) error = NULL;

  g_setenv ("VARVE_FAILPOINT", "first:kill,a:error,third", TRUE);
  g_assert_false (varve_failpoint ("a", &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "'a'"));
}

static void
test_unknown_action (void)
{
  g_autoptr (GError) error = NULL;

  g_setenv ("VARVE_FAILPOINT", "a:explode", TRUE);
  g_assert_false (varve_failpoint ("a", &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
}

/* Passes the point in a child and returns what waitpid said of it first. */
static int
pass_in_child (const char *spec, pid_t *out_pid)
{
  int status;

  g_setenv ("VARVE_FAILPOINT", spec, TRUE);
  *out_pid = fork ();
  g_assert_cmpint (*out_pid, >=, 0);
  if (*out_pid == 0)
    _exit (varve_failpoint ("a", NULL) ? 7 : 8);
  g_assert_cmpint (waitpid (*out_pid, &status, WUNTRACED), ==, *out_pid);
  return status;
}

static void
test_kill (gconstpointer spec)
{
  pid_t pid;
  int status = pass_in_child (spec, &pid);

  g_assert_true (WIFSIGNALED (status));
  g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);
}

static void
test_stop (void)
{
  pid_t pid;
  int status = pass_in_child ("a:stop", &pid);

  g_assert_true (WIFSTOPPED (status));
  g_assert_cmpint (kill (pid, SIGCONT), ==, 0);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 7);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/failpoint/unset", test_unset);
  g_test_add_func ("/failpoint/other-names", test_other_names);
  g_test_add_func ("/failpoint/error", test_error);
  g_test_add_func ("/failpoint/unknown-action", test_unknown_action);
  g_test_add_data_func ("/failpoint/kill", "a:kill", test_kill);
  g_test_add_data_func ("/failpoint/kill-is-default", "b:error,a", test_kill);
  g_test_add_func ("/failpoint/stop", test_stop);
  return g_test_run ();
}
