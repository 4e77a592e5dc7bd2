/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An append-only writer of new qcow2 images (version 3, 16-bit refcounts, no compression, no
 * encryption, no snapshots), after docs/interop/qcow2.txt of QEMU.
 *
 * Clusters are laid down in the order in which they come. Of the L2 tables only a few are in memory, and
 * the others in the file, so that memory does not grow with the disk. Flush writes the L1 table, the
 * refcounts and, last, the header: a file that was not flushed has no header and is not an image.
 * After a failed write nothing more is taken, and flush fails.
 *
 * QEMU reads a size that is no multiple of 512 as the next lower one: such a size is refused.
 */
#pragma once

#include "block/sink.h"

typedef struct {
  uint64_t size;              /* virtual size, bytes */
  uint32_t cluster_size;      /* 0: 64 KiB */
  const char *backing_file;   /* as written into the header, or NULL */
  const char *backing_format; /* required with backing_file: "qcow2" or "raw" */
  int mode;                   /* of the file; 0: 0600 */
  bool replace; /* an existing regular file is replaced; else it is VARVE_ERROR_EXISTS */
} BlockQcow2Options;

BlockSink *block_qcow2_sink_create (const char *path, const BlockQcow2Options *options,
                                    GError **error);
