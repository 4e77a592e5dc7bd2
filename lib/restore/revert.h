/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One disk, put back in place to how it was at a backup. What is to be written is computed:
 *
 *   changed since the checkpoint   (the disk's bitmap)          ∪
 *   difference                     (the store's, of the checkpoint's backup and the wanted one)
 *
 * and where one of both cannot be had, everything is read and compared. */
#pragma once

#include "store/store.h"
#include "virt/domain.h"

typedef struct {
  VarveStoreRead *read; /* of the wanted backup */
  BlockSource *disk;    /* as it is; its map says what has changed since the checkpoint */
  BlockSource *source;  /* of the copy: read's, or with both maps */
  BlockSource *both;    /* owned; NULL where everything is compared */
  BlockSink *sink;
} VarveRevertDisk;

/* How many bytes the store knows to differ; *@out_known false: it cannot tell. */
bool varve_revert_difference (VarveStoreImpl *store, const VarveManifest *base,
                              const VarveManifest *wanted, const char *disk, bool *out_known,
                              uint64_t *out_bytes, GCancellable *cancellable, GError **error);

/* Both ends are opened, and nothing is written. @endpoint is writable. @base: the backup that the
 * endpoint's map is of; NULL, or a store that cannot tell the difference: everything is compared. */
VarveRevertDisk *varve_revert_disk_open (VarveStoreImpl *store, const VarveManifest *base,
                                         const VarveManifest *wanted, const char *disk,
                                         const VarveEndpoint *endpoint, GCancellable *cancellable,
                                         GError **error);
/* Everything is written that has to be, and durable. */
bool varve_revert_disk_write (VarveRevertDisk *disk, BlockTickFunc tick, gpointer tick_data,
                              BlockCopyStats *out_stats, GCancellable *cancellable, GError **error);
void varve_revert_disk_free (VarveRevertDisk *disk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRevertDisk, varve_revert_disk_free)
