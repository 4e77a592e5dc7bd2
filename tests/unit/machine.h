/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A directory, images and a real QEMU for the tests of the drivers. QEMU dies with the test; it has
 * two monitors, as each serves one client: the driver's and the test's own. */
#pragma once

#include <glib/gstdio.h>
#include <libnbd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/json-get.h"
#include "qemu/qmp.h"
#include "util/durable.h"
#include "virt/domain.h"
#include "wait.h"

#define BLOCK     65536u
#define BLOCKS    256u
#define DISK_SIZE ((uint64_t)BLOCK * BLOCKS)

typedef struct {
  char *dir;
  char *scratch;
  char *sockets;
  GPid pid;
  VarveQmp *qmp;
} Machine;

static inline char *
path_in (const Machine *machine, const char *name)
{
  return g_build_filename (machine->dir, name, NULL);
}

/* Runs in the directory; what is between spaces is one argument. */
G_GNUC_PRINTF (2, 3)
static inline void
run_in (const Machine *machine, const char *format, ...)
{
  g_autoptr (GError) error = NULL;
  int status = 0;
  va_list args;

  va_start (args, format);
  g_autofree char *command = g_strdup_vprintf (format, args);
  va_end (args);
  g_auto (GStrv) argv = g_strsplit (command, " ", -1);
  g_spawn_sync (machine->dir, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                &error);
  g_assert_no_error (error);
  g_spawn_check_wait_status (status, &error);
  g_assert_no_error (error);
}

static inline Machine *
machine_new (void)
{
  Machine *machine = g_new0 (Machine, 1);
  g_autoptr (GError) error = NULL;

  machine->dir = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
  machine->scratch = path_in (machine, "scratch");
  machine->sockets = path_in (machine, "sockets");
  g_assert_cmpint (g_mkdir (machine->scratch, 0700), ==, 0);
  g_assert_cmpint (g_mkdir (machine->sockets, 0700), ==, 0);
  return machine;
}

static inline void
die_with_parent (gpointer data)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static inline VarveQmp *
connect_own (const char *path)
{
  VarveQmp *qmp;

  wait_until ((qmp = varve_qmp_connect (path, 30, NULL, NULL)));
  return qmp;
}

static inline void
machine_boot (Machine *machine, const char *arguments)
{
  g_autofree char *all =
      g_strdup_printf ("qemu-system-x86_64 -machine q35,accel=tcg -nodefaults -display none -m 32 "
                       "-qmp unix:monitor,server=on,wait=off -qmp unix:own,server=on,wait=off %s",
                       arguments);
  g_auto (GStrv) argv = g_strsplit (all, " ", -1);
  g_autofree char *own = path_in (machine, "own");
  g_autofree char *monitor = path_in (machine, "monitor");
  g_autoptr (GError) error = NULL;

  g_unlink (own);
  g_unlink (monitor);
  g_spawn_async (machine->dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                 die_with_parent, NULL, &machine->pid, &error);
  g_assert_no_error (error);
  machine->qmp = connect_own (own);
}

static inline VarveSnapshotState
snapshot_state (VarveSnapshot *snapshot)
{
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;

  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  return status.state;
}

static inline void
machine_kill (Machine *machine, int signal)
{
  if (!machine->pid)
    return;
  kill (machine->pid, signal);
  waitpid (machine->pid, NULL, 0);
  machine->pid = 0;
  g_clear_pointer (&machine->qmp, varve_qmp_free);
}

static inline void
machine_free (Machine *machine)
{
  g_autoptr (GError) error = NULL;

  machine_kill (machine, SIGKILL);
  varve_remove_tree (machine->dir, &error);
  g_assert_no_error (error);
  g_free (machine->dir);
  g_free (machine->scratch);
  g_free (machine->sockets);
  g_free (machine);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Machine, machine_free)

/* Two qcow2 disks, vda and vdb, as virtio-blk devices of these ids. */
static inline void
machine_make_disks (const Machine *machine)
{
  run_in (machine, "qemu-img create -q -f qcow2 a.qcow2 %" G_GUINT64_FORMAT, DISK_SIZE);
  run_in (machine, "qemu-img create -q -f qcow2 b.qcow2 %" G_GUINT64_FORMAT, DISK_SIZE);
}

#define TWO_DISKS                                                                                  \
  "-blockdev driver=qcow2,node-name=fA,file.driver=file,file.filename=a.qcow2 "                    \
  "-device virtio-blk-pci,drive=fA,id=vda "                                                        \
  "-blockdev driver=qcow2,node-name=fB,file.driver=file,file.filename=b.qcow2 "                    \
  "-device virtio-blk-pci,drive=fB,id=vdb"

static inline VarveDomain *
open_at (const Machine *machine, GHashTable *images, GHashTable *qdevs, GError **error)
{
  g_autofree char *uri = g_strdup_printf ("qmp+unix://%s/monitor", machine->dir);
  VarveDomainAddress address = { .uri = uri, .name = "vm1", .images = images, .qdevs = qdevs };

  return varve_domain_open (&address, NULL, error);
}

static inline VarveDomain *
open_or_fail (const Machine *machine)
{
  g_autoptr (GError) error = NULL;
  VarveDomain *domain = open_at (machine, NULL, NULL, &error);

  g_assert_no_error (error);
  return domain;
}

/* Both disks; @checkpoint and @since may be NULL. */
static inline VarveStart *
make_start (const Machine *machine, const char *session, const char *checkpoint, const char *since)
{
  VarveStart *start = varve_start_new (session);

  start->checkpoint = g_strdup (checkpoint);
  start->directory = g_strdup (machine->sockets);
  for (const char *letter = "ab"; *letter; letter++) {
    g_autofree char *name = g_strdup_printf ("vd%c", *letter);
    VarveStartDisk *disk = varve_start_add_disk (start, name);

    disk->checkpoint = checkpoint != NULL;
    disk->since = g_strdup (since);
    disk->scratch = g_strdup_printf ("%s/%s-%s.qcow2", machine->scratch, session, name);
  }
  return start;
}

/* --- reading ---------------------------------------------------------------------------------- */

static inline struct nbd_handle *
connect_to (const VarveEndpoint *endpoint, const char *context)
{
  struct nbd_handle *nbd = nbd_create ();

  g_assert_nonnull (nbd);
  if (context)
    g_assert_cmpint (nbd_add_meta_context (nbd, context), ==, 0);
  if (nbd_connect_uri (nbd, endpoint->uri) < 0)
    g_error ("%s: %s", endpoint->uri, nbd_get_error ());
  if (context)
    g_assert_cmpint (nbd_can_meta_context (nbd, context), ==, 1);
  return nbd;
}

static inline char *
read_all (const VarveEndpoint *endpoint)
{
  struct nbd_handle *nbd = connect_to (endpoint, NULL);
  char *data = g_malloc (DISK_SIZE);

  g_assert_cmpint (nbd_get_size (nbd), ==, DISK_SIZE);
  for (guint i = 0; i < BLOCKS; i++) {
    if (nbd_pread (nbd, data + (size_t)i * BLOCK, BLOCK, (uint64_t)i * BLOCK, 0) < 0)
      g_error ("block %u: %s", i, nbd_get_error ());
  }
  nbd_close (nbd);
  return data;
}

typedef struct {
  uint64_t offset;
  bool *blocks;
} DirtyMap;

static inline int
note_extents (void *user_data, const char *context, uint64_t offset, uint32_t *entries,
              size_t n_entries, int *error)
{
  DirtyMap *map = user_data;

  map->offset = offset;
  for (size_t i = 0; i + 1 < n_entries; i += 2) {
    for (uint64_t at = map->offset; at < map->offset + entries[i] && at < DISK_SIZE; at += BLOCK)
      map->blocks[at / BLOCK] = entries[i + 1] & 1;
    map->offset += entries[i];
  }
  return 0;
}

/* Which blocks the endpoint's dirty context calls dirty. */
static inline bool *
read_dirty (const VarveEndpoint *endpoint)
{
  struct nbd_handle *nbd = connect_to (endpoint, endpoint->dirty_context);
  DirtyMap map = { .blocks = g_new0 (bool, BLOCKS) };
  nbd_extent_callback callback = { .callback = note_extents, .user_data = &map };

  while (map.offset < DISK_SIZE)
    g_assert_cmpint (nbd_block_status (nbd, DISK_SIZE - map.offset, map.offset, callback, 0), ==,
                     0);
  nbd_close (nbd);
  return map.blocks;
}

/* --- what is there ---------------------------------------------------------------------------- */

static inline gint
compare_lines (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static inline void
list_files (GPtrArray *lines, const char *path)
{
  GDir *dir = g_dir_open (path, 0, NULL);
  const char *name;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)))
    g_ptr_array_add (lines, g_strdup_printf ("file %s/%s", path, name));
  g_dir_close (dir);
}

static inline JsonArray *
ask_list (VarveQmp *qmp, const char *command, JsonObject *arguments)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, command, arguments, NULL, &error);

  g_assert_no_error (error);
  return json_array_ref (json_node_get_array (reply));
}

static inline void
list_members (GPtrArray *lines, VarveQmp *qmp, const char *command, const char *member)
{
  g_autoptr (JsonArray) array = ask_list (qmp, command, NULL);

  for (guint i = 0; i < json_array_get_length (array); i++)
    g_ptr_array_add (
        lines, g_strdup_printf ("%s %s", command,
                                varve_json_string (varve_json_array_object (array, i), member)));
}

static inline void
list_nodes (GPtrArray *lines, VarveQmp *qmp)
{
  g_autoptr (JsonArray) nodes =
      ask_list (qmp, "query-named-block-nodes", varve_qmp_args ("{'flat':true}"));

  for (guint i = 0; i < json_array_get_length (nodes); i++) {
    JsonObject *node = varve_json_array_object (nodes, i);
    JsonArray *bitmaps = varve_json_array (node, "dirty-bitmaps");
    const char *name = varve_json_string (node, "node-name");

    g_ptr_array_add (lines, g_strdup_printf ("node %s", name));
    for (guint j = 0; bitmaps && j < json_array_get_length (bitmaps); j++)
      g_ptr_array_add (lines, g_strdup_printf ("bitmap %s %s", name,
                                               varve_json_string (
                                                   varve_json_array_object (bitmaps, j), "name")));
  }
}

static inline void
list_drives (GPtrArray *lines, VarveQmp *qmp)
{
  g_autoptr (JsonArray) drives = ask_list (qmp, "query-block", NULL);

  for (guint i = 0; i < json_array_get_length (drives); i++) {
    JsonObject *drive = varve_json_array_object (drives, i);
    JsonObject *inserted = varve_json_object (drive, "inserted");

    g_ptr_array_add (lines, g_strdup_printf ("drive %s on %s", varve_json_string (drive, "qdev"),
                                             varve_json_string (inserted, "node-name")));
  }
}

/* Every node, bitmap, drive, export, job and file, the NBD server and the guest's state: equal
 * before and after what must leave nothing behind. */
static inline char *
what_is_there (const Machine *machine)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  VarveQmp *qmp = machine->qmp;

  list_nodes (lines, qmp);
  list_drives (lines, qmp);
  list_members (lines, qmp, "query-block-exports", "id");
  list_members (lines, qmp, "query-jobs", "id");
  list_files (lines, machine->scratch);
  list_files (lines, machine->sockets);
  g_ptr_array_sort (lines, compare_lines);

  g_autoptr (JsonNode) status = varve_qmp_execute (qmp, "query-status", NULL, NULL, &error);
  g_assert_no_error (error);
  g_ptr_array_add (lines, g_strdup (varve_json_string (json_node_get_object (status), "status")));
  /* Nobody else's server runs in these tests: stopping one must fail. */
  bool served = varve_qmp_run (qmp, "nbd-server-stop", NULL, NULL, NULL);
  g_ptr_array_add (lines, g_strdup_printf ("server %d", served));
  g_ptr_array_add (lines, NULL);
  return g_strjoinv ("\n", (char **)lines->pdata);
}

/* A guest's write, by way of the device's backend. */
static inline void
guest_write (VarveQmp *qmp, const char *disk, unsigned pattern, uint64_t offset)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *line = g_strdup_printf ("qemu-io -d /machine/peripheral/%s/virtio-backend "
                                           "\"write -q -P %u %" G_GUINT64_FORMAT " %u\"",
                                           disk, pattern, offset, BLOCK);
  g_autoptr (JsonNode) reply = varve_qmp_execute (
      qmp, "human-monitor-command", varve_qmp_args ("{'command-line':%s}", line), NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json_node_get_string (reply), ==, "");
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

static inline char *
describe_bitmap (const VarveBitmap *bitmap)
{
  const char *state = bitmap->inconsistent ? "inconsistent"
                      : bitmap->recording  ? "recording"
                                           : "disabled";
  g_autofree char *dirty = bitmap->dirty == UINT64_MAX
                               ? g_strdup ("?")
                               : g_strdup_printf ("%" G_GUINT64_FORMAT, bitmap->dirty / BLOCK);

  return g_strdup_printf ("%s %s %s %s%s\n", bitmap->disk, bitmap->name, state, dirty,
                          bitmap->persistent ? "" : " transient");
}

/* All bitmaps, sorted, are lines of "DISK NAME STATE DIRTY-BLOCKS[ transient]". */
static inline void
assert_bitmaps (VarveDomain *domain, const char *expected)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;

  varve_domain_bitmaps (domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < bitmaps->len; i++)
    g_ptr_array_add (lines, describe_bitmap (g_ptr_array_index (bitmaps, i)));
  g_ptr_array_sort (lines, compare_lines);
  g_ptr_array_add (lines, NULL);
  g_autofree char *found = g_strjoinv ("", (char **)lines->pdata);
  g_assert_cmpstr (found, ==, expected);
}

/* Words between spaces. (transfer full) */
static inline GPtrArray *
words_of (const char *text)
{
  GPtrArray *words = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) parts = g_strsplit (text, " ", -1);

  for (size_t i = 0; parts[i]; i++)
    g_ptr_array_add (words, g_strdup (parts[i]));
  return words;
}

static inline void
add_checkpoint (VarveDomain *domain, const char *name, const char *disks)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_add (domain, name, NULL, words, NULL, &error);
  g_assert_no_error (error);
}

static inline void
add_fails (VarveDomain *domain, const char *name, const char *disks, int code)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_domain_checkpoint_add (domain, name, NULL, words, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_cmpint (error->code, ==, code);
}

static inline void
merge_checkpoints (VarveDomain *domain, const char *into, const char *from)
{
  g_autoptr (GPtrArray) words = words_of (from);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_merge (domain, into, words, NULL, &error);
  g_assert_no_error (error);
}

static inline void
merge_fails (VarveDomain *domain, const char *into, const char *from, int code)
{
  g_autoptr (GPtrArray) words = words_of (from);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_domain_checkpoint_merge (domain, into, words, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_cmpint (error->code, ==, code);
}
