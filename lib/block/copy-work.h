/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What one worker does with one step: read it, compare it with the base, find the zeros in it,
 * write it, sum it. No threads in here: a worker has its buffers to itself. */
#pragma once

#include "block/copy-plan.h"

typedef struct {
  const BlockCopy *copy;
  uint8_t *data;      /* one piece of the source; made when first needed */
  uint8_t *base_data; /* likewise of the base */
} BlockWorker;

void block_worker_init (BlockWorker *worker, const BlockCopy *copy);
void block_worker_clear (BlockWorker *worker);
/* Bytes of the buffers that it has made. */
uint64_t block_worker_buffered (const BlockWorker *worker);

/* Does @step, which is of kind ZERO or READ. Adds to @stats; appends to @sums (of BlockSum), where
 * the copy wants sums, what was passed on to the sink: zero extents of any length below 4 GiB.
 * Errors name disk and offset. */
bool block_worker_run (BlockWorker *worker, const BlockStep *step, GArray *sums,
                       BlockCopyStats *stats, GError **error);
