/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where the bytes of a range of the guest are, over a whole chain.
 *
 * Link by link from the top: what one does not hold is a gap, and the gaps are all that is asked of
 * the next. So each table is walked once, however many links there are, and the answer is in order.
 */
#pragma once

#include "block/qcow2-cache.h"

typedef enum {
  BLOCK_QCOW2_GAP, /* not held by any link that was asked */
  BLOCK_QCOW2_ZERO,
  BLOCK_QCOW2_DATA,
  BLOCK_QCOW2_PACKED, /* compressed data: of one cluster; only where places are asked for */
} BlockQcow2Kind;

typedef struct {
  uint64_t guest;
  uint64_t length;
  uint64_t host; /* of data; of compressed data its L2 entry (qcow2-packed.h), its place as well */
  uint32_t link; /* of data */
  BlockQcow2Kind kind;
} BlockQcow2Piece;

typedef struct BlockQcow2Chain {
  GPtrArray *links; /* of BlockQcow2Link, the top first */
  BlockQcow2Cache *cache;
} BlockQcow2Chain;

/* Appends pieces that cover [offset, offset + length), which lies within the top link's size, to
 * @pieces (of BlockQcow2Piece). Neighbours are one piece: those of data where they also lie next to
 * each other in one file, or in any case if @places is false. */
bool block_qcow2_walk (const BlockQcow2Chain *chain, uint64_t offset, uint64_t length, bool places,
                       GArray *pieces, GError **error);
