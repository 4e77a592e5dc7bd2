/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The one copy engine: backup, restore, verify and rescan are this with other ends.
 *
 *   source.extents ─▶ chunks ─▶ ( read ─▶ differ ─▶ find zeros ─▶ sum ─▶ sink ) × workers
 *
 * - Clean extents are neither read nor written. Zero extents are not read. Zeros, from the map or
 *   found in what was read, are written as zeros and summed where the sink needs them (has_base, or
 *   not reads_as_zero, or the copy has a base: then they are a difference); else they are left out.
 * - Every other extent is widened to the sink's alignment, and cut at BLOCK_COPY_CHUNK.
 * - In flight at most workers × BLOCK_COPY_CHUNK bytes: the memory bound. Twice that with a base; a
 *   cluster of the sink, where it is larger, takes the chunk's place.
 *   workers = min (source depth, 2 × processors, BLOCK_COPY_WORKERS): more of them were measured to
 *   cost time, as they wait for each other.
 * - The map is asked for in windows, so that memory does not grow with the disk.
 * - The first error stops everything; so does the cancellable, by interrupting both ends.
 * - With `release` the source is told of each range that is settled: at first of what will not be read, in the end of
 *   all of the disk, but for ranges below BLOCK_RELEASE_MIN that were not read.
 * - The sink is not flushed: that is the caller's commit.
 */
#pragma once

#include "block/source.h"
#include "block/sink.h"

#define BLOCK_COPY_CHUNK   (1u << 20) /* and the unit at which sums are cut */
#define BLOCK_COPY_WORKERS 8u
/* What is not read is given back from this length on: a call for less is not worth it. */
#define BLOCK_RELEASE_MIN (1u << 20)
#define BLOCK_ZERO_CHUNK  (1u << 30) /* zero extents are cut at multiples of this */

typedef struct {
  uint64_t offset;
  uint32_t length;
  VarveExtentState state; /* data or zero */
  uint8_t hash[16];       /* XXH3-128, canonical (big-endian) form, of the bytes; zeros for zero */
} BlockSum;

/* Called in the calling thread, in order of offset, for everything that was passed on to the sink.
 * Data is cut at multiples of BLOCK_COPY_CHUNK; neighbouring zeros are one extent, cut at those of
 * BLOCK_ZERO_CHUNK. False with *@error set fails the copy. */
typedef bool (*BlockSumFunc) (const BlockSum *sum, gpointer data, GError **error);

/* In the calling thread, at most every 200 ms, and once at the end. @done counts bytes of @total
 * that are settled (read, zero or compared); @total is an estimate that only grows more exact.
 * False with *@error set stops the copy: the place for "is the snapshot still alive?". */
typedef bool (*BlockTickFunc) (uint64_t done, uint64_t total, gpointer data, GError **error);

typedef struct {
  BlockSource *source;
  BlockSink *sink;
  BlockSource *base; /* optional: compare with it, pass on only what differs (per sink alignment, at
                        least 64 KiB); beyond its end everything differs */
  uint64_t clean_limit; /* where an increment's base ends: clean bytes beyond are data; 0: none */
  BlockSumFunc sum;     /* optional */
  gpointer sum_data;
  BlockTickFunc tick; /* optional */
  gpointer tick_data;
  bool release; /* give back what has been passed on, and what need not be: nobody reads it again */
  _Atomic uint64_t speed; /* bytes read per second at most; 0: no limit. `tick` may change it */
  uint64_t total_hint;    /* bytes that the caller expects to be read; 0: not known */
} BlockCopy;

typedef struct {
  uint64_t read;    /* bytes read from the source */
  uint64_t written; /* bytes of data given to the sink */
  uint64_t zeroed; /* bytes that were zero extents or read as zeros, and not the same as the base */
  uint64_t clean;  /* bytes that were clean: written + zeroed + clean + same is the size */
  uint64_t same;   /* bytes found equal to the base, by reading or because both maps say zero */
  uint64_t buffered; /* bytes of all buffers: never more than the bound above */
} BlockCopyStats;

/* Both ends must have the same size, else VARVE_ERROR_USAGE. @out_stats may be NULL. */
bool block_copy (const BlockCopy *copy, BlockCopyStats *out_stats, GCancellable *cancellable,
                 GError **error);
