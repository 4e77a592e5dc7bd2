/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The clean sample: granules that an increment takes for unchanged are read from the snapshot and
 * compared with the base, before the increment is believed. It catches wholesale mistakes (a disk
 * replaced, or written behind QEMU) for next to nothing; it is a sample, no proof. */
#pragma once

#include "block/source.h"

#define VARVE_SAMPLE_GRANULES 16u
#define VARVE_SAMPLE_GRANULE  65536u /* bytes: 1 MiB are read at most */

/* @out_why: NULL when all samples are equal,
 * else which one is not, as a sentence without a full stop. Granules are picked by @seed; those
 * that
 * @base does not reach are not picked. */
bool varve_sample_clean (BlockSource *snapshot, BlockSource *base, uint64_t seed, char **out_why,
                         GError **error);
