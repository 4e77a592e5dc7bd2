/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An increment seen through its base: where @top is clean, @base shows. Owns neither. The size is
 * @top's; beyond the end of a smaller @base there are zeros. */
#pragma once

#include "block/source.h"

BlockSource *block_overlay_source_new (BlockSource *top, BlockSource *base);
