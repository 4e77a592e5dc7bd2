/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Taking a session down, whatever of it is there, in the one order that neither hangs QEMU nor lets
 * a reader see new data for old:
 *
 *   guest resumed (if our start left it standing)
 *   ─▶ exports of the frozen views deleted, and seen gone
 *   ─▶ jobs that write from them ─▶ snapshot-access nodes ─▶ scratch images flushed
 *   ─▶ jobs cancelled, with them their filters
 *   ─▶ devices put back on their disks: the guest is clear of it all
 *   ─▶ scratch images flushed again ─▶ their exports ─▶ filters, scratch nodes, targets of a push
 *   ─▶ frozen bitmaps ─▶ NBD server ─▶ files
 *
 * The exports go first and from QEMU's side: a reader gets an error from then on, and a server that
 * is stopped with an export alive may freeze the guest. A view goes before its scratch image: QEMU
 * drains the node of an export that it deletes and all above it, which does not end, and stops the
 * guest, while a reader of the view hangs. (Foreign readers read the scratch image; they have been cut off by then, and
 * without snapshot-access there is no proof that would let them have more: qmp-export.c.) Each step asks QEMU what is there by name, so that it can
 * be run again from any half. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "qemu/json-get.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

#define EXPORT_TIMEOUT_US (15 * G_USEC_PER_SEC)
#define JOB_TIMEOUT_US    (20 * G_USEC_PER_SEC)
#define EVENT_WAIT_MS     250

static bool
is_ours (const char *name, const VarveStart *start, char kind)
{
  return varve_qmp_name_index (name, start->session, kind) >= 0;
}

/* --- the guest -------------------------------------------------------------------------------- */

static bool
resume_guest (VarveQmpDomain *domain, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (domain, NULL, error);

  if (!status)
    return false;
  if (!g_str_equal (status, "paused"))
    return true;
  return varve_qmp_run (domain->qmp, "cont", NULL, NULL, error) ||
         varve_prefix (error, "The guest could not be resumed");
}

/* --- exports ---------------------------------------------------------------------------------- */

/* Our exports of one @kind, on nodes of @node_kind (0: of any), that are still there; those that nobody has
 * told to go yet are told. */
static bool
delete_exports (VarveQmpDomain *domain, const VarveStart *start, char kind, char node_kind,
                guint *out_left, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) exports =
      varve_qmp_list (domain, "query-block-exports", cancellable, error);

  if (!exports)
    return false;
  *out_left = 0;
  for (guint i = 0; i < json_array_get_length (exports); i++) {
    JsonObject *export = varve_json_array_object (exports, i);
    const char *id = varve_json_string (export, "id");

    if (!is_ours (id, start, kind) ||
        (node_kind && !is_ours (varve_json_string (export, "node-name"), start, node_kind)))
      continue;
    ++*out_left;
    if (!varve_json_bool (export, "shutting-down", false) &&
        !varve_qmp_run (domain->qmp, "block-export-del",
                        varve_qmp_args ("{'id':%s,'mode':'hard'}", id), cancellable, error))
      return false;
  }
  return true;
}

static bool
is_export_deleted (const char *event, JsonObject *data, gpointer user_data)
{
  return g_str_equal (event, "BLOCK_EXPORT_DELETED");
}

/* The event only cuts the wait short: what counts is the list. */
static bool
end_exports (VarveQmpDomain *domain, const VarveStart *start, char kind, char node_kind,
             GCancellable *cancellable, GError **error)
{
  int64_t deadline = g_get_monotonic_time () + EXPORT_TIMEOUT_US;
  guint left;

  while (delete_exports (domain, start, kind, node_kind, &left, cancellable, error)) {
    g_autoptr (GError) local = NULL;

    if (left == 0)
      return true;
    if (g_get_monotonic_time () > deadline)
      return varve_throw (error, VARVE_ERROR_BUSY,
                          "%u NBD exports of domain '%s' do not go, as a client neither reads nor "
                          "closes its connection: end that client, then run varve recover.",
                          left, domain->base.name);
    g_autoptr (JsonObject) event = varve_qmp_wait_event (domain->qmp, is_export_deleted, NULL,
                                                         EVENT_WAIT_MS, cancellable, &local);
    if (local) {
      g_propagate_error (error, g_steal_pointer (&local));
      return false;
    }
  }
  return false;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static bool
delete_nodes (VarveQmpDomain *domain, const VarveStart *start, char kind, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  GHashTableIter iter;
  gpointer name;

  if (!nodes)
    return false;
  g_hash_table_iter_init (&iter, nodes);
  while (g_hash_table_iter_next (&iter, &name, NULL)) {
    if (is_ours (name, start, kind) &&
        !varve_qmp_run (domain->qmp, "blockdev-del", varve_qmp_args ("{'node-name':%s}", name),
                        cancellable, error))
      return false;
  }
  return true;
}

/* "/machine/peripheral/vd0/virtio-backend" has the property, too. */
static bool
put_back (VarveQmpDomain *domain, const char *device, const char *node, GCancellable *cancellable,
          GError **error)
{
  return varve_qmp_run (domain->qmp, "qom-set",
                        varve_qmp_args ("{'path':%s,'property':'drive','value':%s}", device, node),
                        cancellable, error);
}

/* Each device that is on a filter of ours goes back to the node with the session's bitmap. */
static bool
put_drives_back (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
                 GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (JsonArray) drives =
      nodes ? varve_qmp_list (domain, "query-block", cancellable, error) : NULL;

  if (!drives)
    return false;
  for (guint i = 0; i < json_array_get_length (drives); i++) {
    JsonObject *drive = varve_json_array_object (drives, i);
    const char *device = varve_json_string (drive, "qdev");
    const char *top = varve_json_string (varve_json_object (drive, "inserted"), "node-name");
    int index = varve_qmp_name_index (top, start->session, 'c');

    if (index < 0 || !device)
      continue;
    g_autofree char *bitmap = varve_qmp_name (start->session, 't', (unsigned)index);
    const char *node = varve_qmp_node_with_bitmap (nodes, bitmap);
    if (!node)
      return varve_throw (error, VARVE_ERROR_FAILED,
                          "The device %s of domain '%s' cannot be put back on its disk, as the "
                          "bitmap '%s' that marks it is gone: use qom-set DEVICE drive NODE in "
                          "QEMU's monitor.",
                          device, domain->base.name, bitmap);
    if (!put_back (domain, device, node, cancellable, error))
      return false;
  }
  return true;
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* A job moves on by itself between the look and the command, and QEMU then refuses that: the next look tells. */
static bool
push_job (VarveQmpDomain *domain, const char *command, const char *id, GCancellable *cancellable,
          GError **error)
{
  g_autoptr (GError) local = NULL;

  if (varve_qmp_run (domain->qmp, command, varve_qmp_args ("{'id':%s}", id), cancellable, &local))
    return true;
  if (varve_qmp_error_class (local)) {
    g_debug ("job '%s': %s", id, local->message);
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

/* One step on each job of ours of that kind: cancel what runs, dismiss what has ended. */
static bool
push_jobs (VarveQmpDomain *domain, const VarveStart *start, char kind, guint *out_left,
           GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) jobs = varve_qmp_list (domain, "query-jobs", cancellable, error);

  if (!jobs)
    return false;
  *out_left = 0;
  for (guint i = 0; i < json_array_get_length (jobs); i++) {
    JsonObject *job = varve_json_array_object (jobs, i);
    const char *id = varve_json_string (job, "id");
    const char *status = varve_json_string (job, "status");
    const char *command = NULL;

    if (!is_ours (id, start, kind) || !status)
      continue;
    ++*out_left;
    if (g_str_equal (status, "concluded"))
      command = "job-dismiss";
    else if (!g_str_equal (status, "aborting") && !g_str_equal (status, "null"))
      command = "job-cancel";
    if (command && !push_job (domain, command, id, cancellable, error))
      return false;
  }
  return true;
}

static bool
is_job_change (const char *event, JsonObject *data, gpointer user_data)
{
  return g_str_equal (event, "JOB_STATUS_CHANGE") &&
         g_strcmp0 (varve_json_string (data, "status"), "concluded") == 0;
}

static bool
end_jobs (VarveQmpDomain *domain, const VarveStart *start, char kind, GCancellable *cancellable,
          GError **error)
{
  int64_t deadline = g_get_monotonic_time () + JOB_TIMEOUT_US;
  guint left;

  while (push_jobs (domain, start, kind, &left, cancellable, error)) {
    g_autoptr (GError) local = NULL;

    if (left == 0)
      return true;
    if (g_get_monotonic_time () > deadline)
      return varve_throw (
          error, VARVE_ERROR_BUSY,
          "%u backup jobs of session %s in the QEMU of domain '%s' do not end: see "
          "whether the storage of its scratch or its target hangs, then run varve recover.",
          left, start->session, domain->base.name);
    g_autoptr (JsonObject) event =
        varve_qmp_wait_event (domain->qmp, is_job_change, NULL, EVENT_WAIT_MS, cancellable, &local);
    if (local) {
      g_propagate_error (error, g_steal_pointer (&local));
      return false;
    }
  }
  return false;
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

static bool
remove_frozen_of (VarveQmpDomain *domain, const VarveStart *start, const char *name,
                  JsonObject *node, GCancellable *cancellable, GError **error)
{
  JsonArray *bitmaps = varve_json_array (node, "dirty-bitmaps");

  for (guint i = 0; bitmaps && i < json_array_get_length (bitmaps); i++) {
    const char *bitmap = varve_json_string (varve_json_array_object (bitmaps, i), "name");

    if (is_ours (bitmap, start, 't') &&
        !varve_qmp_run (domain->qmp, "block-dirty-bitmap-remove",
                        varve_qmp_args ("{'node':%s,'name':%s}", name, bitmap), cancellable, error))
      return false;
  }
  return true;
}

/* By their names alone, as all before: a session whose record is lost is not told by its disks. */
static bool
remove_frozen (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  GHashTableIter iter;
  gpointer name, node;

  if (!nodes)
    return false;
  g_hash_table_iter_init (&iter, nodes);
  while (g_hash_table_iter_next (&iter, &name, &node)) {
    if (!remove_frozen_of (domain, start, name, node, cancellable, error))
      return false;
  }
  return true;
}

/* --- server and files ------------------------------------------------------------------------- */

static bool
is_socket (const char *path)
{
  struct stat status;

  return lstat (path, &status) == 0 && S_ISSOCK (status.st_mode);
}

/* Whether something in QEMU's network name space listens at @path, also where somebody has removed it.
 * QEMU does not tell where its server is, and may run somebody else's by now. /proc/net/unix ends each
 * line with the path as it was bound; the fourth column has bit 16 (SO_ACCEPTCON) for listeners. */
static bool
is_listening (VarveQmpDomain *domain, const char *path)
{
  g_autofree char *table = domain->pid > 0 ? g_strdup_printf ("/proc/%d/net/unix", (int)domain->pid)
                                           : g_strdup ("/proc/net/unix");
  g_autofree char *text = NULL;
  g_autofree char *ending = g_strdup_printf (" %s", path);

  if (!g_file_get_contents (table, &text, NULL, NULL))
    return is_socket (path);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (size_t i = 0; lines[i]; i++) {
    unsigned flags;

    if (g_str_has_suffix (lines[i], ending) &&
        sscanf (lines[i], "%*[^:]: %*x %*x %x", &flags) == 1 && flags & 0x10000)
      return true;
  }
  return false;
}

static bool
stop_server (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
             GError **error)
{
  g_autofree char *path = varve_qmp_socket (start);

  if (!is_listening (domain, path))
    return true;

  g_autoptr (JsonArray) exports =
      varve_qmp_list (domain, "query-block-exports", cancellable, error);
  if (!exports)
    return false;
  for (guint i = 0; i < json_array_get_length (exports); i++) {
    JsonObject *export = varve_json_array_object (exports, i);

    if (g_strcmp0 (varve_json_string (export, "type"), "nbd") == 0)
      return varve_throw (error, VARVE_ERROR_BUSY,
                          "The NBD server that varve started in the QEMU of domain '%s' has the "
                          "export '%s' of another program: end that, then run varve recover.",
                          domain->base.name, varve_json_string (export, "id"));
  }
  return varve_qmp_run (domain->qmp, "nbd-server-stop", NULL, cancellable, error);
}

static bool
remove_files (const VarveStart *start, GError **error)
{
  g_autofree char *socket = start->directory ? varve_qmp_socket (start) : NULL;

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->scratch && !varve_durable_unlink (disk->scratch, error))
      return false;
  }
  return !socket || varve_durable_unlink (socket, error);
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool
end_in_qemu (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
             GError **error)
{
  return end_exports (domain, start, 'e', 0, cancellable, error) &&
         end_exports (domain, start, 'd', 'a', cancellable, error) &&
         varve_failpoint ("qmp-end-exports", error) &&
         end_jobs (domain, start, 'b', cancellable, error) &&
         delete_nodes (domain, start, 'a', cancellable, error) &&
         varve_qmp_settle (domain, start, cancellable, error) &&
         end_jobs (domain, start, 'j', cancellable, error) &&
         put_drives_back (domain, start, cancellable, error) &&
         varve_failpoint ("qmp-end-switched", error) &&
         varve_qmp_settle (domain, start, cancellable, error) &&
         end_exports (domain, start, 'd', 0, cancellable, error) &&
         delete_nodes (domain, start, 'c', cancellable, error) &&
         delete_nodes (domain, start, 's', cancellable, error) &&
         delete_nodes (domain, start, 'p', cancellable, error) &&
         varve_failpoint ("qmp-end-nodes", error) &&
         remove_frozen (domain, start, cancellable, error) &&
         varve_failpoint ("qmp-end-bitmaps", error) &&
         (!start->directory || stop_server (domain, start, cancellable, error));
}

bool
varve_qmp_take_down (VarveQmpDomain *domain, const VarveStart *start, bool was_stopped,
                     GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) first = NULL;
  g_autoptr (GError) second = NULL;
  bool gone;

  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  if (!gone && was_stopped)
    resume_guest (domain, &first);
  if (!gone && !end_in_qemu (domain, start, cancellable, &second)) {
    /* An exit of QEMU in the middle ends it all as well. */
    if (!varve_error_matches (second, VARVE_ERROR_SOURCE_UNREACHABLE) ||
        !varve_qmp_domain_revive (domain, &gone, NULL) || !gone)
      varve_keep_first (&first, &second);
  }
  if (!first && varve_failpoint ("qmp-end-scratch", &first))
    remove_files (start, &first);
  if (!first)
    return true;
  g_propagate_error (error, g_steal_pointer (&first));
  return false;
}

bool
varve_qmp_end (VarveSnapshot *snapshot, bool start_was_cut, GCancellable *cancellable,
               GError **error)
{
  return varve_qmp_take_down ((VarveQmpDomain *)snapshot->domain, snapshot->start, start_was_cut,
                              cancellable, error);
}
