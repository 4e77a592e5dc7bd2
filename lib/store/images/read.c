/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reading: layers that varve wrote are read in this process. Others (somebody has made one of subclusters),
 * and all that is to be verified, are read by a storage daemon, which has the chain open read-only:
 * what QEMU would read is what counts. */
#include "config.h"

#include "store/images/images.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/nbd.h"
#include "block/qcow2-difference.h"
#include "block/qcow2-header.h"
#include "block/qcow2-source.h"
#include "qemu/storage-daemon.h"
#include "util/durable.h"
#include "util/error.h"

/* All L2 caches of a chain together; one of this size covers 256 GiB of 64 KiB clusters. */
#define CACHE_TOTAL  (32ull << 20)
#define CACHE_LEAST  (256ull << 10)
#define EXPORT_DEPTH "qemu:allocation-depth"

typedef struct {
  BlockSource *source;
  VarveStorageDaemon *daemon;
  char *directory;
} Reader;

static void
reader_free (gpointer data)
{
  Reader *reader = data;

  g_clear_pointer (&reader->source, block_source_free);
  g_clear_pointer (&reader->daemon, varve_storage_daemon_free);
  if (reader->directory)
    varve_remove_tree (reader->directory, NULL);
  g_free (reader->directory);
  g_free (reader);
}

static BlockSource *
connect_source (VarveStorageDaemon *daemon, const char *path, bool alone, GCancellable *cancellable,
                GError **error)
{
  g_autofree char *uri = varve_storage_daemon_uri (daemon, "disk");
  BlockNbdOptions options = {
    .uri = uri,
    .label = path,
    /* Depth 1 is bit 0, as dirty is: what the layer does not hold comes out clean. */
    .dirty_context = alone ? EXPORT_DEPTH : NULL,
    .allocation_context = "base:allocation",
    .contexts_may_share = true,
    .connections = 2,
  };

  return block_nbd_source_open (&options, cancellable, error);
}

static VarveStoreRead *
read_new (Reader **out_reader)
{
  VarveStoreRead *read = g_new0 (VarveStoreRead, 1);

  *out_reader = g_new0 (Reader, 1);
  read->release = reader_free;
  read->data = *out_reader;
  return read;
}

bool
varve_images_read_by_qemu (const char *path, const char *disk, unsigned links, bool alone,
                           VarveStoreRead **out, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (path, "qcow2", NULL);
  Reader *reader;
  g_autoptr (VarveStoreRead) read = read_new (&reader);
  VarveDaemonExport export = {
    .image = image,
    .export_name = "disk",
    .without_backing = alone,
    .allocation_depth = alone,
    .l2_cache_size = MAX (CACHE_TOTAL / MAX (links, 1), CACHE_LEAST),
  };

  reader->directory = g_dir_make_tmp ("varve-XXXXXX", error);
  if (reader->directory == NULL)
    return false;
  reader->daemon = varve_storage_daemon_start (reader->directory, &export, 1, cancellable, error);
  if (reader->daemon == NULL)
    return varve_prefix (error, "The image '%s' of disk '%s' cannot be opened", path, disk);
  reader->source = connect_source (reader->daemon, path, alone, cancellable, error);
  if (reader->source == NULL)
    return false;
  /* Nobody else connects, and a kill would leave it. */
  varve_remove_tree (reader->directory, NULL);
  g_clear_pointer (&reader->directory, g_free);
  read->source = reader->source;
  read->has_helper = true;
  *out = g_steal_pointer (&read);
  return true;
}

bool
varve_images_read_file (const char *path, const char *disk, unsigned links, VarveStoreRead **out,
                        GCancellable *cancellable, GError **error)
{
  Reader *reader;
  g_autoptr (VarveStoreRead) read = read_new (&reader);
  g_autoptr (GError) local = NULL;

  reader->source = block_qcow2_source_open (path, NULL, &local);
  if (reader->source == NULL && g_error_matches (local, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED)) {
    g_debug ("%s", local->message);
    return varve_images_read_by_qemu (path, disk, links, false, out, cancellable, error);
  }
  if (reader->source == NULL) {
    g_propagate_error (error, g_steal_pointer (&local));
    return varve_prefix (error, "The image '%s' of disk '%s' cannot be opened", path, disk);
  }
  read->source = reader->source;
  *out = g_steal_pointer (&read);
  return true;
}

static char *
image_of (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (manifest, disk);
  g_autofree char *directory = impl->ops->directory (impl, manifest);

  return g_build_filename (directory, layer->file, NULL);
}

bool
varve_images_read (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                   VarveStoreRead **out, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = NULL;

  if (!varve_images_check_base (impl, manifest, disk, cancellable, error))
    return false;
  path = image_of (impl, manifest, disk);
  return varve_images_read_file (path, disk, varve_manifest_find_disk (manifest, disk)->links, out,
                                 cancellable, error);
}

/* Its tables, where varve wrote them; *@out NULL where only QEMU reads them. */
static bool
open_tables (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
             BlockSource **out, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr (GError) local = NULL;

  if (!varve_images_check_base (impl, manifest, disk, cancellable, error))
    return false;
  path = image_of (impl, manifest, disk);
  *out = block_qcow2_source_open (path, NULL, &local);
  if (*out != NULL || g_error_matches (local, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED))
    return true;
  g_propagate_error (error, g_steal_pointer (&local));
  return varve_prefix (error, "The image '%s' of disk '%s' cannot be opened", path, disk);
}

/* By the places that both chains read from. A full layer that was made of a chain (flatten) has its
 * own places for all: across it nothing is told. */
bool
varve_images_difference (VarveStoreImpl *impl, const VarveManifest *from, const VarveManifest *to,
                         const char *disk, VarveStoreRead **out, GCancellable *cancellable,
                         GError **error)
{
  g_autoptr (BlockSource) old = NULL, wanted = NULL;
  Reader *reader;

  *out = NULL;
  if (!open_tables (impl, from, disk, &old, cancellable, error) ||
      !open_tables (impl, to, disk, &wanted, cancellable, error))
    return false;
  if (old == NULL || wanted == NULL || !block_qcow2_related (wanted, old))
    return true;
  *out = read_new (&reader);
  reader->source = block_qcow2_difference_new (g_steal_pointer (&wanted), g_steal_pointer (&old));
  (*out)->source = reader->source;
  return true;
}

/* --- the cheap check -------------------------------------------------------------------------- */

bool
varve_images_check_layer (const char *path, const char *backup, const VarveManifestDisk *layer,
                          GError **error)
{
  g_auto (BlockQcow2Header) header = { 0 };
  g_autofree char *backing =
      layer->base ? g_strdup_printf ("../%s/%s", layer->base, layer->file) : NULL;
  struct stat st;

  if (stat (path, &st) < 0)
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                        "the image of disk '%s' in backup %s is missing", layer->name, backup);
  if ((uint64_t)st.st_size != layer->file_size)
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                        "the image of disk '%s' in backup %s has %" G_GUINT64_FORMAT
                        " bytes instead of %" G_GUINT64_FORMAT,
                        layer->name, backup, (uint64_t)st.st_size, layer->file_size);
  if (!block_qcow2_header_read (path, &header, error))
    return false;
  if (header.size != layer->size || g_strcmp0 (header.backing_file, backing) != 0 ||
      (backing && g_strcmp0 (header.backing_format, "qcow2") != 0))
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                        "the header of disk '%s' in backup %s is not the one it was written with",
                        layer->name, backup);
  return true;
}

/* Layer by layer down to the full one. */
bool
varve_images_check_base (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                         GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) manifests = NULL;

  if (!varve_images_list (impl, &manifests, NULL, cancellable, error))
    return false;
  for (guint steps = 0; steps <= manifests->len; steps++) {
    const VarveManifestDisk *layer = varve_manifest_find_disk (manifest, disk);
    g_autofree char *directory = impl->ops->directory (impl, manifest);
    g_autofree char *path = NULL;
    const VarveManifest *base;

    if (layer == NULL)
      return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "backup %s does not have disk '%s'",
                          manifest->id, disk);
    path = g_build_filename (directory, layer->file, NULL);
    if (!varve_images_check_layer (path, manifest->id, layer, error))
      return false;
    if (layer->base == NULL)
      return true;
    base = varve_manifests_find (manifests, layer->base);
    if (base == NULL)
      return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                          "backup %s, which disk '%s' in backup %s builds on, is missing",
                          layer->base, disk, manifest->id);
    manifest = base;
  }
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "the layers of disk '%s' lead in a circle",
                      disk);
}
