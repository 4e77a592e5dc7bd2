/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Slices of the L2 tables of a whole chain, the most recently used of them in memory. A slice that
 * is in somebody's hands outlives its place in the cache, so that tables are walked without a lock.
 */
#pragma once

#include "block/qcow2-link.h"

#define BLOCK_QCOW2_READ_CACHE (16u << 20) /* bytes of all slices together */

typedef struct {
  gatomicrefcount references;
  size_t length;      /* entries */
  uint64_t entries[]; /* big-endian, as in the file: nothing in it has been checked */
} BlockQcow2Slice;

typedef struct BlockQcow2Cache BlockQcow2Cache;

BlockQcow2Cache *block_qcow2_cache_new (size_t bytes);
void block_qcow2_cache_free (BlockQcow2Cache *cache);

/* The slice of @link, which is number @number of the chain, that covers guest offset @guest; the L1
 * table has an entry for it. A reference is the caller's. */
BlockQcow2Slice *block_qcow2_cache_get (BlockQcow2Cache *cache, const BlockQcow2Link *link,
                                        uint32_t number, uint64_t guest, GError **error);
void block_qcow2_slice_unref (BlockQcow2Slice *slice);

/* Bytes in the cache now: for tests. */
size_t block_qcow2_cache_bytes (BlockQcow2Cache *cache);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockQcow2Slice, block_qcow2_slice_unref)
