/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A backup served by nbdkit: read by a program that is not ours, back on the same socket when its process was killed, taken
 * over from whoever left it, and ended for good. */
#include "config.h"
#include "qemu/backup-server.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "qemu-fixture.h"
#include "store/store.h"

#define ID     "20260101T000000Z-00000000000000aa"
#define SIZE   (1u << 20)
#define LENGTH (64u << 10)

typedef struct {
  Fixture base;
  char *store; /* STORE argument */
  char *served;
} Backup;

/* A disk whose second 64 KiB are 0x55. */
static void
add_disk (VarveStoreImpl *store, VarveStoreWrite *write, VarveManifestDisk *disk)
{
  g_autofree uint8_t *bytes = g_malloc (LENGTH);
  g_autoptr (GError) error = NULL;
  BlockSumFunc sum;
  gpointer sum_data;
  BlockSink *sink;

  memset (bytes, 0x55, LENGTH);
  disk->size = SIZE;
  disk->decision = g_strdup ("full");
  disk->reason = g_strdup ("as the test wants it");
  g_assert_true (store->ops->add_disk (write, disk, NULL, &sink, &sum, &sum_data, NULL, &error));
  g_assert_true (block_sink_write (sink, LENGTH, bytes, LENGTH, &error));
  g_assert_true (store->ops->finish_disk (write, disk, NULL, &error));
}

static void
add_backup (VarveStoreImpl *store)
{
  g_autoptr (VarveManifest) manifest = varve_manifest_new (ID);
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;

  manifest->domain = g_strdup ("web01");
  manifest->uuid = g_strdup ("11111111-2222-3333-4444-555555555555");
  manifest->uri = g_strdup ("image:");
  manifest->owner = g_strdup ("nightly-1f0c77ab");
  manifest->consistency = g_strdup ("off");
  manifest->started = manifest->finished = 1767225600;
  g_assert_true (
      store->ops->begin (store, manifest->domain, manifest->uuid, ID, &write, NULL, &error));
  add_disk (store, write, varve_manifest_add_disk (manifest, "vda"));
  g_assert_true (store->ops->commit (write, manifest, NULL, &error));
}

static void
set_up (Backup *f, gconstpointer data)
{
  g_autofree char *directory = NULL;
  g_autoptr (GError) error = NULL;
  VarveStoreImpl *store;

  fixture_set_up (&f->base, data);
  directory = fixture_path (&f->base, "store");
  f->store = g_strconcat ("images:", directory, NULL);
  f->served = fixture_path (&f->base, "served");
  g_assert_cmpint (g_mkdir (f->served, 0700), ==, 0);
  store = varve_store_impl_open (f->store, true, &error);
  g_assert_no_error (error);
  add_backup (store);
  varve_store_impl_free (store);
}

static void
tear_down (Backup *f, gconstpointer data)
{
  g_free (f->store);
  g_free (f->served);
  fixture_tear_down (&f->base, data);
}

static VarveBackupServer *
begin (Backup *f, VarveChildKind kind)
{
  VarveBackupServerOptions options = { f->store, ID, f->served, kind };
  g_autoptr (GError) error = NULL;
  VarveBackupServer *server = varve_backup_server_begin (&options, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (varve_backup_server_alive (server));
  return server;
}

static void
assert_reads (const char *socket)
{
  g_autofree char *image =
      g_strdup_printf ("driver=nbd,server.type=unix,server.path=%s,export=vda", socket);
  const char *const argv[] = { "qemu-io",         "-r",  "-c",
                               "read -P 0 0 64k", "-c",  "read -P 0x55 64k 64k",
                               "--image-opts",    image, NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveChildResult) result =
      varve_child_run (argv, VARVE_CHILD_MAY_BE_ENDED, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (result->complaint, ==, "");
  g_assert_cmpint (result->status, ==, 0);
  g_assert_null (strstr (result->output, "verification failed"));
}

static gpointer
read_in_thread (gpointer socket)
{
  assert_reads (socket);
  return NULL;
}

static void
assert_nothing_left (Backup *f)
{
  g_autoptr (GDir) directory = g_dir_open (f->served, 0, NULL);

  g_assert_cmpstr (g_dir_read_name (directory), ==, NULL);
}

static void
test_restart (Backup *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveBackupServer *server = begin (f, VARVE_CHILD_DIES_WITH_US);
  pid_t first = varve_backup_server_pid (server);
  g_autofree char *words = NULL;

  assert_reads (varve_backup_server_socket (server));
  words = varve_backup_server_words (server);
  g_assert_cmpstr (words, ==, "");
  g_assert_true (varve_backup_server_restart (server, NULL, &error));
  g_assert_cmpint (varve_backup_server_pid (server), ==, first);

  g_assert_cmpint (kill (first, SIGKILL), ==, 0);
  wait_until (!varve_backup_server_alive (server));
  g_assert_true (varve_backup_server_restart (server, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (varve_backup_server_pid (server), !=, first);
  assert_reads (varve_backup_server_socket (server));

  first = varve_backup_server_pid (server);
  varve_backup_server_end (server);
  wait_until (kill (first, 0) != 0);
  assert_nothing_left (f);
}

static void
test_take_over (Backup *f, gconstpointer data)
{
  VarveBackupServer *server = begin (f, VARVE_CHILD_KEPT);
  pid_t pid = varve_backup_server_pid (server);

  varve_backup_server_leave (server);
  server = begin (f, VARVE_CHILD_KEPT);
  g_assert_cmpint (varve_backup_server_pid (server), ==, pid);
  assert_reads (varve_backup_server_socket (server));

  varve_backup_server_leave (server);
  varve_backup_server_end_left (f->served);
  wait_until (kill (pid, 0) != 0);
  assert_nothing_left (f);
  varve_backup_server_end_left (f->served);
}

/* Who connects to the daemon in front does not see that the server has gone. */
static void
test_front (Backup *f, gconstpointer data)
{
  g_autoptr (GPtrArray) fronted = g_ptr_array_new ();
  VarveBackupServerOptions options = { f->store, ID, f->served, VARVE_CHILD_DIES_WITH_US, fronted };
  g_autoptr (GError) error = NULL;
  VarveBackupServer *server;
  GThread *reader;

  g_ptr_array_add (fronted, (gpointer) "vda");
  server = varve_backup_server_begin (&options, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_str_has_suffix (varve_backup_server_socket (server), "/front.sock"));
  assert_reads (varve_backup_server_socket (server));

  g_assert_cmpint (kill (varve_backup_server_pid (server), SIGKILL), ==, 0);
  wait_until (!varve_backup_server_alive (server));
  reader = g_thread_new ("reader", read_in_thread, (gpointer)varve_backup_server_socket (server));
  g_assert_true (varve_backup_server_restart (server, NULL, &error));
  g_assert_no_error (error);
  g_thread_join (reader);
  varve_backup_server_end (server);
  assert_nothing_left (f);
}

static void
test_no_backup (Backup *f, gconstpointer data)
{
  VarveBackupServerOptions options = { f->store, "20260102T000000Z-00000000000000bb", f->served,
                                       VARVE_CHILD_DIES_WITH_US };
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_backup_server_begin (&options, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_UNREACHABLE);
  g_assert_nonnull (strstr (error->message, "It said: "));
  g_assert_nonnull (strstr (error->message, "20260102T000000Z-00000000000000bb"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/backup-server/restart", Backup, NULL, set_up, test_restart, tear_down);
  g_test_add ("/backup-server/take-over", Backup, NULL, set_up, test_take_over, tear_down);
  g_test_add ("/backup-server/front", Backup, NULL, set_up, test_front, tear_down);
  g_test_add ("/backup-server/no-backup", Backup, NULL, set_up, test_no_backup, tear_down);
  return g_test_run ();
}
