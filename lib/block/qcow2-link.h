/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One link of a chain of qcow2 images, opened to be read: its header was checked, its L1 table is
 * in memory, and nothing that the reader does not know is in use.
 *
 * While a link is open, QEMU's own image locks keep it from being opened for writing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <gio/gio.h>

#include "block/qcow2-header.h"

typedef struct {
  char *path; /* for messages */
  int fd;
  dev_t device; /* which file it is: a loop comes by the same one twice */
  ino_t inode;
  BlockQcow2Header header;
  uint64_t file_size;
  uint64_t *l1;        /* host offsets of L2 tables, checked; 0: none */
  uint32_t l1_length;  /* as many as the size needs */
  uint32_t slice_bits; /* an L2 table is read in slices of 1 << slice_bits entries */
} BlockQcow2Link;

/* @path relative to @directory (AT_FDCWD); @shown names it in messages. VARVE_ERROR_UNSUPPORTED:
 * sound as far as was seen, but somebody else has to read it. VARVE_ERROR_BUSY: a QEMU writes. */
BlockQcow2Link *block_qcow2_link_open (int directory, const char *path, const char *shown,
                                       GError **error);
void block_qcow2_link_free (BlockQcow2Link *link);

/* Whether @length bytes at @host can be what a table entry leads to: in the file, and not where
 * header, L1 table and refcount table are. */
bool block_qcow2_link_holds (const BlockQcow2Link *link, uint64_t host, uint64_t length);

/* What one slice covers, bytes of the guest. */
uint64_t block_qcow2_link_slice_span (const BlockQcow2Link *link);

/* All of it, else VARVE_ERROR_STORE_DAMAGED (short) or _STORE_UNREACHABLE. @guest is for messages.
 */
bool block_qcow2_link_pread (const BlockQcow2Link *link, void *buffer, size_t length, uint64_t host,
                             uint64_t guest, GError **error);

/* VARVE_ERROR_STORE_DAMAGED about what @link has for guest offset @guest. Always false. */
bool block_qcow2_link_damaged (const BlockQcow2Link *link, uint64_t guest, const char *what,
                               GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockQcow2Link, block_qcow2_link_free)
