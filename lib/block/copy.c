/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The calling thread's part of a copy: it starts the pool, hands on sums, ticks, and listens to the
 * cancellable. It calls no end itself, so that it is never kept from ticking by one that hangs.
 */
#include "config.h"
#include "block/copy.h"

#include "block/copy-plan.h"
#include "block/copy-pool.h"
#include "util/checked.h"
#include "util/error.h"

#define TICK_INTERVAL (200 * G_TIME_SPAN_MILLISECOND)

/* Zero extents on their way to the sum function: neighbours become one. */
typedef struct {
  const BlockCopy *copy;
  uint64_t offset;
  uint64_t length; /* 0: none */
} ZeroRun;

static bool
check_copy (const BlockCopy *copy, GError **error)
{
  const BlockSource *source = copy->source;
  const BlockSink *sink = copy->sink;

  if (source->size != sink->size)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Cannot copy %s, which has %" G_GUINT64_FORMAT
                        " bytes, to %s, which has %" G_GUINT64_FORMAT ": both must be equal.",
                        source->label, source->size, sink->label, sink->size);
  if (source->size > G_MAXINT64 - BLOCK_COPY_WINDOW)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Cannot copy %s: no disk has %" G_GUINT64_FORMAT " bytes.", source->label,
                        source->size);
  if (!varve_is_power_of_two (sink->alignment) || sink->alignment > BLOCK_COPY_MAX_ALIGN)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Cannot copy to %s: its unit of %u bytes is not a power of two up to %u.",
                        sink->label, sink->alignment, BLOCK_COPY_MAX_ALIGN);
  return true;
}

static bool
zero_run_flush (ZeroRun *run, GError **error)
{
  while (run->length > 0) {
    uint64_t part = MIN (run->length, BLOCK_ZERO_CHUNK - (run->offset & (BLOCK_ZERO_CHUNK - 1)));
    BlockSum sum = { .offset = run->offset, .length = (uint32_t)part, .state = VARVE_EXTENT_ZERO };
    if (!run->copy->sum (&sum, run->copy->sum_data, error))
      return false;
    run->offset += part;
    run->length -= part;
  }
  return true;
}

static bool
zero_run_add (ZeroRun *run, const BlockSum *sum, GError **error)
{
  if (run->length > 0 && run->offset + run->length == sum->offset) {
    run->length += sum->length;
    return true;
  }
  if (!zero_run_flush (run, error))
    return false;
  run->offset = sum->offset;
  run->length = sum->length;
  return true;
}

static bool
pass_sums (ZeroRun *run, const GArray *sums, GError **error)
{
  for (guint i = 0; i < sums->len; i++) {
    const BlockSum *sum = &g_array_index (sums, BlockSum, i);
    if (sum->state == VARVE_EXTENT_ZERO) {
      if (!zero_run_add (run, sum, error))
        return false;
    } else if (!zero_run_flush (run, error) || !run->copy->sum (sum, run->copy->sum_data, error))
      return false;
  }
  return true;
}

static bool
tick (const BlockCopy *copy, BlockPool *pool, GError **error)
{
  uint64_t done, total;

  if (copy->tick == NULL)
    return true;
  block_pool_progress (pool, &done, &total);
  return copy->tick (done, total, copy->tick_data, error);
}

/* Until all is settled, or the pool was stopped (which is not an error here). */
static bool
attend (const BlockCopy *copy, BlockPool *pool, GError **error)
{
  g_autoptr (GArray) sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));
  gint64 next_tick = g_get_monotonic_time () + TICK_INTERVAL;
  ZeroRun run = { .copy = copy };
  BlockPoolEvent event;

  do {
    event = block_pool_wait (pool, next_tick, sums);
    if (!pass_sums (&run, sums, error))
      return false;
    if (g_get_monotonic_time () >= next_tick) {
      if (!tick (copy, pool, error))
        return false;
      next_tick = g_get_monotonic_time () + TICK_INTERVAL;
    }
  } while (event != BLOCK_POOL_END);
  return zero_run_flush (&run, error);
}

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  GError *error = NULL;

  g_cancellable_set_error_if_cancelled (cancellable, &error);
  block_pool_stop (data, error);
}

bool
block_copy (const BlockCopy *copy, BlockCopyStats *out_stats, GCancellable *cancellable,
            GError **error)
{
  g_autoptr (BlockPool) pool = NULL;
  GError *local = NULL;
  BlockCopyStats stats;

  if (!check_copy (copy, error) || g_cancellable_set_error_if_cancelled (cancellable, error))
    return false;
  pool = block_pool_start (copy, error);
  if (pool == NULL)
    return false;

  gulong handler = 0;
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), pool, NULL);
  if (!attend (copy, pool, &local))
    block_pool_stop (pool, local);
  /* Waits for a handler that is running: behind this nobody interrupts the ends any more. The
   * threads are at their end, too, or were interrupted. */
  g_cancellable_disconnect (cancellable, handler);
  bool done = block_pool_join (pool, &stats, error);
  if (out_stats != NULL)
    *out_stats = stats;
  return done && tick (copy, pool, error);
}
