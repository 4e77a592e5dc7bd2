/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/restore.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/image-lock.h"
#include "restore/ends.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

static bool
is_nbd (const char *path)
{
  return g_str_has_prefix (path, "nbd:") || g_str_has_prefix (path, "nbds:") ||
         g_str_has_prefix (path, "nbd+unix:") || g_str_has_prefix (path, "nbds+unix:");
}

static bool
target_kind (const char *path, VarveTargetKind *out, GError **error)
{
  struct stat st;

  *out = is_nbd (path) ? VARVE_TARGET_NBD : VARVE_TARGET_ABSENT;
  if (is_nbd (path))
    return true;
  if (stat (path, &st) < 0) {
    if (errno == ENOENT && lstat (path, &st) < 0)
      return true;
    if (errno == ENOENT)
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "The target '%s' is a symbolic link to what is not there. Name another.",
                          path);
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "The target '%s' cannot be examined", path);
  }
  if (S_ISREG (st.st_mode))
    *out = VARVE_TARGET_FILE;
  else if (S_ISBLK (st.st_mode))
    *out = VARVE_TARGET_DEVICE;
  else
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' is neither a regular file nor a block device.", path);
  return true;
}

/* What is written in place, and raw. */
static bool
check_in_place (const VarveRestoreTarget *target, const char *what, GError **error)
{
  if (!target->force && !target->over)
    return varve_throw (
        error, VARVE_ERROR_REFUSED,
        "The target '%s' is %s, whose content would be lost. Use --force (force='yes' "
        "in a document), or --over to write only what differs, if that is meant.",
        target->path, what);
  return g_str_equal (target->format, "raw") ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "A %s image cannot be restored onto '%s', which is %s: use format 'raw'.",
                      target->format, target->path, what);
}

static bool
check_file (const VarveRestoreTarget *target, GError **error)
{
  if (!target->force && !target->over)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' exists already. Name another, or use --force (force='yes' "
                        "in a document) to replace it, or --over to write what differs into it.",
                        target->path);
  return varve_image_check_unused (target->path, error);
}

static bool
check_kind (const VarveRestoreTarget *target, VarveTargetKind kind, uint64_t size,
            GCancellable *cancellable, GError **error)
{
  switch (kind) {
  case VARVE_TARGET_ABSENT:
    return true;
  case VARVE_TARGET_FILE:
    return check_file (target, error) &&
           (!target->over || varve_restore_check_size (target, kind, size, cancellable, error));
  case VARVE_TARGET_DEVICE:
    return check_in_place (target, "a block device", error) &&
           varve_restore_check_size (target, kind, size, cancellable, error) &&
           varve_image_check_unused (target->path, error);
  case VARVE_TARGET_NBD:
    return check_in_place (target, "an NBD export", error) &&
           varve_restore_check_size (target, kind, size, cancellable, error);
  }
  g_return_val_if_reached (false);
}

bool
varve_restore_check (VarveStoreImpl *store, const VarveRestoreTarget *target, uint64_t size,
                     GCancellable *cancellable, GError **error)
{
  VarveTargetKind kind;

  if (!target_kind (target->path, &kind, error))
    return false;
  if (kind != VARVE_TARGET_NBD && store->ops->contains (store, target->path))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' lies inside the store '%s'. Restore to another place.",
                        target->path, store->uri);
  return check_kind (target, kind, size, cancellable, error);
}

static bool
copy (VarveStoreRead *read, VarveRestoreEnds *ends, BlockTickFunc tick, gpointer tick_data,
      BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  BlockCopy engine = { .source = read->source,
                       .sink = ends->sink,
                       .base = ends->base,
                       .tick = tick,
                       .tick_data = tick_data };

  return block_copy (&engine, out_stats, cancellable, error) &&
         varve_failpoint ("restore-copied", error) && block_sink_flush (ends->sink, error);
}

static bool
publish (const VarveRestoreTarget *target, const char *partial, GError **error)
{
  if (!varve_failpoint ("restore-before-rename", error))
    return false;
  if (!target->force)
    return varve_classify (varve_rename_noreplace (partial, target->path, error),
                           VARVE_ERROR_STORE_UNREACHABLE, error);
  if (rename (partial, target->path) < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "'%s' cannot be renamed to '%s'", partial, target->path);
  return varve_classify (varve_sync_parent (target->path, error), VARVE_ERROR_STORE_UNREACHABLE,
                         error);
}

static bool
restore_to (VarveStoreImpl *store, const VarveManifest *manifest, const VarveRestoreTarget *target,
            VarveTargetKind kind, const char *path, BlockTickFunc tick, gpointer tick_data,
            BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  g_auto (VarveRestoreEnds) ends = { NULL };

  return store->ops->read (store, manifest, target->disk, &read, cancellable, error) &&
         varve_restore_ends_open (target, kind, path, read->source->size, &ends, cancellable,
                                  error) &&
         copy (read, &ends, tick, tick_data, out_stats, cancellable, error) &&
         varve_restore_ends_close (&ends, error);
}

bool
varve_restore_disk (VarveStoreImpl *store, const VarveManifest *manifest,
                    const VarveRestoreTarget *target, BlockTickFunc tick, gpointer tick_data,
                    BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  g_autofree char *partial = g_strconcat (target->path, ".varve-partial", NULL);
  VarveTargetKind kind;

  if (!target_kind (target->path, &kind, error))
    return false;
  if (kind == VARVE_TARGET_DEVICE || kind == VARVE_TARGET_NBD ||
      (kind == VARVE_TARGET_FILE && target->over))
    return restore_to (store, manifest, target, kind, target->path, tick, tick_data, out_stats,
                       cancellable, error);
  if (restore_to (store, manifest, target, kind, partial, tick, tick_data, out_stats, cancellable,
                  error) &&
      publish (target, partial, error))
    return true;
  unlink (partial);
  return false;
}
