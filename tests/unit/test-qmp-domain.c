/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "machine.h"
#include "boot-guest.h"

#include "util/error.h"

/* --- what the guest's writes prove ------------------------------------------------------------- */

static guint32
word_at (const char *data, guint block)
{
  guint32 word;

  memcpy (&word, data + (size_t)block * BLOCK, sizeof word);
  return GUINT32_FROM_LE (word);
}

/* The last of the writes 1 … k that went to @block, or 0. */
static guint32
last_write (guint block, guint32 k)
{
  guint32 round = k / WRITES_PER_BLOCK;
  guint32 back = (round - block) % BLOCKS;

  if (back > round)
    return 0;
  if (back == 0)
    return k;
  return (round - back) * WRITES_PER_BLOCK + WRITES_PER_BLOCK - 1;
}

/* The write after which the disk looked like @data; fails where it never did. */
static guint32
instant_of (const char *data)
{
  guint32 k = 0;

  for (guint b = 0; b < BLOCKS; b++)
    k = MAX (k, word_at (data, b));
  for (guint b = 0; b < BLOCKS; b++)
    g_assert_cmpuint (word_at (data, b), ==, last_write (b, k));
  return k;
}

/* The instant of each disk: vdb's is vda's, or one write before that. */
static void
find_instants (char *const *data, guint32 *out)
{
  out[0] = instant_of (data[0]);
  out[1] = instant_of (data[1]);
  g_assert_true (out[1] == out[0] || out[1] + 1 == out[0]);
}

/* --- one whole backup and its increment ------------------------------------------------------- */

typedef struct {
  char *data[2];
  bool *dirty[2];
} Copy;

static void
copy_clear (Copy *copy)
{
  for (int i = 0; i < 2; i++) {
    g_free (copy->data[i]);
    g_free (copy->dirty[i]);
  }
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Copy, copy_clear)

static void
take_copy (VarveSnapshot *snapshot, bool incremental, Copy *out)
{
  for (int i = 0; i < 2; i++) {
    g_auto (VarveEndpoint) endpoint = { 0 };
    g_autoptr (GError) error = NULL;

    varve_snapshot_endpoint (snapshot, i ? "vdb" : "vda", &endpoint, NULL, &error);
    g_assert_no_error (error);
    g_assert_true (endpoint.contexts_may_share == snapshot->start->foreign_readers);
    g_assert_true ((endpoint.proof_uri != NULL) == snapshot->start->foreign_readers);
    g_assert_true (!endpoint.dirty_context == !incremental);
    out->dirty[i] = incremental ? read_dirty (&endpoint) : NULL;
    out->data[i] = read_all (&endpoint);
  }
}

static void
back_up (const Machine *machine, VarveDomain *domain, const VarveStart *start, Copy *out,
         uint64_t *out_pause_us)
{
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;

  varve_domain_start (domain, start, &snapshot, out_pause_us, NULL, &error);
  g_assert_no_error (error);
  wait_for_writes (machine, 100);
  take_copy (snapshot, ((VarveStartDisk *)start->disks->pdata[0])->since != NULL, out);
  wait_for_writes (machine, 20);
  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  g_assert_cmpuint (status.scratch_used, >, 0);
  g_assert_false (status.guest_paused);
  varve_snapshot_finish (snapshot, NULL, &error);
  g_assert_no_error (error);

  /* A connection that is still open is the normal case. */
  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  struct nbd_handle *idle = connect_to (&endpoint, NULL);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  nbd_close (idle);
}

/* What the dirty map leaves out must be the base's; and it must be a map, not the whole disk. */
static void
check_increment (const Copy *full, const Copy *increment, const guint32 *from, const guint32 *to)
{
  for (int disk = 0; disk < 2; disk++) {
    guint clean = 0;

    for (guint b = 0; b < BLOCKS; b++) {
      size_t at = (size_t)b * BLOCK;
      bool touched = last_write (b, to[disk]) > from[disk];

      g_assert_true (increment->dirty[disk][b] || !touched);
      if (increment->dirty[disk][b])
        continue;
      clean++;
      g_assert_cmpmem (full->data[disk] + at, BLOCK, increment->data[disk] + at, BLOCK);
    }
    if (to[disk] - from[disk] < (BLOCKS - 2) * WRITES_PER_BLOCK)
      g_assert_cmpuint (clean, >, 0);
  }
}

static void
check_checkpoint (VarveDomain *domain, const char *name, bool there)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;

  varve_domain_bitmaps (domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  for (int i = 0; i < 2; i++) {
    VarveBitmap *bitmap = varve_bitmap_find (bitmaps, i ? "vdb" : "vda", name);

    g_assert_true ((bitmap != NULL) == there);
    if (bitmap) {
      g_assert_true (bitmap->recording);
      g_assert_true (bitmap->persistent);
      g_assert_cmpuint (bitmap->granularity, ==, BLOCK);
    }
  }
}

static void
remove_checkpoints (VarveDomain *domain)
{
  for (int i = 1; i <= 2; i++) {
    g_autofree char *name = g_strdup_printf ("CK%d", i);
    g_autoptr (GError) error = NULL;

    check_checkpoint (domain, name, true);
    varve_domain_checkpoint_remove (domain, name, NULL, &error);
    g_assert_no_error (error);
    varve_domain_checkpoint_remove (domain, name, NULL, &error);
    g_assert_no_error (error);
    check_checkpoint (domain, name, false);
  }
}

static void
check_strategy (VarveDomain *domain, const VarveStart *start, const char *strategy)
{
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (GError) error = NULL;

  varve_domain_check (domain, start, &report, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (report->strategy, ==, strategy);
  g_assert_true (report->needs_scratch);
  g_assert_cmpuint (report->refusals->len, ==, 0);
  g_assert_cmpuint (report->weaker->len, ==, start->policy.pause == VARVE_PAUSE_NEVER);
}

typedef struct {
  VarvePause pause;
  const char *strategy;
  bool foreign_readers;
} Variant;

static void
test_two_backups (gconstpointer data)
{
  const Variant *variant = data;
  g_autoptr (Machine) machine = machine_new ();
  g_auto (Copy) full = { 0 };
  g_auto (Copy) increment = { 0 };
  guint32 from[2], to[2];
  uint64_t pause_us = 0;

  machine_make_disks (machine);
  make_boot_disk (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS " " BOOT_DISK);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) first = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveStart) second = make_start (machine, "fedcba9876543210", "CK2", "CK1");

  first->policy.pause = second->policy.pause = variant->pause;
  first->foreign_readers = second->foreign_readers = variant->foreign_readers;
  check_strategy (domain, first, variant->strategy);
  wait_for_writes (machine, 100);
  back_up (machine, domain, first, &full, &pause_us);
  g_assert_true ((pause_us > 0) == (variant->pause == VARVE_PAUSE_BRIEF));
  g_test_message ("the guest stood still for %" G_GUINT64_FORMAT " us", pause_us);
  back_up (machine, domain, second, &increment, &pause_us);
  find_instants (full.data, from);
  find_instants (increment.data, to);
  g_assert_cmpuint (from[0], <, to[0]);
  g_assert_cmpuint (to[0], <, guest_progress (machine));
  g_test_message ("instants: after write %u and after write %u", from[0], to[0]);
  check_increment (&full, &increment, from, to);
  remove_checkpoints (domain);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static const Variant filter = { VARVE_PAUSE_BRIEF, "filter", false };
static const Variant job = { VARVE_PAUSE_NEVER, "job-filter", false };
static const Variant filter_foreign = { VARVE_PAUSE_BRIEF, "filter", true };
static const Variant job_foreign = { VARVE_PAUSE_NEVER, "job-filter", true };

/* A guest that stood still before stands still after, and its disks are frozen all the same. */
static void
test_paused (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (Copy) copy = { 0 };
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  machine_make_disks (machine);
  machine_boot (machine, "-S -name vm1 " TWO_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  guest_write (machine->qmp, "vda", 7, 0);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", NULL, NULL);
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pause_us, ==, 0);
  guest_write (machine->qmp, "vda", 8, 0);
  take_copy (snapshot, false, &copy);
  g_assert_cmpint (copy.data[0][BLOCK - 1], ==, 7);
  varve_snapshot_finish (snapshot, NULL, &error);
  g_assert_no_error (error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

/* --- inventory and refusals ------------------------------------------------------------------- */

#define ODD_DISKS                                                                                  \
  "-uuid 11111111-2222-3333-4444-55555555AAAA -object iothread,id=io0 "                            \
  "-blockdev driver=qcow2,node-name=fA,file.driver=file,file.filename=a.qcow2 "                    \
  "-device virtio-blk-pci,drive=fA,id=vd0 "                                                        \
  "-drive if=none,id=drive1,format=qcow2,file=old.qcow2 -device virtio-blk-pci,drive=drive1 "      \
  "-blockdev driver=raw,node-name=fC,file.driver=null-co,file.size=1048576 "                       \
  "-device virtio-blk-pci,drive=fC,id=vd2,iothread=io0 "                                           \
  "-blockdev driver=raw,node-name=fD,file.driver=null-co,file.size=1048576,read-only=on "          \
  "-device virtio-blk-pci,drive=fD,id=vd3 "                                                        \
  "-blockdev driver=raw,node-name=fE,file.driver=null-co,file.size=1048576 "                       \
  "-device virtio-blk-pci,drive=fE -device ide-cd,id=cd0 "                                         \
  "-device virtio-scsi-pci,id=sc0,iothread=io0 "                                                   \
  "-blockdev driver=raw,node-name=fF,file.driver=null-co,file.size=1048576 "                       \
  "-device scsi-hd,bus=sc0.0,drive=fF,id=sd0"

static VarveDisk *
must_find (GPtrArray *disks, const char *name)
{
  VarveDisk *disk = varve_disk_find (disks, name);

  if (!disk)
    g_error ("There is no disk '%s'", name);
  return disk;
}

static void
check_odd_disks (Machine *machine, GPtrArray *disks)
{
  g_autofree char *path = path_in (machine, "a.qcow2");
  VarveDisk *disk = must_find (disks, "vda");

  g_assert_cmpuint (disks->len, ==, 7);
  g_assert_cmpstr (disk->format, ==, "qcow2");
  g_assert_cmpstr (disk->path, ==, path);
  g_assert_cmpuint (disk->size, ==, DISK_SIZE);
  g_assert_true (disk->can_back_up && disk->can_persist && !disk->iothread);

  disk = must_find (disks, "drive1");
  g_assert_true (disk->can_back_up && !disk->can_persist && disk->transient_ok);
  g_assert_nonnull (strstr (disk->why_not_persist, "version 2"));

  disk = must_find (disks, "vd2");
  g_assert_true (disk->can_back_up && disk->iothread && !disk->can_persist && !disk->path);
  g_assert_true (must_find (disks, "sd0")->iothread);

  disk = must_find (disks, "vd3");
  g_assert_true (!disk->can_back_up && !disk->iothread);
  g_assert_nonnull (strstr (disk->why_not, "read-only"));
  disk = must_find (disks, "cd0");
  g_assert_true (!disk->can_back_up);

  for (guint i = 0; i < disks->len; i++) {
    disk = g_ptr_array_index (disks, i);
    if (disk->name[0] == '/') {
      g_assert_false (disk->can_back_up);
      g_assert_nonnull (strstr (disk->why_not, "qdev='fE'"));
      return;
    }
  }
  g_assert_not_reached ();
}

static void
test_inventory (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GHashTable) qdevs = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GError) error = NULL;
  VarveDomainState state;

  machine_make_disks (machine);
  run_in (machine, "qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 1M");
  machine_boot (machine, "-S -name vm1 " ODD_DISKS);
  g_hash_table_insert (qdevs, (gpointer) "vda", (gpointer) "vd0");
  g_autoptr (VarveDomain) domain = open_at (machine, NULL, qdevs, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (domain->name, ==, "vm1");
  g_assert_cmpstr (domain->uuid, ==, "11111111-2222-3333-4444-55555555aaaa");
  varve_domain_state (domain, &state, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (state, ==, VARVE_DOMAIN_PAUSED);
  varve_domain_inventory (domain, &disks, NULL, &error);
  g_assert_no_error (error);
  check_odd_disks (machine, disks);

  g_hash_table_insert (qdevs, (gpointer) "vdx", (gpointer) "vd9");
  g_clear_pointer (&domain, varve_domain_free);
  domain = open_at (machine, NULL, qdevs, &error);
  g_clear_pointer (&disks, g_ptr_array_unref);
  g_assert_false (varve_domain_inventory (domain, &disks, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

static void
assert_refused (VarveDomain *domain, const VarveStart *start, const char *words)
{
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  varve_domain_check (domain, start, &report, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (report->refusals->len, >=, 1);
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_null (snapshot);
  if (!strstr (error->message, words))
    g_error ("'%s' is not in: %s", words, error->message);
}

static VarveStart *
start_one (Machine *machine, const char *name)
{
  VarveStart *start = varve_start_new ("0123456789abcdef");
  VarveStartDisk *disk = varve_start_add_disk (start, name);

  start->directory = g_strdup (machine->sockets);
  disk->scratch = g_strdup_printf ("%s/x.qcow2", machine->scratch);
  return start;
}

static void
test_refusals (void)
{
  static const struct {
    const char *disk, *words, *since;
    bool checkpoint;
    unsigned timeout;
  } rows[] = {
    { "nix", "no such disk", NULL, false, 4 },
    { "vd2", "iothread", NULL, false, 4 },
    { "vd3", "read-only", NULL, false, 4 },
    { "drive1", "no checkpoint can be added", NULL, true, 4 },
    { "vd0", "no bitmap 'CK'", "CK", false, 4 },
    { "vd0", "1 to 4 s", NULL, false, 5 },
  };
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  run_in (machine, "qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 1M");
  machine_boot (machine, "-S -name vm1 " ODD_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *before = what_is_there (machine);
  for (size_t i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autoptr (VarveStart) start = start_one (machine, rows[i].disk);
    VarveStartDisk *disk = start->disks->pdata[0];

    start->checkpoint = rows[i].checkpoint ? g_strdup ("CKN") : NULL;
    start->policy.write_timeout = rows[i].timeout;
    disk->checkpoint = rows[i].checkpoint;
    disk->since = g_strdup (rows[i].since);
    assert_refused (domain, start, rows[i].words);
  }
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

/* A disk without a device id and with a bitmap that is not stored. */
static void
test_transient (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  machine_make_disks (machine);
  run_in (machine, "qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 1M");
  machine_boot (machine, "-name vm1 " ODD_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = start_one (machine, "drive1");
  VarveStartDisk *disk = start->disks->pdata[0];
  start->checkpoint = g_strdup ("CKT");
  disk->checkpoint = disk->transient = true;

  varve_domain_check (domain, start, &report, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (report->strategy, ==, "job-filter");
  g_assert_cmpuint (report->weaker->len, ==, 2);
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  varve_domain_bitmaps (domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (varve_bitmap_find (bitmaps, "drive1", "CKT")->persistent);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_remove (domain, "CKT", NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

/* A QEMU of another user gets the scratch images and the sockets' directory. */
static void
test_other_user (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (Copy) copy = { 0 };
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  if (geteuid () != 0) {
    g_test_skip ("only root can have a QEMU of another user");
    return;
  }
  machine_make_disks (machine);
  run_in (machine, "chown nobody . a.qcow2 b.qcow2");
  run_in (machine, "chmod 0711 scratch");
  machine_boot (machine, "-runas nobody -name vm1 " TWO_DISKS);
  guest_write (machine->qmp, "vda", 7, 0);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  take_copy (snapshot, false, &copy);
  g_assert_cmpint (copy.data[0][0], ==, 7);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static void
test_wrong_domain (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GError) error = NULL;

  machine_boot (machine, "-S -name other");
  g_assert_null (open_at (machine, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_clear_error (&error);
  machine_kill (machine, SIGKILL);
  g_assert_null (open_at (machine, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/qmp-domain/filter", &filter, test_two_backups);
  g_test_add_data_func ("/qmp-domain/filter-foreign", &filter_foreign, test_two_backups);
  g_test_add_data_func ("/qmp-domain/job", &job, test_two_backups);
  g_test_add_data_func ("/qmp-domain/job-foreign", &job_foreign, test_two_backups);
  g_test_add_func ("/qmp-domain/paused", test_paused);
  g_test_add_func ("/qmp-domain/inventory", test_inventory);
  g_test_add_func ("/qmp-domain/refusals", test_refusals);
  g_test_add_func ("/qmp-domain/transient", test_transient);
  g_test_add_func ("/qmp-domain/other-user", test_other_user);
  g_test_add_func ("/qmp-domain/wrong-domain", test_wrong_domain);
  return g_test_run ();
}
