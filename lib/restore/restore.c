/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/restore.h"

#include <unistd.h>

#include "restore/ends.h"
#include "util/error.h"
#include "util/failpoint.h"

bool
varve_restore_check (VarveStoreImpl *store, const VarveTarget *target, uint64_t size,
                     GCancellable *cancellable, GError **error)
{
  VarveTargetKind kind;

  if (!varve_target_is_nbd (target->path) && store->ops->contains (store, target->path))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' lies inside the store '%s'. Restore to another place.",
                        target->path, store->uri);
  if (!varve_target_check (target, &kind, error))
    return false;
  return kind == VARVE_TARGET_ABSENT || (kind == VARVE_TARGET_FILE && !target->over) ||
         varve_target_check_size (target, kind, size, cancellable, error);
}

static bool
copy (VarveStoreRead *read, VarveRestoreEnds *ends, BlockTickFunc tick, gpointer tick_data,
      BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  BlockCopy engine = { .source = read->source,
                       .sink = ends->sink,
                       .base = ends->base,
                       .tick = tick,
                       .tick_data = tick_data };

  return block_copy (&engine, out_stats, cancellable, error) &&
         varve_failpoint ("restore-copied", error) && block_sink_flush (ends->sink, error);
}

static bool
restore_to (VarveStoreImpl *store, const VarveManifest *manifest, const VarveTarget *target,
            VarveTargetKind kind, BlockTickFunc tick, gpointer tick_data, BlockCopyStats *out_stats,
            GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  g_auto (VarveRestoreEnds) ends = { NULL };

  return store->ops->read (store, manifest, target->disk, &read, cancellable, error) &&
         varve_restore_ends_open (target, kind, read->source->size, &ends, cancellable, error) &&
         copy (read, &ends, tick, tick_data, out_stats, cancellable, error) &&
         varve_restore_ends_close (&ends, error);
}

bool
varve_restore_disk (VarveStoreImpl *store, const VarveManifest *manifest, const VarveTarget *target,
                    BlockTickFunc tick, gpointer tick_data, BlockCopyStats *out_stats,
                    GCancellable *cancellable, GError **error)
{
  g_autofree char *partial = NULL;
  VarveTargetKind kind;

  if (!varve_target_look (target->path, &kind, error))
    return false;
  if (kind != VARVE_TARGET_FILE || !target->over)
    partial = varve_target_partial (target, kind);
  if (restore_to (store, manifest, target, kind, tick, tick_data, out_stats, cancellable, error) &&
      (partial == NULL || (varve_failpoint ("restore-before-rename", error) &&
                           varve_target_publish (target, partial, error))))
    return true;
  if (partial != NULL)
    unlink (partial);
  return false;
}
