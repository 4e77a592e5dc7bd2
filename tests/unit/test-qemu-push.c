/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Pushes of a real QEMU's disks: all are held back until all are there; what ends early leaves nothing in QEMU, whoever
 * ends it. */
#include "config.h"
#include "machine.h"

#include "util/error.h"

#define SESSION "0123456789abcdef"

typedef struct {
  Machine *machine;
  VarveDomain *domain;
  VarveStart *start;
  char *before;
} Fixture;

static void
write_some (const Machine *machine)
{
  const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", "write -P 7 0 8M", "a.qcow2", NULL };
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (machine->dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  f->machine = machine_new ();
  machine_make_disks (f->machine);
  write_some (f->machine);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_start_free (f->start);
  varve_domain_free (f->domain);
  machine_free (f->machine);
  g_free (f->before);
}

/* A start whose targets are there. */
static void
boot (Fixture *f)
{
  machine_boot (f->machine, "-name vm1 " TWO_DISKS);
  f->domain = open_or_fail (f->machine);
  f->start = make_start (f->machine, SESSION, "CK1", NULL);
  f->start->push = true;
  for (guint i = 0; i < f->start->disks->len; i++) {
    VarveStartDisk *disk = g_ptr_array_index (f->start->disks, i);
    g_autofree char *name = g_strdup_printf ("%s.target", disk->disk);

    g_clear_pointer (&disk->scratch, g_free);
    run_in (f->machine, "qemu-img create -q -f qcow2 %s %" G_GUINT64_FORMAT, name, DISK_SIZE);
    disk->target = path_in (f->machine, name);
  }
  f->before = what_is_there (f->machine);
}

static VarveSnapshot *
start (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  VarveSnapshot *snapshot = NULL;
  uint64_t pause_us;

  varve_domain_start (f->domain, f->start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  return snapshot;
}

static guint
count_ready (VarveSnapshot *snapshot)
{
  g_autoptr (GArray) progress = NULL;
  g_autoptr (GError) error = NULL;
  guint ready = 0;

  varve_snapshot_progress (snapshot, &progress, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (progress->len, ==, 2);
  for (guint i = 0; i < progress->len; i++)
    ready += g_array_index (progress, VarvePushProgress, i).ready;
  return ready;
}

static void
wait_ready (VarveSnapshot *snapshot)
{
  wait_until (count_ready (snapshot) == 2);
}

static void
assert_jobs (Fixture *f, guint n, const char *status)
{
  g_autoptr (JsonArray) jobs = ask_list (f->machine->qmp, "query-jobs", NULL);

  g_assert_cmpuint (json_array_get_length (jobs), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpstr (varve_json_string (varve_json_array_object (jobs, i), "status"), ==, status);
}

/* With the checkpoint, which the end of a snapshot never touches, QEMU is as it was. */
static void
assert_as_before (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *after = NULL;

  g_assert_true (varve_domain_checkpoint_remove (f->domain, "CK1", NULL, &error));
  g_assert_no_error (error);
  after = what_is_there (f->machine);
  g_assert_cmpstr (f->before, ==, after);
}

static void
test_held_back (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  boot (f);
  f->start->speed = 128 << 10;
  snapshot = start (f);
  g_assert_cmpuint (count_ready (snapshot), <, 2);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_true (varve_snapshot_set_speed (snapshot, 0, NULL, &error));
  g_assert_no_error (error);
  wait_ready (snapshot);
  assert_jobs (f, 2, "pending");
  g_assert_true (varve_snapshot_poll (snapshot, &status, NULL, &error));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  g_assert_true (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_no_error (error);
  assert_jobs (f, 2, "concluded");
  g_assert_true (varve_snapshot_end (snapshot, false, NULL, &error));
  g_assert_no_error (error);
  assert_as_before (f);
  run_in (f->machine, "qemu-img compare -q -U -f qcow2 -F qcow2 a.qcow2 vda.target");
  run_in (f->machine, "qemu-img compare -q -U -f qcow2 -F qcow2 b.qcow2 vdb.target");
}

/* By its name alone, as from a record of which nothing else is left. */
static void
test_recovered (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) record = varve_start_new (SESSION);
  g_autoptr (VarveSnapshot) snapshot = NULL, found = NULL;
  g_autoptr (GPtrArray) left = NULL;
  g_autoptr (GError) error = NULL;

  boot (f);
  f->start->speed = 128 << 10;
  snapshot = start (f);
  g_assert_true (varve_domain_left_overs (f->domain, &left, NULL, &error));
  g_assert_cmpuint (left->len, ==, 1);
  g_assert_true (varve_domain_attach (f->domain, record, &found, NULL, &error));
  g_assert_true (varve_snapshot_end (found, false, NULL, &error));
  g_assert_no_error (error);
  assert_as_before (f);
}

static bool
can_tell_progress (VarveSnapshot *snapshot, GError **error)
{
  g_autoptr (GArray) progress = NULL;

  return varve_snapshot_progress (snapshot, &progress, NULL, error);
}

static void
test_cancelled (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  boot (f);
  f->start->speed = 128 << 10;
  snapshot = start (f);
  g_assert_true (varve_qmp_run (f->machine->qmp, "job-cancel",
                                varve_qmp_args ("{'id':%s}", "varve-" SESSION "-j-1"), NULL,
                                &error));
  wait_until (!can_tell_progress (snapshot, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_assert_nonnull (strstr (error->message, "'vdb'"));
  g_clear_error (&error);
  g_assert_true (varve_snapshot_poll (snapshot, &status, NULL, &error));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_BROKEN);
  g_assert_cmpint (status.code, ==, VARVE_ERROR_SOURCE_LOST);
  g_assert_true (varve_snapshot_end (snapshot, false, NULL, &error));
  g_assert_no_error (error);
  assert_as_before (f);
}

/* A target that cannot be opened: no disk is started, and the other target is let go. */
static void
test_no_target (Fixture *f, gconstpointer data)
{
  VarveSnapshot *snapshot = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *after = NULL;
  uint64_t pause_us;

  boot (f);
  g_assert_cmpint (g_unlink (varve_start_find_disk (f->start, "vdb")->target), ==, 0);
  g_free (f->before);
  f->before = what_is_there (f->machine);
  g_assert_false (varve_domain_start (f->domain, f->start, &snapshot, &pause_us, NULL, &error));
  g_assert_nonnull (strstr (error->message, "'vdb'"));
  g_assert_null (snapshot);
  after = what_is_there (f->machine);
  g_assert_cmpstr (f->before, ==, after);
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/qemu-push/held-back", test_held_back);
  ADD ("/qemu-push/recovered", test_recovered);
  ADD ("/qemu-push/cancelled", test_cancelled);
  ADD ("/qemu-push/no-target", test_no_target);
  return g_test_run ();
}
