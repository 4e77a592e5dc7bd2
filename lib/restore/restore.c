/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "block/qcow2.h"
#include "qemu/image-lock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

typedef enum { TARGET_ABSENT, TARGET_FILE, TARGET_DEVICE } TargetKind;

static bool
target_kind (const char *path, TargetKind *out, GError **error)
{
  struct stat st;

  *out = TARGET_ABSENT;
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
    *out = TARGET_FILE;
  else if (S_ISBLK (st.st_mode))
    *out = TARGET_DEVICE;
  else
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' is neither a regular file nor a block device.", path);
  return true;
}

static bool
device_size (const char *path, uint64_t *out, GError **error)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  off_t end = fd < 0 ? -1 : lseek (fd, 0, SEEK_END);
  int errnum = errno;

  if (fd >= 0)
    close (fd);
  if (end < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errnum,
                              "The size of device '%s' cannot be told", path);
  *out = (uint64_t)end;
  return true;
}

static bool
check_device (const VarveRestoreTarget *target, uint64_t size, GError **error)
{
  uint64_t have = 0;

  if (!target->force)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' is a block device, whose content would be lost. Use "
                        "--force (force='yes' in a document) if that is meant.",
                        target->path);
  if (!g_str_equal (target->format, "raw"))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "A %s image cannot be restored onto the block device '%s': use format "
                        "'raw'.",
                        target->format, target->path);
  if (!device_size (target->path, &have, error))
    return false;
  if (have < size)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The block device '%s' has %" G_GUINT64_FORMAT
                        " bytes, and disk '%s' needs %" G_GUINT64_FORMAT ".",
                        target->path, have, target->disk, size);
  return varve_image_check_unused (target->path, error);
}

static bool
check_file (const VarveRestoreTarget *target, GError **error)
{
  if (!target->force)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' exists already. Name another, or use --force (force='yes' "
                        "in a document) to replace it.",
                        target->path);
  return varve_image_check_unused (target->path, error);
}

bool
varve_restore_same_target (const char *a, const char *b)
{
  g_autofree char *name_a = g_path_get_basename (a);
  g_autofree char *name_b = g_path_get_basename (b);
  g_autofree char *parent_a = g_path_get_dirname (a);
  g_autofree char *parent_b = g_path_get_dirname (b);
  struct stat x, y;
  bool is_a = stat (a, &x) == 0, is_b = stat (b, &y) == 0;

  if (g_str_equal (a, b))
    return true;
  if (is_a && is_b && S_ISBLK (x.st_mode) && S_ISBLK (y.st_mode))
    return x.st_rdev == y.st_rdev;
  if (!is_a && !is_b && g_str_equal (name_a, name_b))
    is_a = is_b = stat (parent_a, &x) == 0 && stat (parent_b, &y) == 0;
  return is_a && is_b && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool
varve_restore_check (VarveStoreImpl *store, const VarveRestoreTarget *target, uint64_t size,
                     GCancellable *cancellable, GError **error)
{
  TargetKind kind;

  if (store->ops->contains (store, target->path))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' lies inside the store '%s'. Restore to another place.",
                        target->path, store->uri);
  if (!target_kind (target->path, &kind, error))
    return false;
  if (kind == TARGET_DEVICE)
    return check_device (target, size, error);
  return kind == TARGET_ABSENT || check_file (target, error);
}

static BlockSink *
open_sink (const VarveRestoreTarget *target, TargetKind kind, const char *path, uint64_t size,
           GError **error)
{
  BlockQcow2Options qcow2 = { .size = size, .replace = true };

  if (kind == TARGET_DEVICE)
    return block_file_sink_open (path, size, BLOCK_FILE_OVERWRITE, error);
  if (g_str_equal (target->format, "qcow2"))
    return block_qcow2_sink_create (path, &qcow2, error);
  return block_file_sink_open (path, size, BLOCK_FILE_REPLACE, error);
}

static bool
copy (VarveStoreRead *read, BlockSink *sink, BlockTickFunc tick, gpointer tick_data,
      BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  BlockCopy engine = { .source = read->source, .sink = sink, .tick = tick, .tick_data = tick_data };

  return block_copy (&engine, out_stats, cancellable, error) &&
         varve_failpoint ("restore-copied", error) && block_sink_flush (sink, error);
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
            TargetKind kind, const char *path, BlockTickFunc tick, gpointer tick_data,
            BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (BlockSink) sink = NULL;

  if (!store->ops->read (store, manifest, target->disk, &read, cancellable, error))
    return false;
  sink = open_sink (target, kind, path, read->source->size, error);
  return sink != NULL && copy (read, sink, tick, tick_data, out_stats, cancellable, error);
}

bool
varve_restore_disk (VarveStoreImpl *store, const VarveManifest *manifest,
                    const VarveRestoreTarget *target, BlockTickFunc tick, gpointer tick_data,
                    BlockCopyStats *out_stats, GCancellable *cancellable, GError **error)
{
  g_autofree char *partial = g_strconcat (target->path, ".varve-partial", NULL);
  TargetKind kind;

  if (!target_kind (target->path, &kind, error))
    return false;
  if (kind == TARGET_DEVICE)
    return restore_to (store, manifest, target, kind, target->path, tick, tick_data, out_stats,
                       cancellable, error);
  if (restore_to (store, manifest, target, kind, partial, tick, tick_data, out_stats, cancellable,
                  error) &&
      publish (target, partial, error))
    return true;
  unlink (partial);
  return false;
}
