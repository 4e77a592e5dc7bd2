/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An NBD export as a source (and as a sink), by libnbd.
 *
 * One thread per connection drives libnbd's state machine; read() queues an asynchronous command
 * and waits for it. Metadata contexts: QEMU's snapshot-access exports kill a connection that asked
 * for two of them, so each has a connection of its own unless contexts_may_share: the first
 * connection asks for the allocation context, the second for the dirty one; allocation is asked
 * only inside dirty ranges. Reads go to both where the server allows several connections
 * (can_multi_conn).
 */
#pragma once

#include "block/source.h"
#include "block/sink.h"

typedef struct {
  const char *uri;                /* nbd+unix:///export?socket=PATH, nbds://… */
  const char *label;              /* for messages: "disk 'vda'" */
  const char *dirty_context;      /* "qemu:dirty-bitmap:NAME", or NULL: full */
  const char *allocation_context; /* "base:allocation", or NULL: everything is data */
  bool contexts_may_share;
  uint32_t trim_unit;       /* what is released is trimmed, in whole ones of these; 0: never */
  unsigned connections;     /* at most; 0 and 1: as many as the contexts need */
  unsigned connect_timeout; /* seconds, 0: 10 */
  unsigned stall_timeout;   /* seconds without any answer while something is under way; 0: 60 */
} BlockNbdOptions;

/* Extents: dirty ∩ allocated is data, dirty ∩ hole is zero, the rest clean. A dirty context that was
 * asked for and not granted is an error, never a full read in disguise; an error in answer to a
 * question for the allocation context alone downgrades to "all data".
 *
 * Errors: SOURCE_UNREACHABLE (not connected in time), CHECKPOINT (no such dirty context); later
 * SOURCE_LOST (connection gone or stalled; EINVAL, ENOTSUP, ESHUTDOWN: how QEMU says that a snapshot
 * broke), SOURCE_PROTOCOL, SOURCE_READ (any other answer); G_IO_ERROR_CANCELLED behind interrupt.
 * A connection that was lost stays lost. */
BlockSource *block_nbd_source_open (const BlockNbdOptions *options, GCancellable *cancellable,
                                    GError **error);

/* A writable export; contexts are ignored. reads_as_zero is false, as NBD cannot tell. Errors:
 * NO_SPACE, CANCELLED behind interrupt, STORE_UNREACHABLE for all else. */
BlockSink *block_nbd_sink_open (const BlockNbdOptions *options, GCancellable *cancellable,
                                GError **error);
