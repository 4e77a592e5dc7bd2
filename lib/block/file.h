/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Plain files and block devices. Reading follows SEEK_DATA/SEEK_HOLE; zero punches holes in files
 * and zeroes devices (BLKZEROOUT, else written zeros). */
#pragma once

#include "block/source.h"
#include "block/sink.h"

BlockSource *block_file_source_open (const char *path, GError **error);

typedef enum {
  BLOCK_FILE_CREATE,    /* must not exist; made sparse, mode 0600 */
  BLOCK_FILE_REPLACE,   /* an existing regular file is truncated to nothing first */
  BLOCK_FILE_OVERWRITE, /* an existing file or device is written in place; reads_as_zero is false.
                           Devices are opened O_EXCL; one that is larger than @size is accepted,
                           smaller not. */
} BlockFileMode;

BlockSink *block_file_sink_open (const char *path, uint64_t size, BlockFileMode mode,
                                 GError **error);
