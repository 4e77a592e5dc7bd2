/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reads qemu-img's description of an image (QEMU: qapi/block-core.json, ImageInfo), and walks down
 * backing files by it. Formats come from the headers alone: a guest that writes a qcow2 header onto
 * its raw disk must not make anybody read the file that this names. */
#include "config.h"
#include "qemu/image-info.h"

#include <string.h>

#include "qemu/image-node.h"
#include "qemu/json-get.h"
#include "util/error.h"

/* A chain is opened as one nested document, of which QEMU takes 1024 levels, and a file each. */
#define MAX_CHAIN 256

static void
bitmap_free (VarveImageBitmap *bitmap)
{
  g_free (bitmap->name);
  g_free (bitmap);
}

static void
info_clear (gpointer data)
{
  VarveImageInfo *info = data;

  g_free (info->format);
  g_free (info->backing_file);
  g_free (info->backing_format);
  g_free (info->full_backing_file);
  g_ptr_array_unref (info->bitmaps);
}

VarveImageInfo *
varve_image_info_ref (VarveImageInfo *info)
{
  return g_atomic_rc_box_acquire (info);
}

void
varve_image_info_free (VarveImageInfo *info)
{
  if (info)
    g_atomic_rc_box_release_full (info, info_clear);
}

VarveImageInfo *
varve_image_info_new (const char *format)
{
  VarveImageInfo *info = g_atomic_rc_box_new0 (VarveImageInfo);

  info->format = g_strdup (format);
  info->bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)bitmap_free);
  return info;
}

static void
read_bitmaps (VarveImageInfo *info, JsonArray *list)
{
  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    JsonObject *object = varve_json_array_object (list, i);
    const char *name = varve_json_string (object, "name");
    int64_t granularity = varve_json_int (object, "granularity", 0);
    JsonArray *flags = varve_json_array (object, "flags");

    if (!name || granularity <= 0 || granularity > G_MAXUINT32)
      continue;
    VarveImageBitmap *bitmap = g_new0 (VarveImageBitmap, 1);
    bitmap->name = g_strdup (name);
    bitmap->granularity = (uint32_t)granularity;
    bitmap->recording = varve_json_array_has_string (flags, "auto");
    bitmap->inconsistent = varve_json_array_has_string (flags, "in-use");
    g_ptr_array_add (info->bitmaps, bitmap);
  }
}

VarveImageInfo *
varve_image_info_parse (const char *path, const char *text, GError **error)
{
  g_autoptr (GError) inner = NULL;
  g_autoptr (JsonObject) root = varve_json_parse_object (text, strlen (text), &inner);
  const char *format = varve_json_string (root, "format");
  int64_t size = varve_json_int (root, "virtual-size", -1);

  if (!format || size < 0) {
    varve_throw (error, VARVE_ERROR_FAILED, "qemu-img described image '%s' in an unknown way: %s.",
                 path, inner ? inner->message : "without format and size");
    return NULL;
  }

  VarveImageInfo *info = varve_image_info_new (format);
  JsonObject *data = varve_json_object (varve_json_object (root, "format-specific"), "data");
  const char *compat = varve_json_string (data, "compat");

  info->size = (uint64_t)size;
  info->cluster_size = (uint64_t)MAX (varve_json_int (root, "cluster-size", 0), 0);
  info->allocated = (uint64_t)MAX (varve_json_int (root, "actual-size", 0), 0);
  info->encrypted = varve_json_bool (root, "encrypted", false);
  info->can_persist = g_str_equal (format, "qcow2") && compat && !g_str_equal (compat, "0.10");
  info->backing_file = g_strdup (varve_json_string (root, "backing-filename"));
  info->backing_format = g_strdup (varve_json_string (root, "backing-filename-format"));
  info->full_backing_file = g_strdup (varve_json_string (root, "full-backing-filename"));
  read_bitmaps (info, varve_json_array (data, "bitmaps"));
  return info;
}

static void
layer_free (VarveImageLayer *layer)
{
  varve_image_free (layer->image);
  varve_image_info_free (layer->info);
  g_free (layer);
}

static bool
throw_unknown_format (const VarveImageLayer *layer, GError **error)
{
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "Image '%s' names its backing file '%s' without a format, and a guessed one "
                      "could be the guest's invention. Record it with: qemu-img rebase -u -f %s -F "
                      "FORMAT -b '%s' '%s'",
                      layer->image->path, layer->info->backing_file, layer->info->format,
                      layer->info->backing_file, layer->image->path);
}

/* The image below @layer. NULL without an error at the end of the chain. */
static VarveImage *
image_below (const VarveImageLayer *layer, GError **error)
{
  const VarveImageInfo *info = layer->info;
  const char *below = info->full_backing_file ? info->full_backing_file : info->backing_file;

  if (!below)
    return NULL;
  if (!info->backing_format) {
    throw_unknown_format (layer, error);
    return NULL;
  }
  if (!g_path_is_absolute (below)) {
    varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                 "The backing file '%s' of image '%s' is not a local file.", below,
                 layer->image->path);
    return NULL;
  }
  return varve_image_new (below, info->backing_format, layer->image->key_file);
}

static bool
has_image (GPtrArray *chain, const char *path)
{
  for (guint i = 0; i < chain->len; i++) {
    const VarveImageLayer *layer = chain->pdata[i];

    if (g_str_equal (layer->image->path, path))
      return true;
  }
  return false;
}

/* Appends @image (transfer full), of which @info is known, or NULL. */
static bool
append_layer (GPtrArray *chain, VarveImage *image, VarveImageInfo *known, bool shared,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImage) owned = image;

  if (chain->len >= MAX_CHAIN || has_image (chain, owned->path))
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "The chain of backing files runs in a circle, or has more than %d images, "
                        "at '%s'.",
                        MAX_CHAIN, owned->path);

  VarveImageInfo *info =
      known ? varve_image_info_ref (known) : varve_image_info (owned, shared, cancellable, error);
  if (!info)
    return false;

  VarveImageLayer *layer = g_new0 (VarveImageLayer, 1);
  layer->image = g_steal_pointer (&owned);
  layer->info = info;
  g_ptr_array_add (chain, layer);
  return true;
}

static VarveImage *
with_absolute_path (const VarveImage *image)
{
  g_autofree char *path = g_canonicalize_filename (image->path, NULL);

  return varve_image_new (path, image->format, image->key_file);
}

static GPtrArray *
chain_new (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify)layer_free);
}

GPtrArray *
varve_image_single (const VarveImage *image, VarveImageInfo *info, bool shared,
                    GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) chain = chain_new ();

  if (!append_layer (chain, with_absolute_path (image), info, shared, cancellable, error))
    return NULL;
  return g_steal_pointer (&chain);
}

GPtrArray *
varve_image_chain (const VarveImage *top, VarveImageInfo *info, bool shared,
                   GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) chain = chain_new ();
  VarveImage *next = with_absolute_path (top);

  while (next) {
    g_autoptr (GError) inner = NULL;

    if (!append_layer (chain, next, chain->len == 0 ? info : NULL, shared, cancellable, error))
      return NULL;
    next = image_below (chain->pdata[chain->len - 1], &inner);
    if (inner) {
      g_propagate_error (error, g_steal_pointer (&inner));
      return NULL;
    }
  }
  return g_steal_pointer (&chain);
}
