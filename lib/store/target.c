/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/target.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "block/nbd.h"
#include "block/qcow2.h"
#include "qemu/image-lock.h"
#include "qemu/qemu-img.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/same-file.h"

#define CONNECTIONS 4

/* A path is absolute, and the job's check lets no other URI through. */
bool
varve_target_is_nbd (const char *path)
{
  return path[0] != '/';
}

bool
varve_target_look (const char *path, VarveTargetKind *out, GError **error)
{
  struct stat st;

  *out = VARVE_TARGET_ABSENT;
  if (varve_target_is_nbd (path)) {
    *out = VARVE_TARGET_NBD;
    return true;
  }
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
                        "The target '%s' is neither a regular file nor a block device. Name "
                        "another.",
                        path);
  return true;
}

/* --- sizes ------------------------------------------------------------------------------------ */

static bool
file_size (const char *path, uint64_t *out, GError **error)
{
  g_autoptr (BlockSource) source = block_file_source_open (path, error);

  if (source != NULL)
    *out = source->size;
  return varve_classify (source != NULL, VARVE_ERROR_STORE_UNREACHABLE, error);
}

static bool
image_size (const VarveTarget *target, uint64_t *out, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (target->path, target->format, NULL);
  g_autoptr (VarveImageInfo) info = varve_image_info (image, false, cancellable, error);

  if (info != NULL)
    *out = info->size;
  return info != NULL;
}

static bool
export_size (const VarveTarget *target, uint64_t *out, GCancellable *cancellable, GError **error)
{
  BlockNbdOptions options = { .uri = target->path, .label = target->path };
  g_autoptr (BlockSink) sink = block_nbd_sink_open (&options, cancellable, error);

  if (sink != NULL)
    *out = sink->size;
  return sink != NULL;
}

static bool
size_of (const VarveTarget *target, VarveTargetKind kind, uint64_t *out, GCancellable *cancellable,
         GError **error)
{
  if (kind == VARVE_TARGET_NBD)
    return export_size (target, out, cancellable, error);
  if (kind == VARVE_TARGET_FILE && !g_str_equal (target->format, "raw"))
    return image_size (target, out, cancellable, error);
  return file_size (target->path, out, error);
}

bool
varve_target_check_size (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
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
                      kind == VARVE_TARGET_FILE ? "Name a new file, or use --force to replace this "
                                                  "one."
                                                : "Name one that is large enough.");
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool
check_in_place (const VarveTarget *target, const char *what, GError **error)
{
  if (!target->force && !target->over)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' is %s, whose content would be lost. Use --force "
                        "(force='yes' in a document)%s if that is meant.",
                        target->path, what,
                        target->can_be_over ? ", or --over to write only what differs," : "");
  if (!g_str_equal (target->format, "raw"))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "A %s image cannot be written to '%s', which is %s: use format 'raw'.",
                        target->format, target->path, what);
  return true;
}

static bool
check_file (const VarveTarget *target, GError **error)
{
  if (!target->force && !target->over)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The target '%s' exists already. Name another, or use --force (force='yes' "
                        "in a document) to replace it%s.",
                        target->path,
                        target->can_be_over ? ", or --over to write what differs into it" : "");
  return varve_image_check_unused (target->path, error);
}

bool
varve_target_check (const VarveTarget *target, VarveTargetKind *out, GError **error)
{
  if (!varve_target_look (target->path, out, error))
    return false;
  switch (*out) {
  case VARVE_TARGET_ABSENT:
    return true;
  case VARVE_TARGET_FILE:
    return check_file (target, error);
  case VARVE_TARGET_DEVICE:
    return check_in_place (target, "a block device", error) &&
           varve_image_check_unused (target->path, error);
  case VARVE_TARGET_NBD:
    return check_in_place (target, "an NBD export", error);
  }
  g_return_val_if_reached (false);
}

bool
varve_target_same (const char *a, const char *b)
{
  return g_str_equal (a, b) ||
         (!varve_target_is_nbd (a) && !varve_target_is_nbd (b) && varve_same_file (a, b));
}

char *
varve_target_partial (const VarveTarget *target, VarveTargetKind kind)
{
  if (kind == VARVE_TARGET_DEVICE || kind == VARVE_TARGET_NBD)
    return NULL;
  return g_strconcat (target->path, ".varve-partial", NULL);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* An export may be a device that is larger than the disk: what is behind its end stays. */
static BlockSink *
open_nbd (const VarveTarget *target, uint64_t size, GCancellable *cancellable, GError **error)
{
  g_autofree char *label = g_strdup_printf ("the target of disk '%s'", target->disk);
  BlockNbdOptions options = { .uri = target->path, .label = label, .connections = CONNECTIONS };
  g_autoptr (BlockSink) sink = block_nbd_sink_open (&options, cancellable, error);

  if (sink == NULL)
    return NULL;
  if (sink->size < size || (sink->size > size && size % sink->alignment != 0)) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "The NBD export '%s' has %" G_GUINT64_FORMAT " bytes in blocks of %u, and disk "
                 "'%s' needs %" G_GUINT64_FORMAT ". Name one that has room for it.",
                 target->path, sink->size, sink->alignment, target->disk, size);
    return NULL;
  }
  sink->size = size;
  return g_steal_pointer (&sink);
}

BlockSink *
varve_target_open (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
                   GCancellable *cancellable, GError **error)
{
  g_autofree char *partial = varve_target_partial (target, kind);
  BlockQcow2Options qcow2 = { .size = size, .replace = true };

  if (kind == VARVE_TARGET_NBD)
    return open_nbd (target, size, cancellable, error);
  if (kind == VARVE_TARGET_DEVICE)
    return block_file_sink_open (target->path, size, BLOCK_FILE_OVERWRITE, error);
  if (g_str_equal (target->format, "qcow2"))
    return block_qcow2_sink_create (partial, &qcow2, error);
  return block_file_sink_open (partial, size, BLOCK_FILE_REPLACE, error);
}

bool
varve_target_publish (const VarveTarget *target, const char *partial, GError **error)
{
  if (!target->force)
    return varve_classify (varve_rename_noreplace (partial, target->path, error),
                           VARVE_ERROR_STORE_UNREACHABLE, error);
  if (rename (partial, target->path) < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "'%s' cannot be renamed to '%s'", partial, target->path);
  return varve_classify (varve_sync_parent (target->path, error), VARVE_ERROR_STORE_UNREACHABLE,
                         error);
}
