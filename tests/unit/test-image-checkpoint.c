/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints of stopped images through the real storage daemon. Run with arguments, this is the
 * process that is killed. */
#include "config.h"
#include "stopped-machine.h"

#include "util/error.h"

static void
bitmap_tool (const Machine *machine, const char *arguments)
{
  run_in (machine, "qemu-img bitmap %s", arguments);
}

static void
test_add (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  run_in (machine, "qemu-img create -q -f raw c.raw 1M");
  g_autoptr (GHashTable) images = two_images (machine);
  add_image (images, machine, "raw", "c.raw", "raw");
  g_autoptr (VarveDomain) domain = open_images (images);

  add_checkpoint (domain, "CK1", "vda vdb");
  write_offline (machine, "a.qcow2", 1, 3);
  write_offline (machine, "a.qcow2", 1, 4);
  assert_bitmaps (domain, "vda CK1 recording 2\nvdb CK1 recording 0\n");
  add_fails (domain, "CK1", "vdb", VARVE_ERROR_EXISTS);
  add_fails (domain, "CK2", "vda raw", VARVE_ERROR_REFUSED);
  add_fails (domain, "CK2", "vda vdx", VARVE_ERROR_NOT_FOUND);
  add_checkpoint (domain, "CK2", "vda");
  assert_bitmaps (domain, "vda CK1 recording 2\nvda CK2 recording 0\nvdb CK1 recording 0\n");
}

static void
test_add_undone (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_setenv ("VARVE_FAILPOINT", "image-checkpoint-changed:error", TRUE);
  add_fails (domain, "CK1", "vda vdb", VARVE_ERROR_FAILED);
  g_unsetenv ("VARVE_FAILPOINT");
  assert_bitmaps (domain, "");
}

/* As older tools leave them: three spans of time, of which only the last records. */
static void
make_old_chain (const Machine *machine)
{
  bitmap_tool (machine, "--add a.qcow2 A");
  write_offline (machine, "a.qcow2", 1, 0);
  bitmap_tool (machine, "--disable a.qcow2 A");
  bitmap_tool (machine, "--add -g 4096 a.qcow2 B");
  write_offline (machine, "a.qcow2", 1, 1);
  bitmap_tool (machine, "--disable a.qcow2 B");
  bitmap_tool (machine, "--add a.qcow2 C");
  write_offline (machine, "a.qcow2", 1, 2);
}

static void
test_merge_disabled (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  make_old_chain (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 1\n");
  merge_fails (domain, "A", "B X", VARVE_ERROR_CHECKPOINT);
  merge_fails (domain, "X", "B", VARVE_ERROR_CHECKPOINT);
  merge_fails (domain, "X", "Y", VARVE_ERROR_NOT_FOUND);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 1\n");
  merge_checkpoints (domain, "A", "B C");
  assert_bitmaps (domain, "vda A recording 3\n");
  write_offline (machine, "a.qcow2", 1, 9);
  assert_bitmaps (domain, "vda A recording 4\n");
  merge_checkpoints (domain, "A", "B C");
  assert_bitmaps (domain, "vda A recording 4\n");
}

/* C is not named, and the only one that knows what was written last. */
static void
test_merge_others (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  make_old_chain (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  merge_checkpoints (domain, "A", "B");
  assert_bitmaps (domain, "vda A recording 3\nvda C recording 1\n");
}

static void
test_merge_recording (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  add_checkpoint (domain, "CK1", "vda vdb");
  write_offline (machine, "a.qcow2", 1, 3);
  add_checkpoint (domain, "CK2", "vda vdb");
  write_offline (machine, "b.qcow2", 1, 4);
  merge_checkpoints (domain, "CK1", "CK2");
  assert_bitmaps (domain, "vda CK1 recording 1\nvdb CK1 recording 1\n");
}

/* Each of the bitmaps makes up a part of what changed; none of them is touched. */
static void
test_since_also (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;

  machine_make_disks (machine);
  make_old_chain (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) start = start_of_images (machine, "CK1", NULL);
  VarveStartDisk *disk = start->disks->pdata[0];
  disk->since = g_strdup ("A");
  varve_start_disk_also (disk, "B");
  varve_start_disk_also (disk, "C");
  g_autoptr (VarveSnapshot) snapshot = start_or_fail (domain, start);
  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_autofree bool *dirty = read_dirty (&endpoint);
  for (guint b = 0; b < BLOCKS; b++)
    g_assert_true (dirty[b] == (b < 3));
  finish_and_end (snapshot);
  assert_bitmaps (domain, "vda A disabled 1\nvda B disabled 1\nvda C recording 1\n"
                          "vda CK1 recording 0\nvdb CK1 recording 0\n");

  g_autoptr (VarveStart) refused = start_of_images (machine, NULL, NULL);
  g_autoptr (VarveSnapshot) none = NULL;
  uint64_t pause_us;
  disk = refused->disks->pdata[0];
  disk->since = g_strdup ("A");
  varve_start_disk_also (disk, "X");
  g_assert_false (varve_domain_start (domain, refused, &none, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_nonnull (strstr (error->message, "no bitmap 'X'"));
}

static void
test_in_use (void)
{
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  add_checkpoint (domain, "CK1", "vda");
  add_checkpoint (domain, "CK2", "vda");
  machine_boot (machine, "-S -name vm1 " TWO_DISKS);
  add_fails (domain, "CK3", "vda vdb", VARVE_ERROR_BUSY);
  merge_fails (domain, "CK1", "CK2", VARVE_ERROR_BUSY);
  /* Killed, QEMU takes all with it: what is broken is removed, and cannot be merged into. */
  machine_kill (machine, SIGKILL);
  assert_bitmaps (domain, "vda CK1 inconsistent ?\nvda CK2 inconsistent ?\n");
  merge_fails (domain, "CK1", "CK2", VARVE_ERROR_CHECKPOINT);
  add_checkpoint (domain, "CK3", "vda");
  merge_checkpoints (domain, "CK3", "CK1 CK2");
  assert_bitmaps (domain, "vda CK3 recording 0\n");
}

static int
be_killed (const char *dir)
{
  Machine machine = { .dir = (char *)dir };
  g_autoptr (VarveDomain) domain = open_two (&machine);
  g_autoptr (GPtrArray) from = words_of ("B C");

  varve_domain_checkpoint_merge (domain, "A", from, NULL, NULL);
  return 0; /* not killed */
}

static bool
can_be_read (VarveDomain *domain)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;
  bool read = varve_domain_bitmaps (domain, &bitmaps, NULL, &error);

  if (!read)
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  return read;
}

/* Killed between change and storing: the daemon that is left stores it, and loses nothing. */
static void
test_killed (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  const char *argv[] = { self, "--be-killed", machine->dir, NULL };
  g_autoptr (GError) error = NULL;
  int wait_status = 0;

  machine_make_disks (machine);
  make_old_chain (machine);
  g_setenv ("VARVE_FAILPOINT", "image-checkpoint-changed", TRUE);
  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &wait_status,
                &error);
  g_unsetenv ("VARVE_FAILPOINT");
  g_assert_no_error (error);
  g_assert_true (WIFSIGNALED (wait_status) && WTERMSIG (wait_status) == SIGKILL);

  g_autoptr (VarveDomain) domain = open_two (machine);
  wait_until (can_be_read (domain));
  assert_bitmaps (domain, "vda A recording 3\n");
}

int
main (int argc, char **argv)
{
  if (argc == 3 && g_str_equal (argv[1], "--be-killed"))
    return be_killed (argv[2]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image-checkpoint/add", test_add);
  g_test_add_func ("/image-checkpoint/add-undone", test_add_undone);
  g_test_add_func ("/image-checkpoint/merge-disabled", test_merge_disabled);
  g_test_add_func ("/image-checkpoint/merge-others", test_merge_others);
  g_test_add_func ("/image-checkpoint/merge-recording", test_merge_recording);
  g_test_add_func ("/image-checkpoint/since-also", test_since_also);
  g_test_add_func ("/image-checkpoint/in-use", test_in_use);
  g_test_add_func ("/image-checkpoint/killed", test_killed);
  return g_test_run ();
}
