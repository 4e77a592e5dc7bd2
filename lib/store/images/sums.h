/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* DISK.sums: what one layer holds, piece by piece, each with its hash. All numbers little-endian.
 *
 *   header  32 bytes   magic "varvesum", u32 version 1, u32 zero, u64 size of the disk, u64 zero
 *   entry   32 bytes   u64 offset, u32 length, u32 kind (1 data, 2 zero), 16 bytes XXH3-128
 *   …                  sorted by offset, without overlap; the hash of a zero entry is zero
 *   footer  32 bytes   u64 count of entries, u64 zero, 16 bytes XXH3-128 of all that stands before
 *                      these 16 bytes
 *
 * XXH3-128 (seed 0) in canonical form, of the bytes of the piece. No adversary is assumed: this
 * finds damage, not forgery.
 */
#pragma once

#include "block/copy.h"

typedef struct VarveSumsWriter VarveSumsWriter;

VarveSumsWriter *varve_sums_writer_new (const char *path, uint64_t disk_size, GError **error);
/* A BlockSumFunc; @writer is a VarveSumsWriter. */
bool varve_sums_writer_add (const BlockSum *sum, gpointer writer, GError **error);
/* Footer, fsync, mode 0400. @out_hash: the footer's hash as 32 hex digits (transfer full). */
bool varve_sums_writer_finish (VarveSumsWriter *writer, char **out_hash, GError **error);
void varve_sums_writer_free (VarveSumsWriter *writer);

typedef struct {
  uint64_t disk_size;
  size_t count;
  BlockSum *entries;
  char *hash; /* 32 hex digits */
} VarveSums;

/* Reads and checks the whole file: VARVE_ERROR_STORE_DAMAGED says what is wrong with it. */
VarveSums *varve_sums_load (const char *path, GError **error);
/* The same from memory, for tests and the fuzzer. */
VarveSums *varve_sums_parse (const uint8_t *data, size_t length, const char *name, GError **error);
void varve_sums_free (VarveSums *sums);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveSumsWriter, varve_sums_writer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveSums, varve_sums_free)
