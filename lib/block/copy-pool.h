/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The threads of one copy.
 *
 *   mapper ─▶ ring of steps ─▶ workers ─▶ steps settle in order of offset ─▶ block_pool_wait
 *
 * The ring bounds all of it: at most BLOCK_POOL_STEPS steps for each worker are between the mapper
 * and the thread that called, which is also how far workers can get ahead of the slowest step.
 * Buffers belong to workers, so their bytes do not depend on the ring.
 */
#pragma once

#include "block/copy.h"

#define BLOCK_POOL_STEPS 4u

typedef struct BlockPool BlockPool;

typedef enum {
  BLOCK_POOL_SUMS,    /* the oldest step has sums */
  BLOCK_POOL_TIMEOUT, /* nothing has, and the time is over */
  BLOCK_POOL_END,     /* everything is settled, or the pool was stopped */
} BlockPoolEvent;

BlockPool *block_pool_start (const BlockCopy *copy, GError **error);

/* Ends what is under way by interrupting all ends. Any thread, any number of times; takes @error,
 * and keeps the first. */
void block_pool_stop (BlockPool *pool, GError *error);

/* Waits until @until (monotonic). Replaces what is in @sums (of BlockSum): with BLOCK_POOL_SUMS
 * those of the oldest step, else nothing. Only the calling thread. */
BlockPoolEvent block_pool_wait (BlockPool *pool, gint64 until, GArray *sums);

void block_pool_progress (BlockPool *pool, uint64_t *out_done, uint64_t *out_total);

/* Waits for the threads; false with what stopped the pool. @out_stats is filled either way. */
bool block_pool_join (BlockPool *pool, BlockCopyStats *out_stats, GError **error);

/* Stops and joins, if that was not done. */
void block_pool_free (BlockPool *pool);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockPool, block_pool_free)
