/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the header of a qcow2 image says, read without trusting it: for checks that must cost
 * nothing, and for the reader of layers (qcow2-source.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

/* Of `incompatible`. */
#define BLOCK_QCOW2_DIRTY   (UINT64_C (1) << 0) /* reference counts may be wrong */
#define BLOCK_QCOW2_CORRUPT (UINT64_C (1) << 1) /* QEMU came upon damage */

typedef struct {
  uint64_t size; /* virtual, bytes */
  uint32_t cluster_size;
  char *backing_file;   /* as written, or NULL */
  char *backing_format; /* or NULL */

  /* As written, not checked against anything. */
  uint32_t cluster_bits;
  uint32_t encryption; /* 0: none */
  uint32_t l1_length;  /* entries */
  uint64_t l1;         /* host offset */
  uint64_t refcount_table;
  uint32_t refcount_table_clusters;
  uint32_t snapshots;
  uint64_t incompatible;
} BlockQcow2Header;

/* Not a qcow2 version 3 image, or a malformed one: VARVE_ERROR_STORE_DAMAGED. */
bool block_qcow2_header_read (const char *path, BlockQcow2Header *out, GError **error);
/* The same of an open file (@path is for messages), save that another version, which a reader may
 * leave to somebody else, is VARVE_ERROR_UNSUPPORTED. */
bool block_qcow2_header_read_fd (int fd, const char *path, BlockQcow2Header *out, GError **error);
void block_qcow2_header_clear (BlockQcow2Header *header);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (BlockQcow2Header, block_qcow2_header_clear)
