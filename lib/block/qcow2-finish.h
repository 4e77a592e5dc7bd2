/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What makes a file full of clusters a qcow2 image: L1 table, reference counts, header. */
#pragma once

#include "block/qcow2-map.h"

/* Behind the last cluster of data and L2 tables:
 *
 *   L1 table │ refcount table │ refcount blocks │ end of file
 *
 * All of them are counted by the refcounts, their own clusters included. */
typedef struct {
  uint64_t l1; /* host offset; all are whole clusters */
  uint64_t refcount_table;
  uint64_t refcount_blocks;
  uint64_t end;
} BlockQcow2Layout;

void block_qcow2_layout (BlockQcow2Layout *layout, uint32_t cluster_bits, uint64_t data_end,
                         uint64_t l1_length);

/* Header, extensions and the backing file's name, all of which must fit into the first cluster;
 * false where they do not, or where the name is longer than QEMU reads. @backing_file may be NULL.
 * @header (of @cluster_size bytes) is overwritten. */
bool block_qcow2_header (uint8_t *header, uint32_t cluster_bits, uint64_t size, uint64_t l1_length,
                         const BlockQcow2Layout *layout, const char *backing_file,
                         const char *backing_format);

/* Writes all that is behind the data. The L2 tables must have been written out. */
bool block_qcow2_write_metadata (const BlockQcow2Map *map, const BlockQcow2Layout *layout,
                                 GError **error);
