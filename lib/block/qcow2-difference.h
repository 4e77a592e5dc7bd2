/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where two chains of qcow2 images differ, told by their tables alone: no data is read.
 *
 * Two backups of a disk share the layers below the point at which they part. What both read from the
 * same place of the same file is the same, and so are zeros in both. All else may differ, also where
 * the bytes happen to be equal.
 */
#pragma once

#include "block/qcow2-source.h"

/* Whether two chains have an image in common. Without one everything but zeros would be told to
 * differ. False where one of the two is no chain of qcow2 images that is read here. */
bool block_qcow2_related (const BlockSource *a, const BlockSource *b);

/* Reads as @source does; its map is clean where @base, a source of the same disk, is known to be the
 * same. What lies behind the end of a smaller @base differs. Takes both, which are sources of qcow2-source.h. */
BlockSource *block_qcow2_difference_new (BlockSource *source, BlockSource *base);
