/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/recover.h"

#include <unistd.h>

#include "run/export-host.h"
#include "run/instant.h"
#include "run/revert-write.h"
#include "run/varve-run.h"
#include "store/store.h"
#include "util/error.h"
#include "util/failpoint.h"

/* Another run may be at the same session, and end it. */
#define GUARD_LOCK_WAIT_S 5

void
varve_recover_warn (const VarveEventSink *events, const char *text)
{
  VarveEvent event = { .type = VARVE_EVENT_WARNING, .action = "recover", .text = text };

  varve_event_emit (events, &event);
}

typedef enum {
  PLANNED,     /* nothing was done */
  DOMAIN_GONE, /* all that was left was the record */
  STANDS,      /* no guest of it runs */
  RUNS,        /* a guest that was halted for it runs again */
  UNDONE,      /* what nobody had used is removed */
} Outcome;

/* Of an instant restore. (transfer full) */
static char *
what_is_filled (const VarveRecord *record, Outcome outcome)
{
  const char *cut = "an instant restore of backup";

  if (outcome == PLANNED)
    return g_strdup_printf ("would %s %s %s",
                            record->phase == VARVE_PHASE_PREPARING ? "undo" : "go on with", cut,
                            record->backup);
  return g_strdup_printf ("%s %s %s, which was cut off%s", outcome == UNDONE ? "undid" : "finished",
                          cut, record->backup, outcome == UNDONE ? " before the guest ran" : "");
}

/* "ended session X of backup Y"; a revert is finished, not ended. (transfer full) */
static char *
what_is_done (const VarveRecord *record, Outcome outcome)
{
  const char *exited =
      outcome == STANDS && record->was_running ? "; its QEMU has exited, so start it" : "";

  if (varve_record_is_instant (record))
    return what_is_filled (record, outcome);
  if (!varve_record_is_revert (record))
    return g_strdup_printf ("%s session %s of backup %s",
                            outcome == PLANNED ? "would end" : "ended", record->id,
                            record->backup ? record->backup : "none");
  if (outcome == DOMAIN_GONE)
    return g_strdup_printf ("forgot the revert to backup %s, as the domain is gone",
                            record->backup);
  if (record->phase != VARVE_PHASE_REVERTING)
    return g_strdup_printf (
        "%s the guest, which was halted for a revert to backup %s%s%s",
        outcome == PLANNED ? "would start"
        : outcome == RUNS  ? "started"
                           : "let go of",
        record->backup, record->phase == VARVE_PHASE_HALTED ? " that wrote nothing" : "", exited);
  return g_strdup_printf ("%s the revert to backup %s, which was cut off%s",
                          outcome == PLANNED ? "would finish" : "finished", record->backup, exited);
}

static void
tell (const VarveEventSink *events, const VarveRecord *record, Outcome outcome)
{
  g_autofree char *text = what_is_done (record, outcome);
  VarveEvent event = { .type = outcome == PLANNED ? VARVE_EVENT_NOTE : VARVE_EVENT_RECOVERED,
                       .action = "recover",
                       .domain = record->domain,
                       .backup = record->backup,
                       .text = text };

  varve_event_emit (events, &event);
}

/* The store says whether the backup exists; a store that cannot be asked leaves the question open. */
static bool
is_committed (const VarveRecord *record, bool *out_known, gpointer data)
{
  g_autoptr (VarveStoreImpl) store = NULL;
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);

  /* Without a store it is the record that says whether it is kept; this one does not. */
  *out_known = record->store == NULL;
  if (record->store == NULL || record->backup == NULL)
    return false;
  store = varve_store_impl_open (record->store, false, NULL);
  if (store == NULL || !store->ops->list (store, &manifests, problems, NULL, NULL))
    return false;
  if (varve_manifests_find (manifests, record->backup) != NULL)
    return *out_known = true;
  /* It may be one of those whose manifests cannot be read now. */
  *out_known = problems->len == 0;
  return false;
}

bool
varve_recover_record (const VarveStateDir *state, VarveDomain *domain, const VarveRecord *record,
                      const VarveEventSink *events, GCancellable *cancellable, GError **error)
{
  bool runs = false, undone = false;

  if (varve_record_is_instant (record)) {
    if (!varve_instant_resume (state, domain, record->id, events, &undone, cancellable, error))
      return false;
  } else if (varve_record_is_revert (record)) {
    if (!varve_revert_resume (state, domain, record->id, events, &runs, cancellable, error))
      return false;
  } else if (!varve_session_recover (state, domain, record, is_committed, NULL, cancellable, error))
    return false;
  /* A host that could not end its session, and lives, is still asked how it was, and leaves nothing itself. */
  if (!varve_export_is_hosted (state, record->id) &&
      !varve_export_forget (state, record->id, error))
    return false;
  tell (events, record, undone ? UNDONE : domain == NULL ? DOMAIN_GONE : runs ? RUNS : STANDS);
  return true;
}

static VarveDomain *
open_domain (const VarveRecord *record, GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) images =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)varve_image_free);
  VarveDomainAddress address = { record->uri, record->domain, record->uuid, images,
                                 NULL,        record->agent,  true };

  for (guint i = 0; i < record->images->len; i++) {
    const VarveRecordImage *image = g_ptr_array_index (record->images, i);

    g_hash_table_insert (images, image->disk,
                         varve_image_new (image->path, image->format, image->key_file));
  }
  return varve_domain_open (&address, cancellable, error);
}

/* A bare QEMU that nobody answers for has exited, and a domain that libvirt does not know is gone;
 * a libvirtd that does not answer says nothing. */
static bool
is_gone_for_good (const VarveRecord *record, const GError *error)
{
  return varve_error_matches (error, VARVE_ERROR_NOT_FOUND) ||
         (g_str_has_prefix (record->uri, "qmp+unix:") &&
          varve_error_matches (error, VARVE_ERROR_SOURCE_UNREACHABLE));
}

/* Held: the domain's lock. Somebody who had it before may have ended the session. */
static bool
recover_locked (const VarveStateDir *state, const char *id, const VarveEventSink *events,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) domain = NULL;
  g_autoptr (GError) local = NULL;
  g_autoptr (VarveRecord) record = varve_record_load (state, id, &local);

  if (varve_error_matches (local, VARVE_ERROR_NOT_FOUND))
    return true;
  if (record != NULL)
    domain = open_domain (record, cancellable, &local);
  if (domain == NULL && (record == NULL || !is_gone_for_good (record, local))) {
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  if (domain != NULL && g_ascii_strcasecmp (domain->uuid, record->uuid) != 0)
    g_clear_pointer (&domain, varve_domain_free);
  return varve_recover_record (state, domain, record, events, cancellable, error);
}

static bool
recover_one (const VarveStateDir *state, const VarveRecord *record, const VarveEventSink *events,
             GCancellable *cancellable, GError **error)
{
  g_autofree char *holder = g_strdup_printf ("recover, pid %d", (int)getpid ());
  g_autoptr (VarveLock) lock =
      varve_run_lock_domain (state, record->domain, record->uuid, holder, 0, cancellable, error);

  return lock != NULL && recover_locked (state, record->id, events, cancellable, error);
}

bool
varve_recover_session (const VarveStateDir *state, const char *id, const VarveEventSink *events,
                       GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (VarveRecord) record = varve_record_load (state, id, &local);

  if (record != NULL)
    return recover_one (state, record, events, cancellable, error);
  if (varve_error_matches (local, VARVE_ERROR_NOT_FOUND))
    return true;
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

char *
varve_recover_lock_name (const char *uuid)
{
  return g_strdup_printf ("guard-%s", uuid);
}

bool
varve_recover_as_guard (const VarveStateDir *state, const char *id, GCancellable *cancellable,
                        GError **error)
{
  g_autofree char *holder =
      g_strdup_printf ("the guard of session %s, pid %d, ends what was left", id, (int)getpid ());
  g_autofree char *around = NULL, *inner = NULL;
  g_autoptr (VarveLock) guards = NULL, lock = NULL;
  g_autoptr (GError) local = NULL;
  g_autoptr (VarveRecord) record = varve_record_load (state, id, &local);

  if (record == NULL) {
    if (varve_error_matches (local, VARVE_ERROR_NOT_FOUND))
      return true;
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  around = varve_recover_lock_name (record->uuid);
  inner = g_strdup_printf ("domain-%s", record->uuid);
  guards = varve_lock_take (state, around, record->domain, holder, GUARD_LOCK_WAIT_S, cancellable,
                            error);
  if (guards != NULL)
    lock = varve_lock_take (state, inner, record->domain, holder, GUARD_LOCK_WAIT_S, cancellable,
                            error);
  return lock != NULL && varve_failpoint ("guard-recover", error) &&
         recover_locked (state, id, NULL, cancellable, error);
}

/* False when this session cannot be ended now: told, and left on record. */
static bool
visit (const VarveStateDir *state, const char *id, bool dry_run, const VarveEventSink *events,
       GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = NULL;

  if (varve_session_is_live (state, id))
    return true;
  record = varve_record_load (state, id, &error);
  if (record != NULL && dry_run) {
    tell (events, record, PLANNED);
    return true;
  }
  if (record != NULL && recover_one (state, record, events, cancellable, &error))
    return true;
  varve_recover_warn (events, error->message);
  return false;
}

gboolean
varve_recover (const char *state_directory, gboolean dry_run, VarveEventFunc func,
               gpointer user_data, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStateDir) state = varve_state_dir_open (state_directory, error);
  VarveEventSink events = { func, user_data, NULL };
  g_autoptr (GPtrArray) ids = NULL;
  unsigned failed = 0;

  if (state == NULL)
    return FALSE;
  ids = varve_record_list (state, error);
  if (ids == NULL)
    return FALSE;
  for (guint i = 0; i < ids->len; i++) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    if (!visit (state, g_ptr_array_index (ids, i), dry_run, &events, cancellable))
      failed++;
  }
  if (failed > 0)
    return varve_throw (error, VARVE_ERROR_PARTIAL,
                        "%u of %u sessions could not be ended now; the warnings say why.", failed,
                        ids->len);
  return TRUE;
}
