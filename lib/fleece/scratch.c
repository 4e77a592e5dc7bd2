/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "fleece/scratch.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "util/durable.h"
#include "util/error.h"

/* QEMU copies up to 1 MiB at a time, several at once: the first that does not fit leaves this or
 * less. */
#define FULL_BELOW (4ull << 20)

/* A disk's name may hold what a file name should not. */
static char *
file_name (const char *session, const char *disk)
{
  g_autofree char *safe = g_strdup (disk);

  g_strcanon (safe, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", '_');
  return g_strdup_printf ("%s-%s.scratch", session, safe);
}

void
varve_scratch_plan (VarveStart *start, const char *directory)
{
  for (guint i = 0; i < start->disks->len; i++) {
    VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    g_autofree char *name = file_name (start->session, disk->disk);

    g_free (disk->scratch);
    disk->scratch = g_build_filename (directory, name, NULL);
  }
}

void
varve_scratch_none (VarveStart *start)
{
  for (guint i = 0; i < start->disks->len; i++)
    g_clear_pointer (&((VarveStartDisk *)g_ptr_array_index (start->disks, i))->scratch, g_free);
}

bool
varve_scratch_check (const VarveStart *start, const char *directory, uint64_t *out_watermark,
                     GError **error)
{
  struct statvfs fs;
  uint64_t limit = start->policy.scratch_limit;
  uint64_t need = limit ? limit : VARVE_SCRATCH_MINIMUM;
  uint64_t free_bytes;

  if (statvfs (directory, &fs) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "The scratch directory '%s' cannot be examined", directory);
  free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
  if (free_bytes < need)
    return varve_throw (error, VARVE_ERROR_NO_SPACE,
                        "The scratch directory '%s' has %" G_GUINT64_FORMAT " MiB free, and the "
                        "backup may need %" G_GUINT64_FORMAT " MiB. Make room, name another "
                        "directory, or lower the scratch limit.",
                        directory, free_bytes >> 20, need >> 20);
  *out_watermark = limit ? limit : free_bytes / 10 * 9;
  return true;
}

/* A directory of @start's scratch images that has no room for one more copy; NULL when all have. */
static char *
find_full (const VarveStart *start, uint64_t *out_free)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    g_autofree char *directory = disk->scratch ? g_path_get_dirname (disk->scratch) : NULL;
    struct statvfs fs;

    if (directory == NULL || statvfs (directory, &fs) < 0)
      continue;
    *out_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (*out_free < FULL_BELOW)
      return g_steal_pointer (&directory);
  }
  return NULL;
}

void
varve_scratch_explain (const VarveStart *start, GError **error)
{
  g_autoptr (GError) loss = NULL;
  g_autofree char *directory = NULL;
  uint64_t left = 0;

  if (error == NULL || !varve_error_matches (*error, VARVE_ERROR_SOURCE_LOST))
    return;
  directory = find_full (start, &left);
  if (directory == NULL)
    return;
  loss = g_steal_pointer (error);
  varve_throw (error, VARVE_ERROR_NO_SPACE,
               "The scratch directory '%s' is full (%" G_GUINT64_FORMAT " KiB are left), so that "
               "the frozen view was given up for the guest's sake. Make room, or name another "
               "directory. What the reader was told: %s",
               directory, left >> 10, loss->message);
}

bool
varve_scratch_remove (const VarveStart *start, GError **error)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->scratch && !varve_durable_unlink (disk->scratch, error))
      return false;
  }
  return true;
}
