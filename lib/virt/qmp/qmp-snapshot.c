/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A snapshot while it is read. It has no state of its own: all is asked of QEMU by the names that a
 * start gives, so that a snapshot found in a record is the same as one just made.
 *
 * It is alive when, for each disk, the filter, what is on it and the export are there, no device
 * goes around the filter, and no job of ours has ended. A filter that gave up (break-snapshot)
 * shows nothing of that, but fails every later read: each read that went well is its own proof. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "qemu/json-get.h"
#include "util/error.h"
#include "virt/qemu-push.h"

char *
varve_qmp_socket (const VarveStart *start)
{
  return g_build_filename (start->directory, "nbd.sock", NULL);
}

bool
varve_qmp_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                  GCancellable *cancellable, GError **error)
{
  VarveSnapshot *snapshot = g_new0 (VarveSnapshot, 1);

  snapshot->domain = base;
  snapshot->start = varve_start_copy (start);
  *out = snapshot;
  return true;
}

void
varve_qmp_snapshot_free (VarveSnapshot *snapshot)
{
  varve_start_free (snapshot->start);
  g_free (snapshot);
}

static bool
has_export (JsonArray *exports, const char *id)
{
  for (guint i = 0; i < json_array_get_length (exports); i++) {
    JsonObject *export = varve_json_array_object (exports, i);

    if (g_strcmp0 (varve_json_string (export, "id"), id) == 0)
      return !varve_json_bool (export, "shutting-down", false);
  }
  return false;
}

static bool
is_used_by_device (JsonArray *drives, const char *node)
{
  for (guint i = 0; i < json_array_get_length (drives); i++) {
    JsonObject *inserted = varve_json_object (varve_json_array_object (drives, i), "inserted");

    if (g_strcmp0 (varve_json_string (inserted, "node-name"), node) == 0)
      return true;
  }
  return false;
}

/* What is wrong with one disk, or NULL. */
static char *
disk_trouble (const VarveStart *start, guint i, GHashTable *nodes, JsonArray *exports,
              JsonArray *drives)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
  g_autofree char *bitmap = varve_qmp_name (start->session, 't', i);

  for (const char *kind = "sca"; *kind; kind++) {
    g_autofree char *node = varve_qmp_name (start->session, *kind, i);

    if (!g_hash_table_contains (nodes, node))
      return g_strdup_printf ("disk '%s': its node '%s' is gone", disk->disk, node);
  }
  for (const char *kind = "ed"; *kind; kind++) {
    g_autofree char *export = varve_qmp_name (start->session, *kind, i);

    if (!has_export (exports, export))
      return g_strdup_printf ("disk '%s': its export '%s' is gone", disk->disk, export);
  }

  const char *below = varve_qmp_node_with_bitmap (nodes, bitmap);
  if (!below)
    return g_strdup_printf ("disk '%s': its bitmap '%s' is gone", disk->disk, bitmap);
  if (is_used_by_device (drives, below))
    return g_strdup_printf ("disk '%s': its device was taken off the filter by somebody else",
                            disk->disk);
  return NULL;
}

static char *
job_trouble (const VarveStart *start, JsonArray *jobs)
{
  static const char *const live[] = { "created", "running", "paused", "ready", "standby", NULL };

  for (guint i = 0; i < json_array_get_length (jobs); i++) {
    JsonObject *job = varve_json_array_object (jobs, i);
    const char *id = varve_json_string (job, "id");
    const char *status = varve_json_string (job, "status");
    const char *why = varve_json_string (job, "error");

    if (varve_qmp_name_index (id, start->session, 'j') >= 0 &&
        !(status && g_strv_contains (live, status)))
      return g_strdup_printf ("its job '%s' has ended: %s", id, why ? why : "it gives no reason");
  }
  return NULL;
}

static uint64_t
scratch_used (const VarveStart *start, GHashTable *nodes)
{
  uint64_t sum = 0;

  for (guint i = 0; i < start->disks->len; i++) {
    g_autofree char *name = varve_qmp_name (start->session, 's', i);
    JsonObject *image = varve_json_object (g_hash_table_lookup (nodes, name), "image");
    int64_t used = varve_json_int (image, "actual-size", 0);

    if (used > 0)
      sum += (uint64_t)used;
  }
  return sum;
}

static bool
look (VarveQmpDomain *domain, const VarveStart *start, VarveSnapshotStatus *out,
      GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (JsonArray) exports =
      nodes ? varve_qmp_list (domain, "query-block-exports", cancellable, error) : NULL;
  g_autoptr (JsonArray) jobs =
      exports ? varve_qmp_list (domain, "query-jobs", cancellable, error) : NULL;
  g_autoptr (JsonArray) drives =
      jobs ? varve_qmp_list (domain, "query-block", cancellable, error) : NULL;
  g_autofree char *status = drives ? varve_qmp_domain_status (domain, cancellable, error) : NULL;

  if (!status)
    return false;
  out->why = job_trouble (start, jobs);
  for (guint i = 0; i < start->disks->len && !out->why; i++)
    out->why = disk_trouble (start, i, nodes, exports, drives);
  out->state = out->why ? VARVE_SNAPSHOT_BROKEN : VARVE_SNAPSHOT_ALIVE;
  out->scratch_used = scratch_used (start, nodes);
  out->guest_paused = g_str_equal (status, "io-error");
  return true;
}

/* Of a push through a fleece both must be well: the frozen view, and the jobs that read it. */
static bool
look_both (VarveQmpDomain *domain, const VarveStart *start, VarveSnapshotStatus *out,
           GCancellable *cancellable, GError **error)
{
  return look (domain, start, out, cancellable, error) &&
         (!start->push || out->why ||
          varve_qemu_push_poll (domain->qmp, start, out, cancellable, error));
}

static bool
look_push (VarveQmpDomain *domain, const VarveStart *start, VarveSnapshotStatus *out,
           GCancellable *cancellable, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);

  if (!status)
    return false;
  out->guest_paused = g_str_equal (status, "io-error");
  return varve_qemu_push_poll (domain->qmp, start, out, cancellable, error);
}

bool
varve_qmp_poll (VarveSnapshot *snapshot, VarveSnapshotStatus *out, GCancellable *cancellable,
                GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)snapshot->domain;
  bool gone;

  *out = (VarveSnapshotStatus){ 0 };
  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  if (!gone)
    return snapshot->start->push && !snapshot->start->fleece
               ? look_push (domain, snapshot->start, out, cancellable, error)
               : look_both (domain, snapshot->start, out, cancellable, error);
  out->state = VARVE_SNAPSHOT_GONE;
  out->why = g_strdup ("its QEMU has exited");
  return true;
}

static VarveQmp *
qmp_of (const VarveSnapshot *snapshot)
{
  return ((VarveQmpDomain *)snapshot->domain)->qmp;
}

bool
varve_qmp_progress (VarveSnapshot *snapshot, GArray **out, GCancellable *cancellable,
                    GError **error)
{
  return varve_qemu_push_progress (qmp_of (snapshot), snapshot->start, out, cancellable, error);
}

bool
varve_qmp_set_speed (VarveSnapshot *snapshot, uint64_t speed, GCancellable *cancellable,
                     GError **error)
{
  return varve_qemu_push_set_speed (qmp_of (snapshot), snapshot->start, speed, cancellable, error);
}

bool
varve_qmp_finish (VarveSnapshot *snapshot, GCancellable *cancellable, GError **error)
{
  g_auto (VarveSnapshotStatus) status = { 0 };

  if (snapshot->start->push)
    return varve_qemu_push_finish (qmp_of (snapshot), snapshot->start, cancellable, error);
  if (!varve_qmp_poll (snapshot, &status, cancellable, error))
    return false;
  if (status.state == VARVE_SNAPSHOT_ALIVE)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The snapshot of domain '%s' did not live until all of it was read (%s): "
                      "what was read is discarded; take the backup again.",
                      snapshot->domain->name, status.why);
}
