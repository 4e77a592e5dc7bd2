/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The run as an object: what it refuses before anything is touched, and that a caller's data is given back exactly
 * once. What runs do is for the shell tests. */
#include "config.h"
#include "run/varve-run.h"

#include "util/durable.h"

static void
on_event (const VarveEvent *event, gpointer data)
{
  g_assert_not_reached ();
}

static void
count (gpointer data)
{
  (*(int *)data)++;
}

/* How other languages may make one. */
static void
test_without_job (void)
{
  g_autoptr (VarveRun) run = g_object_new (VARVE_TYPE_RUN, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_run_execute (run, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
}

static void
test_only (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("nightly");
  g_autoptr (VarveRun) run = varve_run_new (job);
  g_autoptr (GError) error = NULL;
  g_autofree char *state = g_dir_make_tmp ("varve-run-XXXXXX", &error);

  g_assert_no_error (error);
  varve_backup_action_set_name (
      varve_job_add_backup (job, "web01", "qemu:///system", "images:/nowhere"), "web");
  varve_run_set_state_directory (run, state);
  varve_run_set_event_func (run, on_event, NULL, NULL);
  varve_run_set_only (run, "db");
  g_assert_false (varve_run_execute (run, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_assert_nonnull (strstr (error->message, "'db'"));
  g_clear_error (&error);
  g_assert_true (varve_remove_tree (state, &error));
  g_assert_no_error (error);
}

static void
test_destroy (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("nightly");
  VarveRun *run = varve_run_new (job);
  int first = 0, second = 0;

  varve_run_set_event_func (run, on_event, &first, count);
  g_assert_cmpint (first, ==, 0);
  varve_run_set_event_func (run, on_event, &second, count);
  g_assert_cmpint (first, ==, 1);
  g_object_unref (run);
  g_assert_cmpint (first, ==, 1);
  g_assert_cmpint (second, ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/run/without-job", test_without_job);
  g_test_add_func ("/run/only", test_only);
  g_test_add_func ("/run/destroy", test_destroy);
  return g_test_run ();
}
