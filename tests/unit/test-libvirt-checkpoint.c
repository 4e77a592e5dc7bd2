/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints of a libvirt domain, running and off: what is listed when bitmaps or metadata were
 * lost behind our back, what is removed, and backups of a domain that is off. */
#include "config.h"

#include <signal.h>
#include <sys/stat.h>

#include "libvirt-fixture.h"

#define C1 "varve.t-1.b1.n"
#define C2 "varve.t-1.b2.n"

/* A backup of vda and vdc that leaves checkpoint @name. */
static void
back_up (Fixture *f, const char *name)
{
  g_autoptr (VarveStart) start = new_start (f, name);
  g_autoptr (VarveSnapshot) snapshot = NULL;

  add_disk (f, start, "vda", NULL);
  add_disk (f, start, "vdc", NULL);
  snapshot = begin (f, start);
  finish_and_end (snapshot);
}

/* Removes a bitmap from a running QEMU without libvirt's knowledge. */
static void
lose_bitmap (Fixture *f, const char *path, const char *name)
{
  g_autofree char *nodes = NULL;
  g_autofree char *before = NULL;
  g_autofree char *command = NULL;
  g_autofree char *node = NULL;
  char *at;

  g_assert_true (try_run (&nodes, "virsh", "-q", "-c", SYSTEM, "qemu-monitor-command", f->name,
                          "{\"execute\":\"query-block\"}"));
  before = in_top (f, path);
  at = strstr (nodes, before);
  g_assert_nonnull (at);
  at = strstr (at, "\"node-name\":\"");
  g_assert_nonnull (at);
  at += strlen ("\"node-name\":\"");
  node = g_strndup (at, strcspn (at, "\""));
  command = g_strdup_printf ("{\"execute\":\"block-dirty-bitmap-remove\",\"arguments\":{\"node\":"
                             "\"%s\",\"name\":\"%s\"}}",
                             node, name);
  virsh ("qemu-monitor-command", f->name, command);
}

/* --- running
 * -------------------------------------------------------------------------------------- */

static void
test_foreign (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, C1);
  g_autoptr (VarveSnapshot) snapshot = NULL;

  virsh ("checkpoint-create-as", f->name, "theirs", "--diskspec", "vda", "--diskspec",
         "vdb,checkpoint=no", "--diskspec", "vdc,checkpoint=no", "--diskspec", "hda,checkpoint=no");
  guest_io (f, "virtio-disk0", "write -P 1 0 1M");
  assert_bitmap (f, "vda", "theirs", true, 1 * MIB);
  back_up (f, C1);
  remove_checkpoint (f, C1);
  assert_no_bitmap (f, C1);
  assert_bitmap (f, "vda", "theirs", true, 1 * MIB);
  g_assert_true (libvirt_has_checkpoint (f, "theirs"));
}

/* Metadata there, bitmap gone on one of two disks: told as inconsistent, no base, and removable. */
static void
test_lost_bitmap (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, C2);
  g_autofree char *message = NULL;

  back_up (f, C1);
  lose_bitmap (f, "vda.qcow2", C1);
  assert_bitmap (f, "vda", C1, false, UINT64_MAX);
  assert_bitmap (f, "vdc", C1, true, 0);
  add_disk (f, start, "vda", C1);
  message = begin_fails (f, start, VARVE_ERROR_CHECKPOINT);
  assert_no_files (start);
  g_assert_false (libvirt_has_checkpoint (f, C2));
  remove_checkpoint (f, C1);
  assert_no_bitmap (f, C1);
  /* The other disk's bitmap went too: its name is free again. */
  back_up (f, C1);
  assert_bitmap (f, "vdc", C1, true, 0);
}

static void
test_unknown_base (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, C2);
  g_autofree char *message = NULL;

  add_disk (f, start, "vda", "varve.t-1.never.n");
  message = begin_fails (f, start, VARVE_ERROR_CHECKPOINT);
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.never.n"));
}

/* QEMU dies: every bitmap is inconsistent at the next start, and can be removed. */
static void
test_killed (Fixture *f, gconstpointer data)
{
  back_up (f, C1);
  virsh ("destroy", f->name); /* a clean end stores the bitmaps */
  virsh ("start", f->name);
  assert_bitmap (f, "vda", C1, true, 0);
  kill_qemu (f);
  assert_bitmap (f, "vda", C1, false, UINT64_MAX);
  virsh ("start", f->name);
  assert_bitmap (f, "vda", C1, false, UINT64_MAX);
  assert_bitmap (f, "vdc", C1, false, UINT64_MAX);
  remove_checkpoint (f, C1);
  assert_no_bitmap (f, C1);
  g_assert_false (libvirt_has_checkpoint (f, C1));
  back_up (f, C1);
  assert_bitmap (f, "vda", C1, true, 0);
}

/* libvirt forgot, the images did not: listed, usable as a base, removable. */
static void
test_lost_metadata (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, C2);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *map = NULL;

  back_up (f, C1);
  virsh ("destroy", f->name);
  virsh ("checkpoint-delete", f->name, C1, "--metadata");
  virsh ("start", f->name);
  guest_io (f, "virtio-disk0", "write -P 1 8M 1M");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  assert_bitmap (f, "vdc", C1, true, 0);
  g_assert_false (libvirt_has_checkpoint (f, C1));

  add_disk (f, start, "vda", C1);
  add_disk (f, start, "vdc", C1);
  snapshot = begin (f, start);
  map = dirty_map (snapshot, "vda");
  g_assert_nonnull (strstr (map, "   8388608     1048576    1  dirty"));
  finish_and_end (snapshot);
  virsh ("checkpoint-delete", f->name, C1, "--metadata");
  remove_checkpoint (f, C1);
  assert_no_bitmap (f, C1);
  assert_bitmap (f, "vda", C2, true, 0);
}

static void
test_failing_removal (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  back_up (f, C1);
  g_setenv ("VARVE_FAILPOINT", "libvirt-checkpoint-before:error", TRUE);
  g_assert_false (varve_domain_checkpoint_remove (f->domain, C1, NULL, &error));
  g_clear_error (&error);
  assert_bitmap (f, "vda", C1, true, 0);
  g_setenv ("VARVE_FAILPOINT", "libvirt-checkpoint-after:error", TRUE);
  g_assert_false (varve_domain_checkpoint_remove (f->domain, C1, NULL, &error));
  g_unsetenv ("VARVE_FAILPOINT");
  assert_no_bitmap (f, C1);
  remove_checkpoint (f, C1);
}

/* --- off
 * ------------------------------------------------------------------------------------------ */

static void
test_stopped_inventory (Fixture *f, gconstpointer data)
{
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GError) error = NULL;
  const VarveDisk *disk;

  varve_domain_inventory (f->domain, &disks, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (disks->len, ==, 4);
  disk = varve_disk_find (disks, "vda");
  g_assert_cmpuint (disk->size, ==, 128 * MIB);
  g_assert_true (disk->can_back_up && disk->can_persist);
  disk = varve_disk_find (disks, "vdb");
  g_assert_true (disk->can_back_up && !disk->can_persist && !disk->transient_ok);
  g_assert_false (varve_disk_find (disks, "hda")->can_back_up);
}

/* Full and incremental while off, then running again: one chain, one set of names. */
static void
test_stopped_backup (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) first = new_start (f, C1);
  g_autoptr (VarveStart) second = new_start (f, C2);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *vda = NULL;
  g_autofree char *map = NULL;
  g_autofree char *path = in_top (f, "vda.qcow2");
  size_t length;

  run ("qemu-io", "-c", "write -P 0x44 2M 1M", path);
  add_disk (f, first, "vda", NULL);
  add_disk (f, first, "vdb", NULL);
  snapshot = begin (f, first);
  vda = read_disk (f, snapshot, "vda", &length);
  assert_pattern (vda, 2 * MIB, 1 * MIB, 0x44);
  finish_and_end (snapshot);
  g_clear_pointer (&snapshot, varve_snapshot_free);
  g_assert_true (libvirt_has_checkpoint (f, C1));

  virsh ("start", f->name);
  guest_io (f, "virtio-disk0", "write -P 0x55 32M 1M");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  virsh ("destroy", f->name);
  add_disk (f, second, "vda", C1);
  snapshot = begin (f, second);
  map = dirty_map (snapshot, "vda");
  g_assert_nonnull (strstr (map, "  33554432     1048576    1  dirty"));
  finish_and_end (snapshot);
  g_assert_true (libvirt_has_checkpoint (f, C2));
}

static void
test_stopped_removal (Fixture *f, gconstpointer data)
{
  g_autofree char *path = in_top (f, "vda.qcow2");
  g_autofree char *info = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;

  back_up (f, C1);
  back_up (f, C2);
  run ("qemu-img", "bitmap", "--remove", path, C1); /* behind our back */
  virsh ("checkpoint-delete", f->name, C2, "--metadata");
  bitmaps = bitmaps_of (f);
  g_assert_true (varve_bitmap_find (bitmaps, "vda", C1)->inconsistent);
  g_assert_false (varve_bitmap_find (bitmaps, "vdc", C1)->inconsistent);
  g_assert_true (varve_bitmap_find (bitmaps, "vda", C2)->recording);

  remove_checkpoint (f, C1);
  remove_checkpoint (f, C2);
  remove_checkpoint (f, C2);
  assert_no_bitmap (f, C1);
  assert_no_bitmap (f, C2);
  g_assert_false (libvirt_has_checkpoint (f, C1));
  g_assert_true (try_run (&info, "qemu-img", "info", path));
  g_assert_null (strstr (info, "bitmaps"));
}

/* libvirt does not take the metadata: the start fails, and the bitmap goes again. */
static void
test_stopped_undo (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "no/such/name");
  g_autoptr (GError) error = NULL;
  VarveSnapshot *snapshot = NULL;
  uint64_t pause_us;

  add_disk (f, start, "vda", NULL);
  g_assert_false (varve_domain_start (f->domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_null (snapshot);
  g_test_message ("%s", error->message);
  assert_no_bitmap (f, "no/such/name");
  virsh ("start", f->name); /* and nothing holds the images */
}

/* The worker of a session with images died; libvirt's driver ends what is left by the record alone.
 */
static void
test_stopped_attach (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, C1);
  g_autoptr (VarveSnapshot) attached = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };

  add_disk (f, start, "vda", NULL);
  g_assert_true (varve_domain_attach (f->domain, start, &attached, NULL, NULL));
  g_assert_true (varve_snapshot_poll (attached, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
  varve_snapshot_end (attached, true, NULL, &error);
  g_assert_no_error (error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!have_libvirtd ()) {
    g_print ("1..0 # SKIP no libvirtd, or not root\n");
    return 0;
  }
  add_test ("checkpoint/foreign", NULL, test_foreign);
  add_test ("checkpoint/lost-bitmap", NULL, test_lost_bitmap);
  add_test ("checkpoint/unknown-base", NULL, test_unknown_base);
  add_test ("checkpoint/killed", NULL, test_killed);
  add_test ("checkpoint/lost-metadata", NULL, test_lost_metadata);
  add_test ("checkpoint/failing-removal", NULL, test_failing_removal);
  add_test ("stopped/inventory", "off", test_stopped_inventory);
  add_test ("stopped/backup", "off", test_stopped_backup);
  add_test ("stopped/removal", "off", test_stopped_removal);
  add_test ("stopped/undo", "off", test_stopped_undo);
  add_test ("stopped/attach", "off", test_stopped_attach);
  return g_test_run ();
}
