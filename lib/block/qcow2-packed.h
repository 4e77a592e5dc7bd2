/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Clusters that QEMU has compressed (deflate; other ways are flagged in the header, and for somebody else).
 *
 *   L2 entry   63      no meaning
 *              62      1: compressed
 *              61-x    512-byte sectors that the data touches, less one
 *              x-1-0   host offset of the data, at any byte           x = 62 - (cluster_bits - 8)
 */
#pragma once

#include "block/qcow2-link.h"

/* Whether what @entry says of @guest can be. */
bool block_qcow2_packed_check (const BlockQcow2Link *link, uint64_t entry, uint64_t guest,
                               GError **error);

/* Bytes [@skip, @skip + @length) of the cluster that is compressed where @entry says; @guest is for messages. */
bool block_qcow2_packed_read (const BlockQcow2Link *link, uint64_t entry, uint64_t guest,
                              size_t skip, uint8_t *to, size_t length, GError **error);
