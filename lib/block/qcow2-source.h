/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A chain of qcow2 images as a source, without QEMU: for the layers of the images store, so that
 * reading one back costs neither a process nor two more copies of every byte.
 *
 * It reads what our own writer and QEMU's defaults write: version 3, qcow2 all the way down, with
 * backing files named relative to the directory of the image that names them; with clusters that
 * QEMU compressed by its default. What it does not do (other compression, encryption, external
 * data, internal snapshots, subclusters, …) is VARVE_ERROR_UNSUPPORTED when it is opened, and a case
 * for the storage daemon.
 *
 * Damage is VARVE_ERROR_STORE_DAMAGED, with file and guest offset, and is never read as zeros. What
 * a table says of a place that may be, is believed: contents are for the store's sums to prove.
 *
 * As in QEMU, an image that is larger than the one below it has zeros behind that one's end.
 */
#pragma once

#include "block/source.h"

#define BLOCK_QCOW2_MAX_LINKS 1000u

typedef struct {
  const char *label; /* for messages; NULL: made of the path */
  bool alone; /* this image only: what it does not hold is clean in the map, and read as zeros */
} BlockQcow2SourceOptions;

/* @options may be NULL. */
BlockSource *block_qcow2_source_open (const char *path, const BlockQcow2SourceOptions *options,
                                      GError **error);

/* The images behind @source, for qcow2-difference.h; owned by it. NULL: it is not of this kind. */
struct BlockQcow2Chain;
const struct BlockQcow2Chain *block_qcow2_source_chain (const BlockSource *source);
