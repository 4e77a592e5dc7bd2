/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One disk, from the frozen view to its layer. */
#include "config.h"

#include "run/backup.h"

#include "block/fleece.h"
#include "block/nbd.h"
#include "run/sample.h"
#include "util/error.h"
#include "util/failpoint.h"

typedef struct {
  VarveBackupRun *run;
  const char *disk;
  BlockCopy *engine;
  gint64 next_point; /* monotonic us */
} Tick;

#define POINT_US (1 * G_USEC_PER_SEC)

/* The session's watch looks after guest and scratch; here is asked what it found. */
static bool
tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  Tick *turn = data;
  gint64 now = g_get_monotonic_time ();
  VarveEvent event = {
    .type = VARVE_EVENT_PROGRESS,
    .action = "backup",
    .domain = turn->run->look.domain->name,
    .disk = turn->disk,
    .backup = turn->run->manifest->id,
    .done = done,
    .total = total,
  };

  varve_event_emit (turn->run->context->events, &event);
  turn->engine->speed = varve_run_speed (turn->run->context, turn->run->def->speed);
  if (now >= turn->next_point) {
    turn->next_point = now + POINT_US;
    if (!varve_failpoint ("copy-tick", error))
      return false;
  }
  return varve_session_check (turn->run->session, error);
}

static BlockSource *
open_export (const VarveEndpoint *endpoint, const char *label, bool changed_only,
             GCancellable *cancellable, GError **error)
{
  BlockNbdOptions options = {
    .uri = endpoint->uri,
    .label = label,
    .dirty_context = changed_only ? endpoint->dirty_context : NULL,
    .allocation_context = endpoint->allocation_context,
    .contexts_may_share = endpoint->contexts_may_share,
    .trim_unit = endpoint->trim_unit,
    .connections = endpoint->connections,
  };

  return block_nbd_source_open (&options, cancellable, error);
}

/* With the driver's witness of what has been copied, where it has one. */
static BlockSource *
open_witnessed (const VarveEndpoint *endpoint, const char *label, bool changed_only,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (BlockSource) snapshot =
      open_export (endpoint, label, changed_only, cancellable, error);
  BlockNbdOptions options = {
    .uri = endpoint->copied_uri,
    .label = label,
    .dirty_context = endpoint->copied_context,
  };
  BlockSource *copied;

  if (snapshot == NULL || endpoint->copied_uri == NULL)
    return g_steal_pointer (&snapshot);
  copied = block_nbd_source_open (&options, cancellable, error);
  if (copied == NULL)
    return NULL;
  return block_fleece_source_new (g_steal_pointer (&snapshot), copied, error);
}

static BlockSource *
open_snapshot (VarveBackupRun *run, const char *disk, bool changed_only, GCancellable *cancellable,
               GError **error)
{
  g_auto (VarveEndpoint) endpoint = { NULL };
  g_autofree char *label = g_strdup_printf ("disk '%s'", disk);
  BlockSource *source;

  if (!varve_session_endpoint (run->session, disk, &endpoint, cancellable, error))
    return NULL;
  source = open_witnessed (&endpoint, label, changed_only, cancellable, error);
  if (source != NULL)
    g_ptr_array_add (run->sources, source);
  return source;
}

static bool
check_size (const BlockSource *source, const VarvePlanDisk *plan, GError **error)
{
  if (source->size == plan->disk->size)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                      "The export has %" G_GUINT64_FORMAT " bytes, and the disk %" G_GUINT64_FORMAT
                      ". If the disk was just resized, run the backup again.",
                      source->size, plan->disk->size);
}

/* The increment is only believed when the sample bears it out; else everything is read. */
static bool
sample (VarveBackupRun *run, BlockSource **source, BlockSource *base, const VarvePlanDisk *plan,
        VarveManifestDisk *disk, GCancellable *cancellable, GError **error)
{
  g_autofree char *why = NULL;

  if (!varve_sample_clean (*source, base, g_str_hash (run->manifest->id) ^ run->start->disks->len,
                           &why, error))
    return false;
  if (why == NULL)
    return true;
  g_free (disk->decision);
  g_free (disk->reason);
  disk->decision = g_strdup (varve_decision_name (VARVE_DECISION_RESCAN));
  disk->reason = g_strdup_printf ("%s; compared with backup %s", why, plan->base->id);
  *source = open_snapshot (run, disk->name, false, cancellable, error);
  return *source != NULL;
}

static bool
copy (VarveBackupRun *run, BlockSource *source, BlockSource *base, const VarvePlanDisk *plan,
      VarveManifestDisk *disk, GCancellable *cancellable, GError **error)
{
  BlockCopy engine;
  Tick state = { run, disk->name, &engine, g_get_monotonic_time () + POINT_US };
  bool rescan = g_str_equal (disk->decision, varve_decision_name (VARVE_DECISION_RESCAN));
  BlockCopyStats stats = { 0 };

  engine = (BlockCopy){
    .source = source,
    .base = rescan ? base : NULL,
    .clean_limit = base ? base->size : 0,
    .tick = tick,
    .tick_data = &state,
    .release = true,
    .speed = varve_run_speed (run->context, run->def->speed),
  };

  if (!run->look.store->ops->add_disk (run->write, disk, plan->base, &engine.sink, &engine.sum,
                                       &engine.sum_data, cancellable, error) ||
      !varve_failpoint ("copy-disk", error) || !block_copy (&engine, &stats, cancellable, error))
    return false;
  disk->read = stats.read;
  disk->stored = stats.written;
  disk->zeroed = stats.zeroed;
  return varve_failpoint ("copy-disk-done", error);
}

bool
varve_backup_copy_disk (VarveBackupRun *run, const VarvePlanDisk *plan, VarveManifestDisk *disk,
                        GCancellable *cancellable, GError **error)
{
  bool incremental = plan->decision == VARVE_DECISION_INCREMENTAL;
  g_autoptr (VarveStoreRead) base = NULL;
  BlockSource *source = open_snapshot (run, disk->name, incremental, cancellable, error);

  if (source == NULL || !check_size (source, plan, error))
    return false;
  if (plan->base != NULL && !run->look.store->ops->read (run->look.store, plan->base, disk->name,
                                                         &base, cancellable, error))
    return varve_prefix (error, "The base, backup %s, could not be read", plan->base->id);
  if (incremental && base != NULL &&
      !sample (run, &source, base->source, plan, disk, cancellable, error))
    return false;
  return copy (run, source, base ? base->source : NULL, plan, disk, cancellable, error);
}
