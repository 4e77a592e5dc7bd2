/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where a restored disk is written to: a new file, a device, an NBD export; or what is there already,
 * which is then read as well, so that only what differs is written. */
#pragma once

#include "block/copy.h"
#include "qemu/storage-daemon.h"
#include "restore/restore.h"

typedef struct {
  BlockSource *base; /* what is there; NULL: of no interest */
  BlockSink *sink;
  VarveStorageDaemon *daemon; /* has a qcow2 image that is written over */
  char *directory;            /* of its socket */
  int lock;                   /* of a raw image that is written over, or -1 */
} VarveRestoreEnds;

bool varve_restore_ends_open (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
                              VarveRestoreEnds *out, GCancellable *cancellable, GError **error);
/* Everything is flushed: lets go of it. What goes wrong there may be in what was written. */
bool varve_restore_ends_close (VarveRestoreEnds *ends, GError **error);
void varve_restore_ends_clear (VarveRestoreEnds *ends);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveRestoreEnds, varve_restore_ends_clear)
