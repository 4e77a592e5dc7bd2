/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One backup on its way, from the first look at the domain to the committed manifest:
 *
 * A push has instead of the copy a wait, and takes over what QEMU wrote behind the close.
 *
 *   look ─▶ plan ─▶ prepare ─▶ session begin ─▶ copy each disk ─▶ finish ─▶ close ─▶ commit ─▶ keep
 * ─▶ retire
 *
 * Everything that the steps share is here; each step fills its part. Freed in any state: what was
 * begun and not committed is undone.
 */
#pragma once

#include "plan/plan.h"
#include "run/look.h"
#include "session/session.h"
#include "store/store.h"

typedef struct {
  const VarveRunContext *context;
  const VarveBackupDef *def;

  VarveLook look;

  /* plan, prepare */
  bool push;        /* QEMU writes the layers */
  char *why_mode;   /* where that was not for the job to say */
  GPtrArray *plans; /* of VarvePlanDisk */
  VarveStart *start;
  VarveManifest *manifest;
  VarveStoreWrite *write;

  /* session, copy */
  VarveSession *session;
  GPtrArray *
      sources; /* of BlockSource: kept open until the snapshot is down, so that QEMU closes first */
} VarveBackupRun;

/* Copies one disk into its layer. May turn an increment into a rescan, when the clean sample says
 * so: then @disk's decision and reason tell. */
bool varve_backup_copy_disk (VarveBackupRun *run, const VarvePlanDisk *plan,
                             VarveManifestDisk *disk, GCancellable *cancellable, GError **error);

/* Checks that what is planned can be written to the targets of the job, where it has any in the place of a store. */
bool varve_backup_check_targets (VarveBackupRun *run, GError **error);

/* Whether the checkpoints of run->owner are this backup's to make and to remove. */
bool varve_backup_owns_checkpoints (const VarveBackupRun *run);

/* Never NULL for a disk of the manifest. */
const VarvePlanDisk *varve_backup_plan_of (VarveBackupRun *run, const char *disk);

/* Sets push, and why_mode, by a plan that was made as the job has it (for a pull, where it leaves that open). */
bool varve_backup_choose_mode (VarveBackupRun *run, const char *session, GCancellable *cancellable,
                               GError **error);

/* Push. Makes the layers that QEMU will write; once the session has begun, waits until all of them are written, but not
 * ended (that is the session's finish). */
bool varve_backup_push_prepare (VarveBackupRun *run, GCancellable *cancellable, GError **error);
bool varve_backup_push_wait (VarveBackupRun *run, GCancellable *cancellable, GError **error);

/* Removes @owner's checkpoints that are left over or broken, and forgets their bitmaps. */
bool varve_backup_remove_stale (VarveBackupRun *run, GCancellable *cancellable, GError **error);

/* Removes the owner's committed checkpoints but the newest ones. */
bool varve_backup_retire (VarveBackupRun *run, GError **error);
