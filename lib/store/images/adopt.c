/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Layers that QEMU writes itself (push): made empty before, taken over behind. They become part of the backup by the
 * same commit as layers that varve writes. What QEMU wrote nobody here has seen: so it is read back, which is cheap as
 * long as it is in the host's cache, and summed as it is; from then on damage is found. */
#include "config.h"

#include "store/images/images.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/memory.h"
#include "block/qcow2-source.h"
#include "block/qcow2.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/pass.h"

/* Of our own making, and complete: it costs no process, and the header is the one that is checked behind. */
bool
varve_images_add_target (VarveStoreWrite *owned, VarveManifestDisk *disk, const VarveManifest *base,
                         VarveStoreTarget *out, GCancellable *cancellable, GError **error)
{
  const VarveImagesWrite *write = (const VarveImagesWrite *)owned;
  g_autofree char *backing = NULL;
  g_autofree char *path = NULL;
  g_autoptr (BlockSink) sink = NULL;
  BlockQcow2Options options = { .size = disk->size, .mode = 0600 };

  varve_images_name_layer (disk, base, &backing);
  path = g_build_filename (write->partial, disk->file, NULL);
  options.backing_file = backing;
  options.backing_format = backing ? "qcow2" : NULL;
  sink = block_qcow2_sink_create (path, &options, error);
  if (sink == NULL || !block_sink_flush (sink, error))
    return varve_prefix (error, "The image for disk '%s' could not be made", disk->name);
  out->path = g_steal_pointer (&path);
  out->root = g_strdup (((VarveImagesStore *)owned->store)->root);
  return true;
}

/* Ours again, if it was given to QEMU's user, readable for its owner only, and on disk. */
static bool
take_over (const char *path, VarveManifestDisk *disk, GError **error)
{
  int fd = open (path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  bool ok;

  if (fd < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "'%s', which QEMU has written, cannot be opened", path);
  ok = fstat (fd, &st) == 0 &&
       (st.st_uid == geteuid () || fchown (fd, geteuid (), getegid ()) == 0) &&
       fchmod (fd, 0400) == 0 && fsync (fd) == 0;
  if (!ok)
    varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                       "'%s', which QEMU has written, cannot be made durable", path);
  close (fd);
  disk->file_size = (uint64_t)st.st_size;
  /* The best guess, unless it is read. */
  disk->stored = disk->file_size;
  return ok;
}

/* QEMU may have written what our own source does not read. */
static bool
open_alone (const char *path, const char *disk, VarveStoreRead **out, GCancellable *cancellable,
            GError **error)
{
  BlockQcow2SourceOptions options = { .alone = true };
  g_autoptr (GError) local = NULL;
  BlockSource *source = block_qcow2_source_open (path, &options, &local);

  if (source != NULL) {
    *out = g_new0 (VarveStoreRead, 1);
    (*out)->source = source;
    (*out)->data = source;
    (*out)->release = (GDestroyNotify)block_source_free;
    return true;
  }
  if (g_error_matches (local, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED))
    return varve_images_read_by_qemu (path, disk, 1, true, out, cancellable, error);
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

/* The same engine with the same ends as verify: so both cut alike, and see the same. */
static bool
sum_layer (const char *path, VarveManifestDisk *disk, VarveSumsWriter *sums, BlockTickFunc tick,
           gpointer tick_data, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (BlockSink) sink = block_null_sink_new (disk->size);
  BlockCopyStats stats = { 0 };
  BlockCopy engine = { .sink = sink,
                       .sum = varve_sums_writer_add,
                       .sum_data = sums,
                       .tick = tick,
                       .tick_data = tick_data };

  sink->has_base = disk->base != NULL;
  if (!open_alone (path, disk->name, &read, cancellable, error))
    return false;
  engine.source = read->source;
  if (!block_copy (&engine, &stats, cancellable, error))
    return false;
  disk->stored = stats.written;
  disk->zeroed = stats.zeroed;
  return true;
}

static bool
write_sums (const VarveImagesWrite *write, const char *path, VarveManifestDisk *disk,
            BlockTickFunc tick, gpointer tick_data, GCancellable *cancellable, GError **error)
{
  g_autofree char *sums_path = NULL;
  g_autoptr (VarveSumsWriter) sums = NULL;

  varve_images_name_sums (disk);
  sums_path = g_build_filename (write->partial, disk->sums_file, NULL);
  sums = varve_sums_writer_new (sums_path, disk->size, error);
  return sums != NULL && sum_layer (path, disk, sums, tick, tick_data, cancellable, error) &&
         varve_sums_writer_finish (sums, &disk->sums_hash, error);
}

bool
varve_images_adopt_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, bool read_back,
                         BlockTickFunc tick, gpointer tick_data, GCancellable *cancellable,
                         GError **error)
{
  const VarveImagesWrite *write = (const VarveImagesWrite *)owned;
  g_autofree char *path = g_build_filename (write->partial, disk->file, NULL);

  if (!varve_classify (varve_pass_forget (write->partial, 0700, error),
                       VARVE_ERROR_STORE_UNREACHABLE, error) ||
      !take_over (path, disk, error) ||
      !varve_images_check_layer (path, owned->backup, disk, error) ||
      (read_back && !write_sums (write, path, disk, tick, tick_data, cancellable, error)))
    return varve_prefix (error, "The image that QEMU wrote for disk '%s' cannot be taken over",
                         disk->name);
  return true;
}
