/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the host of an export session does once its disks are served, and how it ends. */
#include "config.h"
#include "run/export-host.h"

#include "checkpoint/checkpoint.h"
#include "util/error.h"
#include "util/failpoint.h"

/* Between two looks at relay, session and clock. */
#define TICK_MS 500

/* --- the end ---------------------------------------------------------------------------------- */

/* The new checkpoint is not among the bitmaps that were listed before it was made. */
static bool
retire (VarveExportHost *host, GError **error)
{
  unsigned keep = host->start->checkpoint ? host->def->source->keep - 1 : host->def->source->keep;
  g_autoptr (GPtrArray) names =
      varve_checkpoint_retire (host->bitmaps, host->owner, keep, varve_export_is_committed, NULL);

  for (guint i = 0; i < names->len; i++) {
    if (!varve_domain_checkpoint_remove (host->domain, g_ptr_array_index (names, i), NULL, error))
      return false;
  }
  return true;
}

/* All that readers have got came from a snapshot that was whole: where there is a proof, each byte had its own. */
static bool
finish (VarveExportHost *host, GError **error)
{
  return varve_relay_check (host->relay, error) &&
         varve_session_finish (host->session, NULL, error);
}

/* Behind the point where the checkpoint is kept nothing is undone: what goes wrong is on record. */
static bool
keep_checkpoint (VarveExportHost *host, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (!varve_session_keep (host->session, error))
    return false;
  if (!varve_failpoint ("export-kept", error))
    return false;
  if (!retire (host, &local))
    g_debug ("A checkpoint could not be retired: %s", local->message);
  return true;
}

/* The domain is let go, whatever could be ended; what could not is on record, and for who comes next. */
static void
leave_domain (VarveExportHost *host)
{
  g_clear_pointer (&host->domain, varve_domain_free);
  g_clear_pointer (&host->lock, varve_lock_free);
}

bool
varve_export_host_end (VarveExportHost *host, bool keep, GError **error)
{
  g_autoptr (GError) first = NULL;
  g_autoptr (GError) second = NULL;

  if (host->session == NULL)
    return true;
  if (keep && !finish (host, &first))
    varve_session_explain (host->session, &first);
  varve_relay_stop (host->relay);
  if (varve_session_close (host->session, &second) && keep && !first)
    keep_checkpoint (host, &second);
  varve_keep_first (&first, &second);
  varve_session_end (g_steal_pointer (&host->session), &second);
  varve_keep_first (&first, &second);
  g_clear_pointer (&host->proof, varve_export_proof_free);
  leave_domain (host);
  if (!first)
    return true;
  g_propagate_error (error, g_steal_pointer (&first));
  return false;
}

void
varve_export_host_free (VarveExportHost *host)
{
  if (host == NULL)
    return;
  if (host->relay)
    varve_relay_stop (host->relay);
  g_clear_pointer (&host->session, varve_session_free);
  g_clear_pointer (&host->relay, varve_relay_free);
  g_clear_pointer (&host->proof, varve_export_proof_free);
  g_clear_pointer (&host->plans, g_ptr_array_unref);
  g_clear_pointer (&host->start, varve_start_free);
  g_clear_pointer (&host->bitmaps, g_ptr_array_unref);
  g_clear_pointer (&host->disks, g_ptr_array_unref);
  g_clear_pointer (&host->domain, varve_domain_free);
  g_clear_pointer (&host->lock, varve_lock_free);
  g_clear_pointer (&host->listener, varve_listener_free);
  g_clear_pointer (&host->tls, varve_tls_free);
  if (host->host_lock)
    varve_export_forget (host->context->state, host->session_id, NULL);
  g_clear_pointer (&host->host_lock, varve_lock_free);
  /* Who asked for the end waits until this is closed. */
  g_clear_pointer (&host->control, varve_export_control_free);
  g_clear_pointer (&host->report, varve_export_report_free);
  g_free (host->owner);
  g_free (host->backup);
  g_free (host->published);
  g_free (host->authority);
  g_free (host->session_id);
  g_free (host);
}

/* --- serving ---------------------------------------------------------------------------------- */

static bool
is_well (VarveExportHost *host, GError **error)
{
  if (varve_session_check (host->session, error) && varve_relay_check (host->relay, error))
    return true;
  /* The watch may know more than that a proof failed. */
  varve_session_explain (host->session, error);
  return false;
}

static void
publish (VarveExportHost *host)
{
  g_autoptr (GError) error = NULL;

  if (!varve_export_host_publish (host, &error))
    g_debug ("The end of the export session could not be written down: %s", error->message);
}

/* A view that broke: the reason is told at once, as what is left of it may take a while to end. */
static void
give_up (VarveExportHost *host, const GError *why)
{
  g_autoptr (GError) error = NULL;

  host->report->trouble = g_strdup (why->message);
  publish (host);
  if (varve_export_host_end (host, false, &error))
    return;
  g_ptr_array_add (host->report->notes, g_strdup (error->message));
  publish (host);
}

/* What whoever asked for the end is told. */
static void
answer_end (VarveExportHost *host, bool keep)
{
  g_autoptr (GError) error = NULL;

  if (host->report->trouble && keep)
    varve_throw (&error, VARVE_ERROR_SOURCE_LOST,
                 "%s The checkpoint is dropped, and what was read is to be thrown away.",
                 host->report->trouble);
  else
    varve_export_host_end (host, keep, &error);
  varve_export_control_answer (host->control, error);
}

/* False when the session has ended. */
static bool
turn (VarveExportHost *host, GCancellable *cancellable)
{
  g_autoptr (GError) why = NULL;

  switch (varve_export_control_wait (host->control, TICK_MS, cancellable)) {
  case VARVE_EXPORT_ASKED_KEEP:
    answer_end (host, true);
    return false;
  case VARVE_EXPORT_ASKED_DISCARD:
    answer_end (host, false);
    return false;
  case VARVE_EXPORT_HOLDER_LEFT:
    return false;
  case VARVE_EXPORT_ASKED_NOTHING:
    break;
  }
  if (host->session && !is_well (host, &why))
    give_up (host, why);
  return !g_cancellable_is_cancelled (cancellable) && g_get_monotonic_time () < host->deadline;
}

void
varve_export_host_serve (VarveExportHost *host, GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;

  while (turn (host, cancellable))
    continue;
  if (!varve_export_host_end (host, false, &error))
    g_debug ("Export session %s was left for recovery: %s", host->session_id, error->message);
}
