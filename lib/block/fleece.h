/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A fleece read through QEMU's snapshot-access node, with a map of what was copied to scratch as witness.
 *
 * Some QEMU versions (seen on 7.2.22) ask the guest's disk instead of the scratch image for the block
 * status of what has been copied before a write, when the range that is asked for goes beyond what was
 * copied. Where the guest has zeroed old data, the frozen view then claims zeros: in block status,
 * and in reads too, as an NBD server that may send holes asks for the status first. A range within one
 * granule is always answered rightly.
 *
 * The map learns of a copy before the guest's write lands. So it is asked behind each answer: what is not in it by
 * then was not copied when the answer was given, and the answer stands. What is in it counts as data, and is read
 * again, granule by granule.
 */
#pragma once

#include "block/source.h"

/* Unit of copying before a write: QEMU's, whatever scratch is. */
#define BLOCK_FLEECE_GRANULE (64u << 10)

/* @snapshot: the frozen view; @copied: of the same size, data where something was copied and clean
 * elsewhere. Both are owned by the result, also when it is NULL (sizes differ). */
BlockSource *block_fleece_source_new (BlockSource *snapshot, BlockSource *copied, GError **error);
