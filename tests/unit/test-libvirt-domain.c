/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Backups of running domains, against the libvirtd of this host. */
#include "config.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "libvirt-fixture.h"

/* --- what is there
 * -------------------------------------------------------------------------------- */

static void
test_inventory (Fixture *f, gconstpointer data)
{
  g_autoptr (GPtrArray) disks = NULL;
  g_autofree char *path = in_top (f, "vda.qcow2");
  const VarveDisk *disk;

  g_assert_true (varve_domain_inventory (f->domain, &disks, NULL, NULL));
  g_assert_cmpuint (disks->len, ==, 4);
  disk = varve_disk_find (disks, "vda");
  g_assert_cmpuint (disk->size, ==, 128 * MIB);
  g_assert_cmpstr (disk->format, ==, "qcow2");
  g_assert_cmpstr (disk->path, ==, path);
  g_assert_true (disk->can_back_up && disk->can_persist && !disk->iothread);
  disk = varve_disk_find (disks, "vdb");
  g_assert_cmpuint (disk->size, ==, 16 * MIB);
  g_assert_true (disk->can_back_up && !disk->can_persist && !disk->transient_ok);
  g_assert_nonnull (strstr (disk->why_not_persist, "raw"));
  disk = varve_disk_find (disks, "hda");
  g_assert_false (disk->can_back_up);
  g_assert_nonnull (strstr (disk->why_not, "cdrom"));
}

static void
assert_state (Fixture *f, VarveDomainState expected)
{
  g_autoptr (GError) error = NULL;
  VarveDomainState state;

  varve_domain_state (f->domain, &state, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (state, ==, expected);
}

static void
test_state (Fixture *f, gconstpointer data)
{
  assert_state (f, VARVE_DOMAIN_RUNNING);
  virsh ("suspend", f->name);
  assert_state (f, VARVE_DOMAIN_PAUSED);
  /* A user's pause is not ours to end. */
  g_assert_true (varve_domain_resume (f->domain, NULL, NULL));
  assert_state (f, VARVE_DOMAIN_PAUSED);
  virsh ("destroy", f->name);
  assert_state (f, VARVE_DOMAIN_OFF);
}

static void
test_guest_agent (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_domain_freeze (f->domain, 5, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_assert_true (varve_domain_thaw (f->domain, NULL, NULL));
}

static void
test_files (Fixture *f, gconstpointer data)
{
  g_auto (VarveDomainFiles) files = { NULL };

  g_assert_true (varve_domain_files (f->domain, &files, NULL, NULL));
  g_assert_nonnull (strstr (files.xml, f->name));
  g_assert_null (files.nvram);
  g_assert_null (files.tpm);
  g_assert_null (files.why_not);
  g_assert_null (files.why_no_tpm);
  g_assert_nonnull (strstr (files.xml, "<domain type='qemu'>")); /* no runtime id */
}

/* --- backups
 * -------------------------------------------------------------------------------------- */

static void
test_full (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b1.n");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autofree char *vda = NULL;
  g_autofree char *vdb = NULL;
  size_t vda_length, vdb_length;

  guest_io (f, "virtio-disk0", "write -P 0x11 1M 1M");
  guest_io (f, "virtio-disk1", "write -P 0x22 0 1M");
  add_disk (f, start, "vda", NULL);
  add_disk (f, start, "vdb", NULL);
  snapshot = begin (f, start);
  guest_io (f, "virtio-disk0", "write -P 0x33 1M 2M");
  guest_io (f, "virtio-disk1", "write -P 0x33 0 2M");

  g_assert_true (varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, NULL));
  g_assert_null (endpoint.dirty_context);
  g_assert_true (endpoint.contexts_may_share);
  vda = read_disk (f, snapshot, "vda", &vda_length);
  vdb = read_disk (f, snapshot, "vdb", &vdb_length);
  g_assert_cmpuint (vda_length, ==, 128 * MIB);
  g_assert_cmpuint (vdb_length, ==, 16 * MIB);
  assert_pattern (vda, 1 * MIB, 1 * MIB, 0x11);
  g_assert_true (is_zero_range (vda, 2 * MIB, 126 * MIB));
  assert_pattern (vdb, 0, 1 * MIB, 0x22);
  g_assert_true (is_zero_range (vdb, 1 * MIB, 15 * MIB));

  g_assert_true (varve_snapshot_poll (snapshot, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  g_assert_false (status.guest_paused);
  g_assert_cmpuint (status.scratch_used, >=, 4 * MIB);
  finish_and_end (snapshot);
  assert_no_files (start);
  g_assert_false (libvirt_has_backup (f));
  assert_bitmap (f, "vda", "varve.t-1.b1.n", true, 2 * MIB);
}

static void
test_incremental (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) first = new_start (f, "varve.t-1.b1.n");
  g_autoptr (VarveStart) second = new_start (f, "varve.t-1.b2.n");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *map = NULL;
  g_autofree char *vda = NULL;
  size_t length;

  add_disk (f, first, "vda", NULL);
  snapshot = begin (f, first);
  finish_and_end (snapshot);
  g_clear_pointer (&snapshot, varve_snapshot_free);

  guest_io (f, "virtio-disk0", "write -P 0x5a 100M 10M");
  assert_bitmap (f, "vda", "varve.t-1.b1.n", true, 10 * MIB);
  add_disk (f, second, "vda", "varve.t-1.b1.n");
  add_disk (f, second, "vdc", NULL); /* one disk full, the other not, in one job */
  snapshot = begin (f, second);
  guest_io (f, "virtio-disk0", "write -P 0x66 0 1M");
  guest_io (f, "virtio-disk0", "write -P 0x66 104M 1M");
  map = dirty_map (snapshot, "vda");
  g_test_message ("%s", map);
  g_assert_nonnull (strstr (map, " 104857600    10485760    1  dirty"));
  vda = read_disk (f, snapshot, "vda", &length);
  assert_pattern (vda, 100 * MIB, 10 * MIB, 0x5a);
  g_assert_true (is_zero_range (vda, 0, 100 * MIB));
  finish_and_end (snapshot);

  assert_bitmap (f, "vda", "varve.t-1.b1.n", true, 11 * MIB);
  assert_bitmap (f, "vda", "varve.t-1.b2.n", true, 2 * MIB);
  assert_bitmap (f, "vdc", "varve.t-1.b2.n", true, 0);
  remove_checkpoint (f, "varve.t-1.b1.n");
  remove_checkpoint (f, "varve.t-1.b1.n");
  assert_no_bitmap (f, "varve.t-1.b1.n");
  assert_bitmap (f, "vda", "varve.t-1.b2.n", true, 2 * MIB);
}

/* The second job is found by a look, not by libvirt's time-out of 30 s, and neither is taken for
 * the other. */
static void
test_busy_with_ours (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) first = new_start (f, NULL);
  g_autoptr (VarveStart) second = new_start (f, "varve.t-1.b2.n");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (VarveSnapshot) other = NULL;
  g_autoptr (VarveStartReport) report = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autofree char *message = NULL;
  gint64 before;

  add_disk (f, first, "vda", NULL);
  add_disk (f, second, "vda", NULL);
  snapshot = begin (f, first);
  before = g_get_monotonic_time ();
  message = begin_fails (f, second, VARVE_ERROR_BUSY);
  g_assert_cmpint (g_get_monotonic_time () - before, <, AT_ONCE);
  g_assert_nonnull (strstr (message, first->session));
  g_assert_false (varve_domain_check (f->domain, second, &report, NULL, NULL));
  g_assert_true (varve_domain_attach (f->domain, second, &other, NULL, NULL));
  g_assert_true (varve_snapshot_poll (other, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
  g_assert_true (varve_snapshot_end (other, true, NULL, NULL));
  finish_and_end (snapshot);
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b2.n"));
}

static void
begin_foreign_backup (Fixture *f)
{
  g_autofree char *path = in_top (f, "backup.xml");
  g_autofree char *text = g_strdup_printf (
      "<domainbackup mode='pull'><server transport='unix' socket='%s/foreign/s'/><disks>"
      "<disk name='vda' backup='yes' type='file'><scratch file='%s/foreign.scratch'/></disk>"
      "<disk name='vdb' backup='no'/><disk name='vdc' backup='no'/><disk name='hda' backup='no'/>"
      "</disks></domainbackup>",
      f->top, f->top);
  g_autofree char *dir = in_top (f, "foreign");

  g_assert_cmpint (g_mkdir (dir, 0777), ==, 0);
  g_assert_cmpint (chmod (dir, 0777), ==, 0);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  virsh ("backup-begin", f->name, path);
}

static void
test_busy_with_foreign (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b.n");
  g_autoptr (VarveSnapshot) attached = NULL;
  g_autofree char *message = NULL;

  begin_foreign_backup (f);
  add_disk (f, start, "vda", NULL);
  message = begin_fails (f, start, VARVE_ERROR_BUSY);
  g_assert_nonnull (strstr (message, "Another program"));
  g_assert_true (varve_domain_attach (f->domain, start, &attached, NULL, NULL));
  g_assert_true (varve_snapshot_end (attached, true, NULL, NULL));
  g_assert_true (libvirt_has_backup (f));
  virsh ("domjobabort", f->name);
}

/* Somebody ends our job: what was read is no backup. */
static void
test_ended_by_another (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };

  add_disk (f, start, "vda", NULL);
  snapshot = begin (f, start);
  virsh ("domjobabort", f->name);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_assert_true (varve_snapshot_poll (snapshot, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
  g_assert_true (varve_snapshot_end (snapshot, false, NULL, NULL));
  g_assert_true (varve_snapshot_end (snapshot, false, NULL, NULL));
}

static void
test_killed_in_session (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b1.n");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };

  add_disk (f, start, "vda", NULL);
  snapshot = begin (f, start);
  kill_qemu (f);
  g_assert_true (varve_snapshot_poll (snapshot, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  assert_no_files (start);
  remove_checkpoint (f, "varve.t-1.b1.n");
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b1.n"));
}

/* --- refusals
 * ------------------------------------------------------------------------------------- */

static void
assert_refused (Fixture *f, const VarveStart *start, const char *part)
{
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *message = NULL;

  varve_domain_check (f->domain, start, &report, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (report->refusals->len, ==, 1);
  g_assert_nonnull (strstr (g_ptr_array_index (report->refusals, 0), part));
  message = begin_fails (f, start, VARVE_ERROR_REFUSED);
  g_assert_nonnull (strstr (message, part));
}

static void
test_check (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b.n");
  g_autoptr (VarveStartReport) report = NULL;

  add_disk (f, start, "vda", NULL);
  g_assert_true (varve_domain_check (f->domain, start, &report, NULL, NULL));
  g_assert_cmpuint (report->refusals->len, ==, 0);
  g_assert_cmpuint (report->weaker->len, ==, 1);
  g_assert_true (report->needs_scratch);
  g_assert_nonnull (report->strategy);
  g_assert_false (libvirt_has_backup (f));
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b.n"));
}

static void
test_refusals (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) raw = new_start (f, "varve.t-1.b.n");
  g_autoptr (VarveStart) exists = new_start (f, NULL);
  g_autoptr (VarveStart) cdrom = new_start (f, NULL);
  g_autoptr (VarveStart) unknown = new_start (f, NULL);

  add_disk (f, raw, "vdb", NULL)->checkpoint = true;
  assert_refused (f, raw, "'raw'");
  g_assert_true (g_file_set_contents (add_disk (f, exists, "vda", NULL)->scratch, "", 0, NULL));
  assert_refused (f, exists, "exists already");
  add_disk (f, cdrom, "hda", NULL);
  assert_refused (f, cdrom, "cdrom");
  add_disk (f, unknown, "vdz", NULL);
  assert_refused (f, unknown, "'vdz'");
}

/* A reader that disconnects would abort this QEMU, and the guest with it. */
static void
test_iothread (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, NULL);
  virConnectPtr connection = virConnectOpen (SYSTEM);
  unsigned long version = 0;

  g_assert_cmpint (virConnectGetVersion (connection, &version), ==, 0);
  virConnectClose (connection);
  if (version >= 9000000) {
    g_test_skip ("this QEMU serves iothread disks safely");
    return;
  }
  add_disk (f, start, "vda", NULL);
  assert_refused (f, start, "iothread");
}

/* The message names the directory that keeps QEMU's user out. */
static void
test_closed_directory (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b.n");
  g_autofree char *closed = in_top (f, "closed");
  g_autofree char *message = NULL;
  VarveStartDisk *disk = add_disk (f, start, "vda", NULL);

  g_assert_cmpint (g_mkdir (closed, 0700), ==, 0);
  g_free (disk->scratch);
  disk->scratch = g_build_filename (closed, "scratch", NULL);
  message = begin_fails (f, start, VARVE_ERROR_HYPERVISOR);
  g_assert_nonnull (strstr (message, closed));
  assert_no_files (start);
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b.n"));
}

static void
assert_open_fails (const char *uri, const char *name, VarveError code)
{
  VarveDomainAddress address = { .uri = uri, .name = name };
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_libvirt_domain_open (&address, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
test_open (Fixture *f, gconstpointer data)
{
  VarveDomainAddress by_uuid = { .uri = SYSTEM, .name = f->domain->uuid };
  g_autoptr (VarveDomain) domain = varve_libvirt_domain_open (&by_uuid, NULL, NULL);

  g_assert_nonnull (domain);
  g_assert_cmpstr (domain->name, ==, f->name);
  g_assert_cmpstr (domain->uuid, ==, f->domain->uuid);
  assert_open_fails (SYSTEM, "varve-no-such-domain", VARVE_ERROR_NOT_FOUND);
  assert_open_fails ("qemu+ssh://root@host/system", f->name, VARVE_ERROR_REFUSED);
  assert_open_fails ("qemu+tls://host/system", f->name, VARVE_ERROR_REFUSED);
  assert_open_fails ("qemu://host/system", f->name, VARVE_ERROR_REFUSED);
  assert_open_fails ("test:///default", f->name, VARVE_ERROR_UNSUPPORTED);
  assert_open_fails ("not a uri", f->name, VARVE_ERROR_USAGE);
  assert_open_fails ("qemu+unix:///system?socket=/nonexistent/sock", f->name,
                     VARVE_ERROR_SOURCE_UNREACHABLE);
}

/* --- faults
 * --------------------------------------------------------------------------------------- */

/* Cuts every connection of this process to libvirtd, as a restart of it does. */
static void
cut_connections (void)
{
  int cut = 0;

  for (int fd = 3; fd < 256; fd++) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;

    if (getpeername (fd, (struct sockaddr *)&peer, &length) == 0 && peer.ss_family == AF_UNIX &&
        shutdown (fd, SHUT_RDWR) == 0)
      cut++;
  }
  g_assert_cmpint (cut, >, 0);
}

static void
test_reconnect (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  add_disk (f, start, "vda", NULL);
  snapshot = begin (f, start);
  cut_connections ();
  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  cut_connections ();
  finish_and_end (snapshot);
}

/* A start or an end that fails half-way, and one whose process is killed: what is left is found by
 * the session's id. */
static void
test_failing_start (Fixture *f, gconstpointer data)
{
  static const char *const points[] = { "libvirt-start-before:error", "libvirt-start-after:error" };

  for (size_t i = 0; i < G_N_ELEMENTS (points); i++) {
    g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b.n");
    g_autofree char *message = NULL;

    add_disk (f, start, "vda", NULL);
    g_setenv ("VARVE_FAILPOINT", points[i], TRUE);
    message = begin_fails (f, start, VARVE_ERROR_FAILED);
    g_unsetenv ("VARVE_FAILPOINT");
    g_assert_false (libvirt_has_backup (f));
    g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b.n"));
    assert_no_files (start);
  }
}

static void
test_failing_end (Fixture *f, gconstpointer data)
{
  static const char *const points[] = { "libvirt-end-before:error", "libvirt-end-aborted:error" };

  for (size_t i = 0; i < G_N_ELEMENTS (points); i++) {
    g_autoptr (VarveStart) start = new_start (f, NULL);
    g_autoptr (VarveSnapshot) snapshot = NULL;
    g_autoptr (GError) error = NULL;

    add_disk (f, start, "vda", NULL);
    snapshot = begin (f, start);
    g_setenv ("VARVE_FAILPOINT", points[i], TRUE);
    g_assert_false (varve_snapshot_end (snapshot, false, NULL, &error));
    g_unsetenv ("VARVE_FAILPOINT");
    g_clear_error (&error);
    varve_snapshot_end (snapshot, false, NULL, &error);
    g_assert_no_error (error);
    g_assert_false (libvirt_has_backup (f));
    assert_no_files (start);
  }
}

/* The child starts the backup and dies right behind it; the parent finds the session by its record.
 */
static void
test_killed_worker (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, "varve.t-1.b.n");
  g_autoptr (VarveSnapshot) attached = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;
  pid_t child;
  int wait_status;

  add_disk (f, start, "vda", NULL);
  child = fork ();
  if (child == 0) {
    g_autoptr (VarveDomain) own = open_domain (f);
    VarveSnapshot *snapshot = NULL;
    uint64_t pause_us;

    g_setenv ("VARVE_FAILPOINT", "libvirt-start-after", TRUE);
    varve_domain_start (own, start, &snapshot, &pause_us, NULL, NULL);
    _exit (0);
  }
  g_assert_cmpint (waitpid (child, &wait_status, 0), ==, child);
  g_assert_true (WIFSIGNALED (wait_status) && WTERMSIG (wait_status) == SIGKILL);

  g_assert_true (varve_domain_attach (f->domain, start, &attached, NULL, NULL));
  g_assert_true (varve_snapshot_poll (attached, &status, NULL, NULL));
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  varve_snapshot_end (attached, true, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (libvirt_has_backup (f));
  assert_no_files (start);
  g_assert_true (libvirt_has_checkpoint (f, "varve.t-1.b.n"));
  remove_checkpoint (f, "varve.t-1.b.n");
  g_assert_false (libvirt_has_checkpoint (f, "varve.t-1.b.n"));
}

/* --- scratch runs full ----------------------------------------------------------------------------- */

/* A boot sector: writes MiB 1 to 31 of the first disk by BIOS calls (int 13h, ah 43h, 64 sectors each), over and over. A
 * real write of the guest is needed, as only those make QEMU pause it. */
static const unsigned char boot_sector[512] = {
  0x31,         0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x7b,             /* ds = 0, sp = 0x7b00 */
  0x66,         0xc7, 0x06, 0x38, 0x7c, 0x00, 0x08, 0x00, 0x00, /* again: lba = 2048 */
  0xb4,         0x43, 0xb0, 0x00, 0xb2, 0x80, /* next: ah = 43h, al = 0, dl = 80h */
  0xbe,         0x30, 0x7c, 0xcd, 0x13,       /* si = packet; int 13h */
  0x66,         0x83, 0x06, 0x38, 0x7c, 0x40, /* lba += 64 */
  0x66,         0x81, 0x3e, 0x38, 0x7c, 0x00, 0x00, 0x01, 0x00, /* lba < 65536? */
  0x72,         0xe4, 0xeb, 0xd9, 0x66, 0x90,                   /* then next, else again */
  0x10,         0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x10, /* packet: 64 sectors from 1000:0000 */
  0x00,         0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* … to this lba */
  [510] = 0x55, 0xaa,
};

static guint64
bytes_written (Fixture *f)
{
  g_autofree char *out = NULL;
  const char *at;

  g_assert_true (try_run (&out, "virsh", "-q", "-c", SYSTEM, "domblkstat", f->name, "vda"));
  at = strstr (out, "wr_bytes ");
  g_assert_nonnull (at);
  return g_ascii_strtoull (at + strlen ("wr_bytes "), NULL, 10);
}

static void
wait_for_writes (Fixture *f, guint64 more_than)
{
  wait_until (bytes_written (f) > more_than);
}

/* Its guest; the snapshot lives. */
static bool
is_paused (VarveSnapshot *snapshot)
{
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  return status.guest_paused;
}

static void
start_writing_guest (Fixture *f)
{
  g_autofree char *path = in_top (f, "vda.qcow2");
  g_autofree char *boot = in_top (f, "boot.bin");
  g_autofree char *command = g_strdup_printf ("write -s %s 0 512", boot);

  g_assert_true (g_file_set_contents (boot, (const char *)boot_sector, sizeof boot_sector, NULL));
  run ("qemu-io", "-c", command, "-c", "write -P 0x77 1M 31M", path);
  virsh ("start", f->name);
  wait_for_writes (f, 0);
}

static void
test_scratch_full (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *small = in_top (f, "small");
  g_autoptr (GError) error = NULL;
  VarveStartDisk *disk = add_disk (f, start, "vda", NULL);

  g_assert_cmpint (g_mkdir (small, 0711), ==, 0);
  if (!try_run (NULL, "mount", "-t", "tmpfs", "-o", "size=8m,mode=0711", "varve-test", small)) {
    g_test_skip ("no tmpfs can be mounted here");
    return;
  }
  g_free (disk->scratch);
  disk->scratch = g_build_filename (small, "scratch", NULL);
  start_writing_guest (f);
  snapshot = begin (f, start);
  wait_until (is_paused (snapshot));
  assert_state (f, VARVE_DOMAIN_PAUSED_IO_ERROR);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (varve_domain_resume (f->domain, NULL, NULL));
  assert_state (f, VARVE_DOMAIN_RUNNING);
  wait_for_writes (f, bytes_written (f) + MIB);
  assert_no_files (start);
  run ("umount", "-l", small);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!have_libvirtd ()) {
    g_print ("1..0 # SKIP no libvirtd, or not root\n");
    return 0;
  }
  add_test ("domain/open", NULL, test_open);
  add_test ("domain/inventory", NULL, test_inventory);
  add_test ("domain/state", NULL, test_state);
  add_test ("domain/guest-agent", NULL, test_guest_agent);
  add_test ("domain/files", NULL, test_files);
  add_test ("domain/check", NULL, test_check);
  add_test ("domain/refusals", NULL, test_refusals);
  add_test ("domain/iothread", "iothread", test_iothread);
  add_test ("domain/closed-directory", NULL, test_closed_directory);
  add_test ("domain/full", NULL, test_full);
  add_test ("domain/incremental", NULL, test_incremental);
  add_test ("domain/busy/ours", NULL, test_busy_with_ours);
  add_test ("domain/busy/foreign", NULL, test_busy_with_foreign);
  add_test ("domain/ended-by-another", NULL, test_ended_by_another);
  add_test ("domain/killed-in-session", NULL, test_killed_in_session);
  add_test ("domain/reconnect", NULL, test_reconnect);
  add_test ("domain/failing-start", NULL, test_failing_start);
  add_test ("domain/failing-end", NULL, test_failing_end);
  add_test ("domain/killed-worker", NULL, test_killed_worker);
  add_test ("domain/scratch-full", "off", test_scratch_full);
  return g_test_run ();
}
