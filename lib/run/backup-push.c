/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Push: QEMU writes the layers; here is waited, told how far it is, and taken over what it wrote. */
#include "config.h"

#include "run/backup.h"

#include "fleece/scratch.h"
#include "util/error.h"
#include "util/failpoint.h"

#define WAIT_FIRST_US (5 * 1000)
#define WAIT_MAX_US   (50 * 1000)
#define POINT_US      (1 * G_USEC_PER_SEC)

/* The target columns of the start. */
static void
fill_start (VarveStart *start, VarveStartDisk *disk, uint64_t size, VarveStoreTarget *target)
{
  disk->target = g_steal_pointer (&target->path);
  disk->target_form = target->device ? VARVE_PUSH_DEVICE
                      : target->raw  ? VARVE_PUSH_RAW
                                     : VARVE_PUSH_QCOW2;
  disk->target_size = size;
  disk->target_in_place = target->in_place;
  g_free (start->target_root);
  start->target_root = g_steal_pointer (&target->root);
}

bool
varve_backup_push_prepare (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  const VarveStoreOps *ops = run->look.store->ops;

  for (guint i = 0; i < run->manifest->disks->len; i++) {
    VarveManifestDisk *disk = g_ptr_array_index (run->manifest->disks, i);
    const VarvePlanDisk *plan = varve_backup_plan_of (run, disk->name);
    g_auto (VarveStoreTarget) target = { NULL };

    if (!ops->add_target (run->write, disk, plan->base, &target, cancellable, error))
      return false;
    fill_start (run->start, varve_start_find_disk (run->start, disk->name), disk->size, &target);
  }
  return true;
}

/* The bar is one disk's: the first that is not ready. */
static void
tell_progress (VarveBackupRun *run, const GArray *progress)
{
  for (guint i = 0; i < progress->len; i++) {
    const VarvePushProgress *at = &g_array_index (progress, VarvePushProgress, i);
    const VarveManifestDisk *disk = g_ptr_array_index (run->manifest->disks, i);
    VarveEvent event = {
      .type = VARVE_EVENT_PROGRESS,
      .action = "backup",
      .domain = run->look.domain->name,
      .disk = disk->name,
      .backup = run->manifest->id,
      .done = at->done,
      .total = at->total,
    };

    if (at->ready && i + 1 < progress->len)
      continue;
    varve_event_emit (run->context->events, &event);
    return;
  }
}

static guint
count_ready (const GArray *progress)
{
  guint ready = 0;

  for (guint i = 0; i < progress->len; i++)
    ready += g_array_index (progress, VarvePushProgress, i).ready;
  return ready;
}

static void
keep_read (VarveBackupRun *run, const GArray *progress)
{
  for (guint i = 0; i < progress->len; i++) {
    VarveManifestDisk *disk = g_ptr_array_index (run->manifest->disks, i);

    disk->read = g_array_index (progress, VarvePushProgress, i).done;
  }
}

/* What QEMU was told last. */
typedef struct {
  uint64_t speed;
  guint ready; /* disks that took no share of it */
} Pace;

/* What a disk that has got ready leaves of the speed, the others take. */
static bool
keep_pace (VarveBackupRun *run, guint ready, Pace *told, GCancellable *cancellable, GError **error)
{
  Pace now = { varve_run_speed (run->context, run->def->speed), ready };

  if (now.speed == told->speed && (now.speed == 0 || now.ready == told->ready))
    return true;
  *told = now;
  return varve_session_set_speed (run->session, now.speed, cancellable, error);
}

/* Short increments take milliseconds: so the first looks are close together. */
static bool
wait (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  gulong pause = WAIT_FIRST_US;
  gint64 next_point = g_get_monotonic_time () + POINT_US;
  Pace told = { run->start->speed, 0 };

  while (varve_session_check (run->session, error)) {
    g_autoptr (GArray) progress = NULL;
    guint ready;

    if (!varve_session_progress (run->session, &progress, cancellable, error))
      return false;
    ready = count_ready (progress);
    tell_progress (run, progress);
    if (ready == progress->len) {
      keep_read (run, progress);
      return true;
    }
    if (!keep_pace (run, ready, &told, cancellable, error))
      return false;
    if (g_get_monotonic_time () >= next_point) {
      next_point += POINT_US;
      if (!varve_failpoint ("push-tick", error))
        return false;
    }
    g_usleep (pause);
    pause = MIN (pause * 2, WAIT_MAX_US);
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
  }
  return false;
}

static bool
check_targets (VarveBackupRun *run, GError **error)
{
  const VarveStoreOps *ops = run->look.store->ops;

  return ops->check_targets == NULL || ops->check_targets (run->write, error);
}

bool
varve_backup_push_wait (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  if (check_targets (run, error) && varve_failpoint ("push-wait", error) &&
      wait (run, cancellable, error) && varve_failpoint ("push-ready", error))
    return true;
  varve_session_explain (run->session, error);
  if (run->start->fleece)
    varve_scratch_explain (run->start, error);
  return false;
}
