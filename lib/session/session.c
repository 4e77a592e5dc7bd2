/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "session/session.h"

#include <string.h>
#include <unistd.h>

#include "session/guard.h"
#include "session/teardown.h"
#include "session/watch.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

/* What is promised to the guard, beyond the time-out of the freeze. libvirt and QEMU may each take half a minute. */
#define START_S 90
#define CLOSE_S 90
/* For so long the guest's file systems may be frozen. */
#define FROZEN_S 20

struct VarveSession {
  const VarveStateDir *dir;
  VarveDomain *domain; /* borrowed */
  VarveRecord *record;
  VarveSnapshot *snapshot; /* NULL before the start and after the close */
  VarveLock *lock;
  VarveGuard *guard; /* NULL where none is wanted */
  VarveWatch *watch; /* from the start to the close */
};

static char *
lock_name (const char *id)
{
  return g_strdup_printf ("session-%s", id);
}

bool
varve_session_is_live (const VarveStateDir *dir, const char *id)
{
  g_autofree char *name = lock_name (id);

  return varve_lock_is_held (dir, name, NULL);
}

VarveLock *
varve_session_lock (const VarveStateDir *dir, const char *id, const char *holder, GError **error)
{
  g_autofree char *name = lock_name (id);
  g_autofree char *what = g_strdup_printf ("session %s", id);

  return varve_lock_take (dir, name, what, holder, 0, NULL, error);
}

static void
session_free (VarveSession *session)
{
  g_clear_pointer (&session->watch, varve_watch_free);
  g_clear_pointer (&session->snapshot, varve_snapshot_free);
  g_clear_pointer (&session->record, varve_record_free);
  /* The lock first: a guard that was not dismissed wants to know the session free. */
  g_clear_pointer (&session->lock, varve_lock_free);
  g_clear_pointer (&session->guard, varve_guard_free);
  g_free (session);
}

/* The record is the start, in durable form. */
static void
fill_record (VarveRecord *record, const VarveStart *start, VarveDomainState state)
{
  record->phase = VARVE_PHASE_STARTING;
  record->was_running = state == VARVE_DOMAIN_RUNNING;
  record->push = start->push;
  g_free (record->checkpoint);
  record->checkpoint = g_strdup (start->checkpoint);
  g_free (record->directory);
  record->directory = g_strdup (start->directory);
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    VarveRecordDisk *copy = varve_record_add_disk (record, disk->disk);

    copy->since = g_strdup (disk->since);
    copy->scratch = g_strdup (disk->scratch);
    copy->target = g_strdup (disk->target);
    copy->checkpoint = disk->checkpoint;
  }
}

/* An agent that did not answer may have the command before it all the same, and obey when it comes to
 * itself: a thaw must get behind it, now or as soon as there is an answer. */
static void
take_back_freeze (VarveSession *session, const GError *why)
{
  g_autoptr (GError) error = NULL;

  session->record->frozen = !varve_error_matches (why, VARVE_ERROR_UNSUPPORTED) &&
                            !varve_domain_thaw (session->domain, NULL, &error);
  if (session->record->frozen)
    g_debug ("Session %s has a thaw to make up for: %s", session->record->id, error->message);
}

static void
tell_weaker (const VarveSession *session, const GError *why, GPtrArray *weaker)
{
  if (weaker == NULL)
    return;
  g_ptr_array_add (weaker, g_strdup_printf ("The backup is only crash-consistent, as the file "
                                            "systems could not be frozen: %s",
                                            why->message));
  if (session->record->frozen)
    g_ptr_array_add (weaker,
                     g_strdup ("Should the guest agent freeze them late, they are thawed as "
                               "soon as it answers again."));
}

/* Durable before it is done: whoever finds the record thaws. */
static bool
freeze (VarveSession *session, const VarveQuiesce *quiesce, bool *out_frozen, GPtrArray *weaker,
        GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;

  session->record->frozen = true;
  if (!varve_record_save (session->record, session->dir, error))
    return false;
  *out_frozen =
      varve_domain_freeze (session->domain, quiesce->quiesce_timeout, cancellable, &local);
  if (*out_frozen) {
    varve_guard_beat (session->guard, FROZEN_S);
    return varve_failpoint ("quiesce-frozen", error);
  }
  take_back_freeze (session, local);
  if (quiesce->quiesce_required) {
    g_propagate_prefixed_error (error, g_steal_pointer (&local),
                                "The file systems could not be frozen, and the job requires it: ");
    return false;
  }
  tell_weaker (session, local, weaker);
  return true;
}

/* A thaw that fails is a failure of the start: a frozen guest is the worst that can be left. */
static bool
thaw (VarveSession *session, GError **error)
{
  if (!varve_domain_thaw (session->domain, NULL, error))
    return false;
  session->record->frozen = false;
  return true;
}

static bool
start_frozen (VarveSession *session, const VarveStart *start, const VarveQuiesce *quiesce,
              uint64_t *out_pause_us, bool *out_frozen, GPtrArray *weaker,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) first = NULL, second = NULL;

  *out_frozen = false;
  if (quiesce->quiesce && !freeze (session, quiesce, out_frozen, weaker, cancellable, error))
    return false;
  varve_domain_start (session->domain, start, &session->snapshot, out_pause_us, cancellable,
                      &first);
  if (*out_frozen)
    thaw (session, &second);
  varve_keep_first (&first, &second);
  if (first != NULL) {
    g_propagate_error (error, g_steal_pointer (&first));
    return false;
  }
  session->record->phase = VARVE_PHASE_STARTED;
  return varve_failpoint ("session-started", error) &&
         varve_record_save (session->record, session->dir, error);
}

static void
start_watch (VarveSession *session, const VarveStart *start)
{
  VarveWatchOptions options = {
    .snapshot = session->snapshot,
    .record = session->record,
    .watermark = start->policy.watermark,
    .guard = session->guard,
  };

  session->watch = varve_watch_start (&options);
}

VarveSession *
varve_session_begin (const VarveStateDir *dir, VarveDomain *domain, const VarveStart *start,
                     VarveRecord *record, const VarveQuiesce *quiesce, uint64_t *out_pause_us,
                     bool *out_frozen, GPtrArray *out_weaker, GCancellable *cancellable,
                     GError **error)
{
  VarveSession *session = g_new0 (VarveSession, 1);
  g_autofree char *holder = g_strdup_printf ("backup %s, pid %d", record->backup, (int)getpid ());
  VarveDomainState state;

  session->dir = dir;
  session->domain = domain;
  session->record = record;
  if (!varve_domain_state (domain, &state, cancellable, error)) {
    session_free (session);
    return NULL;
  }
  fill_record (record, start, state);
  session->lock = varve_session_lock (dir, record->id, holder, error);
  if (session->lock == NULL || !varve_record_save (record, dir, error)) {
    session_free (session);
    return NULL;
  }
  if (!varve_failpoint ("session-recorded", error) ||
      !varve_guard_start (dir, record->id, &session->guard, error) ||
      !varve_failpoint ("session-guarded", error)) {
    varve_session_free (session);
    return NULL;
  }
  varve_guard_beat (session->guard, START_S + (quiesce->quiesce ? quiesce->quiesce_timeout : 0));
  if (!varve_make_directories (start->directory, 0700, error) ||
      !start_frozen (session, start, quiesce, out_pause_us, out_frozen, out_weaker, cancellable,
                     error)) {
    varve_session_free (session);
    return NULL;
  }
  start_watch (session, start);
  return session;
}

bool
varve_session_endpoint (VarveSession *session, const char *disk, VarveEndpoint *out,
                        GCancellable *cancellable, GError **error)
{
  g_autoptr (GMutexLocker) locker = varve_watch_lock (session->watch);

  return varve_snapshot_endpoint (session->snapshot, disk, out, cancellable, error);
}

void
varve_session_set_release (VarveSession *session, void (*release) (gpointer data), gpointer data)
{
  varve_watch_set_release (session->watch, release, data);
}

bool
varve_session_progress (VarveSession *session, GArray **out, GCancellable *cancellable,
                        GError **error)
{
  g_autoptr (GMutexLocker) locker = varve_watch_lock (session->watch);

  return varve_watch_is_well (session->watch, error) &&
         varve_snapshot_progress (session->snapshot, out, cancellable, error);
}

bool
varve_session_set_speed (VarveSession *session, uint64_t bytes_per_second,
                         GCancellable *cancellable, GError **error)
{
  g_autoptr (GMutexLocker) locker = varve_watch_lock (session->watch);

  return varve_watch_is_well (session->watch, error) &&
         varve_snapshot_set_speed (session->snapshot, bytes_per_second, cancellable, error);
}

bool
varve_session_check (VarveSession *session, GError **error)
{
  return varve_watch_check (session->watch, error);
}

void
varve_session_status (VarveSession *session, VarveSnapshotStatus *out)
{
  varve_watch_status (session->watch, out);
}

void
varve_session_explain (VarveSession *session, GError **error)
{
  g_autoptr (GError) reason = NULL;

  if (error == NULL || session->watch == NULL || varve_watch_is_well (session->watch, &reason))
    return;
  g_clear_error (error);
  g_propagate_error (error, g_steal_pointer (&reason));
}

const VarveRecord *
varve_session_record (const VarveSession *session)
{
  return session->record;
}

bool
varve_session_finish (VarveSession *session, GCancellable *cancellable, GError **error)
{
  g_autoptr (GMutexLocker) locker = NULL;

  if (!varve_failpoint ("session-copied", error) || !varve_session_check (session, error))
    return false;
  locker = varve_watch_lock (session->watch);
  return varve_snapshot_finish (session->snapshot, cancellable, error);
}

bool
varve_session_close (VarveSession *session, GError **error)
{
  bool cut = session->record->phase == VARVE_PHASE_STARTING && session->record->was_running;

  if (session->snapshot == NULL)
    return true;
  if (session->watch != NULL && varve_watch_has_thawed (session->watch))
    session->record->frozen = false;
  g_clear_pointer (&session->watch, varve_watch_free);
  varve_guard_beat (session->guard, CLOSE_S);
  if (!varve_snapshot_end (session->snapshot, cut, NULL, error))
    return false;
  g_clear_pointer (&session->snapshot, varve_snapshot_free);
  /* From here on nothing of the session can harm the guest, however long the store takes. */
  varve_guard_beat (session->guard, 0);
  return varve_failpoint ("session-closed", error);
}

bool
varve_session_keep (VarveSession *session, GError **error)
{
  session->record->kept = true;
  if (session->record->store == NULL && !varve_record_save (session->record, session->dir, error)) {
    session->record->kept = false;
    return false;
  }
  return varve_failpoint ("session-kept", error);
}

static bool
end (VarveSession *session, GError **error)
{
  if (!varve_session_close (session, error))
    return false;
  return varve_teardown (session->domain, session->record, session->record->kept, NULL, error) &&
         varve_failpoint ("session-torn-down", error) &&
         varve_remove_tree (session->record->directory, error) &&
         varve_record_unlink (session->record, session->dir, error);
}

bool
varve_session_end (VarveSession *session, GError **error)
{
  bool ok = end (session, error);

  if (ok)
    varve_guard_dismiss (session->guard);
  session_free (session);
  return ok;
}

void
varve_session_free (VarveSession *session)
{
  g_autoptr (GError) error = NULL;

  if (session != NULL && !varve_session_end (session, &error))
    g_debug ("A session was left for recovery: %s", error->message);
}
