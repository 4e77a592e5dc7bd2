/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A disk of a backup put into a file, onto a block device, or to an NBD export (store/target.h). Over something means in
 * place, for files too: it is read, and only what differs is written. */
#pragma once

#include "store/store.h"
#include "store/target.h"

/* Whether this target can be written, before anything is: not inside the store either; a device or export large enough
 * for @size bytes; a file that is written over of that size. */
bool varve_restore_check (VarveStoreImpl *store, const VarveTarget *target, uint64_t size,
                          GCancellable *cancellable, GError **error);

bool varve_restore_disk (VarveStoreImpl *store, const VarveManifest *manifest,
                         const VarveTarget *target, BlockTickFunc tick, gpointer tick_data,
                         BlockCopyStats *out_stats, GCancellable *cancellable, GError **error);
