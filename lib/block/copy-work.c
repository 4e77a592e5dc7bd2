/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A step on its way through a worker. A READ step falls into units (absolute ones: where the step
 * begins inside a unit, its first is shorter), each of which is the same as the base, zeros, or
 * data; neighbours of one kind are passed on together. Units are whole clusters of the sink.
 */
#include "config.h"
#include "block/copy-work.h"

#include <string.h>

#include "block/zero.h"
#include "util/checked.h"
#include "util/error.h"
#include "util/xxh3.h"

#define BUFFER_ALIGN 4096u

typedef enum {
  UNIT_SAME,
  UNIT_ZERO,
  UNIT_DATA,
} UnitKind;

void
block_worker_init (BlockWorker *worker, const BlockCopy *copy)
{
  *worker = (BlockWorker){ .copy = copy };
}

void
block_worker_clear (BlockWorker *worker)
{
  g_clear_pointer (&worker->data, g_aligned_free);
  g_clear_pointer (&worker->base_data, g_aligned_free);
}

uint64_t
block_worker_buffered (const BlockWorker *worker)
{
  uint64_t piece = block_plan_piece (worker->copy->sink);

  return (worker->data != NULL ? piece : 0) + (worker->base_data != NULL ? piece : 0);
}

static bool
read_part (BlockSource *source, uint64_t offset, uint8_t *buffer, uint64_t length, GError **error)
{
  if (length == 0 || block_source_read (source, offset, buffer, length, error))
    return true;
  return varve_prefix (error, "Reading %s at offset %" G_GUINT64_FORMAT, source->label, offset);
}

/* Fills @buffer with [offset, offset + length): what is in @holes with zeros, the rest from
 * @source. */
static bool
fill (BlockSource *source, uint64_t offset, uint64_t length, const GArray *holes, uint8_t *buffer,
      GError **error)
{
  uint64_t at = offset;

  for (guint i = 0; i < holes->len; i++) {
    const BlockRange *hole = &g_array_index (holes, BlockRange, i);
    memset (buffer + (hole->offset - offset), 0, hole->length);
    if (!read_part (source, at, buffer + (at - offset), hole->offset - at, error))
      return false;
    at = hole->offset + hole->length;
  }
  return read_part (source, at, buffer + (at - offset), offset + length - at, error);
}

static bool
fill_buffers (BlockWorker *worker, const BlockStep *step, GError **error)
{
  const BlockCopy *copy = worker->copy;
  uint64_t piece = block_plan_piece (copy->sink);

  if (worker->data == NULL)
    worker->data = g_aligned_alloc (1, piece, BUFFER_ALIGN);
  if (!fill (copy->source, step->offset, step->length, step->holes, worker->data, error))
    return false;
  if (copy->base == NULL || step->offset >= copy->base->size)
    return true;
  if (worker->base_data == NULL)
    worker->base_data = g_aligned_alloc (1, piece, BUFFER_ALIGN);
  return fill (copy->base, step->offset, MIN (step->length, copy->base->size - step->offset),
               step->base_holes, worker->base_data, error);
}

/* The kind of the unit that @offset lies in, of which the step has [offset, offset + length). */
static UnitKind
unit_kind (const BlockWorker *worker, const BlockStep *step, uint64_t offset, uint64_t length)
{
  const BlockCopy *copy = worker->copy;
  const uint8_t *data = worker->data + (offset - step->offset);
  uint64_t unit = block_plan_unit (copy->sink);
  uint64_t unit_end = MIN (varve_round_down (offset, unit) + unit, copy->source->size);

  if (copy->base != NULL && unit_end <= copy->base->size &&
      memcmp (data, worker->base_data + (offset - step->offset), length) == 0)
    return UNIT_SAME;
  return block_is_zero (data, length) ? UNIT_ZERO : UNIT_DATA;
}

static void
sum_data (const uint8_t *data, uint64_t offset, uint64_t length, GArray *sums)
{
  while (length > 0) {
    uint64_t part = MIN (length, BLOCK_COPY_CHUNK - (offset & (BLOCK_COPY_CHUNK - 1)));
    BlockSum sum = { .offset = offset, .length = (uint32_t)part, .state = VARVE_EXTENT_DATA };
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash (&canonical, XXH3_128bits (data, part));
    memcpy (sum.hash, canonical.digest, sizeof sum.hash);
    g_array_append_val (sums, sum);
    data += part;
    offset += part;
    length -= part;
  }
}

static void
sum_zero (uint64_t offset, uint64_t length, GArray *sums)
{
  BlockSum sum = { .offset = offset, .length = (uint32_t)length, .state = VARVE_EXTENT_ZERO };

  g_array_append_val (sums, sum);
}

static bool
pass_data (BlockWorker *worker, const uint8_t *data, uint64_t offset, uint64_t length, GArray *sums,
           GError **error)
{
  BlockSink *sink = worker->copy->sink;

  if (worker->copy->sum != NULL)
    sum_data (data, offset, length, sums);
  if (block_sink_write (sink, offset, data, length, error))
    return true;
  return varve_prefix (error, "Writing %s at offset %" G_GUINT64_FORMAT, sink->label, offset);
}

/* Zeros that the sink has anyway are left out, unless there is a base: then they are a difference.
 */
static bool
pass_zero (BlockWorker *worker, uint64_t offset, uint64_t length, GArray *sums, GError **error)
{
  BlockSink *sink = worker->copy->sink;

  if (sink->reads_as_zero && !sink->has_base && worker->copy->base == NULL)
    return true;
  if (worker->copy->sum != NULL)
    sum_zero (offset, length, sums);
  if (block_sink_zero (sink, offset, length, error))
    return true;
  return varve_prefix (error, "Writing zeros to %s at offset %" G_GUINT64_FORMAT, sink->label,
                       offset);
}

static bool
pass (BlockWorker *worker, UnitKind kind, const uint8_t *data, uint64_t offset, uint64_t length,
      GArray *sums, BlockCopyStats *stats, GError **error)
{
  switch (kind) {
  case UNIT_SAME:
    stats->same += length;
    return true;
  case UNIT_ZERO:
    stats->zeroed += length;
    return pass_zero (worker, offset, length, sums, error);
  case UNIT_DATA:
    break;
  }
  stats->written += length;
  return pass_data (worker, data, offset, length, sums, error);
}

static bool
run_read (BlockWorker *worker, const BlockStep *step, GArray *sums, BlockCopyStats *stats,
          GError **error)
{
  uint64_t unit = block_plan_unit (worker->copy->sink);
  uint64_t end = step->offset + step->length;
  uint64_t start = step->offset; /* of the units of one kind that were not passed on yet */
  UnitKind kind = UNIT_SAME;

  if (!fill_buffers (worker, step, error))
    return false;
  stats->read += block_step_read_bytes (step);
  for (uint64_t at = start, next; at < end; at = next) {
    next = MIN (varve_round_down (at, unit) + unit, end);
    UnitKind this = unit_kind (worker, step, at, next - at);
    if (this != kind && at > start) {
      if (!pass (worker, kind, worker->data + (start - step->offset), start, at - start, sums,
                 stats, error))
        return false;
      start = at;
    }
    kind = this;
  }
  return pass (worker, kind, worker->data + (start - step->offset), start, end - start, sums, stats,
               error);
}

bool
block_worker_run (BlockWorker *worker, const BlockStep *step, GArray *sums, BlockCopyStats *stats,
                  GError **error)
{
  if (step->kind == BLOCK_STEP_READ)
    return run_read (worker, step, sums, stats, error);
  stats->zeroed += step->length;
  return pass_zero (worker, step->offset, step->length, sums, error);
}
