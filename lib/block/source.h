/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where blocks come from.
 *
 * A source is one disk (or one layer of one) that can be read at random. Every call is synchronous
 * and may be made from many threads at once: a request in flight is a thread that waits, and a
 * source which can have many under way (nbd) does so behind its own read(). So a completion can
 * never be taken for a success: the result of the call is the result of the request.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gio/gio.h>

#include "util/extents.h"

typedef struct BlockSource BlockSource;

typedef struct {
  const char *name;

  /* Fills @buffer with exactly @length bytes from @offset, or fails. The range lies within the
   * size; offset and length are multiples of block_size, save that the range may end at the size.
   */
  bool (*read) (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error);

  /* Appends extents that cover all of [offset, offset + length) to @out, in order, checked against
   * what was asked. May be NULL: then everything is data. Where the source has no map to give
   * it says data: a map that cannot be had costs time, never bytes. */
  bool (*extents) (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                   GError **error);

  /* [offset, offset + length) is neither read nor asked for again: what is kept for it may go. Whole
   * release_units, save that the range may end at the size. What cannot be given back costs room,
   * never bytes, so nothing is said of it. May be NULL. */
  void (*release) (BlockSource *source, uint64_t offset, uint64_t length);

  /* Wakes whoever waits in read or extents; those calls then fail, as all later ones do. Any
   * thread, any number of times. May be NULL where no call ever blocks for long. */
  void (*interrupt) (BlockSource *source);

  void (*free) (BlockSource *source);
} BlockSourceOps;

/* First member of every implementation. The rest is asked once, when the source is opened, and
 * does not change. */
struct BlockSource {
  const BlockSourceOps *ops;
  char *label;   /* for messages: "disk 'vda' at nbd+unix://…"; block_source_free frees it */
  uint64_t size; /* bytes */
  uint32_t block_size;   /* smallest unit of a read, power of two; 1 for most */
  uint32_t release_unit; /* only whole ones are released; power of two; 0: nothing can be */
  uint32_t max_read;     /* largest read, bytes */
  unsigned depth;        /* reads that are worth having under way at once, ≥ 1 */
};

/* The checked front door: rounds out to block_size where needed, splits at max_read. */
bool block_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length,
                        GError **error);
bool block_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                           GError **error);
void block_source_release (BlockSource *source, uint64_t offset, uint64_t length);
void block_source_interrupt (BlockSource *source);
void block_source_free (BlockSource *source);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockSource, block_source_free)
