/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Named targets against what the plan says of the disks, before anything is written. Who writes them is backup-mode.c's
 * choice. */
#include "config.h"

#include "run/backup.h"

#include "store/targets/targets.h"
#include "util/error.h"

/* No disk of the domain is written over, also none that is not backed up. Of those that are, the files behind them are
 * locked once they are read, and the target is looked at again. */
static bool
check_no_source (const VarveBackupRun *run, const VarveJobDisk *disk, GError **error)
{
  for (guint i = 0; i < run->look.disks->len; i++) {
    const VarveDisk *source = g_ptr_array_index (run->look.disks, i);

    if (run->look.domain->local && source->path && varve_target_same (source->path, disk->target))
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "The target '%s' of disk '%s' is disk '%s' of the domain itself. Name "
                          "another.",
                          disk->target, disk->name, source->name);
  }
  return true;
}

bool
varve_backup_check_targets (VarveBackupRun *run, GError **error)
{
  if (run->def->store)
    return true;
  for (guint i = 0; i < run->def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (run->def->disks, i);

    if (disk->target && !check_no_source (run, disk, error))
      return false;
  }
  for (guint i = 0; i < run->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (run->plans, i);

    if (plan->decision != VARVE_DECISION_SKIP &&
        !varve_targets_check (run->look.store, plan->disk->name, plan->disk->size,
                              plan->decision == VARVE_DECISION_INCREMENTAL, error))
      return false;
  }
  return true;
}
