/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Writing: one transaction a backup, in a directory that is not a backup until it is renamed. */
#include "config.h"

#include "store/images/images.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/qcow2.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

typedef struct {
  char *name; /* disk */
  BlockSink *sink;
  VarveSumsWriter *sums;
} Layer;

typedef VarveImagesWrite Write;

static void
layer_free (gpointer data)
{
  Layer *layer = data;

  g_clear_pointer (&layer->sink, block_sink_free);
  g_clear_pointer (&layer->sums, varve_sums_writer_free);
  g_free (layer->name);
  g_free (layer);
}

static bool
of_store (bool ok, GError **error)
{
  return varve_classify (ok, VARVE_ERROR_STORE_UNREACHABLE, error);
}

/* What an earlier run left in the directory, whose lock we hold: it can belong to nobody alive. */
static bool
sweep (const char *directory, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) dir = g_dir_open (directory, 0, &local);
  const char *name;

  if (dir == NULL)
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE, "The store cannot be opened: %s",
                        local->message);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (directory, name, NULL);

    if ((g_str_has_suffix (name, VARVE_IMAGES_PARTIAL) ||
         g_str_has_suffix (name, VARVE_IMAGES_DELETED)) &&
        !of_store (varve_remove_tree (path, error), error))
      return varve_prefix (error, "What an earlier run left in the store could not be removed");
  }
  return true;
}

bool
varve_images_begin (VarveStoreImpl *impl, const char *domain, const char *uuid, const char *backup,
                    VarveStoreWrite **out, GCancellable *cancellable, GError **error)
{
  g_autofree char *directory =
      varve_images_domain_directory ((VarveImagesStore *)impl, domain, uuid);
  Write *write = g_new0 (Write, 1);
  g_autoptr (VarveStoreWrite) owned = &write->write;

  owned->store = impl;
  owned->backup = g_strdup (backup);
  write->lock = -1;
  write->layers = g_ptr_array_new_with_free_func (layer_free);
  write->final = g_build_filename (directory, backup, NULL);
  if (!of_store (varve_make_directories (directory, 0700, error), error))
    return false;
  write->lock = varve_images_lock (directory, error);
  if (write->lock < 0 || !sweep (directory, error))
    return false;
  write->partial = g_strconcat (write->final, VARVE_IMAGES_PARTIAL, NULL);
  if (!of_store (varve_make_directories (write->partial, 0700, error), error) ||
      !varve_failpoint ("store-begun", error))
    return false;
  *out = g_steal_pointer (&owned);
  return true;
}

static Layer *
open_layer (Write *write, const char *disk, const char *image, const char *sums, uint64_t size,
            const char *backing, GError **error)
{
  BlockQcow2Options options = {
    .size = size,
    .backing_file = backing,
    .backing_format = backing ? "qcow2" : NULL,
    .mode = 0400,
  };
  g_autofree char *image_path = g_build_filename (write->partial, image, NULL);
  g_autofree char *sums_path = g_build_filename (write->partial, sums, NULL);
  Layer *layer = g_new0 (Layer, 1);

  layer->name = g_strdup (disk);
  layer->sink = block_qcow2_sink_create (image_path, &options, error);
  if (layer->sink)
    layer->sums = varve_sums_writer_new (sums_path, size, error);
  if (layer->sums == NULL) {
    layer_free (layer);
    return NULL;
  }
  return layer;
}

/* No hidden files: a manifest that names one is not believed. */
static char *
file_name (const char *disk, const char *ending)
{
  return g_strconcat (disk[0] == '.' ? "_" : "", disk, ending, NULL);
}

void
varve_images_name_layer (VarveManifestDisk *disk, const VarveManifest *base, char **out_backing)
{
  const VarveManifestDisk *below = base ? varve_manifest_find_disk (base, disk->name) : NULL;

  disk->file = file_name (disk->name, ".qcow2");
  disk->base = base ? g_strdup (base->id) : NULL;
  disk->links = below ? below->links + 1 : 1;
  *out_backing = below ? g_strdup_printf ("../%s/%s", base->id, below->file) : NULL;
}

void
varve_images_name_sums (VarveManifestDisk *disk)
{
  if (disk->sums_file == NULL)
    disk->sums_file = file_name (disk->name, ".sums");
}

bool
varve_images_add_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, const VarveManifest *base,
                       BlockSink **out_sink, BlockSumFunc *out_sum, gpointer *out_sum_data,
                       GCancellable *cancellable, GError **error)
{
  Write *write = (Write *)owned;
  g_autofree char *backing = NULL;
  Layer *layer;

  varve_images_name_layer (disk, base, &backing);
  varve_images_name_sums (disk);
  layer = open_layer (write, disk->name, disk->file, disk->sums_file, disk->size, backing, error);
  if (layer == NULL)
    return false;
  g_ptr_array_add (write->layers, layer);
  *out_sink = layer->sink;
  *out_sum = varve_sums_writer_add;
  *out_sum_data = layer->sums;
  return true;
}

static bool
finish_layer (Write *write, Layer *layer, VarveManifestDisk *disk, const char *image,
              GError **error)
{
  g_autofree char *path = g_build_filename (write->partial, image, NULL);
  struct stat st;

  g_clear_pointer (&disk->sums_hash, g_free);
  if (!block_sink_flush (layer->sink, error) ||
      !varve_sums_writer_finish (layer->sums, &disk->sums_hash, error))
    return false;
  if (stat (path, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "'%s' cannot be examined", path);
  disk->file_size = (uint64_t)st.st_size;
  return true;
}

static Layer *
find_layer (Write *write, const char *disk)
{
  for (guint i = 0; i < write->layers->len; i++) {
    Layer *layer = g_ptr_array_index (write->layers, i);

    if (g_str_equal (layer->name, disk))
      return layer;
  }
  g_return_val_if_reached (NULL);
}

bool
varve_images_finish_disk (VarveStoreWrite *owned, VarveManifestDisk *disk,
                          GCancellable *cancellable, GError **error)
{
  Write *write = (Write *)owned;
  Layer *layer = find_layer (write, disk->name);

  if (!finish_layer (write, layer, disk, disk->file, error))
    return false;
  g_ptr_array_remove (write->layers, layer);
  return varve_failpoint ("store-disk-finished", error);
}

/* --- the synthetic full ----------------------------------------------------------------------- */

static bool
copy_chain (Layer *layer, const char *path, const VarveManifestDisk *disk, BlockTickFunc tick,
            gpointer tick_data, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  BlockCopy engine = { .sink = layer->sink,
                       .sum = varve_sums_writer_add,
                       .sum_data = layer->sums,
                       .tick = tick,
                       .tick_data = tick_data };

  if (!varve_images_read_file (path, disk->name, disk->links, &read, cancellable, error))
    return false;
  engine.source = read->source;
  return block_copy (&engine, NULL, cancellable, error);
}

static bool
swap (Write *write, const char *from, const char *to, GError **error)
{
  g_autofree char *old = g_build_filename (write->partial, from, NULL);
  g_autofree char *new = g_build_filename (write->partial, to, NULL);

  if (rename (old, new) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "'%s' cannot be renamed to '%s'", old, new);
}

bool
varve_images_flatten_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, BlockTickFunc tick,
                           gpointer tick_data, GCancellable *cancellable, GError **error)
{
  Write *write = (Write *)owned;
  g_autofree char *path = g_build_filename (write->partial, disk->file, NULL);
  g_autofree char *image = g_strconcat (disk->file, ".full", NULL);
  g_autofree char *sums = NULL;
  g_autofree char *reason = NULL;
  Layer *layer;

  varve_images_name_sums (disk);
  sums = g_strconcat (disk->sums_file, ".full", NULL);
  layer = open_layer (write, disk->name, image, sums, disk->size, NULL, error);
  if (layer == NULL)
    return false;
  g_ptr_array_add (write->layers, layer);
  if (!copy_chain (layer, path, disk, tick, tick_data, cancellable, error) ||
      !finish_layer (write, layer, disk, image, error) || !swap (write, image, disk->file, error) ||
      !swap (write, sums, disk->sums_file, error))
    return false;
  g_ptr_array_remove (write->layers, layer);
  reason = g_strdup_printf ("%s; the chain had %u links and was made into a full layer",
                            disk->reason, disk->links);
  g_free (disk->reason);
  disk->reason = g_steal_pointer (&reason);
  g_clear_pointer (&disk->base, g_free);
  disk->links = 1;
  return true;
}

/* --- commit ----------------------------------------------------------------------------------- */

static bool
write_file (Write *write, const char *name, const void *data, size_t length, GError **error)
{
  g_autofree char *path = g_build_filename (write->partial, name, NULL);

  return of_store (varve_write_synced (path, data, length, 0400, error), error);
}

bool
varve_images_add_file (VarveStoreWrite *owned, const char *name, GBytes *data, GError **error)
{
  size_t length;
  const void *bytes = g_bytes_get_data (data, &length);

  return write_file ((Write *)owned, name, bytes, length, error);
}

bool
varve_images_commit (VarveStoreWrite *owned, const VarveManifest *manifest,
                     GCancellable *cancellable, GError **error)
{
  Write *write = (Write *)owned;
  g_autofree char *text = varve_manifest_format (manifest);

  if (!write_file (write, "manifest.xml", text, strlen (text), error) ||
      !varve_failpoint ("store-manifest-written", error) ||
      !of_store (varve_sync_path (write->partial, error), error) ||
      g_cancellable_set_error_if_cancelled (cancellable, error) ||
      !varve_failpoint ("store-before-rename", error) ||
      !of_store (varve_rename_noreplace (write->partial, write->final, error), error))
    return false;
  write->committed = true;
  return varve_failpoint ("store-renamed", error);
}

void
varve_images_write_free (VarveStoreWrite *owned)
{
  Write *write = (Write *)owned;

  g_clear_pointer (&write->layers, g_ptr_array_unref);
  if (!write->committed && write->partial)
    varve_remove_tree (write->partial, NULL);
  if (write->lock >= 0)
    close (write->lock);
  g_free (write->partial);
  g_free (write->final);
}
