/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Stopped images through the real qemu-img and storage daemon. Run with arguments, this is the process that
 * is killed. */
#include "config.h"
#include "stopped-machine.h"
#include "patient.h"

#include "util/error.h"

static void
test_backups (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  VarveDomainState state;

  machine_make_disks (machine);
  write_offline (machine, "a.qcow2", 1, 3);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) first = start_of_images (machine, "CK1", NULL);
  g_autoptr (VarveStart) second = start_of_images (machine, "CK2", "CK1");
  varve_domain_state (domain, &state, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (state, ==, VARVE_DOMAIN_OFF);

  g_autoptr (VarveSnapshot) full = start_or_fail (domain, first);
  varve_snapshot_endpoint (full, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (endpoint.dirty_context);
  g_autofree char *data = read_all (&endpoint);
  g_assert_cmpint (data[3 * BLOCK], ==, 1);
  finish_and_end (full);
  assert_no_files (machine);
  assert_bitmaps (domain, "vda CK1 recording 0\nvdb CK1 recording 0\n");

  write_offline (machine, "a.qcow2", 2, 7);
  g_autoptr (VarveSnapshot) increment = start_or_fail (domain, second);
  varve_endpoint_clear (&endpoint);
  varve_snapshot_endpoint (increment, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (endpoint.contexts_may_share);
  g_autofree bool *dirty = read_dirty (&endpoint);
  g_autofree char *newer = read_all (&endpoint);
  for (guint b = 0; b < BLOCKS; b++)
    g_assert_true (dirty[b] == (b == 7));
  g_assert_cmpint (newer[7 * BLOCK], ==, 2);
  finish_and_end (increment);

  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  assert_bitmaps (domain, "vda CK2 recording 0\nvdb CK2 recording 0\n");
}

static VarveDisk *
must_find (GPtrArray *disks, const char *name)
{
  VarveDisk *disk = varve_disk_find (disks, name);

  if (!disk)
    g_error ("There is no disk '%s'", name);
  return disk;
}

static void
assert_refused (VarveDomain *domain, const Machine *machine, const char *disk, const char *since,
                bool checkpoint, const char *words)
{
  g_autoptr (VarveStart) start = varve_start_new ("0123456789abcdef");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  VarveStartDisk *added = varve_start_add_disk (start, disk);
  uint64_t pause_us;

  start->directory = g_strdup (machine->sockets);
  start->checkpoint = g_strdup (checkpoint ? "CK" : NULL);
  added->checkpoint = checkpoint;
  added->since = g_strdup (since);
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  if (!strstr (error->message, words))
    g_error ("'%s' is not in: %s", words, error->message);
}

static void
test_formats (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autofree char *key = path_in (machine, "key");
  g_autoptr (GPtrArray) disks = NULL;
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;

  machine_make_disks (machine);
  g_file_set_contents (key, "secret", -1, &error);
  g_assert_no_error (error);
  run_in (machine, "qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 1M");
  run_in (machine, "qemu-img create -q -f raw c.raw 1M");
  g_autofree char *command =
      g_strdup_printf ("qemu-img create -q -f luks --object secret,id=s,file=key -o "
                       "key-secret=s,iter-time=10 d.luks "
                       "%" G_GUINT64_FORMAT,
                       DISK_SIZE);
  run_patiently (machine->dir, command);
  g_autoptr (GHashTable) images = two_images (machine);
  add_image (images, machine, "old", "old.qcow2", "qcow2");
  add_image (images, machine, "raw", "c.raw", "raw");
  add_image (images, machine, "luks", "d.luks", "luks");
  g_autoptr (VarveDomain) domain = open_images (images);

  varve_domain_inventory (domain, &disks, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (disks->len, ==, 5);
  g_assert_true (must_find (disks, "vda")->can_persist);
  g_assert_false (must_find (disks, "raw")->can_persist);
  g_assert_nonnull (strstr (must_find (disks, "old")->why_not_persist, "version 2"));
  g_assert_cmpuint (must_find (disks, "luks")->size, ==, DISK_SIZE);
  assert_refused (domain, machine, "raw", NULL, true, "cannot store bitmaps");
  assert_refused (domain, machine, "old", NULL, true, "cannot store bitmaps");
  assert_refused (domain, machine, "vda", "CK0", false, "no bitmap 'CK0'");
  assert_refused (domain, machine, "vdz", NULL, false, "no such disk");

  g_autoptr (VarveStart) start = varve_start_new ("0123456789abcdef");
  start->directory = g_strdup (machine->sockets);
  varve_start_add_disk (start, "luks");
  g_autoptr (VarveSnapshot) snapshot = start_or_fail (domain, start);
  varve_snapshot_endpoint (snapshot, "luks", &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *data = read_all (&endpoint);
  finish_and_end (snapshot);
}

/* --- failures --------------------------------------------------------------------------------- */

static void
test_errors (void)
{
  static const char *const points[] = { "image-start-bitmap", "image-start-daemon" };
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) start = start_of_images (machine, "CK1", NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (points); i++) {
    g_autofree char *value = g_strconcat (points[i], ":error", NULL);
    g_autoptr (VarveSnapshot) snapshot = NULL;
    g_autoptr (GError) error = NULL;
    uint64_t pause_us;

    g_setenv ("VARVE_FAILPOINT", value, TRUE);
    g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
    g_unsetenv ("VARVE_FAILPOINT");
    g_assert_nonnull (strstr (error->message, points[i]));
    g_assert_null (snapshot);
    assert_bitmaps (domain, "");
    assert_no_files (machine);
  }
}

static int
be_killed (const char *dir)
{
  Machine machine = { .dir = (char *)dir };
  g_autofree char *scratch = machine.scratch = path_in (&machine, "scratch");
  g_autofree char *sockets = machine.sockets = path_in (&machine, "sockets");
  g_autoptr (VarveDomain) domain = open_two (&machine);
  g_autoptr (VarveStart) start = start_of_images (&machine, "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  uint64_t pause_us;

  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, NULL);
  return 0; /* not killed */
}

static bool
remove_unless_busy (VarveDomain *domain)
{
  g_autoptr (GError) error = NULL;
  bool removed = varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);

  if (!removed)
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  return removed;
}

static void
test_kills (void)
{
  static const char *const points[] = { "image-start-bitmap", "image-start-daemon" };
  g_autoptr (Machine) machine = machine_new ();
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  const char *argv[] = { self, "--be-killed", machine->dir, NULL };

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) start = start_of_images (machine, "CK1", NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (points); i++) {
    g_autoptr (VarveSnapshot) snapshot = NULL;
    g_auto (VarveSnapshotStatus) status = { 0 };
    g_autoptr (GError) error = NULL;
    int wait_status = 0;

    g_setenv ("VARVE_FAILPOINT", points[i], TRUE);
    g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &wait_status,
                  &error);
    g_unsetenv ("VARVE_FAILPOINT");
    g_assert_no_error (error);
    g_assert_true (WIFSIGNALED (wait_status) && WTERMSIG (wait_status) == SIGKILL);

    varve_domain_attach (domain, start, &snapshot, NULL, &error);
    g_assert_no_error (error);
    varve_snapshot_poll (snapshot, &status, NULL, &error);
    g_assert_no_error (error);
    g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
    varve_snapshot_end (snapshot, true, NULL, &error);
    g_assert_no_error (error);
    /* The daemon may take a moment to follow its parent. */
    wait_until (remove_unless_busy (domain));
    assert_bitmaps (domain, "");
  }
}

static void
test_daemon_dies (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) start = start_of_images (machine, "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = start_or_fail (domain, start);
  g_autofree char *children =
      g_strdup_printf ("/proc/%d/task/%d/children", (int)getpid (), (int)getpid ());
  g_autofree char *pids = NULL;

  /* It is the only child that this process has. */
  g_file_get_contents (children, &pids, NULL, &error);
  g_assert_no_error (error);
  pid_t pid = (pid_t)g_ascii_strtoll (pids, NULL, 10);
  g_assert_cmpint (pid, >, 1);
  kill (pid, SIGKILL);
  wait_until (snapshot_state (snapshot) != VARVE_SNAPSHOT_ALIVE);
  g_assert_cmpint (snapshot_state (snapshot), ==, VARVE_SNAPSHOT_GONE);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  g_assert_false (varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  /* Read-only, it took no bitmap with it. */
  assert_bitmaps (domain, "vda CK1 recording 0\nvdb CK1 recording 0\n");
}

static void
test_in_use (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;
  VarveDomainState state;
  uint64_t pause_us;

  machine_make_disks (machine);
  run_in (machine, "qemu-img bitmap --add a.qcow2 CK1");
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_autoptr (VarveStart) start = start_of_images (machine, "CK2", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  machine_boot (machine, "-S " TWO_DISKS);
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_nonnull (strstr (error->message, "a.qcow2"));
  g_clear_error (&error);
  g_assert_false (varve_domain_state (domain, &state, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_clear_error (&error);
  g_assert_false (varve_domain_bitmaps (domain, &bitmaps, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_clear_error (&error);
  machine_kill (machine, SIGKILL);
  assert_bitmaps (domain, "vda CK1 inconsistent ?\n");
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  assert_bitmaps (domain, "");
}

static uint64_t
size_of_vda (VarveDomain *domain)
{
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GError) error = NULL;

  varve_domain_inventory (domain, &disks, NULL, &error);
  g_assert_no_error (error);
  return must_find (disks, "vda")->size;
}

/* A header that has been read is good until the image changes: without any qemu-img it is still known. */
static void
test_headers (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autofree char *path = g_strdup (g_getenv ("PATH"));
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GError) error = NULL;
  VarveDomainState state;
  uint64_t size;

  machine_make_disks (machine);
  g_autoptr (VarveDomain) domain = open_two (machine);
  g_usleep (3200 * 1000); /* what has changed within two seconds is not kept */
  size = size_of_vda (domain);
  g_setenv ("PATH", machine->dir, TRUE);
  g_assert_cmpuint (size_of_vda (domain), ==, size);
  g_assert_false (varve_domain_state (domain, &state, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_setenv ("PATH", path, TRUE);
  run_in (machine, "qemu-img resize -q -f qcow2 a.qcow2 +1M");
  g_assert_cmpuint (size_of_vda (domain), ==, size + (1 << 20));
  /* Read just behind a change: asked for again. */
  g_setenv ("PATH", machine->dir, TRUE);
  g_assert_false (varve_domain_inventory (domain, &disks, NULL, NULL));
  g_setenv ("PATH", path, TRUE);
}

int
main (int argc, char **argv)
{
  if (argc == 3 && g_str_equal (argv[1], "--be-killed"))
    return be_killed (argv[2]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image-domain/daemon-dies", test_daemon_dies);
  g_test_add_func ("/image-domain/backups", test_backups);
  g_test_add_func ("/image-domain/formats", test_formats);
  g_test_add_func ("/image-domain/errors", test_errors);
  g_test_add_func ("/image-domain/headers", test_headers);
  g_test_add_func ("/image-domain/kills", test_kills);
  g_test_add_func ("/image-domain/in-use", test_in_use);
  return g_test_run ();
}
