/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A disk of a backup put into a file, onto a block device, or to an NBD export.
 *
 * A file appears under its name when it is complete and durable, and not before; what was there
 * stays until then. A device or an export is written in place: that cannot be undone, so it wants to be
 * forced, and a device is opened exclusively. Over something means in place as well, for files too: it is
 * read, and only what differs is written.
 */
#pragma once

#include "store/store.h"

typedef struct {
  const char *disk;   /* name in the backup */
  const char *path;   /* absolute, or the URI of an NBD export */
  const char *format; /* "raw" or "qcow2" */
  bool force;         /* what exists may be overwritten */
  bool over;          /* what exists is compared, and what differs is written */
} VarveRestoreTarget;

/* Whether this target can be written, before anything is: not inside the store, not in use, not
 * there already without force or over; a device or export only raw, and large enough for @size bytes; a file
 * that is written over of that size. */
bool varve_restore_check (VarveStoreImpl *store, const VarveRestoreTarget *target, uint64_t size,
                          GCancellable *cancellable, GError **error);

bool varve_restore_disk (VarveStoreImpl *store, const VarveManifest *manifest,
                         const VarveRestoreTarget *target, BlockTickFunc tick, gpointer tick_data,
                         BlockCopyStats *out_stats, GCancellable *cancellable, GError **error);
