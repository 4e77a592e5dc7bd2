/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ends in memory, and no end at all: for tests and for reading without keeping. */
#pragma once

#include "block/source.h"
#include "block/sink.h"

/* @map (transfer none, copied) may be NULL: everything is data. @data (transfer none) is copied. */
BlockSource *block_memory_source_new (const void *data, uint64_t size, const VarveExtents *map);

/* The sink's bytes stay readable through block_memory_sink_data until it is freed. @fill is what is
 * there before the first write; reads_as_zero is @fill == 0. */
BlockSink *block_memory_sink_new (uint64_t size, uint32_t alignment, uint8_t fill, bool has_base);
const uint8_t *block_memory_sink_data (const BlockSink *sink);

/* Takes everything, keeps nothing. */
BlockSink *block_null_sink_new (uint64_t size);
