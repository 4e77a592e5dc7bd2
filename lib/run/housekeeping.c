/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is kept tidy around a backup: the domain's lock, sessions of killed runs, checkpoints that
 * nothing needs any more. */
#include "config.h"

#include "run/backup.h"

#include "checkpoint/checkpoint.h"
#include "run/recover.h"
#include "util/error.h"
#include "util/failpoint.h"

static VarveLock *
lock_domain (const VarveStateDir *state, const char *name, const char *uuid, const char *holder,
             unsigned wait_s, GCancellable *cancellable, GError **error)
{
  g_autofree char *lock = g_strdup_printf ("domain-%s", uuid);
  g_autofree char *what = g_strdup_printf ("domain '%s'", name);

  return varve_lock_take (state, lock, what, holder, wait_s, cancellable, error);
}

bool
varve_run_guard_is_at_work (const VarveStateDir *state, const char *uuid)
{
  g_autofree char *guards = varve_recover_lock_name (uuid);

  return varve_lock_is_held (state, guards, NULL);
}

bool
varve_run_await_guard (const VarveStateDir *state, const char *name, const char *uuid,
                       GCancellable *cancellable, GError **error)
{
  g_autofree char *guards = varve_recover_lock_name (uuid);
  g_autofree char *what = g_strdup_printf ("domain '%s'", name);
  g_autoptr (VarveLock) lock =
      varve_lock_take (state, guards, what, "a run that waits for the guard", VARVE_RECOVER_WAIT_S,
                       cancellable, error);

  return lock != NULL;
}

VarveLock *
varve_run_lock_domain (const VarveStateDir *state, const char *name, const char *uuid,
                       const char *holder, unsigned wait_s, GCancellable *cancellable,
                       GError **error)
{
  g_autoptr (GError) busy = NULL;
  VarveLock *lock = lock_domain (state, name, uuid, holder, wait_s, cancellable, &busy);

  if (lock != NULL)
    return lock;
  if (!varve_error_matches (busy, VARVE_ERROR_BUSY)) {
    g_propagate_error (error, g_steal_pointer (&busy));
    return NULL;
  }
  /* Also where none is at work now: one may just have let go of both locks. */
  if (varve_run_guard_is_at_work (state, uuid) &&
      !varve_run_await_guard (state, name, uuid, cancellable, error))
    return NULL;
  return lock_domain (state, name, uuid, holder, 0, cancellable, error);
}

bool
varve_run_recover_domain (const VarveStateDir *state, VarveDomain *domain,
                          const VarveEventSink *events, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, error);

  for (guint i = 0; ids != NULL && i < ids->len; i++) {
    const char *id = g_ptr_array_index (ids, i);
    g_autoptr (GError) damaged = NULL;
    g_autoptr (VarveRecord) record = varve_record_load (state, id, &damaged);

    if (record == NULL)
      varve_recover_warn (events, damaged->message);
    else if (g_ascii_strcasecmp (record->uuid, domain->uuid) == 0 &&
             !varve_session_is_live (state, id) &&
             !varve_recover_record (state, domain, record, events, cancellable, error))
      return false;
  }
  return ids != NULL;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

/* Without a store there is none that could have lost the backup. */
static bool
is_committed (const char *backup, gpointer data)
{
  const VarveBackupRun *run = data;

  return run->def->store == NULL || varve_manifests_find (run->look.manifests, backup) != NULL;
}

static void
forget_bitmaps (GPtrArray *bitmaps, const char *name)
{
  for (guint i = bitmaps->len; i > 0; i--) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i - 1);

    if (g_str_equal (bitmap->name, name))
      g_ptr_array_remove_index (bitmaps, i - 1);
  }
}

bool
varve_backup_remove_stale (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names =
      varve_checkpoint_stale (run->look.bitmaps, run->look.owner, is_committed, run);

  /* The backup that a checkpoint belongs to may be one of those that cannot be read now. */
  if (run->look.problems->len > 0 || !varve_backup_owns_checkpoints (run))
    return true;
  for (guint i = 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_autofree char *text =
        g_strdup_printf ("removed checkpoint '%s', which nothing can use", name);
    VarveEvent event = { .type = VARVE_EVENT_RECOVERED,
                         .action = "backup",
                         .domain = run->look.domain->name,
                         .text = text };

    if (!varve_domain_checkpoint_remove (run->look.domain, name, cancellable, error))
      return varve_prefix (
          error, "The checkpoint '%s', which nothing can use, could not be removed", name);
    forget_bitmaps (run->look.bitmaps, name);
    varve_event_emit (run->context->events, &event);
  }
  return true;
}

/* The new checkpoint is not among the bitmaps that were listed before it was made, so that one less
 * of them is kept. */
bool
varve_backup_retire (VarveBackupRun *run, GError **error)
{
  unsigned keep = run->start->checkpoint ? run->def->keep - 1 : run->def->keep;
  g_autoptr (GPtrArray) names =
      varve_checkpoint_retire (run->look.bitmaps, run->look.owner, keep, is_committed, run);

  for (guint i = 0; varve_backup_owns_checkpoints (run) && i < names->len; i++) {
    if (!varve_failpoint ("run-retire", error) ||
        !varve_domain_checkpoint_remove (run->look.domain, g_ptr_array_index (names, i), NULL,
                                         error))
      return false;
  }
  return true;
}
