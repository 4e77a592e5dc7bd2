/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A writable NBD export as a sink. Zeros are WRITE_ZEROES, which in an image with a backing file
 * makes explicit zeros; never TRIM, behind which the backing file would show.
 */
#include "config.h"
#include "block/nbd.h"

#include "block/nbd-pool.h"
#include "util/error.h"

#define ZERO_BUFFER (1u << 20)
#define ZERO_LENGTH (128u << 20) /* so that a slow device answers before the stall timeout */

typedef struct {
  BlockSink base;
  BlockNbdPool *pool;
} NbdSink;

static bool
perform (NbdSink *self, BlockNbdCommand command, uint64_t offset, uint64_t length, GError **error)
{
  BlockNbdRequest request = { .command = command, .offset = offset, .length = length };

  return block_nbd_pool_perform (self->pool, &request, error);
}

static bool
nbd_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length, GError **error)
{
  NbdSink *self = (NbdSink *)sink;

  return block_nbd_pool_transfer (self->pool, BLOCK_NBD_WRITE, offset, (void *)buffer, length,
                                  error);
}

static bool
write_zeros (NbdSink *self, uint64_t offset, uint64_t length, GError **error)
{
  g_autofree uint8_t *zeros = g_malloc0 (MIN (length, ZERO_BUFFER));

  while (length > 0) {
    size_t part = MIN (length, ZERO_BUFFER);
    if (!nbd_sink_write (&self->base, offset, zeros, part, error))
      return false;
    offset += part;
    length -= part;
  }
  return true;
}

static bool
nbd_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  NbdSink *self = (NbdSink *)sink;

  if (!self->pool->export.can_zero)
    return write_zeros (self, offset, length, error);
  while (length > 0) {
    uint64_t part = MIN (length, ZERO_LENGTH);
    if (!perform (self, BLOCK_NBD_ZERO, offset, part, error))
      return false;
    offset += part;
    length -= part;
  }
  return true;
}

/* Where several connections are used, the server promises that a flush on one is one for all. A
 * server that cannot flush keeps nothing back. */
static bool
nbd_sink_flush (BlockSink *sink, GError **error)
{
  NbdSink *self = (NbdSink *)sink;

  return !self->pool->export.can_flush || perform (self, BLOCK_NBD_FLUSH, 0, 0, error);
}

static void
nbd_sink_interrupt (BlockSink *sink)
{
  NbdSink *self = (NbdSink *)sink;

  block_nbd_pool_interrupt (self->pool);
}

static void
nbd_sink_free (BlockSink *sink)
{
  NbdSink *self = (NbdSink *)sink;

  block_nbd_pool_free (self->pool);
  g_free (self);
}

static const BlockSinkOps nbd_sink_ops = {
  .name = "nbd",
  .write = nbd_sink_write,
  .zero = nbd_sink_zero,
  .flush = nbd_sink_flush,
  .interrupt = nbd_sink_interrupt,
  .free = nbd_sink_free,
};

BlockSink *
block_nbd_sink_open (const BlockNbdOptions *options, GCancellable *cancellable, GError **error)
{
  BlockNbdOptions plain = *options;
  g_autoptr (BlockNbdPool) pool = NULL;

  plain.dirty_context = NULL;
  plain.allocation_context = NULL;
  pool = block_nbd_pool_open (&plain, true, cancellable, error);
  if (pool == NULL)
    return NULL;
  if (pool->export.read_only) {
    varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE,
                 "Cannot write to %s: the NBD server exports it read-only.", pool->label);
    return NULL;
  }
  NbdSink *self = g_new0 (NbdSink, 1);
  self->base.ops = &nbd_sink_ops;
  self->base.label = g_strdup (pool->label);
  self->base.size = pool->export.size;
  self->base.alignment = pool->export.block_size;
  self->pool = g_steal_pointer (&pool);
  return &self->base;
}
