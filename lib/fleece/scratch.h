/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Scratch: where the old data goes that guest writes displace while a fleece is read. One image a
 * disk, named by session and disk; bounded over all disks. */
#pragma once

#include "virt/inventory.h"

/* What a scratch directory must have free before a start, where no limit says otherwise, bytes. */
#define VARVE_SCRATCH_MINIMUM (256ull << 20)

/* Fills the snapshot columns of @start: a scratch path in @directory for each disk. */
void varve_scratch_plan (VarveStart *start, const char *directory);

/* Takes them out again, for a driver that needs none. */
void varve_scratch_none (VarveStart *start);

/* Room for @start's limit (or, without one, for VARVE_SCRATCH_MINIMUM) must be free in @directory,
 * else VARVE_ERROR_NO_SPACE. @out_watermark: the scratch use at which the backup is to be given up
 * for the guest's sake: the limit, or nine tenths of what is free. */
bool varve_scratch_check (const VarveStart *start, const char *directory, uint64_t *out_watermark,
                          GError **error);

/* A view whose old data found no room is lost, and its reader is only told that it is. Where @error
 * tells of a loss and the file system of @start's scratch has no room left, it becomes
 * VARVE_ERROR_NO_SPACE and says so. To be called before the scratch images are removed. */
void varve_scratch_explain (const VarveStart *start, GError **error);

/* Removes the scratch files that @start names, wherever its hypervisor has gone. */
bool varve_scratch_remove (const VarveStart *start, GError **error);
