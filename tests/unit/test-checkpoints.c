/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The public calls on checkpoints, on an image that is off: what they return, what they refuse, and what
 * damage comes to. */
#include "config.h"

#include "qemu-fixture.h"

#include "checkpoint/check.h"
#include "run/checkpoint.h"
#include "store/store.h"
#include "util/error.h"

static void
run_in (Fixture *fixture, const char *command)
{
  g_autofree char *line = g_strdup_printf ("sh -c 'cd %s && %s'", fixture->directory, command);
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_command_line_sync (line, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_spawn_check_wait_status (status, &error);
  g_assert_no_error (error);
}

static VarveCheckpoints *
open_checkpoints (Fixture *fixture, const char *owner)
{
  VarveCheckpoints *checkpoints = varve_checkpoints_new ("image:", "web01");
  g_autofree char *image = fixture_path (fixture, "a.qcow2");
  g_autofree char *state = fixture_path (fixture, "state");

  varve_checkpoints_set_image (checkpoints, "vda", image, "qcow2", NULL);
  varve_checkpoints_set_state_directory (checkpoints, state);
  varve_checkpoints_set_owner (checkpoints, owner);
  return checkpoints;
}

static VarveCheckpoint *
create (VarveCheckpoints *checkpoints)
{
  g_autoptr (GError) error = NULL;
  VarveCheckpoint *made = varve_checkpoints_create (checkpoints, NULL, NULL, &error);

  g_assert_no_error (error);
  return made;
}

static GPtrArray *
list (VarveCheckpoints *checkpoints)
{
  g_autoptr (GError) error = NULL;
  GPtrArray *found = varve_checkpoints_list (checkpoints, NULL, &error);

  g_assert_no_error (error);
  return found;
}

static void
test_one (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveCheckpoints) acme = open_checkpoints (fixture, "Acme");
  g_autoptr (VarveCheckpoint) made = NULL;
  g_autoptr (GPtrArray) found = NULL;
  g_autoptr (GPtrArray) told = NULL;
  g_autoptr (VarveCheckpointDisk) copy = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *removed = NULL;
  VarveCheckpoint *listed;

  run_in (fixture, "qemu-img create -q -f qcow2 a.qcow2 1M");
  run_in (fixture, "qemu-img bitmap --add -f qcow2 a.qcow2 other");
  made = create (acme);
  found = list (acme);
  g_assert_cmpuint (found->len, ==, 2);
  listed = g_ptr_array_index (found, 0);
  g_assert_cmpstr (varve_checkpoint_get_name (listed), ==, varve_checkpoint_get_name (made));
  g_assert_cmpstr (varve_checkpoint_get_owner (listed), ==, "x-acme");
  g_assert_cmpstr (varve_checkpoint_get_state (listed), ==, "kept");
  g_assert_cmpint (varve_checkpoint_get_time (listed), >, 0);
  g_assert_cmpuint (varve_checkpoint_get_disks (listed)->len, ==, 1);
  copy = varve_checkpoint_disk_copy (g_ptr_array_index (varve_checkpoint_get_disks (listed), 0));
  g_assert_cmpstr (copy->name, ==, "vda");
  g_assert_true (copy->recording && copy->persistent && !copy->inconsistent && !copy->missing);
  listed = g_ptr_array_index (found, 1);
  g_assert_cmpstr (varve_checkpoint_get_name (listed), ==, "other");
  g_assert_cmpstr (varve_checkpoint_get_state (listed), ==, "foreign");
  g_assert_null (varve_checkpoint_get_owner (listed));
  g_assert_cmpint (varve_checkpoint_get_time (listed), ==, -1);

  told = varve_checkpoints_redefine (acme, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (told->len, ==, 0);
  varve_checkpoints_delete (acme, varve_checkpoint_get_backup (made), &removed, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (removed, ==, varve_checkpoint_get_name (made));
  g_assert_false (varve_checkpoints_delete (acme, removed, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

static void
assert_merge_fails (VarveCheckpoints *checkpoints, const char *first, const char *second,
                    bool foreign, VarveError code)
{
  const char *const names[] = { first, second, NULL };
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_checkpoints_merge (checkpoints, names, foreign, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
test_merge (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveCheckpoints) acme = open_checkpoints (fixture, "acme");
  g_autoptr (VarveCheckpoints) other = open_checkpoints (fixture, "other");
  g_autoptr (VarveCheckpoint) one = NULL, two = NULL, three = NULL, foreign = NULL;
  g_autoptr (GPtrArray) removed = NULL;
  g_autoptr (GPtrArray) left = NULL;
  g_autoptr (GError) error = NULL;
  const char *names[] = { NULL, NULL, NULL };

  run_in (fixture, "qemu-img create -q -f qcow2 a.qcow2 1M");
  one = create (acme);
  two = create (acme);
  foreign = create (other);
  three = create (acme);
  names[0] = varve_checkpoint_get_name (one);
  names[1] = varve_checkpoint_get_name (three);
  assert_merge_fails (acme, names[0], NULL, false, VARVE_ERROR_USAGE);
  assert_merge_fails (acme, names[1], names[0], false, VARVE_ERROR_USAGE);
  assert_merge_fails (acme, names[0], names[0], false, VARVE_ERROR_USAGE);
  assert_merge_fails (acme, names[0], "nothing", false, VARVE_ERROR_NOT_FOUND);
  assert_merge_fails (other, names[0], names[1], false, VARVE_ERROR_REFUSED);
  assert_merge_fails (acme, names[0], varve_checkpoint_get_name (foreign), false,
                      VARVE_ERROR_REFUSED);
  assert_merge_fails (acme, names[0], names[1], true, VARVE_ERROR_REFUSED);
  varve_checkpoints_merge (acme, names, false, &removed, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (removed->len, ==, 2);
  g_assert_cmpstr (g_ptr_array_index (removed, 0), ==, varve_checkpoint_get_name (two));
  g_assert_cmpstr (g_ptr_array_index (removed, 1), ==, names[1]);
  left = list (acme);
  g_assert_cmpuint (left->len, ==, 2);
}

static void
test_refusals (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveCheckpoints) nobody = open_checkpoints (fixture, NULL);
  g_autoptr (VarveCheckpoints) acme = open_checkpoints (fixture, "acme");
  g_autoptr (VarveCheckpoint) made = NULL;
  g_autoptr (GError) owner = NULL, disk = NULL, another = NULL, foreign = NULL, store = NULL;
  g_autoptr (GError) raw = NULL;
  const char *const unknown[] = { "vdx", NULL };
  const char *const unfit[] = { "raw", NULL };
  g_autofree char *path = fixture_path (fixture, "b.raw");

  run_in (fixture, "qemu-img create -q -f qcow2 a.qcow2 1M");
  run_in (fixture, "qemu-img create -q -f raw b.raw 1M");
  run_in (fixture, "qemu-img bitmap --add -f qcow2 a.qcow2 other");
  g_assert_null (varve_checkpoints_create (nobody, NULL, NULL, &owner));
  g_assert_error (owner, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_assert_null (varve_checkpoints_create (acme, unknown, NULL, &disk));
  g_assert_error (disk, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  made = create (acme);
  g_assert_false (
      varve_checkpoints_delete (nobody, varve_checkpoint_get_name (made), NULL, NULL, &another));
  g_assert_error (another, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_false (varve_checkpoints_delete (acme, "other", NULL, NULL, &foreign));
  g_assert_error (foreign, VARVE_ERROR, VARVE_ERROR_REFUSED);
  varve_checkpoints_set_image (acme, "raw", path, "raw", NULL);
  g_assert_null (varve_checkpoints_create (acme, unfit, NULL, &raw));
  g_assert_error (raw, VARVE_ERROR, VARVE_ERROR_REFUSED);
  varve_checkpoints_add_store (nobody, "images:/nowhere");
  g_assert_null (varve_checkpoints_check (nobody, FALSE, NULL, &store));
  g_assert_error (store, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

static GPtrArray *
check (VarveCheckpoints *checkpoints, bool repair, GError **verdict)
{
  g_autoptr (GError) error = NULL;
  GPtrArray *findings = varve_checkpoints_check (checkpoints, repair, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (varve_checkpoints_judge (checkpoints, findings, repair, verdict) ==
                 (verdict == NULL || *verdict == NULL));
  return findings;
}

static void
test_verdict (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveCheckpoints) acme = open_checkpoints (fixture, "acme");
  g_autoptr (VarveCheckpoints) other = open_checkpoints (fixture, "other");
  g_autoptr (VarveCheckpoint) made = NULL;
  g_autoptr (GError) found = NULL, refused = NULL;
  g_autofree char *disable = NULL;
  VarveFinding *finding;

  run_in (fixture, "qemu-img create -q -f qcow2 a.qcow2 1M");
  made = create (acme);
  g_ptr_array_unref (check (acme, true, NULL));
  disable = g_strdup_printf ("qemu-img bitmap --disable -f qcow2 a.qcow2 %s",
                             varve_checkpoint_get_name (made));
  run_in (fixture, disable);

  g_autoptr (GPtrArray) first = check (acme, false, &found);
  g_assert_error (found, VARVE_ERROR, VARVE_ERROR_CHECKPOINT);
  g_assert_cmpuint (first->len, ==, 1);
  finding = g_ptr_array_index (first, 0);
  g_assert_cmpstr (varve_finding_get_kind (finding), ==, "bitmap-disabled");
  g_assert_true (varve_finding_is_damage (finding));
  g_assert_cmpstr (varve_finding_get_checkpoint (finding), ==, varve_checkpoint_get_name (made));
  g_assert_cmpstr (varve_finding_get_disk (finding), ==, "vda");
  g_assert_cmpstr (varve_finding_get_state (finding), ==, "mendable");
  g_assert_null (varve_finding_get_session (finding));
  g_assert_null (varve_finding_get_failure (finding));

  g_autoptr (GPtrArray) second = check (other, true, &refused);
  g_assert_error (refused, VARVE_ERROR, VARVE_ERROR_REFUSED);
  finding = g_ptr_array_index (second, 0);
  g_assert_cmpstr (varve_finding_get_state (finding), ==, "left");

  g_autoptr (GPtrArray) third = check (acme, true, NULL);
  finding = g_ptr_array_index (third, 0);
  g_assert_cmpstr (varve_finding_get_state (finding), ==, "mended");
  g_autoptr (GPtrArray) fourth = check (acme, false, NULL);
  g_assert_cmpuint (fourth->len, ==, 0);
}

/* A store that is damaged in part says nothing of what it does not have. */
static void
test_half_a_store (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveCheckpoints) varve = open_checkpoints (fixture, NULL);
  g_autofree char *directory = fixture_path (fixture, "store");
  g_autofree char *uri = g_strconcat ("images:", directory, NULL);
  g_autoptr (GError) error = NULL, damage = NULL;
  g_autoptr (VarveStoreImpl) store = varve_store_impl_open (uri, true, &error);
  g_autofree char *command = NULL;
  VarveFinding *finding;

  g_assert_no_error (error);
  run_in (fixture, "qemu-img create -q -f qcow2 a.qcow2 1M");
  command = g_strdup_printf ("qemu-img bitmap --add -f qcow2 a.qcow2 "
                             "varve.varve-%.8s.20260101T000000Z-00000000000000aa.00000001",
                             store->uuid);
  run_in (fixture, command);
  varve_checkpoints_add_store (varve, uri);
  g_autoptr (GPtrArray) whole = check (varve, false, &damage);
  finding = g_ptr_array_index (whole, 0);
  g_assert_cmpstr (varve_finding_get_kind (finding), ==, "no-backup");

  run_in (fixture, "mkdir -p store/web01-00000000/20260101T000000Z-00000000000000aa");
  g_autoptr (GPtrArray) half = check (varve, true, NULL);
  finding = g_ptr_array_index (half, 0);
  g_assert_cmpstr (varve_finding_get_kind (finding), ==, "store-unknown");
  g_assert_false (varve_finding_is_damage (finding));
  g_autoptr (GPtrArray) left = list (varve);
  g_assert_cmpuint (left->len, ==, 1);
  g_assert_cmpstr (varve_checkpoint_get_state (g_ptr_array_index (left, 0)), ==, "unknown");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/checkpoints/one", Fixture, NULL, fixture_set_up, test_one, fixture_tear_down);
  g_test_add ("/checkpoints/merge", Fixture, NULL, fixture_set_up, test_merge, fixture_tear_down);
  g_test_add ("/checkpoints/refusals", Fixture, NULL, fixture_set_up, test_refusals,
              fixture_tear_down);
  g_test_add ("/checkpoints/verdict", Fixture, NULL, fixture_set_up, test_verdict,
              fixture_tear_down);
  g_test_add ("/checkpoints/half-a-store", Fixture, NULL, fixture_set_up, test_half_a_store,
              fixture_tear_down);
  return g_test_run ();
}
