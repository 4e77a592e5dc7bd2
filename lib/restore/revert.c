/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/revert.h"

#include "block/either.h"
#include "block/nbd.h"
#include "util/error.h"

/* The map is asked for in parts, so that memory does not grow with the disk. */
#define WINDOW (1ull << 30)

static bool
count_difference (BlockSource *source, uint64_t *out, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();

  *out = 0;
  for (uint64_t at = 0; at < source->size; at += WINDOW) {
    uint64_t length = MIN (WINDOW, source->size - at);

    varve_extents_clear (map);
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        !block_source_extents (source, at, length, map, error))
      return false;
    *out += length - varve_extents_bytes (map, VARVE_EXTENT_CLEAN);
  }
  return true;
}

bool
varve_revert_difference (VarveStoreImpl *store, const VarveManifest *base,
                         const VarveManifest *wanted, const char *disk, bool *out_known,
                         uint64_t *out_bytes, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;

  *out_bytes = 0;
  if (!store->ops->difference (store, base, wanted, disk, &read, cancellable, error))
    return false;
  *out_known = read != NULL;
  return read == NULL || count_difference (read->source, out_bytes, cancellable, error);
}

/* *out_known: its map tells the difference from @base. */
static bool
open_read (VarveRevertDisk *self, VarveStoreImpl *store, const VarveManifest *base,
           const VarveManifest *wanted, const char *disk, bool *out_known,
           GCancellable *cancellable, GError **error)
{
  if (base != NULL &&
      !store->ops->difference (store, base, wanted, disk, &self->read, cancellable, error))
    return false;
  *out_known = self->read != NULL;
  return *out_known || store->ops->read (store, wanted, disk, &self->read, cancellable, error);
}

static bool
open_disk (VarveRevertDisk *self, const char *disk, const VarveEndpoint *endpoint, bool changed,
           GCancellable *cancellable, GError **error)
{
  g_autofree char *label = g_strdup_printf ("disk '%s'", disk);
  BlockNbdOptions options = {
    .uri = endpoint->uri,
    .label = label,
    .dirty_context = changed ? endpoint->dirty_context : NULL,
    .allocation_context = endpoint->allocation_context,
    .contexts_may_share = endpoint->contexts_may_share,
    .connections = endpoint->connections,
  };

  self->disk = block_nbd_source_open (&options, cancellable, error);
  if (self->disk != NULL)
    self->sink = block_nbd_sink_open (&options, cancellable, error);
  return self->sink != NULL;
}

VarveRevertDisk *
varve_revert_disk_open (VarveStoreImpl *store, const VarveManifest *base,
                        const VarveManifest *wanted, const char *disk,
                        const VarveEndpoint *endpoint, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveRevertDisk) self = g_new0 (VarveRevertDisk, 1);
  bool known;

  if (!open_read (self, store, endpoint->dirty_context ? base : NULL, wanted, disk, &known,
                  cancellable, error) ||
      !open_disk (self, disk, endpoint, known, cancellable, error))
    return NULL;
  if (self->read->source->size != self->disk->size) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "The disk has %" G_GUINT64_FORMAT " bytes, and had %" G_GUINT64_FORMAT
                 " at backup %s.",
                 self->disk->size, self->read->source->size, wanted->id);
    return NULL;
  }
  self->source = self->read->source;
  if (known)
    self->source = self->both = block_either_source_new (self->read->source, self->disk);
  return g_steal_pointer (&self);
}

bool
varve_revert_disk_write (VarveRevertDisk *disk, BlockTickFunc tick, gpointer tick_data,
                         BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  BlockCopy engine = {
    .source = disk->source,
    .sink = disk->sink,
    .base = disk->both ? NULL : disk->disk,
    .tick = tick,
    .tick_data = tick_data,
  };

  return block_copy (&engine, out_stats, cancellable, error) &&
         block_sink_flush (disk->sink, error);
}

void
varve_revert_disk_free (VarveRevertDisk *disk)
{
  if (disk == NULL)
    return;
  g_clear_pointer (&disk->both, block_source_free);
  g_clear_pointer (&disk->sink, block_sink_free);
  g_clear_pointer (&disk->disk, block_source_free);
  g_clear_pointer (&disk->read, varve_store_read_free);
  g_free (disk);
}
