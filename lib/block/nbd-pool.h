/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* All connections to one export: opened together, found to agree, interrupted together. */
#pragma once

#include "block/nbd-connection.h"
#include "block/nbd.h"

/* Measured: a QEMU moves 512 KiB at a time faster than 128 KiB, 256 KiB or 1 MiB, with less work on
 * both sides. */
#define BLOCK_NBD_PART (512u << 10)

typedef struct {
  char *label;
  GPtrArray *connections;         /* of BlockNbdConnection */
  unsigned data;                  /* so many of them, from the first on, take reads and writes */
  BlockNbdExport export;          /* of the first */
  BlockNbdConnection *allocation; /* the one that has the context; NULL: not granted */
  BlockNbdConnection *dirty;      /* likewise */
} BlockNbdPool;

BlockNbdPool *block_nbd_pool_open (const BlockNbdOptions *options, bool target,
                                   GCancellable *cancellable, GError **error);
void block_nbd_pool_interrupt (BlockNbdPool *pool);
void block_nbd_pool_free (BlockNbdPool *pool);

/* By the connection that has the least to do. Any thread. */
bool block_nbd_pool_perform (BlockNbdPool *pool, BlockNbdRequest *request, GError **error);

/* Reads or writes @length bytes, in parts of BLOCK_NBD_PART that are all under way at once. */
bool block_nbd_pool_transfer (BlockNbdPool *pool, BlockNbdCommand command, uint64_t offset,
                              void *buffer, size_t length, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockNbdPool, block_nbd_pool_free)
