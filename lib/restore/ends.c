/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "restore/ends.h"

#include <fcntl.h>
#include <unistd.h>

#include "block/file.h"
#include "block/nbd.h"
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

/* --- opening ---------------------------------------------------------------------------------- */

/* A device or export that is larger keeps what it has behind the disk's end. */
static bool
open_over_export (const char *uri, const VarveTarget *target, uint64_t size, VarveRestoreEnds *out,
                  GCancellable *cancellable, GError **error)
{
  BlockNbdOptions options = { .uri = uri,
                              .label = target->path,
                              .allocation_context = "base:allocation",
                              .contexts_may_share = true,
                              .connections = CONNECTIONS };

  out->base = block_nbd_source_open (&options, cancellable, error);
  if (out->base == NULL)
    return false;
  out->sink = block_nbd_sink_open (&options, cancellable, error);
  if (out->sink == NULL)
    return false;
  if (out->sink->size < size)
    return varve_throw (error, VARVE_ERROR_REFUSED, "The target '%s' is too small.", target->path);
  out->sink->size = size;
  return true;
}

static bool
open_over_raw (const VarveTarget *target, uint64_t size, VarveRestoreEnds *out, GError **error)
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
open_over_image (const VarveTarget *target, uint64_t size, VarveRestoreEnds *out,
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
  return open_over_export (uri, target, size, out, cancellable, error);
}

bool
varve_restore_ends_open (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
                         VarveRestoreEnds *out, GCancellable *cancellable, GError **error)
{
  out->lock = -1;
  if (target->over && kind == VARVE_TARGET_NBD)
    return open_over_export (target->path, target, size, out, cancellable, error);
  if (target->over && kind != VARVE_TARGET_ABSENT)
    return g_str_equal (target->format, "raw")
               ? open_over_raw (target, size, out, error)
               : open_over_image (target, size, out, cancellable, error);
  out->sink = varve_target_open (target, kind, size, cancellable, error);
  return out->sink != NULL;
}
