/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The map of an export, made of two metadata contexts:
 *
 *   dirty context   allocation context   state
 *   clean           (not asked)          CLEAN
 *   dirty           zero                 ZERO
 *   dirty           all else, or no answer   DATA
 *
 * and without a dirty context everything is dirty. Only "no bit set" is clean: what is not known
 * counts as changed.
 *
 * What a server answers is checked: extents must not be empty, only the last one may go beyond what
 * was asked for, a context answers once for each question, and at all. Anything else ends the
 * map as a broken protocol.
 */
#pragma once

#include "block/nbd-pool.h"
#include "util/extents.h"

typedef struct BlockNbdMap BlockNbdMap;

/* @pool must stay. */
BlockNbdMap *block_nbd_map_new (BlockNbdPool *pool, const BlockNbdOptions *options);
void block_nbd_map_free (BlockNbdMap *map);

/* Any thread; one at a time gets through. */
bool block_nbd_map_extents (BlockNbdMap *map, uint64_t offset, uint64_t length, VarveExtents *out,
                            GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockNbdMap, block_nbd_map_free)
