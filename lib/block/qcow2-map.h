/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which guest cluster lies where in a qcow2 image that is being written.
 *
 * A guest offset goes through two levels; the tables are big-endian on disk, and so are the L2
 * tables in memory, which are read and written as they are:
 *
 *   guest offset │   index in L1   │  index in L2  │ in cluster │
 *                └───── rest ──────┴ cluster_bits-3┴cluster_bits┘
 *
 *   L1 entry   0: no table; else host offset of the L2 table | COPIED
 *   L2 entry   0: not held (the base shows, or zeros)
 *              host offset | COPIED: data
 *              1: zeros, without a cluster
 *              host offset | COPIED | 1: zeros, with a cluster that is used again if data comes
 *
 * Clusters are given out in order, used once, and never given back: so every cluster below `end`
 * has a reference count of exactly 1, and COPIED is always true. L1 is in memory, of the L2 tables
 * only a few; one that makes room for another is written to a cluster of its own and read again
 * when it is needed. After a failure the map is not to be written out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

/* Limits of QEMU, from its block/qcow2.h. */
#define BLOCK_QCOW2_MIN_CLUSTER_BITS 9u
#define BLOCK_QCOW2_MAX_CLUSTER_BITS 21u
#define BLOCK_QCOW2_MAX_L1_BYTES     (32u << 20)
#define BLOCK_QCOW2_MAX_REFTABLE     (8u << 20)

#define BLOCK_QCOW2_CACHE_BYTES      (8u << 20) /* of L2 tables, but … */
#define BLOCK_QCOW2_CACHE_MIN_TABLES 4u         /* … never fewer than these, … */
#define BLOCK_QCOW2_CACHE_MAX_TABLES 32u        /* … nor more than these */

typedef struct {
  uint64_t guest;
  uint64_t host;
  uint64_t length; /* whole clusters */
} BlockQcow2Run;

typedef struct BlockQcow2Table BlockQcow2Table;

/* Embedded in the sink. */
typedef struct {
  int fd; /* the sink's */
  const char *label;
  uint32_t cluster_bits;
  GMutex lock;        /* for all that follows */
  uint64_t end;       /* host offset behind the last cluster that was given out */
  uint64_t *l1;       /* host offsets, no flags */
  uint32_t l1_length; /* entries */
  BlockQcow2Table *tables;
  unsigned tables_length;
  uint64_t clock;   /* counts uses of tables, to find the one not used for longest */
  uint64_t reloads; /* tables that were read back */
} BlockQcow2Map;

/* Cluster 0 is taken by the header. */
void block_qcow2_map_init (BlockQcow2Map *map, int fd, const char *label, uint64_t size,
                           uint32_t cluster_bits);
void block_qcow2_map_clear (BlockQcow2Map *map);

/* Gives every cluster of the range a place, and appends to @runs (of BlockQcow2Run) where they are,
 * neighbours together. The range is whole clusters. The bytes are for the caller to write. */
bool block_qcow2_map_claim (BlockQcow2Map *map, uint64_t offset, uint64_t length, GArray *runs,
                            GError **error);

/* Makes whole clusters read as zeros. What is not held is marked only where @has_base: else it
 * reads as zeros anyway. */
bool block_qcow2_map_zero (BlockQcow2Map *map, uint64_t offset, uint64_t length, bool has_base,
                           GError **error);

/* Writes out the L2 tables in memory that changed. */
bool block_qcow2_map_write_tables (BlockQcow2Map *map, GError **error);

/* Both whole or not at all. */
bool block_qcow2_pwrite (const BlockQcow2Map *map, const void *buffer, size_t length,
                         uint64_t offset, GError **error);
bool block_qcow2_pread (const BlockQcow2Map *map, void *buffer, size_t length, uint64_t offset,
                        GError **error);
