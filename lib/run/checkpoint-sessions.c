/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What sessions have left: on record, in the hypervisor, and as files in the state directory.
 *
 * A session takes its lock, then writes its record, then makes its first file; its record goes last. So
 * a file of a session that has neither lock nor record belongs to nobody, unless somebody removed the
 * record by hand: hence the look whether the file is in use. */
#include "config.h"

#include "run/checkpoint.h"

#include <string.h>

#include <gio/gunixsocketaddress.h>

#include "session/session.h"
#include "util/durable.h"
#include "util/error.h"

#define ID_LENGTH 16

static VarveCheckSession *
find (GPtrArray *sessions, const char *id)
{
  for (guint i = 0; i < sessions->len; i++) {
    VarveCheckSession *session = g_ptr_array_index (sessions, i);

    if (g_str_equal (session->id, id))
      return session;
  }
  return NULL;
}

static VarveCheckSession *
find_or_add (const VarveStateDir *state, GPtrArray *sessions, const char *id)
{
  VarveCheckSession *session = find (sessions, id);

  if (session)
    return session;
  session = varve_check_session_new (id);
  session->live = varve_session_is_live (state, id);
  g_ptr_array_add (sessions, session);
  return session;
}

static void
add_file (VarveCheckSession *session, const char *path)
{
  if (path && g_file_test (path, G_FILE_TEST_EXISTS))
    g_ptr_array_add (session->files, g_strdup (path));
}

/* --- on record -------------------------------------------------------------------------------- */

static void
fill (VarveCheckSession *session, const VarveRecord *record)
{
  session->reverting = record->phase == VARVE_PHASE_REVERTING;
  session->owner = g_strdup (record->owner);
  session->backup = g_strdup (record->backup);
  session->checkpoint = g_strdup (record->checkpoint);
  for (guint i = 0; i < record->disks->len; i++)
    add_file (session, ((VarveRecordDisk *)g_ptr_array_index (record->disks, i))->scratch);
  add_file (session, record->directory);
}

/* @others: ids of records of other domains. */
static bool
add_recorded (const VarveStateDir *state, const VarveDomain *domain, GPtrArray *sessions,
              GHashTable *others, GError **error)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, error);

  for (guint i = 0; ids && i < ids->len; i++) {
    const char *id = g_ptr_array_index (ids, i);
    g_autoptr (GError) damaged = NULL;
    g_autoptr (VarveRecord) record = varve_record_load (state, id, &damaged);
    VarveCheckSession *session;

    if (record && g_ascii_strcasecmp (record->uuid, domain->uuid) != 0) {
      g_hash_table_add (others, g_strdup (id));
      continue;
    }
    session = find_or_add (state, sessions, id);
    session->recorded = true;
    if (record)
      fill (session, record);
    else
      session->unreadable = g_strdup (damaged->message);
  }
  return ids != NULL;
}

/* --- in the hypervisor ------------------------------------------------------------------------ */

/* Its sockets tell of which state directory a session is. */
static void
note_directory (const VarveStateDir *state, VarveCheckSession *session, const char *directory)
{
  g_autofree char *ours = varve_state_dir_file (state, "sockets", session->id);

  if (directory && !session->recorded && !g_str_equal (directory, ours))
    session->in_use = g_strdup_printf ("its sockets are in '%s', so that it is of another state "
                                       "directory; set VARVE_STATE_DIR to that",
                                       directory);
}

static bool
add_left_over (const VarveStateDir *state, VarveDomain *domain, GPtrArray *sessions,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) left = NULL;

  if (!varve_domain_left_overs (domain, &left, cancellable, error))
    return false;
  for (guint i = 0; i < left->len; i++) {
    const VarveLeftOver *over = g_ptr_array_index (left, i);
    VarveCheckSession *session = find_or_add (state, sessions, over->session);

    session->in_hypervisor = true;
    note_directory (state, session, over->directory);
  }
  return true;
}

/* --- files ------------------------------------------------------------------------------------ */

/* Whether somebody listens on the socket. */
static bool
is_served (const char *path)
{
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);

  return socket && g_socket_connect (socket, address, NULL, NULL);
}

static char *
served_in (const char *directory)
{
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (directory, name, NULL);

    if (is_served (path))
      return g_strdup_printf ("somebody listens on '%s'", path);
  }
  return NULL;
}

/* Why the file cannot be removed; NULL: it can. QEMU locks the images that it has open. */
static char *
used_by (const char *path, GCancellable *cancellable)
{
  g_autoptr (VarveImage) image = NULL;
  g_autoptr (VarveImageInfo) info = NULL;
  g_autoptr (GError) error = NULL;

  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    return served_in (path);
  image = varve_image_new (path, "qcow2", NULL);
  info = varve_image_info (image, false, cancellable, &error);
  return varve_error_matches (error, VARVE_ERROR_BUSY)
             ? g_strdup_printf ("QEMU has '%s' open", path)
             : NULL;
}

static bool
is_id (const char *name)
{
  return strspn (name, "0123456789abcdef") >= ID_LENGTH &&
         (name[ID_LENGTH] == '\0' || name[ID_LENGTH] == '-');
}

static void
add_files_of (const VarveStateDir *state, const char *kind, GPtrArray *sessions, GHashTable *others,
              GCancellable *cancellable)
{
  g_autofree char *directory = varve_state_dir_file (state, kind, NULL);
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (directory, name, NULL);
    g_autofree char *id = is_id (name) ? g_strndup (name, ID_LENGTH) : NULL;
    VarveCheckSession *session;

    if (id == NULL || g_hash_table_contains (others, id))
      continue;
    session = find_or_add (state, sessions, id);
    if (session->recorded || session->live)
      continue;
    add_file (session, path);
    if (session->in_use == NULL && !session->in_hypervisor)
      session->in_use = used_by (path, cancellable);
  }
}

GPtrArray *
varve_checkpoint_sessions (const VarveStateDir *state, VarveDomain *domain,
                           GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) sessions =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_check_session_free);
  g_autoptr (GHashTable) others = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  if (!add_recorded (state, domain, sessions, others, error) ||
      !add_left_over (state, domain, sessions, cancellable, error))
    return NULL;
  add_files_of (state, "scratch", sessions, others, cancellable);
  add_files_of (state, "sockets", sessions, others, cancellable);
  return g_steal_pointer (&sessions);
}

/* --- ending ----------------------------------------------------------------------------------- */

bool
varve_checkpoint_remove_files (GPtrArray *files, GError **error)
{
  for (guint i = 0; i < files->len; i++) {
    const char *path = g_ptr_array_index (files, i);

    if (!(g_file_test (path, G_FILE_TEST_IS_DIR) ? varve_remove_tree (path, error)
                                                 : varve_durable_unlink (path, error)))
      return false;
  }
  return true;
}

bool
varve_checkpoint_end_session (const VarveStateDir *state, VarveDomain *domain, const char *id,
                              GPtrArray *files, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStart) start = varve_start_new (id);
  g_autoptr (VarveSnapshot) snapshot = NULL;

  start->directory = varve_state_dir_file (state, "sockets", id);
  return varve_domain_attach (domain, start, &snapshot, cancellable, error) &&
         varve_snapshot_end (snapshot, false, cancellable, error) &&
         varve_checkpoint_remove_files (files, error);
}
