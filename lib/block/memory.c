/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ends in memory, and the sink that keeps nothing. No locks: a source never changes, and the calls
 * on a sink are for ranges that do not overlap.
 */
#include "config.h"
#include "block/memory.h"

#include <string.h>

#define MEMORY_DEPTH 8

typedef struct {
  BlockSource base;
  uint8_t *data;
  VarveExtents *map; /* NULL: everything is data */
} MemorySource;

typedef struct {
  BlockSink base;
  uint8_t *data;
} MemorySink;

static bool
memory_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length,
                    GError **error)
{
  const MemorySource *self = (const MemorySource *)source;

  memcpy (buffer, self->data + offset, length);
  return true;
}

/* What the map does not state is data. */
static bool
memory_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                       GError **error)
{
  const MemorySource *self = (const MemorySource *)source;
  uint64_t end = offset + length;
  uint64_t at = offset;

  for (size_t i = 0; self->map != NULL && i < varve_extents_count (self->map) && at < end; i++) {
    const VarveExtent *extent = varve_extents_get (self->map, i);
    uint64_t from = CLAMP (extent->offset, at, end);
    uint64_t to = CLAMP (extent->offset + extent->length, from, end);
    if (from == to)
      continue;
    varve_extents_append (out, at, from - at, VARVE_EXTENT_DATA);
    varve_extents_append (out, from, to - from, extent->state);
    at = to;
  }
  varve_extents_append (out, at, end - at, VARVE_EXTENT_DATA);
  return true;
}

static void
memory_source_free (BlockSource *source)
{
  MemorySource *self = (MemorySource *)source;

  g_free (self->data);
  g_clear_pointer (&self->map, varve_extents_free);
  g_free (self);
}

static const BlockSourceOps memory_source_ops = {
  .name = "memory",
  .read = memory_source_read,
  .extents = memory_source_extents,
  .free = memory_source_free,
};

BlockSource *
block_memory_source_new (const void *data, uint64_t size, const VarveExtents *map)
{
  MemorySource *self = g_new0 (MemorySource, 1);

  self->base.ops = &memory_source_ops;
  self->base.label = g_strdup ("memory");
  self->base.size = size;
  self->base.block_size = 1;
  self->base.max_read = UINT32_MAX;
  self->base.depth = MEMORY_DEPTH;
  self->data = g_memdup2 (data, size);
  if (map != NULL) {
    self->map = varve_extents_new ();
    for (size_t i = 0; i < varve_extents_count (map); i++) {
      const VarveExtent *extent = varve_extents_get (map, i);
      varve_extents_append (self->map, extent->offset, extent->length, extent->state);
    }
  }
  return &self->base;
}

static bool
memory_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                   GError **error)
{
  MemorySink *self = (MemorySink *)sink;

  memcpy (self->data + offset, buffer, length);
  return true;
}

static bool
memory_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  MemorySink *self = (MemorySink *)sink;

  memset (self->data + offset, 0, length);
  return true;
}

static bool
memory_sink_flush (BlockSink *sink, GError **error)
{
  return true;
}

static void
memory_sink_free (BlockSink *sink)
{
  MemorySink *self = (MemorySink *)sink;

  g_free (self->data);
  g_free (self);
}

static const BlockSinkOps memory_sink_ops = {
  .name = "memory",
  .write = memory_sink_write,
  .zero = memory_sink_zero,
  .flush = memory_sink_flush,
  .free = memory_sink_free,
};

BlockSink *
block_memory_sink_new (uint64_t size, uint32_t alignment, uint8_t fill, bool has_base)
{
  MemorySink *self = g_new0 (MemorySink, 1);

  self->base.ops = &memory_sink_ops;
  self->base.label = g_strdup ("memory");
  self->base.size = size;
  self->base.alignment = alignment;
  self->base.reads_as_zero = fill == 0;
  self->base.has_base = has_base;
  self->data = g_malloc (MAX (size, 1));
  memset (self->data, fill, size);
  return &self->base;
}

const uint8_t *
block_memory_sink_data (const BlockSink *sink)
{
  return ((const MemorySink *)sink)->data;
}

static bool
null_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                 GError **error)
{
  return true;
}

static bool
null_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  return true;
}

static void
null_sink_free (BlockSink *sink)
{
  g_free (sink);
}

static const BlockSinkOps null_sink_ops = {
  .name = "null",
  .write = null_sink_write,
  .zero = null_sink_zero,
  .flush = memory_sink_flush,
  .free = null_sink_free,
};

BlockSink *
block_null_sink_new (uint64_t size)
{
  BlockSink *sink = g_new0 (BlockSink, 1);

  sink->ops = &null_sink_ops;
  sink->label = g_strdup ("null");
  sink->size = size;
  sink->alignment = 1;
  sink->reads_as_zero = true;
  return sink;
}
