/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* From the map of a source to the steps of a copy.
 *
 * The steps cover the disk from 0 to its end, in order and without gaps. They begin and end on the
 * sink's alignment (or at the end of the disk):
 *
 *   step     the clusters in it                              who deals with it
 *   CLEAN    have clean bytes only                           nobody
 *   SPARSE   have zeros only, which the sink has anyway      nobody
 *   SAME     have zeros only, and so has the base            nobody
 *   ZERO     have zeros only                                 a worker: sink.zero, no read
 *   READ     have data, or data, zeros and clean bytes       a worker: read, compare, write
 *            mixed, or zeros where the base may have data
 *
 * A READ step lies within one piece (BLOCK_COPY_CHUNK, or the sink's alignment where that is
 * larger), a ZERO step within one BLOCK_ZERO_CHUNK. Neighbouring clusters of a piece that are to be
 * read are one step. Of its bytes, `holes` need no read of the source and `base_holes` none of the
 * base: they are zeros.
 *
 * Maps are asked for in windows of BLOCK_COPY_WINDOW that begin and end on multiples of it, hence
 * of any piece: so a cluster never lies in two windows, and one window (of source and of base) is
 * all that is kept; but see block_plan_release.
 */
#pragma once

#include "block/copy.h"

#define BLOCK_COPY_WINDOW    (1ull << 30)
#define BLOCK_COPY_UNIT      (64u << 10) /* smallest unit of comparing and of finding zeros */
#define BLOCK_COPY_HOLE      (4u << 10)  /* smaller holes inside a step are read: that is cheaper */
#define BLOCK_PLAN_AHEAD     65536u /* extents that are kept of a walk ahead: 1.5 MiB of memory */
#define BLOCK_COPY_MAX_ALIGN (64u << 20)

typedef enum {
  BLOCK_STEP_CLEAN,
  BLOCK_STEP_SPARSE,
  BLOCK_STEP_SAME,
  BLOCK_STEP_ZERO,
  BLOCK_STEP_READ,
} BlockStepKind;

typedef struct {
  uint64_t offset;
  uint64_t length;
} BlockRange;

/* Embedded; the arrays are kept from one use to the next. */
typedef struct {
  BlockStepKind kind;
  uint64_t offset;
  uint64_t length;
  GArray *holes;      /* of BlockRange, in order; READ only */
  GArray *base_holes; /* likewise, below the end of the base */
} BlockStep;

void block_step_init (BlockStep *step);
void block_step_clear (BlockStep *step);
/* Bytes of the source that a READ step reads. */
uint64_t block_step_read_bytes (const BlockStep *step);

typedef struct BlockPlan BlockPlan;

/* The ends stay the caller's. What the source calls clean at or behind @clean_limit (0: no limit)
 * is data: there is no base there that it could equal. */
BlockPlan *block_plan_new (BlockSource *source, const BlockSink *sink, BlockSource *base,
                           uint64_t clean_limit);
void block_plan_free (BlockPlan *plan);

/* Unit of comparing and of finding zeros: the larger of BLOCK_COPY_UNIT and the sink's alignment.
 */
uint64_t block_plan_unit (const BlockSink *sink);
/* Longest READ step. */
uint64_t block_plan_piece (const BlockSink *sink);

/* Before the first step: walks over the map and gives back to the source all that no step will read, from 0 up to
 * *@out_end: the size, or less where the map has more than BLOCK_PLAN_AHEAD extents. A guest that writes there from then
 * on is not kept waiting. What was walked over is not asked for again. */
bool block_plan_release (BlockPlan *plan, uint64_t *out_end, GError **error);

/* The next step; *@out_end is true, and @step left alone, when there is none. One thread only. */
bool block_plan_next (BlockPlan *plan, BlockStep *step, bool *out_end, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockPlan, block_plan_free)
