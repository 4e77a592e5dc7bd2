/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Two maps of one disk as one: clean is what both call clean. Bytes come from @source; where only
 * @other is not clean the state is data, as its word is about other bytes. Owns neither. Behind the
 * end of a smaller @other nothing is clean. */
#pragma once

#include "block/source.h"

BlockSource *block_either_source_new (BlockSource *source, BlockSource *other);
