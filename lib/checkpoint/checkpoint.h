/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is to become of each of the checkpoints that a domain has. Pure: facts in, lists out.
 *
 *   committed   the owner's store holds a manifest of its backup
 *   left over   ours, but the store has no such manifest, and no live session names it
 *   broken      ours, and QEMU lost it (inconsistent): it can only be removed
 *   other       another owner's, or no name of ours: never touched
 */
#pragma once

#include "virt/inventory.h"

typedef enum {
  VARVE_CHECKPOINT_COMMITTED,
  VARVE_CHECKPOINT_LEFT_OVER,
  VARVE_CHECKPOINT_BROKEN,
  VARVE_CHECKPOINT_OTHER,
} VarveCheckpointState;

/* Whether @owner's store has a manifest of @backup. */
typedef bool (*VarveCommittedFunc) (const char *backup, gpointer data);

VarveCheckpointState varve_checkpoint_state (const VarveBitmap *bitmap, const char *owner,
                                             VarveCommittedFunc committed, gpointer data);

/* Names that are to go before a backup starts: @owner's left-over and broken ones. The domain's
 * lock is held and its sessions have been recovered, so no live session can name them. A name that
 * is broken on one disk and sound on another stays (a checkpoint is one thing on libvirt), unless
 * it is left over. (transfer full) array of char* */
GPtrArray *varve_checkpoint_stale (GPtrArray *bitmaps, const char *owner,
                                   VarveCommittedFunc committed, gpointer data);

/* Names that may go after a backup was committed: all but the newest @keep committed ones of
 * @owner. Newest by the backup's time in the name. (transfer full) array of char* */
GPtrArray *varve_checkpoint_retire (GPtrArray *bitmaps, const char *owner, unsigned keep,
                                    VarveCommittedFunc committed, gpointer data);

/* Why an increment must not be taken from this bitmap, as a sentence without a full stop; NULL when
 * it may. (transfer full) */
char *varve_checkpoint_distrust (const VarveBitmap *bitmap);
