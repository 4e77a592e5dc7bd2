/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the header of a qcow2 image says, read without trusting it: for checks that must cost
 * nothing. (Whole images are read by QEMU.) */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

typedef struct {
  uint64_t size; /* virtual, bytes */
  uint32_t cluster_size;
  char *backing_file;   /* as written, or NULL */
  char *backing_format; /* or NULL */
} BlockQcow2Header;

/* Not a qcow2 version 3 image, or a malformed one: VARVE_ERROR_STORE_DAMAGED. */
bool block_qcow2_header_read (const char *path, BlockQcow2Header *out, GError **error);
void block_qcow2_header_clear (BlockQcow2Header *header);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (BlockQcow2Header, block_qcow2_header_clear)
