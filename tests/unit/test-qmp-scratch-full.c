/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A scratch directory that runs full: with a filter of ours the guest does not notice and the reader does;
 * with a job that knows no policy the guest is paused until the session has been ended. */
#include "config.h"
#include "machine.h"
#include "boot-guest.h"

#include <sched.h>
#include <sys/mount.h>

#include "util/error.h"

/* Needs the right to mount; false where there is none. */
static bool
make_scratch_small (const Machine *machine)
{
  return mount ("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
         mount ("tmpfs", machine->scratch, "tmpfs", 0, "size=1m,mode=0700") == 0;
}

/* Zeros would need no room. */
static void
fill_disks (const Machine *machine)
{
  for (const char *letter = "ab"; *letter; letter++) {
    g_autofree char *path = g_strdup_printf ("%s/%c.qcow2", machine->dir, *letter);
    g_autofree char *line = g_strdup_printf ("write -q -P 170 0 %" G_GUINT64_FORMAT, DISK_SIZE);
    const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", line, path, NULL };
    int status = 1;

    g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                                 NULL, &status, NULL));
    g_assert_cmpint (status, ==, 0);
  }
}

static VarveSnapshot *
start_or_fail (VarveDomain *domain, const VarveStart *start)
{
  VarveSnapshot *snapshot = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  return snapshot;
}

static bool
guest_is_paused (VarveSnapshot *snapshot)
{
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  return status.guest_paused;
}

static int
ignore_extents (void *data, const char *context, uint64_t offset, uint32_t *entries, size_t n,
                int *error)
{
  return 0;
}

/* Whether the proof of a view for foreign readers can be had. */
static bool
is_proven (VarveSnapshot *snapshot)
{
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  nbd_extent_callback callback = { .callback = ignore_extents };
  bool proven;

  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_free (endpoint.uri);
  endpoint.uri = g_strdup (endpoint.proof_uri);
  struct nbd_handle *nbd = connect_to (&endpoint, "base:allocation");
  proven = nbd_block_status (nbd, BLOCK, 0, callback, 0) == 0;
  nbd_close (nbd);
  return proven;
}

/* The first block that cannot be read, or BLOCKS. */
static guint
first_failure (VarveSnapshot *snapshot)
{
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  g_autofree char *block = g_malloc (BLOCK);
  guint i = 0;

  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  struct nbd_handle *nbd = connect_to (&endpoint, NULL);
  while (i < BLOCKS && nbd_pread (nbd, block, BLOCK, (uint64_t)i * BLOCK, 0) == 0)
    i++;
  nbd_close (nbd);
  return i;
}

typedef struct {
  VarvePause pause;
  bool foreign_readers;
} Variant;

/* Foreign readers can read on, and get what is not theirs: the proof tells. */
static void
check_broken (VarveSnapshot *snapshot, const Variant *variant)
{
  g_assert_false (guest_is_paused (snapshot));
  if (variant->foreign_readers)
    g_assert_false (is_proven (snapshot));
  else
    g_assert_cmpuint (first_failure (snapshot), ==, 0);
}

static void
test_full (gconstpointer data)
{
  const Variant *variant = data;
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GError) error = NULL;

  if (!make_scratch_small (machine)) {
    g_test_skip ("no right to mount a small file system");
    return;
  }
  machine_make_disks (machine);
  fill_disks (machine);
  make_boot_disk (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS " " BOOT_DISK);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  wait_for_writes (machine, 10);
  g_autofree char *before = what_is_there (machine);
  start->policy.pause = variant->pause;
  start->foreign_readers = variant->foreign_readers;
  g_autoptr (VarveSnapshot) snapshot = start_or_fail (domain, start);

  if (variant->foreign_readers)
    g_assert_true (is_proven (snapshot));
  if (variant->pause == VARVE_PAUSE_BRIEF) {
    /* Far more blocks than the scratch can hold. */
    wait_for_writes (machine, 20 * WRITES_PER_BLOCK);
    check_broken (snapshot, variant);
  } else {
    wait_until (guest_is_paused (snapshot));
    g_assert_cmpuint (first_failure (snapshot), ==, BLOCKS);
    if (variant->foreign_readers)
      g_assert_true (is_proven (snapshot));
  }
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  varve_domain_resume (domain, NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  wait_for_writes (machine, WRITES_PER_BLOCK);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
  machine_kill (machine, SIGKILL);
  g_assert_cmpint (umount (machine->scratch), ==, 0);
}

static const Variant filter = { VARVE_PAUSE_BRIEF, false };
static const Variant filter_foreign = { VARVE_PAUSE_BRIEF, true };
static const Variant job = { VARVE_PAUSE_NEVER, false };
static const Variant job_foreign = { VARVE_PAUSE_NEVER, true };

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (unshare (CLONE_NEWNS) != 0) {
    g_print ("1..0 # SKIP no right to a mount name space\n");
    return 0;
  }
  g_test_add_data_func ("/qmp-scratch-full/filter", &filter, test_full);
  g_test_add_data_func ("/qmp-scratch-full/filter-foreign", &filter_foreign, test_full);
  g_test_add_data_func ("/qmp-scratch-full/job", &job, test_full);
  g_test_add_data_func ("/qmp-scratch-full/job-foreign", &job_foreign, test_full);
  return g_test_run ();
}
