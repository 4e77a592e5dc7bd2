/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Keeps raw copies of a domain's disks up to date: libvarve for the session, libnbd for the data.
 *
 * usage: export-incremental DIRECTORY DOMAIN URI [DISK=IMAGE]...
 *
 * DIRECTORY/DISK.raw are the copies, DIRECTORY/checkpoint says of which instant; the path is absolute. Images (qcow2) are
 * named for the URI "image:".
 *
 *   cc export-incremental.c $(pkg-config --cflags --libs varve libnbd)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <varve.h>

#define PIECE (1u << 20)
/* In "base:allocation", and in the map of changes. */
#define ZERO  2u
#define DIRTY 1u

/* --- the session ------------------------------------------------------------------------------ */

static void
on_event (const VarveEvent *event, gpointer session)
{
  if (event->type == VARVE_EVENT_EXPORT_READY)
    *(char **)session = g_strdup (event->session);
}

static VarveExport *
begin (char **argv, const char *since, GError **error)
{
  g_autoptr (VarveJob) job = varve_job_new ("example");
  VarveExportAction *action = varve_job_add_export (job, argv[2], argv[3], "example");
  g_autoptr (VarveRun) run = varve_run_new (job);
  g_autofree char *socket = g_build_filename (argv[1], "socket", NULL);
  g_autofree char *session = NULL;

  varve_export_action_set_since (action, since);
  varve_export_action_set_socket (action, socket, 0600, NULL);
  for (char **image = argv + 4; *image; image++) {
    g_auto (GStrv) parts = g_strsplit (*image, "=", 2);

    varve_export_action_set_image (action, parts[0], parts[1], "qcow2", NULL);
  }
  varve_run_set_event_func (run, on_event, &session, NULL);
  return varve_run_execute (run, NULL, error) ? varve_exports_find (NULL, session, error) : NULL;
}

/* --- the data --------------------------------------------------------------------------------- */

typedef struct {
  struct nbd_handle *nbd;
  const VarveExportDisk *disk;
  int raw;
  GArray *extents; /* of uint32_t: length, flags, length, flags */
} Copy;

static bool
fail_nbd (GError **error)
{
  g_set_error_literal (error, VARVE_ERROR, VARVE_ERROR_SOURCE_READ, nbd_get_error ());
  return false;
}

static bool
copy_range (const Copy *copy, uint64_t offset, uint64_t length, GError **error)
{
  g_autofree char *buffer = g_malloc (PIECE);

  while (length > 0) {
    size_t piece = MIN (length, PIECE);

    if (nbd_pread (copy->nbd, buffer, piece, offset, 0) == -1)
      return fail_nbd (error);
    if (pwrite (copy->raw, buffer, piece, (off_t)offset) != (ssize_t)piece) {
      g_set_error_literal (error, G_FILE_ERROR, g_file_error_from_errno (errno),
                           g_strerror (errno));
      return false;
    }
    offset += piece;
    length -= piece;
  }
  return true;
}

static int
take_extents (void *data, const char *context, uint64_t offset, uint32_t *entries, size_t count,
              int *error)
{
  Copy *copy = data;

  if (!copy->disk->dirty_context || strcmp (context, copy->disk->dirty_context) == 0)
    g_array_append_vals (copy->extents, entries, (guint)count);
  return 0;
}

/* What has changed, where that is known; else all that is no zeros. */
static bool
copy_all (Copy *copy, uint64_t size, GError **error)
{
  uint64_t at = 0;

  while (at < size) {
    g_array_set_size (copy->extents, 0);
    if (nbd_block_status (copy->nbd, MIN (size - at, 1u << 30), at,
                          (nbd_extent_callback){ .callback = take_extents, .user_data = copy },
                          0) == -1)
      return fail_nbd (error);
    for (guint i = 0; i + 1 < copy->extents->len; i += 2) {
      uint64_t length = MIN (g_array_index (copy->extents, uint32_t, i), size - at);
      uint32_t flags = g_array_index (copy->extents, uint32_t, i + 1);
      bool wanted = copy->disk->dirty_context ? flags & DIRTY : !(flags & ZERO);

      if (wanted && !copy_range (copy, at, length, error))
        return false;
      at += length;
    }
  }
  return true;
}

static bool
copy_connected (Copy *copy, GError **error)
{
  const char *context = copy->disk->dirty_context ? copy->disk->dirty_context : "base:allocation";
  int64_t size;

  if (nbd_add_meta_context (copy->nbd, context) == -1 ||
      nbd_connect_uri (copy->nbd, copy->disk->uri) == -1 || (size = nbd_get_size (copy->nbd)) == -1)
    return fail_nbd (error);
  return ftruncate (copy->raw, size) == 0 && copy_all (copy, (uint64_t)size, error);
}

static bool
copy_disk (const char *directory, const VarveExportDisk *disk, GError **error)
{
  g_autofree char *path = g_strdup_printf ("%s/%s.raw", directory, disk->name);
  int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (disk->dirty_context ? 0 : O_TRUNC);
  Copy copy = { .nbd = nbd_create (), .disk = disk, .raw = open (path, flags, 0600) };
  bool ok;

  copy.extents = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  ok = copy.nbd && copy.raw >= 0 && copy_connected (&copy, error);
  nbd_close (copy.nbd);
  if (copy.raw >= 0)
    close (copy.raw);
  g_array_unref (copy.extents);
  if (ok)
    g_print ("%s: %s\n", disk->name, disk->decision);
  else if (!*error)
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_FAILED, "Cannot write '%s'", path);
  return ok;
}

/* --- both ------------------------------------------------------------------------------------- */

/* Only when the end has succeeded with the checkpoint kept it is known that all that was read is of one instant. */
static bool
copy_and_end (VarveExport *session, const char *directory, GError **error)
{
  GPtrArray *disks = varve_export_get_disks (session);

  for (guint i = 0; i < disks->len; i++) {
    if (copy_disk (directory, g_ptr_array_index (disks, i), error))
      continue;
    varve_export_end (session, FALSE, NULL, NULL);
    return false;
  }
  return varve_export_end (session, TRUE, NULL, error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveExport) session = NULL;
  g_autofree char *path = NULL;
  g_autofree char *since = NULL;

  if (argc < 4) {
    g_printerr ("usage: export-incremental DIRECTORY DOMAIN URI [DISK=IMAGE]...\n");
    return 2;
  }
  path = g_build_filename (argv[1], "checkpoint", NULL);
  g_file_get_contents (path, &since, NULL, NULL);
  session = begin (argv, since, &error);
  if (session && copy_and_end (session, argv[1], &error) &&
      g_file_set_contents (path, varve_export_get_checkpoint (session), -1, &error))
    return 0;
  g_printerr ("%s\n", error->message);
  return varve_error_exit_status (error);
}
