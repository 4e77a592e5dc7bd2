/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-host.h"

#include <string.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/name.h"
#include "run/checkpoint.h"
#include "run/source.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

/* --- names ------------------------------------------------------------------------------------ */

char *
varve_export_file (const VarveStateDir *state, const char *session, const char *ending)
{
  g_autofree char *name = g_strdup_printf ("%s.%s", session, ending);

  return varve_state_dir_file (state, "exports", name);
}

char *
varve_export_lock_name (const char *session)
{
  return g_strdup_printf ("export-%s", session);
}

bool
varve_export_is_hosted (const VarveStateDir *state, const char *session)
{
  g_autofree char *lock = varve_export_lock_name (session);

  return varve_lock_is_held (state, lock, NULL);
}

bool
varve_export_forget (const VarveStateDir *state, const char *session, GError **error)
{
  static const char *const endings[] = { "json", "sock", "nbd" };

  for (size_t i = 0; i < G_N_ELEMENTS (endings); i++) {
    g_autofree char *path = varve_export_file (state, session, endings[i]);

    if (!varve_durable_unlink (path, error))
      return false;
  }
  return true;
}

static void
emit (VarveExportHost *host, VarveEvent event)
{
  event.action = "export";
  event.domain = host->domain ? host->domain->name : host->def->source->domain;
  event.session = host->session_id;
  varve_event_emit (host->context->events, &event);
}

/* The report keeps what was told. */
static void
tell (VarveExportHost *host, VarveEventType type, const char *text)
{
  g_ptr_array_add (host->report->notes, g_strdup (text));
  emit (host, (VarveEvent){ .type = type, .text = text });
}

/* --- listen ----------------------------------------------------------------------------------- */

/* What a URI has for "all addresses" is a name that others can reach. */
static char *
host_in_uri (const char *host)
{
  if (g_str_equal (host, "0.0.0.0") || g_str_equal (host, "::"))
    return g_strdup (g_get_host_name ());
  return strchr (host, ':') ? g_strdup_printf ("[%s]", host) : g_strdup (host);
}

static bool
listen_tcp (VarveExportHost *host, GError **error)
{
  const VarveExportDef *def = host->def;
  g_autofree char *name = host_in_uri (def->host);

  host->listener = varve_listener_tcp (def->host, def->port, host->tls == NULL, error);
  if (host->listener == NULL)
    return false;
  host->authority = g_strdup_printf ("%s://%s:%u/", host->tls ? "nbds" : "nbd", name,
                                     varve_listener_port (host->listener));
  return true;
}

static bool
listen_unix (VarveExportHost *host, GError **error)
{
  const VarveExportDef *def = host->def;

  host->published = def->socket ? g_strdup (def->socket)
                                : varve_export_file (host->context->state, host->session_id, "nbd");
  host->listener = varve_listener_unix (host->published, def->mode, def->group, error);
  if (host->listener == NULL)
    return false;
  host->authority = g_strdup (host->tls ? "nbds+unix:///" : "nbd+unix:///");
  return true;
}

/* The lock first, so that nobody takes our files for those of a dead host. */
static bool
listen_to_all (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  const VarveStateDir *state = host->context->state;
  g_autofree char *lock = varve_export_lock_name (host->session_id);
  g_autofree char *path = varve_export_file (state, host->session_id, "sock");
  g_autofree char *holder =
      g_strdup_printf ("the host of export session %s, pid %d", host->session_id, (int)getpid ());

  host->host_lock = varve_lock_take (state, lock, holder, holder, 0, cancellable, error);
  if (host->host_lock == NULL)
    return false;
  host->control = varve_export_control_new (path, error);
  if (host->control == NULL)
    return false;
  if (host->def->credentials) {
    host->tls = varve_tls_load (host->def->credentials, error);
    if (host->tls == NULL)
      return false;
  }
  return host->def->host ? listen_tcp (host, error) : listen_unix (host, error);
}

/* (transfer full) */
static char *
uri_of (const VarveExportHost *host, const char *export)
{
  g_autofree char *name = g_uri_escape_string (export, NULL, FALSE);
  g_autofree char *socket =
      host->published ? g_uri_escape_string (host->published, "/", FALSE) : NULL;

  return g_strconcat (host->authority, name, socket ? "?socket=" : NULL, socket, NULL);
}

/* --- times ------------------------------------------------------------------------------------ */

/* As if the instant were now. */
static void
set_times (VarveExportHost *host)
{
  VarveExportReport *report = host->report;

  report->started = g_get_real_time () / G_USEC_PER_SEC;
  report->expires = report->started + host->def->max_age;
  host->deadline = g_get_monotonic_time () + (gint64)host->def->max_age * G_USEC_PER_SEC;
}

/* --- look ------------------------------------------------------------------------------------- */

/* The one that was named may be one that libvirt has forgotten. */
static bool
find_since (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  if (g_str_equal (host->def->source->incremental, "never"))
    return true;
  g_ptr_array_add (names, host->def->source->incremental);
  return varve_domain_find_bitmaps (host->domain, names, host->bitmaps, cancellable, error);
}

static bool
look (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  const VarveRunContext *context = host->context;
  const VarveBackupDef *source = host->def->source;
  g_autofree char *until = varve_format_time (host->report->expires);
  g_autofree char *holder = g_strdup_printf (
      "export session %s of owner '%s', which ends by itself at %s (pid %d; 'varve "
      "export end' ends it now)",
      host->session_id, host->owner, until, (int)getpid ());

  host->domain = varve_run_open_source (context, source, cancellable, error);
  if (host->domain == NULL)
    return false;
  host->lock = varve_run_lock_domain (context->state, host->domain->name, host->domain->uuid,
                                      holder, source->wait, cancellable, error);
  return host->lock &&
         varve_run_recover_domain (context->state, host->domain, context->events, cancellable,
                                   error) &&
         varve_domain_state (host->domain, &host->state, cancellable, error) &&
         varve_domain_inventory (host->domain, &host->disks, cancellable, error) &&
         varve_domain_bitmaps (host->domain, &host->bitmaps, cancellable, error) &&
         find_since (host, cancellable, error);
}

/* --- plan ------------------------------------------------------------------------------------- */

static bool
make_plan (VarveExportHost *host, GError **error)
{
  g_autoptr (GPtrArray) include = g_ptr_array_new ();
  g_autoptr (GPtrArray) exclude = g_ptr_array_new ();
  VarvePlanInput input = {
    .uuid = host->domain->uuid,
    .owner = host->owner,
    .incremental = host->def->source->incremental,
    .disks = host->disks,
    .bitmaps = host->bitmaps,
    .include = include,
    .exclude = exclude,
  };

  varve_run_source_disks (host->def->source, include, exclude);
  host->plans = varve_plan (&input, error);
  for (guint i = 0; host->plans && i < host->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (host->plans, i);

    emit (host, (VarveEvent){ .type = VARVE_EVENT_DISK_PLANNED,
                              .disk = plan->disk->name,
                              .decision = varve_decision_name (plan->decision),
                              .text = plan->reason,
                              .total = plan->disk->size });
  }
  return host->plans != NULL;
}

bool
varve_export_is_committed (const char *backup, gpointer data)
{
  return true;
}

/* The owner's checkpoints that QEMU has lost stand in nobody's way but his. */
static bool
remove_broken (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names =
      varve_checkpoint_stale (host->bitmaps, host->owner, varve_export_is_committed, NULL);

  for (guint i = 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_autofree char *text =
        g_strdup_printf ("removed checkpoint '%s', which nothing can use", name);

    if (!varve_domain_checkpoint_remove (host->domain, name, cancellable, error))
      return varve_prefix (error, "The checkpoint '%s', which nothing can use, cannot be removed",
                           name);
    tell (host, VARVE_EVENT_RECOVERED, text);
  }
  return true;
}

/* The newest instant among the owner's checkpoints, or NULL: the new one sorts behind it, whatever the clock
 * says. (transfer full) */
static char *
newest_instant (const VarveExportHost *host)
{
  char *newest = NULL;

  for (guint i = 0; i < host->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (host->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (!varve_checkpoint_name_parse (bitmap->name, &name) ||
        !g_str_equal (name.owner, host->owner) || g_strcmp0 (name.backup, newest) <= 0)
      continue;
    g_free (newest);
    newest = g_steal_pointer (&name.backup);
  }
  return newest;
}

static void
fill_start (VarveExportHost *host)
{
  bool checkpoint = false;

  for (guint i = 0; i < host->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (host->plans, i);
    VarveStartDisk *disk;

    if (plan->decision == VARVE_DECISION_SKIP)
      continue;
    disk = varve_start_add_disk (host->start, plan->disk->name);
    disk->since = g_strdup (plan->since);
    disk->checkpoint = plan->checkpoint;
    disk->transient = plan->transient;
    checkpoint = checkpoint || plan->checkpoint;
  }
  if (checkpoint)
    host->start->checkpoint = varve_checkpoint_name_new (host->owner, host->backup);
  if (checkpoint)
    host->start->description = varve_checkpoint_description (host->start->checkpoint);
}

static bool
prepare (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  const VarveBackupDef *source = host->def->source;
  g_autoptr (VarveStartReport) report = NULL;
  g_autofree char *newest = newest_instant (host);

  host->backup = varve_backup_id_new (newest);
  host->start = varve_run_source_start (host->context, source, host->session_id);
  host->start->foreign_readers = true;
  host->start->allow_trim = host->def->allow_trim;
  fill_start (host);
  if (!varve_run_source_check (host->context, source, host->domain, host->start, &report,
                               cancellable, error))
    return false;
  host->report->strategy = g_strdup (report->strategy);
  for (guint i = 0; i < report->weaker->len; i++)
    tell (host, VARVE_EVENT_NOTE, g_ptr_array_index (report->weaker, i));
  return true;
}

/* --- session ---------------------------------------------------------------------------------- */

static VarveRecord *
make_record (VarveExportHost *host)
{
  VarveRecord *record = varve_run_source_record (host->def->source, host->domain, host->start);

  record->owner = g_strdup (host->owner);
  record->backup = g_strdup (host->backup);
  record->strategy = g_strdup (host->report->strategy);
  record->socket = g_strdup (host->published);
  record->started = host->report->started;
  record->expires = host->report->expires;
  return record;
}

static bool
begin_session (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  const VarveBackupDef *source = host->def->source;
  g_autoptr (GPtrArray) weaker = g_ptr_array_new_with_free_func (g_free);
  VarveQuiesce quiesce = { source->quiesce && host->state != VARVE_DOMAIN_OFF,
                           source->quiesce_required, source->quiesce_timeout };
  bool frozen = false;

  /* The domain may have been waited for. */
  set_times (host);
  host->session =
      varve_session_begin (host->context->state, host->domain, host->start, make_record (host),
                           &quiesce, &host->report->pause_us, &frozen, weaker, cancellable, error);
  if (host->session == NULL)
    return false;
  for (guint i = 0; i < weaker->len; i++)
    tell (host, VARVE_EVENT_WARNING, g_ptr_array_index (weaker, i));
  host->report->consistency = g_strdup (host->state == VARVE_DOMAIN_OFF ? "off"
                                        : frozen                        ? "file-systems"
                                                                        : "crash");
  emit (host, (VarveEvent){ .type = VARVE_EVENT_SNAPSHOT_STARTED,
                            .text = host->report->strategy,
                            .pause_us = host->report->pause_us });
  return true;
}

static void
report_disk (VarveExportHost *host, const VarvePlanDisk *plan, const VarveEndpoint *endpoint)
{
  VarveExportDisk *disk = varve_export_report_add_disk (host->report, plan->disk->name);
  g_autoptr (GStrvBuilder) contexts = g_strv_builder_new ();

  if (endpoint->allocation_context)
    g_strv_builder_add (contexts, endpoint->allocation_context);
  if (endpoint->dirty_context)
    g_strv_builder_add (contexts, endpoint->dirty_context);
  disk->contexts = g_strv_builder_end (contexts);
  disk->size = plan->disk->size;
  disk->uri = uri_of (host, endpoint->export_name);
  disk->export_name = g_strdup (endpoint->export_name);
  disk->dirty_context = g_strdup (endpoint->dirty_context);
  disk->decision = g_strdup (varve_decision_name (plan->decision));
  disk->reason = g_strdup (plan->reason);
  disk->checkpoint = plan->checkpoint;
}

/* @out_server: the one private socket of all disks. */
static bool
open_endpoints (VarveExportHost *host, char **out_server, GCancellable *cancellable, GError **error)
{
  host->proof = varve_export_proof_new ();
  for (guint i = 0; i < host->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (host->plans, i);
    g_auto (VarveEndpoint) endpoint = { NULL };

    if (plan->decision == VARVE_DECISION_SKIP)
      continue;
    if (!varve_session_endpoint (host->session, plan->disk->name, &endpoint, cancellable, error))
      return false;
    report_disk (host, plan, &endpoint);
    if (endpoint.proof_uri && !varve_export_proof_add (host->proof, endpoint.proof_uri,
                                                       plan->disk->name, cancellable, error))
      return false;
    if (*out_server == NULL)
      *out_server = g_steal_pointer (&endpoint.socket);
  }
  return true;
}

static void
release_readers (gpointer relay)
{
  varve_relay_stop (relay);
}

static bool
start_relay (VarveExportHost *host, GCancellable *cancellable, GError **error)
{
  g_autofree char *server = NULL;
  bool proven;

  if (!open_endpoints (host, &server, cancellable, error))
    return false;
  proven = !varve_export_proof_is_empty (host->proof);
  host->relay = varve_relay_start (
      &(VarveRelayOptions){
          .listener = g_steal_pointer (&host->listener),
          .tls = g_steal_pointer (&host->tls),
          .server = server,
          .proof = proven ? varve_export_proof_give : NULL,
          .interrupt = proven ? varve_export_proof_interrupt : NULL,
          .proof_data = host->proof,
      },
      error);
  if (host->relay == NULL)
    return false;
  varve_session_set_release (host->session, release_readers, host->relay);
  return varve_failpoint ("export-serving", error);
}

bool
varve_export_host_publish (VarveExportHost *host, GError **error)
{
  g_autofree char *json = varve_export_report_to_json (host->report);
  g_autofree char *text = g_strconcat (json, "\n", NULL);
  g_autofree char *path = varve_export_file (host->context->state, host->session_id, "json");

  return varve_durable_replace (path, text, strlen (text), 0600, error);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void
begin_report (VarveExportHost *host)
{
  host->report = varve_export_report_new (host->session_id);
  host->report->owner = g_strdup (host->owner);
  host->report->trim = host->def->allow_trim;
  set_times (host);
}

static void
finish_report (VarveExportHost *host)
{
  VarveExportReport *report = host->report;
  const char *since = host->def->source->incremental;

  report->domain = g_strdup (host->domain->name);
  report->uuid = g_strdup (host->domain->uuid);
  report->uri = g_strdup (host->domain->uri);
  report->checkpoint = g_strdup (host->start->checkpoint);
  report->since = g_str_equal (since, "never") ? NULL : g_strdup (since);
}

VarveExportHost *
varve_export_host_begin (const VarveRunContext *context, const VarveExportDef *def,
                         const char *session, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveExportHost) host = g_new0 (VarveExportHost, 1);

  host->context = context;
  host->def = def;
  host->session_id = g_strdup (session);
  host->owner = varve_checkpoint_owner_without_store (def->source->owner);
  begin_report (host);
  emit (host, (VarveEvent){ .type = VARVE_EVENT_RUN_STARTED });
  if (!listen_to_all (host, cancellable, error))
    return NULL;
  host->report->tls = g_strdup (host->tls ? varve_tls_kind (host->tls) : "none");
  if (!look (host, cancellable, error) || !make_plan (host, error) ||
      !remove_broken (host, cancellable, error) || !prepare (host, cancellable, error) ||
      !begin_session (host, cancellable, error) || !start_relay (host, cancellable, error))
    return NULL;
  finish_report (host);
  if (!varve_export_host_publish (host, error) || !varve_failpoint ("export-published", error))
    return NULL;
  emit (host, (VarveEvent){ .type = VARVE_EVENT_EXPORT_READY });
  return g_steal_pointer (&host);
}
