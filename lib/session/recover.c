/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One way to clean up: what a record tells of is ended in the one safe order, by whoever finds it.
 */
#include "config.h"

#include "session/teardown.h"

#include <string.h>

#include "fleece/scratch.h"
#include "session/listener.h"
#include "session/session.h"
#include "util/durable.h"
#include "util/error.h"

bool
varve_teardown_resume (VarveDomain *domain, const VarveRecord *record, GCancellable *cancellable,
                       GError **error)
{
  VarveDomainState state;

  if (!varve_domain_state (domain, &state, cancellable, error))
    return false;
  return state != VARVE_DOMAIN_PAUSED_IO_ERROR || !record->was_running ||
         varve_domain_resume (domain, cancellable, error);
}

/* The agent does not answer, or does not run any more. */
static bool
is_silent (const GError *error)
{
  return varve_error_matches (error, VARVE_ERROR_SOURCE_UNREACHABLE) ||
         varve_error_matches (error, VARVE_ERROR_UNSUPPORTED);
}

/* Tried by all who come, until the agent answers; but one that has been silent for so long is given up,
 * as it would keep the domain from ever being backed up again. */
static bool
thaw (VarveDomain *domain, const VarveRecord *record, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  int64_t age = g_get_real_time () / G_USEC_PER_SEC - record->started;

  if (varve_domain_thaw (domain, cancellable, &local))
    return true;
  if (is_silent (local) && age > VARVE_THAW_PATIENCE_S) {
    g_debug ("Session %s ends without a thaw: %s", record->id, local->message);
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

static bool
drop_checkpoint (VarveDomain *domain, const VarveRecord *record, GCancellable *cancellable,
                 GError **error)
{
  return record->checkpoint == NULL ||
         varve_domain_checkpoint_remove (domain, record->checkpoint, cancellable, error) ||
         varve_prefix (error, "The new checkpoint '%s' could not be dropped", record->checkpoint);
}

/* A thaw that fails does not keep the rest from being done. */
bool
varve_teardown (VarveDomain *domain, const VarveRecord *record, bool keep,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) first = NULL, second = NULL;

  if (record->frozen)
    thaw (domain, record, cancellable, &first);
  if (varve_teardown_resume (domain, record, cancellable, &second) && !keep)
    drop_checkpoint (domain, record, cancellable, &second);
  varve_keep_first (&first, &second);
  if (first == NULL)
    return true;
  g_propagate_error (error, g_steal_pointer (&first));
  return false;
}

static VarveStart *
start_from_record (const VarveRecord *record)
{
  VarveStart *start = varve_start_new (record->id);

  start->checkpoint = g_strdup (record->checkpoint);
  start->directory = g_strdup (record->directory);
  start->push = record->push;
  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = g_ptr_array_index (record->disks, i);
    VarveStartDisk *copy = varve_start_add_disk (start, disk->name);

    copy->since = g_strdup (disk->since);
    copy->scratch = g_strdup (disk->scratch);
    copy->target = g_strdup (disk->target);
    copy->checkpoint = disk->checkpoint;
  }
  return start;
}

bool
varve_session_take_down (VarveDomain *domain, const VarveRecord *record, GCancellable *cancellable,
                         GError **error)
{
  g_autoptr (VarveStart) start = start_from_record (record);
  g_autoptr (VarveSnapshot) snapshot = NULL;
  VarveDomainState state;

  if (!varve_domain_state (domain, &state, cancellable, error))
    return false;
  return state == VARVE_DOMAIN_OFF ||
         (varve_domain_attach (domain, start, &snapshot, cancellable, error) &&
          varve_snapshot_end (snapshot, false, cancellable, error));
}

static bool
end_on_domain (VarveDomain *domain, const VarveStart *start, const VarveRecord *record,
               bool committed, bool known, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveSnapshot) snapshot = NULL;
  bool cut = record->phase == VARVE_PHASE_STARTING && record->was_running;

  if (!varve_domain_attach (domain, start, &snapshot, cancellable, error) ||
      !varve_snapshot_end (snapshot, cut, cancellable, error)) {
    /* A guest whose file systems are frozen must not wait for that. */
    if (record->frozen)
      varve_domain_thaw (domain, cancellable, NULL);
    return false;
  }
  return varve_teardown (domain, record, committed || !known, cancellable, error);
}

bool
varve_session_recover (const VarveStateDir *dir, VarveDomain *domain, const VarveRecord *record,
                       VarveRecordCommittedFunc committed, gpointer data, GCancellable *cancellable,
                       GError **error)
{
  g_autoptr (VarveStart) start = start_from_record (record);
  bool known = true;
  bool keep = record->kept || committed (record, &known, data);

  if (domain != NULL && !end_on_domain (domain, start, record, keep, known, cancellable, error))
    return varve_prefix (error, "Session %s of domain '%s' could not be ended", record->id,
                         record->domain);
  if ((domain == NULL || domain->local) && !varve_scratch_remove (start, error))
    return false;
  if (record->directory && !varve_remove_tree (record->directory, error))
    return false;
  if (record->socket && !varve_listener_remove_dead (record->socket, error))
    return false;
  return varve_record_unlink (record, dir, error);
}
