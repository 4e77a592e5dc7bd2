/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Named targets in the place of a store: each disk goes to a file, a block device or an NBD export, and nothing else is
 * kept. No manifest, no sums: so there is no backup to be listed, to be built upon or to be verified.
 *
 *                          file              device, NBD export
 *   full                   a new one         written over
 *   since a checkpoint     written over what changed (raw only): it must hold what the disk was at the checkpoint, and
 *                          nobody here can tell whether it does */
#pragma once

#include "store/store.h"
#include "store/target.h"

/* Borrows nothing. Has no uri and no uuid. */
VarveStoreImpl *varve_targets_new (bool force);
void varve_targets_add (VarveStoreImpl *impl, const char *disk, const char *path,
                        const char *format);

/* Before anything is started: whether the disk, of @size bytes, can be written to its target, in full or (@changes) only
 * what has changed. */
bool varve_targets_check (VarveStoreImpl *impl, const char *disk, uint64_t size, bool changes,
                          GError **error);
