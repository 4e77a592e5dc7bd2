/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A backup product of its own: sessions by libvarve, data by libnbd.
 *
 * usage: vendor URI DOMAIN DIRECTORY
 *
 * A backup is a directory DIRECTORY/CHECKPOINT with a raw image of each disk, and DIRECTORY/latest is a link to the newest.
 * The first backup reads everything. Each later one begins as a copy of the newest, and reads what has changed since.
 * vendor.py and vendor.sh do the same, and go on where this one has stopped. To build it:
 *
 *   cc -o vendor vendor.c $(pkg-config --cflags --libs varve libnbd) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <libnbd.h>
#include <string.h>
#include <unistd.h>
#include <varve.h>

#define LABEL "acme"        /* whose checkpoints: ours, and nobody else's */
#define OWNER "x-acme"      /* the same, as it is in their names */
#define PIECE (4u << 20)    /* is read at once */
#define ASKED (1024u << 20) /* is asked for at once, in the map */
#define DIRTY 1             /* flag of a dirty map */
#define ZERO  2             /* flag of "base:allocation" */
#define MAP   "base:allocation"

typedef struct {
  const char *uri;
  const char *domain;
  const char *directory;
  const char *since; /* checkpoint of the newest backup, or NULL */
} Vendor;

typedef struct nbd_handle Connection;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Connection, nbd_close)

/* --- the session ------------------------------------------------------------------------------ */

/* A session of ours that is still there was begun by a process that has died: nothing that it read counts. */
static gboolean
end_left_over (const Vendor *vendor, GError **error)
{
  g_autoptr (GPtrArray) sessions = varve_export_list (NULL, error);

  for (guint i = 0; sessions && i < sessions->len; i++) {
    VarveExport *session = g_ptr_array_index (sessions, i);

    if (g_strcmp0 (varve_export_get_owner (session), OWNER) != 0 ||
        g_strcmp0 (varve_export_get_domain (session), vendor->domain) != 0)
      continue;
    g_print ("ended what a killed run has left: %s\n", varve_export_get_id (session));
    if (!varve_export_end (session, FALSE, NULL, error))
      return FALSE;
  }
  return sessions != NULL;
}

static void
on_event (const VarveEvent *event, gpointer data)
{
  char **session = data;

  if (event->type == VARVE_EVENT_EXPORT_READY)
    *session = g_strdup (event->session);
  else if (event->type == VARVE_EVENT_NOTE || event->type == VARVE_EVENT_WARNING)
    g_printerr ("%s\n", event->text);
}

static VarveExport *
begin_since (const Vendor *vendor, const char *since, const char *socket, GError **error)
{
  g_autoptr (VarveJob) job = varve_job_new ("vendor");
  VarveExportAction *action = varve_job_add_export (job, vendor->domain, vendor->uri, LABEL);
  g_autoptr (VarveRun) run = varve_run_new (job);
  g_autofree char *session = NULL;

  varve_export_action_set_since (action, since);
  varve_export_action_set_socket (action, socket, 0600, NULL);
  varve_run_set_event_func (run, on_event, &session, NULL);
  if (!varve_run_execute (run, NULL, error))
    return NULL;
  return varve_export_find (NULL, session, error);
}

/* Where the checkpoint of the newest backup is lost, everything is read. */
static VarveExport *
begin (const Vendor *vendor, const char *socket, GError **error)
{
  g_autoptr (GError) local = NULL;
  VarveExport *session = begin_since (vendor, vendor->since, socket, &local);

  if (g_error_matches (local, VARVE_ERROR, VARVE_ERROR_CHECKPOINT) && vendor->since) {
    g_printerr ("%s\n", local->message);
    return begin_since (vendor, NULL, socket, error);
  }
  if (local)
    g_propagate_error (error, g_steal_pointer (&local));
  return session;
}

/* --- the data --------------------------------------------------------------------------------- */

static gboolean
nbd_failed (const VarveExportDisk *disk, GError **error)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: %s", disk->name, nbd_get_error ());
  return FALSE;
}

/* Asks for one map, so that what extent_found() hears is of that. */
static Connection *
connect_disk (const VarveExportDisk *disk, const char *map, GError **error)
{
  g_autoptr (Connection) nbd = nbd_create ();

  if (!nbd || nbd_add_meta_context (nbd, map) < 0 || nbd_connect_uri (nbd, disk->uri) < 0 ||
      nbd_can_meta_context (nbd, map) != 1) {
    nbd_failed (disk, error);
    return NULL;
  }
  return g_steal_pointer (&nbd);
}

/* entries: pairs of length and flags. No call of libnbd is allowed in here: what is found is kept for later. */
static int
extent_found (void *data, const char *map, uint64_t offset, uint32_t *entries, size_t n, int *error)
{
  g_array_append_vals (data, entries, (guint)n);
  return 0;
}

static gboolean
copy_range (Connection *nbd, int fd, guint64 offset, guint64 length, const VarveExportDisk *disk,
            GError **error)
{
  g_autofree char *piece = g_malloc (PIECE);

  while (length > 0) {
    size_t n = MIN (length, PIECE);

    if (nbd_pread (nbd, piece, n, offset, 0) < 0)
      return nbd_failed (disk, error);
    if (pwrite (fd, piece, n, (off_t)offset) != (ssize_t)n) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: cannot write", disk->name);
      return FALSE;
    }
    offset += n;
    length -= n;
  }
  return TRUE;
}

/* Of a disk to be read in full: all that is not zero, as the image is new. Otherwise: what is dirty, zeros too. */
static gboolean
copy_disk (const VarveExportDisk *disk, int fd, guint64 *read, GError **error)
{
  const char *map = disk->dirty_context ? disk->dirty_context : MAP;
  guint32 flag = disk->dirty_context ? DIRTY : ZERO;
  guint32 wanted = disk->dirty_context ? DIRTY : 0;
  g_autoptr (Connection) nbd = connect_disk (disk, map, error);

  for (guint64 at = 0; nbd && at < disk->size;) {
    g_autoptr (GArray) extents = g_array_new (FALSE, FALSE, sizeof (guint32));
    nbd_extent_callback callback = { .callback = extent_found, .user_data = extents };

    if (nbd_block_status (nbd, MIN (disk->size - at, ASKED), at, callback, 0) < 0)
      return nbd_failed (disk, error);
    for (guint i = 0; i + 1 < extents->len && at < disk->size; i += 2) {
      guint64 length = MIN (g_array_index (extents, guint32, i), disk->size - at);

      if ((g_array_index (extents, guint32, i + 1) & flag) == wanted) {
        if (!copy_range (nbd, fd, at, length, disk, error))
          return FALSE;
        *read += length;
      }
      at += length;
    }
  }
  return nbd != NULL;
}

/* --- backups ---------------------------------------------------------------------------------- */

static gboolean
failed (const char *what, const char *path, GError **error)
{
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "Cannot %s '%s': %s", what, path,
               g_strerror (errno));
  return FALSE;
}

static gboolean
sync_directory (const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gboolean ok = fd >= 0 && fsync (fd) == 0;

  if (fd >= 0)
    close (fd);
  return ok || failed ("sync", path, error);
}

/* A new image: empty, or a copy of the newest. */
static gboolean
make_image (const Vendor *vendor, const VarveExportDisk *disk, const char *name, const char *path,
            GError **error)
{
  g_autofree char *newest = NULL;
  g_autoptr (GFile) from = NULL, to = g_file_new_for_path (path);

  if (!disk->dirty_context)
    return g_file_set_contents (path, "", 0, error);
  newest = g_build_filename (vendor->directory, vendor->since, name, NULL);
  from = g_file_new_for_path (newest);
  return g_file_copy (from, to, G_FILE_COPY_NONE, NULL, NULL, NULL, error);
}

static gboolean
back_up_disk (const Vendor *vendor, const VarveExportDisk *disk, const char *part, GError **error)
{
  g_autofree char *name = g_strconcat (disk->name, ".raw", NULL);
  g_autofree char *path = g_build_filename (part, name, NULL);
  guint64 read = 0;
  gboolean ok;
  int fd;

  if (!make_image (vendor, disk, name, path, error))
    return FALSE;
  fd = open (path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return failed ("open", path, error);
  ok = (ftruncate (fd, (off_t)disk->size) == 0 || failed ("resize", path, error)) &&
       copy_disk (disk, fd, &read, error) && (fsync (fd) == 0 || failed ("sync", path, error));
  close (fd);
  if (ok)
    g_print ("%s: %s, %" G_GUINT64_FORMAT " bytes read (%s)\n", disk->name, disk->decision, read,
             disk->reason);
  return ok;
}

/* A directory for the backup, without what a killed run has left there. */
static gboolean
make_part (const char *part, GError **error)
{
  g_autoptr (GDir) dir = NULL;
  const char *name;

  if (g_mkdir_with_parents (part, 0700) != 0)
    return failed ("make", part, error);
  dir = g_dir_open (part, 0, error);
  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (part, name, NULL);

    if (unlink (path) != 0)
      return failed ("remove", path, error);
  }
  return dir != NULL;
}

static gboolean
back_up_disks (const Vendor *vendor, VarveExport *session, const char *part, GError **error)
{
  GPtrArray *disks = varve_export_get_disks (session);

  if (!make_part (part, error))
    return FALSE;
  for (guint i = 0; i < disks->len; i++)
    if (!back_up_disk (vendor, g_ptr_array_index (disks, i), part, error))
      return FALSE;
  return sync_directory (part, error);
}

/* The backup gets its name, and then the link. Whoever is killed before that has the older backup, and its checkpoint. */
static gboolean
publish (const Vendor *vendor, const char *part, const char *checkpoint, GError **error)
{
  g_autofree char *path = g_build_filename (vendor->directory, checkpoint, NULL);
  g_autofree char *latest = g_build_filename (vendor->directory, "latest", NULL);
  g_autofree char *next = g_build_filename (vendor->directory, "latest.new", NULL);

  unlink (next);
  if (rename (part, path) != 0)
    return failed ("rename", part, error);
  if (symlink (checkpoint, next) != 0 || rename (next, latest) != 0)
    return failed ("make", latest, error);
  return sync_directory (vendor->directory, error);
}

/* What was read counts when varve_export_end() has succeeded, and not before. */
static gboolean
back_up (const Vendor *vendor, const char *socket, GError **error)
{
  g_autofree char *part = g_build_filename (vendor->directory, "part", NULL);
  g_autoptr (VarveExport) session = NULL;

  if (!end_left_over (vendor, error))
    return FALSE;
  session = begin (vendor, socket, error);
  if (!session)
    return FALSE;
  if (!back_up_disks (vendor, session, part, error)) {
    varve_export_end (session, FALSE, NULL, NULL);
    return FALSE;
  }
  if (!varve_export_end (session, TRUE, NULL, error) ||
      !publish (vendor, part, varve_export_get_checkpoint (session), error))
    return FALSE;
  g_print ("backed up: %s\n", varve_export_get_checkpoint (session));
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *latest = NULL, *since = NULL, *run = NULL, *socket = NULL;

  if (argc != 4) {
    g_printerr ("usage: %s URI DOMAIN DIRECTORY\n", argv[0]);
    return 2;
  }
  latest = g_build_filename (argv[3], "latest", NULL);
  since = g_file_read_link (latest, NULL);
  run = g_dir_make_tmp ("vendor-XXXXXX", &error);
  socket = run ? g_build_filename (run, "nbd.sock", NULL) : NULL;
  Vendor vendor = { argv[1], argv[2], argv[3], since };

  if (run && back_up (&vendor, socket, &error))
    rmdir (run);
  else
    g_printerr ("%s\n", error->message);
  return varve_error_exit_status (error);
}
