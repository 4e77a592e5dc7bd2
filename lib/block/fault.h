/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Filters that inject errors, in front of any end: a named operation fails at its nth call, or at a
 * given offset. They own what they wrap. */
#pragma once

#include "block/source.h"
#include "block/sink.h"

typedef enum {
  BLOCK_FAULT_NONE,
  BLOCK_FAULT_READ,
  BLOCK_FAULT_EXTENTS,
  BLOCK_FAULT_EXTENTS_OVERRUN, /* answers with extents beyond what was asked */
  BLOCK_FAULT_WRITE,
  BLOCK_FAULT_ZERO,
  BLOCK_FAULT_FLUSH,
} BlockFaultOp;

typedef struct {
  BlockFaultOp op;
  unsigned nth;    /* the first call that fails, from 1; 0: none by count */
  uint64_t offset; /* with by_offset: calls that touch this byte fail */
  bool by_offset;
  int errnum;        /* what it fails with: EIO, ENOSPC … */
  unsigned delay_ms; /* every call of @op takes this long */
} BlockFault;

BlockSource *block_fault_source_new (BlockSource *source, const BlockFault *fault);
BlockSink *block_fault_sink_new (BlockSink *sink, const BlockFault *fault);
