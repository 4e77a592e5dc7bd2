/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* All connections to one export: opened together, found to agree, interrupted together. */
#pragma once

#include "block/nbd-connection.h"
#include "block/nbd.h"

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

/* Reads or writes by the connection that has the least to do. Any thread. */
bool block_nbd_pool_perform (BlockNbdPool *pool, BlockNbdRequest *request, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockNbdPool, block_nbd_pool_free)
