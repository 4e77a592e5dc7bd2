/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveExport: a session as others see it, who ask its host, or, where that is dead, end what it left. */
#include "config.h"
#include "run/varve-exports.h"

#include <string.h>
#include <unistd.h>

#include "run/export-host.h"
#include "run/recover.h"
#include "util/durable.h"
#include "util/error.h"

#define REPORT_BYTES (1u << 20)

struct _VarveExport {
  GObject parent;
  VarveStateDir *state;
  VarveExportReport *report;
  VarveExportState what;
  char *path;
};

G_DEFINE_FINAL_TYPE (VarveExport, varve_export, G_TYPE_OBJECT)

G_DEFINE_ENUM_TYPE (VarveExportState, varve_export_state,
                    G_DEFINE_ENUM_VALUE (VARVE_EXPORT_STATE_SERVING, "serving"),
                    G_DEFINE_ENUM_VALUE (VARVE_EXPORT_STATE_BROKEN, "broken"),
                    G_DEFINE_ENUM_VALUE (VARVE_EXPORT_STATE_DEAD, "dead"))

static void
varve_export_finalize (GObject *object)
{
  VarveExport *self = VARVE_EXPORT (object);

  g_clear_pointer (&self->report, varve_export_report_free);
  g_clear_pointer (&self->state, varve_state_dir_free);
  g_free (self->path);
  G_OBJECT_CLASS (varve_export_parent_class)->finalize (object);
}

static void
varve_export_class_init (VarveExportClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_export_finalize;
}

static void
varve_export_init (VarveExport *self)
{
}

/* --- looking ---------------------------------------------------------------------------------- */

static bool
is_session_id (const char *text)
{
  return strlen (text) == 16 && strspn (text, "0123456789abcdef") == 16;
}

static VarveExportReport *
load_report (const VarveStateDir *state, const char *session, GError **error)
{
  g_autofree char *path = varve_export_file (state, session, "json");
  g_autofree char *text = NULL;
  VarveExportReport *report;
  size_t length;

  if (!varve_read_file (path, REPORT_BYTES, &text, &length, error))
    return NULL;
  report = varve_export_report_parse (text, length, error);
  if (!report)
    varve_prefix (error, "'%s'", path);
  return report;
}

/* Of a host that died before it could say what it serves there is the record alone. */
static VarveExportReport *
report_from_record (const VarveStateDir *state, const char *session)
{
  g_autoptr (VarveRecord) record = varve_record_load (state, session, NULL);
  VarveExportReport *report;

  if (!record || record->expires == 0)
    return NULL;
  report = varve_export_report_new (session);
  report->domain = g_strdup (record->domain);
  report->uuid = g_strdup (record->uuid);
  report->uri = g_strdup (record->uri);
  report->owner = g_strdup (record->owner);
  report->checkpoint = g_strdup (record->checkpoint);
  report->started = record->started;
  report->expires = record->expires;
  return report;
}

/* NULL: there is no such session. What a host left that died after its session had ended is removed. */
static VarveExport *
look_up (const char *state_directory, const char *session, GError **error)
{
  g_autoptr (VarveStateDir) state = varve_state_dir_open (state_directory, error);
  g_autoptr (VarveExportReport) report = NULL;
  g_autoptr (GError) local = NULL;
  bool hosted;
  VarveExport *self;

  if (!state)
    return NULL;
  hosted = varve_export_is_hosted (state, session);
  if (hosted)
    report = load_report (state, session, &local);
  else
    report = report_from_record (state, session);
  if (!report) {
    if (!hosted)
      varve_export_forget (state, session, NULL);
    varve_throw (error, VARVE_ERROR_NOT_FOUND,
                 "There is no export session '%s': it was ended, came to its max-age, or never "
                 "was.",
                 session);
    return NULL;
  }
  self = g_object_new (VARVE_TYPE_EXPORT, NULL);
  self->what = !hosted           ? VARVE_EXPORT_STATE_DEAD
               : report->trouble ? VARVE_EXPORT_STATE_BROKEN
                                 : VARVE_EXPORT_STATE_SERVING;
  self->path = varve_export_file (state, session, "json");
  self->report = g_steal_pointer (&report);
  self->state = g_steal_pointer (&state);
  return self;
}

VarveExport *
varve_export_find (const char *state_directory, const char *session, GError **error)
{
  g_return_val_if_fail (session != NULL, NULL);
  if (is_session_id (session))
    return look_up (state_directory, session, error);
  varve_throw (error, VARVE_ERROR_USAGE,
               "'%s' is no id of an export session: it has 16 digits and letters from a to f.",
               session);
  return NULL;
}

/* The ids of files in exports/, and of records. */
static bool
collect_ids (const VarveStateDir *state, GHashTable *ids, GError **error)
{
  g_autofree char *path = g_build_filename (varve_state_dir_path (state), "exports", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, error);
  g_autoptr (GPtrArray) records = dir ? varve_record_list (state, error) : NULL;
  const char *name;

  if (!records)
    return false;
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *id = g_strndup (name, 16);

    if (is_session_id (id) && g_strcmp0 (name + 16, ".json") == 0)
      g_hash_table_add (ids, g_steal_pointer (&id));
  }
  for (guint i = 0; i < records->len; i++)
    g_hash_table_add (ids, g_strdup (g_ptr_array_index (records, i)));
  return true;
}

GPtrArray *
varve_export_list (const char *state_directory, GError **error)
{
  g_autoptr (VarveStateDir) state = varve_state_dir_open (state_directory, error);
  g_autoptr (GHashTable) ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) sessions = g_ptr_array_new_with_free_func (g_object_unref);
  GHashTableIter iter;
  gpointer id;

  if (!state || !collect_ids (state, ids, error))
    return NULL;
  g_hash_table_iter_init (&iter, ids);
  while (g_hash_table_iter_next (&iter, &id, NULL)) {
    VarveExport *found = look_up (state_directory, id, NULL);

    if (found)
      g_ptr_array_add (sessions, found);
  }
  return g_steal_pointer (&sessions);
}

/* --- ending ----------------------------------------------------------------------------------- */

static bool
end_dead (VarveExport *self, bool keep, GCancellable *cancellable, GError **error)
{
  if (!varve_recover_session (self->state, self->report->session, NULL, cancellable, error))
    return false;
  return !keep || varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                               "The host of export session %s has died: the session is ended and "
                               "its checkpoint dropped; what was read is to be thrown away.",
                               self->report->session);
}

gboolean
varve_export_end (VarveExport *session, gboolean keep, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr (GError) local = NULL;
  bool ok;
  int fd;

  g_return_val_if_fail (VARVE_IS_EXPORT (session), FALSE);
  path = varve_export_file (session->state, session->report->session, "sock");
  fd = varve_export_control_connect (path, &local);
  if (fd < 0) {
    if (!varve_export_is_hosted (session->state, session->report->session))
      return end_dead (session, keep, cancellable, error);
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  ok = varve_export_control_end (fd, keep, cancellable, error);
  varve_export_control_see_off (fd);
  close (fd);
  return ok;
}

/* --- what there is to tell -------------------------------------------------------------------- */

const char *
varve_export_get_id (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->session;
}

const char *
varve_export_get_domain (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->domain;
}

const char *
varve_export_get_owner (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->owner;
}

const char *
varve_export_get_checkpoint (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->checkpoint;
}

const char *
varve_export_get_since (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->since;
}

gint64
varve_export_get_started (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), 0);
  return session->report->started;
}

gint64
varve_export_get_expires (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), 0);
  return session->report->expires;
}

const char *
varve_export_get_consistency (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->consistency;
}

VarveExportState
varve_export_get_state (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), VARVE_EXPORT_STATE_DEAD);
  return session->what;
}

const char *
varve_export_get_trouble (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->trouble;
}

const char *
varve_export_get_path (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->path;
}

GPtrArray *
varve_export_get_notes (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->notes;
}

GPtrArray *
varve_export_get_disks (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return session->report->disks;
}

char *
varve_export_to_json (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return varve_export_report_to_json (session->report);
}

char *
varve_export_to_xml (VarveExport *session)
{
  g_return_val_if_fail (VARVE_IS_EXPORT (session), NULL);
  return varve_export_report_to_xml (session->report);
}
