/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where blocks go to. As for sources, every call is synchronous and may be made from many threads
 * at once, for ranges that do not overlap. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gio/gio.h>

typedef struct BlockSink BlockSink;

typedef struct {
  const char *name;

  /* Offset and length are multiples of alignment, save that the range may end at the size. The
   * whole range is taken, or the call fails. */
  bool (*write) (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                 GError **error);

  /* Makes the range read as zeros, and records that it does: never a mere hint (TRIM), which in an
   * increment would let the base show through. Same alignment. */
  bool (*zero) (BlockSink *sink, uint64_t offset, uint64_t length, GError **error);

  /* Everything so far is complete and durable; the target can be opened by others. Once, last, by
   * one thread. A sink freed without it leaves a target that is not to be used. */
  bool (*flush) (BlockSink *sink, GError **error);

  void (*interrupt) (BlockSink *sink); /* as for sources; may be NULL */
  void (*free) (BlockSink *sink);
} BlockSinkOps;

struct BlockSink {
  const BlockSinkOps *ops;
  char *label;        /* for messages; block_sink_free frees it */
  uint64_t size;      /* bytes */
  uint32_t alignment; /* cluster: smallest unit of a write, power of two; 1 for files */
  bool reads_as_zero; /* what is never written reads as zeros (a new file does, a used device does
                         not) */
  bool has_base;      /* what is never written shows a base: zeros must then be written, too */
};

bool block_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                       GError **error);
bool block_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error);
bool block_sink_flush (BlockSink *sink, GError **error);
void block_sink_interrupt (BlockSink *sink);
void block_sink_free (BlockSink *sink);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockSink, block_sink_free)
