/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a start or an end leaves behind that fails or is killed at any step: nothing, or what another
 * process ends by the names alone. Run with arguments, this is the process that is killed. */
#include "config.h"
#include "machine.h"

#include <poll.h>

#include "util/error.h"

static const char *const start_points[] = {
  "qmp-start-scratch",  "qmp-start-server",  "qmp-start-stopped",  "qmp-start-transaction",
  "qmp-start-switched", "qmp-start-resumed", "qmp-start-exported",
};
static const char *const end_points[] = {
  "qmp-end-exports", "qmp-end-switched", "qmp-end-nodes", "qmp-end-bitmaps", "qmp-end-scratch",
};

static bool
is_reached (const char *point, VarvePause pause)
{
  return pause == VARVE_PAUSE_BRIEF ||
         !(strstr (point, "stopped") || strstr (point, "start-switched") ||
           strstr (point, "resumed"));
}

static void
set_point (const char *point, const char *action)
{
  g_autofree char *value = g_strdup_printf ("%s:%s", point, action);

  g_setenv ("VARVE_FAILPOINT", value, TRUE);
}

static void
check_checkpoint (VarveDomain *domain, const char *name, bool there)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;

  varve_domain_bitmaps (domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  g_assert_true ((varve_bitmap_find (bitmaps, "vda", name) != NULL) == there);
  g_assert_true ((varve_bitmap_find (bitmaps, "vdb", name) != NULL) == there);
}

/* --- a step fails ----------------------------------------------------------------------------- */

static void
fail_in_start (Machine *machine, VarveDomain *domain, const char *point, VarvePause pause)
{
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  g_test_message ("%s", point);
  start->policy.pause = pause;
  set_point (point, "error");
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_unsetenv ("VARVE_FAILPOINT");
  g_assert_nonnull (strstr (error->message, point));
  g_assert_null (snapshot);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static void
fail_in_end (Machine *machine, VarveDomain *domain, const char *point, VarvePause pause)
{
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  g_test_message ("%s", point);
  start->policy.pause = pause;
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  set_point (point, "error");
  g_assert_false (varve_snapshot_end (snapshot, false, NULL, &error));
  g_unsetenv ("VARVE_FAILPOINT");
  g_assert_nonnull (strstr (error->message, point));
  g_clear_error (&error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  check_checkpoint (domain, "CK1", true);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static void
test_errors (gconstpointer data)
{
  VarvePause pause = GPOINTER_TO_INT (data);
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  for (size_t i = 0; i < G_N_ELEMENTS (start_points); i++) {
    if (is_reached (start_points[i], pause))
      fail_in_start (machine, domain, start_points[i], pause);
  }
  for (size_t i = 0; i < G_N_ELEMENTS (end_points); i++)
    fail_in_end (machine, domain, end_points[i], pause);
}

/* --- the process is killed -------------------------------------------------------------------- */

/* Starts, and ends where the start was survived, in the directory @dir. */
static int
be_killed (const char *dir, const char *pause)
{
  Machine machine = { .dir = (char *)dir };
  g_autofree char *scratch = machine.scratch = path_in (&machine, "scratch");
  g_autofree char *sockets = machine.sockets = path_in (&machine, "sockets");
  g_autoptr (VarveDomain) domain = open_or_fail (&machine);
  g_autoptr (VarveStart) start = make_start (&machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  uint64_t pause_us;

  start->policy.pause = g_str_equal (pause, "never") ? VARVE_PAUSE_NEVER : VARVE_PAUSE_BRIEF;
  if (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, NULL))
    varve_snapshot_end (snapshot, false, NULL, NULL);
  return 0; /* not killed: what the parent waits for does not come */
}

static void
run_and_kill (Machine *machine, const char *point, VarvePause pause)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  const char *argv[] = { self, "--be-killed", machine->dir,
                         pause == VARVE_PAUSE_NEVER ? "never" : "brief", NULL };
  g_autoptr (GError) error = NULL;
  int status = 0;

  set_point (point, "kill");
  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status,
                &error);
  g_unsetenv ("VARVE_FAILPOINT");
  g_assert_no_error (error);
  g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
}

static void
kill_at (Machine *machine, const char *point, bool in_start, VarvePause pause)
{
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (GError) error = NULL;
  VarveDomainState state;

  g_test_message ("%s", point);
  run_and_kill (machine, point, pause);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GPtrArray) disks = NULL;
  varve_domain_inventory (domain, &disks, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (varve_disk_find (disks, "vda")->can_persist);
  varve_domain_attach (domain, start, &snapshot, NULL, &error);
  g_assert_no_error (error);
  varve_snapshot_end (snapshot, in_start, NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  varve_domain_state (domain, &state, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (state, ==, VARVE_DOMAIN_RUNNING);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static void
test_kills (gconstpointer data)
{
  VarvePause pause = GPOINTER_TO_INT (data);
  g_autoptr (Machine) machine = machine_new ();

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  for (size_t i = 0; i < G_N_ELEMENTS (start_points); i++) {
    if (is_reached (start_points[i], pause))
      kill_at (machine, start_points[i], true, pause);
  }
  for (size_t i = 0; i < G_N_ELEMENTS (end_points); i++)
    kill_at (machine, end_points[i], false, pause);
}

/* --- others are at work, or QEMU is gone ------------------------------------------------------ */

static void
test_foreign_server (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GError) error = NULL;
  g_autofree char *path = path_in (machine, "theirs");
  uint64_t pause_us;

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autofree char *before = what_is_there (machine);
  varve_qmp_run (machine->qmp, "nbd-server-start",
                 varve_qmp_args ("{'addr':{'type':'unix','data':{'path':%s}}}", path), NULL,
                 &error);
  g_assert_no_error (error);
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_clear_error (&error);
  /* It is theirs, and still runs. */
  varve_qmp_run (machine->qmp, "nbd-server-stop", NULL, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

/* A job of ours that somebody cancels, and a device that somebody takes off its filter. */
static void
test_broken (gconstpointer data)
{
  VarvePause pause = GPOINTER_TO_INT (data);
  g_autoptr (Machine) machine = machine_new ();
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", NULL, NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  start->policy.pause = pause;
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  if (pause == VARVE_PAUSE_NEVER)
    varve_qmp_run (machine->qmp, "job-cancel",
                   varve_qmp_args ("{'id':'varve-0123456789abcdef-j-1'}"), NULL, &error);
  else
    varve_qmp_run (machine->qmp, "block-export-del",
                   varve_qmp_args ("{'id':'varve-0123456789abcdef-e-1','mode':'hard'}"), NULL,
                   &error);
  g_assert_no_error (error);
  wait_until (snapshot_state (snapshot) != VARVE_SNAPSHOT_ALIVE);
  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_BROKEN);
  g_assert_nonnull (status.why);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

/* A reader that asks and never takes the answer holds the export until it is gone, and the end says so
 * without harm to the guest. */
static void
test_hung_reader (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  g_autofree char *data = g_malloc (DISK_SIZE);
  uint64_t pause_us;

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  for (guint i = 0; i < BLOCKS; i++)
    guest_write (machine->qmp, "vda", 1, (uint64_t)i * BLOCK);
  g_autoptr (VarveDomain) domain = open_or_fail (machine);
  g_autofree char *before = what_is_there (machine);
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", NULL, NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  varve_snapshot_endpoint (snapshot, "vda", &endpoint, NULL, &error);
  g_assert_no_error (error);
  struct nbd_handle *nbd = connect_to (&endpoint, NULL);
  for (guint i = 0; i < 8; i++)
    g_assert_cmpint (nbd_aio_pread (nbd, data + (gsize)i * (2 << 20), 2 << 20,
                                    (uint64_t)i * (2 << 20), NBD_NULL_COMPLETION, 0),
                     >, 0);
  /* From here on QEMU is at the answers, which fit into no socket. */
  struct pollfd answers = { .fd = nbd_aio_get_fd (nbd), .events = POLLIN };
  g_assert_cmpint (poll (&answers, 1, 60000), ==, 1);
  g_assert_false (varve_snapshot_end (snapshot, false, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_clear_error (&error);
  guest_write (machine->qmp, "vda", 2, 0);
  nbd_close (nbd);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  g_autofree char *after = what_is_there (machine);
  g_assert_cmpstr (before, ==, after);
}

static GHashTable *
images_of (const Machine *machine)
{
  GHashTable *images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);

  for (const char *letter = "ab"; *letter; letter++) {
    g_autofree char *path = g_strdup_printf ("%s/%c.qcow2", machine->dir, *letter);

    g_hash_table_insert (images, g_strdup_printf ("vd%c", *letter),
                         varve_image_new (path, "qcow2", NULL));
  }
  return images;
}

static void
test_qemu_dies (void)
{
  g_autoptr (Machine) machine = machine_new ();
  g_autoptr (GHashTable) images = images_of (machine);
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  VarveDomainState state;
  uint64_t pause_us;

  machine_make_disks (machine);
  machine_boot (machine, "-name vm1 " TWO_DISKS);
  g_autoptr (VarveDomain) domain = open_at (machine, images, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (domain->ops->name, ==, "qmp");
  g_autoptr (VarveStart) start = make_start (machine, "0123456789abcdef", "CK1", NULL);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  machine_kill (machine, SIGKILL);

  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_GONE);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
  list_files (lines, machine->scratch);
  list_files (lines, machine->sockets);
  g_assert_cmpuint (lines->len, ==, 0);
  varve_domain_state (domain, &state, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (state, ==, VARVE_DOMAIN_OFF);

  /* The same domain by its images, and by the driver that has lost its QEMU. */
  g_autoptr (VarveDomain) stopped = open_at (machine, images, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (stopped->ops->name, ==, "image");
  g_assert_cmpstr (stopped->uuid, ==, domain->uuid);
  g_assert_cmpstr (stopped->uri, ==, domain->uri);
  varve_domain_checkpoint_remove (domain, "CK1", NULL, &error);
  g_assert_no_error (error);
  varve_domain_bitmaps (stopped, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (bitmaps->len, ==, 0);
}

int
main (int argc, char **argv)
{
  const void *brief = GINT_TO_POINTER (VARVE_PAUSE_BRIEF);
  const void *never = GINT_TO_POINTER (VARVE_PAUSE_NEVER);

  if (argc == 4 && g_str_equal (argv[1], "--be-killed"))
    return be_killed (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/qmp-left-over/errors/filter", brief, test_errors);
  g_test_add_data_func ("/qmp-left-over/errors/job", never, test_errors);
  g_test_add_data_func ("/qmp-left-over/kills/filter", brief, test_kills);
  g_test_add_data_func ("/qmp-left-over/kills/job", never, test_kills);
  g_test_add_func ("/qmp-left-over/foreign-server", test_foreign_server);
  g_test_add_func ("/qmp-left-over/hung-reader", test_hung_reader);
  g_test_add_data_func ("/qmp-left-over/broken/filter", brief, test_broken);
  g_test_add_data_func ("/qmp-left-over/broken/job", never, test_broken);
  g_test_add_func ("/qmp-left-over/qemu-dies", test_qemu_dies);
  return g_test_run ();
}
