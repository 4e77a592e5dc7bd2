/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints without a backup on a real QEMU. */
#include "config.h"
#include "stopped-machine.h"

#include "util/error.h"

static void
tell (const Machine *machine, const char *command, JsonObject *arguments)
{
  g_autoptr (GError) error = NULL;

  varve_qmp_run (machine->qmp, command, arguments, NULL, &error);
  g_assert_no_error (error);
}

static void
bitmap_command (const Machine *machine, const char *verb, const char *node, const char *name)
{
  g_autofree char *command = g_strconcat ("block-dirty-bitmap-", verb, NULL);

  tell (machine, command, varve_qmp_args ("{'node':%s,'name':%s}", node, name));
}

static Machine *
machine_with_disks (const char *more)
{
  Machine *machine = machine_new ();
  g_autofree char *arguments = g_strconcat ("-S -name vm1 " TWO_DISKS, more, NULL);

  machine_make_disks (machine);
  machine_boot (machine, arguments);
  return machine;
}

#define RAW_AND_READ_ONLY                                                                          \
  " -blockdev driver=raw,node-name=fC,file.driver=null-co,file.size=16777216 "                     \
  "-device virtio-blk-pci,drive=fC,id=vdc "                                                        \
  "-blockdev driver=raw,node-name=fD,file.driver=null-co,file.size=1048576,read-only=on "          \
  "-device virtio-blk-pci,drive=fD,id=vdd"

static void
test_add (void)
{
  g_autoptr (Machine) machine = machine_with_disks (RAW_AND_READ_ONLY);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (GError) error = NULL;

  add_fails (domain, "CK1", "vda vdd", VARVE_ERROR_REFUSED);
  add_fails (domain, "CK1", "vda vdx", VARVE_ERROR_NOT_FOUND);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);

  add_checkpoint (domain, "CK1", "vda vdb vdc");
  guest_write (machine->qmp, "vda", 1, 0);
  guest_write (machine->qmp, "vdc", 1, 0);
  assert_bitmaps (domain, "vda CK1 recording 1\nvdb CK1 recording 0\n"
                          "vdc CK1 recording 1 transient\n");
  add_fails (domain, "CK1", "vdb", VARVE_ERROR_EXISTS);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  assert_bitmaps (domain, "");
}

static void
test_add_undone (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);

  g_setenv ("VARVE_FAILPOINT", "qmp-checkpoint-changed:error", TRUE);
  add_fails (domain, "CK1", "vda vdb", VARVE_ERROR_FAILED);
  g_unsetenv ("VARVE_FAILPOINT");
  assert_bitmaps (domain, "");
}

/* As older tools leave them: three spans of time, of which only the last records. */
static void
make_old_chain (const Machine *machine)
{
  static const char *const names[] = { "A", "B", "C" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    tell (machine, "block-dirty-bitmap-add",
          varve_qmp_args ("{'node':%s,'name':%s,'persistent':%b,'granularity':%u}", "fA", names[i],
                          true, i == 1 ? 4096u : 65536u));
    guest_write (machine->qmp, "vda", 1, (uint64_t)i * BLOCK);
    if (i < 2)
      bitmap_command (machine, "disable", "fA", names[i]);
  }
}

static void
test_merge_disabled (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveDomain) stopped = NULL;

  make_old_chain (machine);
  merge_fails (domain, "A", "X C", VARVE_ERROR_CHECKPOINT);
  merge_fails (domain, "X", "C", VARVE_ERROR_CHECKPOINT);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 1\n");
  merge_checkpoints (domain, "A", "B C");
  assert_bitmaps (domain, "vda A recording 3\n");
  guest_write (machine->qmp, "vda", 1, 9 * BLOCK);
  assert_bitmaps (domain, "vda A recording 4\n");

  tell (machine, "quit", NULL);
  waitpid (machine->pid, NULL, 0);
  machine->pid = 0;
  g_clear_pointer (&machine->qmp, varve_qmp_free);
  stopped = open_two (machine);
  assert_bitmaps (stopped, "vda A recording 4\n");
}

/* C is not named, and the only one that knows what was written last. */
static void
test_merge_others (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);

  make_old_chain (machine);
  merge_checkpoints (domain, "A", "B");
  assert_bitmaps (domain, "vda A recording 3\nvda C recording 1\n");
  bitmap_command (machine, "disable", "fA", "A");
  bitmap_command (machine, "disable", "fA", "C");
  merge_checkpoints (domain, "A", "C");
  guest_write (machine->qmp, "vda", 1, 9 * BLOCK);
  assert_bitmaps (domain, "vda A recording 4\n");
}

static void
test_merge_busy (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *path = g_build_filename (machine->sockets, "nbd", NULL);

  make_old_chain (machine);
  tell (machine, "nbd-server-start",
        varve_qmp_args ("{'addr':{'type':'unix','data':{'path':%s}}}", path));
  tell (machine, "block-export-add",
        varve_qmp_args ("{'type':'nbd','id':'e','node-name':'fA','bitmaps':['B']}"));
  merge_fails (domain, "A", "B C", VARVE_ERROR_BUSY);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 1\n");
}

/* Each of the bitmaps makes up a part of what changed; none of them is touched. */
static void
test_since_also (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  VarveStartDisk *disk = start->disks->pdata[0];
  uint64_t pause_us;

  make_old_chain (machine);
  disk->since = g_strdup ("A");
  varve_start_disk_also (disk, "X");
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);
  g_ptr_array_set_size (disk->since_also, 0);
  varve_start_disk_also (disk, "B");
  varve_start_disk_also (disk, "C");

  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  guest_write (machine->qmp, "vda", 2, 7 * BLOCK);
  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_autofree bool *dirty = read_dirty (&endpoint);
  for (guint b = 0; b < BLOCKS; b++)
    g_assert_true (dirty[b] == (b < 3));
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 2\n"
                          "vda CK1 recording 1\nvdb CK1 recording 0\n");
}

/* A QEMU that has gone: by its images where they are known. */
static void
test_gone (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (GHashTable) images = two_images (machine);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveDomain) without = open_or_fail (machine);

  g_clear_pointer (&without, varve_domain_free); /* the monitor serves one client */
  g_autoptr (VarveDomain) domain = open_at (machine, images, NULL, &error);
  g_assert_no_error (error);
  add_checkpoint (domain, "CK1", "vda vdb");
  machine_kill (machine, SIGKILL);
  g_autoptr (VarveDomain) stopped = open_two (machine);
  add_checkpoint (domain, "CK2", "vda vdb");
  add_checkpoint (domain, "CK3", "vda vdb");
  merge_checkpoints (domain, "CK2", "CK3");
  assert_bitmaps (stopped, "vda CK2 recording 0\nvdb CK2 recording 0\n");
}

static void
test_gone_for_good (void)
{
  g_autoptr (Machine) machine = machine_with_disks ("");
  g_autoptr (VarveDomain) domain = open_or_fail (machine);

  machine_kill (machine, SIGKILL);
  add_fails (domain, "CK1", "vda", VARVE_ERROR_SOURCE_UNREACHABLE);
  merge_fails (domain, "CK1", "CK2", VARVE_ERROR_SOURCE_UNREACHABLE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-checkpoint/add", test_add);
  g_test_add_func ("/qmp-checkpoint/add-undone", test_add_undone);
  g_test_add_func ("/qmp-checkpoint/merge-disabled", test_merge_disabled);
  g_test_add_func ("/qmp-checkpoint/merge-others", test_merge_others);
  g_test_add_func ("/qmp-checkpoint/merge-busy", test_merge_busy);
  g_test_add_func ("/qmp-checkpoint/since-also", test_since_also);
  g_test_add_func ("/qmp-checkpoint/gone", test_gone);
  g_test_add_func ("/qmp-checkpoint/gone-for-good", test_gone_for_good);
  return g_test_run ();
}
