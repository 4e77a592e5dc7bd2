/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An NBD export as a source: a pool of connections to read by, and a map. */
#include "config.h"
#include "block/nbd.h"

#include "block/nbd-map.h"
#include "block/nbd-pool.h"

typedef struct {
  BlockSource base;
  BlockNbdPool *pool;
  BlockNbdMap *map;
  gint refuses; /* atomic: a trim failed, so none is tried again */
} NbdSource;

/* A multiple of every unit. */
#define TRIM_MAX (1ull << 30)

static bool
nbd_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  NbdSource *self = (NbdSource *)source;

  return block_nbd_pool_transfer (self->pool, BLOCK_NBD_READ, offset, buffer, length, error);
}

static bool
nbd_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                    GError **error)
{
  NbdSource *self = (NbdSource *)source;

  return block_nbd_map_extents (self->map, offset, length, out, error);
}

static void
nbd_source_release (BlockSource *source, uint64_t offset, uint64_t length)
{
  NbdSource *self = (NbdSource *)source;

  while (length > 0 && !g_atomic_int_get (&self->refuses)) {
    uint64_t part = MIN (length, TRIM_MAX);
    BlockNbdRequest request = { .command = BLOCK_NBD_TRIM, .offset = offset, .length = part };

    if (!block_nbd_pool_perform (self->pool, &request, NULL))
      g_atomic_int_set (&self->refuses, 1);
    offset += part;
    length -= part;
  }
}

static void
nbd_source_interrupt (BlockSource *source)
{
  NbdSource *self = (NbdSource *)source;

  block_nbd_pool_interrupt (self->pool);
}

static void
nbd_source_free (BlockSource *source)
{
  NbdSource *self = (NbdSource *)source;

  block_nbd_map_free (self->map);
  block_nbd_pool_free (self->pool);
  g_free (self);
}

static const BlockSourceOps nbd_source_ops = {
  .name = "nbd",
  .read = nbd_source_read,
  .extents = nbd_source_extents,
  .release = nbd_source_release,
  .interrupt = nbd_source_interrupt,
  .free = nbd_source_free,
};

BlockSource *
block_nbd_source_open (const BlockNbdOptions *options, GCancellable *cancellable, GError **error)
{
  BlockNbdPool *pool = block_nbd_pool_open (options, false, cancellable, error);

  if (pool == NULL)
    return NULL;
  NbdSource *self = g_new0 (NbdSource, 1);
  self->pool = pool;
  self->map = block_nbd_map_new (pool, options);
  self->base.ops = &nbd_source_ops;
  self->base.label = g_strdup (pool->label);
  self->base.size = pool->export.size;
  self->base.block_size = pool->export.block_size;
  if (pool->export.can_trim && options->trim_unit != 0)
    self->base.release_unit = MAX (options->trim_unit, pool->export.block_size);
  self->base.max_read = pool->export.max_transfer;
  self->base.depth = pool->data * BLOCK_NBD_DEPTH;
  return &self->base;
}
