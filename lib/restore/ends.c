/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/ends.h"

#include <fcntl.h>
#include <unistd.h>

#include "block/file.h"
#include "block/nbd.h"
#include "block/qcow2.h"
#include "qemu/image-lock.h"
#include "util/durable.h"
#include "util/error.h"

#define CONNECTIONS 4

void
varve_restore_ends_clear (VarveRestoreEnds *ends)
{
  /* Our connections first, so that the daemon has nobody to wait for. */
  g_clear_pointer (&ends->base, block_source_free);
  g_clear_pointer (&ends->sink, block_sink_free);
  g_clear_pointer (&ends->daemon, varve_storage_daemon_free);
  if (ends->directory)
    varve_remove_tree (ends->directory, NULL);
  g_clear_pointer (&ends->directory, g_free);
  if (ends->lock > 0)
    close (ends->lock);
  ends->lock = -1;
}

bool
varve_restore_ends_close (VarveRestoreEnds *ends, GError **error)
{
  bool ok;

  g_clear_pointer (&ends->base, block_source_free);
  g_clear_pointer (&ends->sink, block_sink_free);
  ok = !ends->daemon || varve_storage_daemon_quit (ends->daemon, error);
  varve_restore_ends_clear (ends);
  return ok;
}

/* --- what is there ---------------------------------------------------------------------------- */

static bool
file_size (const char *path, uint64_t *out, GError **error)
{
  g_autoptr (BlockSource) source = block_file_source_open (path, error);

  if (source != NULL)
    *out = source->size;
  return varve_classify (source != NULL, VARVE_ERROR_STORE_UNREACHABLE, error);
}

static bool
image_size (const VarveRestoreTarget *target, uint64_t *out, GCancellable *cancellable,
            GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (target->path, target->format, NULL);
  g_autoptr (VarveImageInfo) info = varve_image_info (image, false, cancellable, error);

  if (info != NULL)
    *out = info->size;
  return info != NULL;
}

static bool
export_size (const VarveRestoreTarget *target, uint64_t *out, GCancellable *cancellable,
             GError **error)
{
  BlockNbdOptions options = { .uri = target->path, .label = target->path };
  g_autoptr (BlockSink) sink = block_nbd_sink_open (&options, cancellable, error);

  if (sink != NULL)
    *out = sink->size;
  return sink != NULL;
}

static bool
size_of (const VarveRestoreTarget *target, VarveTargetKind kind, uint64_t *out,
         GCancellable *cancellable, GError **error)
{
  if (kind == VARVE_TARGET_NBD)
    return export_size (target, out, cancellable, error);
  if (kind == VARVE_TARGET_FILE && !g_str_equal (target->format, "raw"))
    return image_size (target, out, cancellable, error);
  return file_size (target->path, out, error);
}

bool
varve_restore_check_size (const VarveRestoreTarget *target, VarveTargetKind kind, uint64_t size,
                          GCancellable *cancellable, GError **error)
{
  uint64_t have = 0;

  if (!size_of (target, kind, &have, cancellable, error))
    return false;
  if (have == size || (have > size && kind != VARVE_TARGET_FILE))
    return true;
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "The target '%s' has %" G_GUINT64_FORMAT
                      " bytes, and disk '%s' needs %" G_GUINT64_FORMAT ". %s",
                      target->path, have, target->disk, size,
                      kind == VARVE_TARGET_FILE
                          ? "Restore to a new file, or use --force to replace "
                            "this one."
                          : "Name one that is large enough.");
}

/* --- opening ---------------------------------------------------------------------------------- */

/* A device or export that is larger keeps what it has behind the disk's end. */
static bool
open_nbd (const char *uri, const VarveRestoreTarget *target, uint64_t size, VarveRestoreEnds *out,
          GCancellable *cancellable, GError **error)
{
  BlockNbdOptions options = { .uri = uri,
                              .label = target->path,
                              .allocation_context = "base:allocation",
                              .contexts_may_share = true,
                              .connections = CONNECTIONS };

  if (target->over) {
    out->base = block_nbd_source_open (&options, cancellable, error);
    if (out->base == NULL)
      return false;
  }
  out->sink = block_nbd_sink_open (&options, cancellable, error);
  if (out->sink == NULL)
    return false;
  if (out->sink->size < size)
    return varve_throw (error, VARVE_ERROR_REFUSED, "The target '%s' is too small.", target->path);
  out->sink->size = size;
  return true;
}

static bool
open_over_raw (const VarveRestoreTarget *target, uint64_t size, VarveRestoreEnds *out,
               GError **error)
{
  if (!varve_image_lock (target->path, &out->lock, error))
    return false;
  out->base = block_file_source_open (target->path, error);
  if (out->base == NULL)
    return varve_classify (false, VARVE_ERROR_STORE_UNREACHABLE, error);
  out->sink = block_file_sink_open (target->path, size, BLOCK_FILE_OVERWRITE, error);
  return out->sink != NULL;
}

/* By QEMU, which knows what may be in an image that it made; its bitmaps record what is written. */
static bool
open_over_image (const VarveRestoreTarget *target, uint64_t size, VarveRestoreEnds *out,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (target->path, target->format, NULL);
  VarveDaemonExport export = { .image = image, .export_name = "disk", .writable = true };
  g_autofree char *uri = NULL;

  out->directory = g_dir_make_tmp ("varve-XXXXXX", error);
  if (out->directory == NULL)
    return false;
  out->daemon = varve_storage_daemon_start (out->directory, &export, 1, cancellable, error);
  if (out->daemon == NULL)
    return false;
  uri = varve_storage_daemon_uri (out->daemon, "disk");
  return open_nbd (uri, target, size, out, cancellable, error);
}

static BlockSink *
open_new (const VarveRestoreTarget *target, const char *path, uint64_t size, GError **error)
{
  BlockQcow2Options qcow2 = { .size = size, .replace = true };

  if (g_str_equal (target->format, "qcow2"))
    return block_qcow2_sink_create (path, &qcow2, error);
  return block_file_sink_open (path, size, BLOCK_FILE_REPLACE, error);
}

bool
varve_restore_ends_open (const VarveRestoreTarget *target, VarveTargetKind kind, const char *path,
                         uint64_t size, VarveRestoreEnds *out, GCancellable *cancellable,
                         GError **error)
{
  out->lock = -1;
  if (kind == VARVE_TARGET_NBD)
    return open_nbd (path, target, size, out, cancellable, error);
  if (target->over && kind != VARVE_TARGET_ABSENT)
    return g_str_equal (target->format, "raw")
               ? open_over_raw (target, size, out, error)
               : open_over_image (target, size, out, cancellable, error);
  if (kind == VARVE_TARGET_DEVICE)
    out->sink = block_file_sink_open (path, size, BLOCK_FILE_OVERWRITE, error);
  else
    out->sink = open_new (target, path, size, error);
  return out->sink != NULL;
}
