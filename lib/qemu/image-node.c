/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Block nodes from images. Invariant: each node says its format, its protocol and its backing (a
 * node or null), so that QEMU follows nothing that an image's header says. The one exception is the
 * external data file of a qcow2, which only the header names. */
#include "config.h"
#include "qemu/image-node.h"

#include <string.h>
#include <sys/stat.h>

#include "util/error.h"

VarveImage *
varve_image_new (const char *path, const char *format, const char *key_file)
{
  VarveImage *image = g_new0 (VarveImage, 1);

  image->path = g_strdup (path);
  image->format = g_strdup (format);
  image->key_file = g_strdup (key_file);
  return image;
}

VarveImage *
varve_image_copy (const VarveImage *image)
{
  return varve_image_new (image->path, image->format, image->key_file);
}

void
varve_image_free (VarveImage *image)
{
  if (!image)
    return;
  g_free (image->path);
  g_free (image->format);
  g_free (image->key_file);
  g_free (image);
}

bool
varve_format_has_backing (const char *format)
{
  static const char *const formats[] = { "qcow2", "qcow", "qed", "vmdk", NULL };

  return g_strv_contains (formats, format);
}

static JsonObject *
protocol_node (const VarveImage *image, const VarveNodeOptions *options)
{
  g_autofree char *path = g_canonicalize_filename (image->path, NULL);
  JsonObject *node = json_object_new ();
  struct stat info;
  bool device = stat (path, &info) == 0 && S_ISBLK (info.st_mode);

  json_object_set_string_member (node, "driver", device ? "host_device" : "file");
  json_object_set_string_member (node, "filename", path);
  json_object_set_string_member (node, "locking", options->unlocked ? "off" : "auto");
  if (options->writable)
    json_object_set_string_member (node, "discard", "unmap");
  return node;
}

static void
add_secret (JsonObject *node, const VarveImage *image, const char *secret)
{
  if (g_str_equal (image->format, "luks")) {
    json_object_set_string_member (node, "key-secret", secret);
  } else if (g_str_equal (image->format, "qcow2")) {
    JsonObject *encrypt = json_object_new ();

    json_object_set_string_member (encrypt, "format", "luks");
    json_object_set_string_member (encrypt, "key-secret", secret);
    json_object_set_object_member (node, "encrypt", encrypt);
  }
}

JsonObject *
varve_image_node (const VarveImage *image, const VarveNodeOptions *options)
{
  JsonObject *node = json_object_new ();

  json_object_set_string_member (node, "driver", image->format);
  if (options->node_name)
    json_object_set_string_member (node, "node-name", options->node_name);
  json_object_set_boolean_member (node, "read-only", !options->writable);
  if (options->writable)
    json_object_set_string_member (node, "discard", "unmap");
  if (options->secret)
    add_secret (node, image, options->secret);
  if (options->l2_cache_size > 0 && g_str_equal (image->format, "qcow2"))
    json_object_set_int_member (node, "l2-cache-size",
                                (gint64)MIN (options->l2_cache_size, (uint64_t)G_MAXINT64));
  json_object_set_object_member (node, "file", protocol_node (image, options));

  if (options->backing)
    json_object_set_object_member (node, "backing", options->backing);
  else if (varve_format_has_backing (image->format))
    json_object_set_null_member (node, "backing");
  return node;
}

char *
varve_image_node_name (const VarveImage *image, const VarveNodeOptions *options)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (root, varve_image_node (image, options));
  g_autofree char *text = json_to_string (root, FALSE);
  return g_strconcat ("json:", text, NULL);
}

bool
varve_is_lock_failure (const char *words)
{
  const char *start = strstr (words, "Failed to get ");

  return start && strstr (start, " lock");
}

bool
varve_throw_locked (GError **error, const char *path, const char *doing, const char *words)
{
  return varve_throw (error, VARVE_ERROR_BUSY,
                      "%s failed: image '%s' is in use by a running QEMU or another program: %s",
                      doing, path, words);
}
