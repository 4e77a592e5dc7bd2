/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Opens the images of an export and publishes it. A chain is one nested blockdev-add, so that it is
 * opened whole or not at all:
 *
 *   { driver: qcow2, node-name: n-vda, read-only, file: {…}, backing:
 *     { driver: qcow2, node-name: b1-n-vda, read-only: true, file: {…}, backing: null } }
 *
 * (Not n-vda-1: that could be the node of another export.) All that is below the top is read-only,
 * also under a writable one.
 */
#include "config.h"
#include "qemu/daemon-export.h"

#include <string.h>

#include "qemu/image-info.h"
#include "qemu/image-node.h"
#include "qemu/json-get.h"
#include "util/error.h"

#define MAX_NODE_NAME 31 /* QEMU: BlockDriverState.node_name */
#define LAYER_PREFIX  5  /* "b255-" */

/* What QEMU's id_wellformed takes, behind our own "n-". */
static bool
fits_node_name (const char *name)
{
  for (const char *c = name; *c; c++) {
    if (!g_ascii_isalnum (*c) && !strchr ("-._", *c))
      return false;
  }
  return strlen (name) + strlen ("n-") + LAYER_PREFIX <= MAX_NODE_NAME;
}

char *
varve_daemon_export_node (const char *export_name, size_t index)
{
  return fits_node_name (export_name) ? g_strconcat ("n-", export_name, NULL)
                                      : g_strdup_printf ("x-%zu", index);
}

static GPtrArray *
find_layers (const VarveDaemonExport *export, GCancellable *cancellable, GError **error)
{
  if (export->without_backing)
    return varve_image_single (export->image, export->info, export->shared, cancellable, error);
  return varve_image_chain (export->image, export->info, export->shared, cancellable, error);
}

/* Gives QEMU the key of @layer. @out_secret is the object's id, or NULL where nothing is encrypted.
 */
static bool
add_secret (VarveQmp *qmp, const VarveImageLayer *layer, const char *node, char **out_secret,
            GCancellable *cancellable, GError **error)
{
  const VarveImage *image = layer->image;

  *out_secret = NULL;
  if (!layer->info->encrypted)
    return true;
  if (!image->key_file)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Image '%s' is encrypted, and no key file was given for it.", image->path);

  *out_secret = g_strdup_printf ("k-%s", node);
  JsonObject *arguments =
      varve_qmp_args ("{'qom-type':'secret','id':%s,'file':%s}", *out_secret, image->key_file);
  if (!varve_qmp_run (qmp, "object-add", arguments, cancellable, error))
    return varve_prefix (error, "Reading the key file '%s'", image->key_file);
  return true;
}

/* The nested nodes, built from the bottom up. (transfer full) */
static JsonObject *
build_nodes (VarveQmp *qmp, const VarveDaemonExport *export, const char *node, GPtrArray *layers,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) below = NULL;

  for (guint i = layers->len; i-- > 0;) {
    const VarveImageLayer *layer = layers->pdata[i];
    g_autofree char *secret = NULL;
    g_autofree char *name = i == 0 ? g_strdup (node) : g_strdup_printf ("b%u-%s", i, node);

    if (!add_secret (qmp, layer, name, &secret, cancellable, error))
      return NULL;
    below = varve_image_node (layer->image, &(VarveNodeOptions){
                                                .node_name = name,
                                                .secret = secret,
                                                .backing = g_steal_pointer (&below),
                                                .writable = export->writable && i == 0,
                                                .unlocked = export->shared,
                                                .l2_cache_size = export->l2_cache_size,
                                            });
  }
  return g_steal_pointer (&below);
}

static bool
open_images (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) inner = NULL;
  g_autoptr (GPtrArray) layers = find_layers (export, cancellable, error);
  JsonObject *nodes = layers ? build_nodes (qmp, export, node, layers, cancellable, error) : NULL;

  if (!nodes)
    return false;
  if (varve_qmp_run (qmp, "blockdev-add", nodes, cancellable, &inner))
    return true;
  if (varve_is_lock_failure (inner->message))
    return varve_throw_locked (error, export->image->path, "Opening", inner->message);
  g_propagate_error (error, g_steal_pointer (&inner));
  return varve_prefix (error, "Opening image '%s'", export->image->path);
}

/* The bitmaps of @node as query-named-block-nodes has them; owned by @reply. */
static JsonArray *
bitmaps_of_node (JsonNode *reply, const char *node)
{
  JsonArray *nodes = JSON_NODE_HOLDS_ARRAY (reply) ? json_node_get_array (reply) : NULL;

  for (guint i = 0; nodes && i < json_array_get_length (nodes); i++) {
    JsonObject *object = varve_json_array_object (nodes, i);

    if (g_strcmp0 (varve_json_string (object, "node-name"), node) == 0)
      return varve_json_array (object, "dirty-bitmaps");
  }
  return NULL;
}

static bool
check_bitmap (JsonArray *bitmaps, const VarveDaemonExport *export, const char *name, GError **error)
{
  for (guint i = 0; bitmaps && i < json_array_get_length (bitmaps); i++) {
    JsonObject *bitmap = varve_json_array_object (bitmaps, i);

    if (g_strcmp0 (varve_json_string (bitmap, "name"), name) != 0)
      continue;
    if (!varve_json_bool (bitmap, "inconsistent", false))
      return true;
    return varve_throw (
        error, VARVE_ERROR_CHECKPOINT,
        "The bitmap '%s' of image '%s' is inconsistent: what had the image open did "
        "not end cleanly.",
        name, export->image->path);
  }
  return varve_throw (error, VARVE_ERROR_CHECKPOINT, "Image '%s' has no bitmap '%s'.",
                      export->image->path, name);
}

/* By a bare name QEMU would also take a bitmap of a backing file, which knows nothing of what was
 * written above it. So it is looked for in the top image first, now that this is open. */
static bool
check_bitmaps (VarveQmp *qmp, const VarveDaemonExport *export, const char *const *names,
               const char *node, GCancellable *cancellable, GError **error)
{
  if (!names || !names[0])
    return true;

  g_autoptr (JsonNode) reply = varve_qmp_execute (
      qmp, "query-named-block-nodes", varve_qmp_args ("{'flat':true}"), cancellable, error);
  if (!reply)
    return false;
  for (const char *const *name = names; *name; name++) {
    if (!check_bitmap (bitmaps_of_node (reply, node), export, *name, error))
      return false;
  }
  return true;
}

static JsonArray *
json_names (const char *const *names)
{
  JsonArray *array = json_array_new ();

  for (; names && *names; names++)
    json_array_add_string_element (array, *names);
  return array;
}

/* In the daemon's memory alone, so that it can be had of an image that is open read-only. */
static bool
merge_bitmaps (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
               GCancellable *cancellable, GError **error)
{
  if (!export->merged_name)
    return true;
  return (varve_qmp_run (qmp, "block-dirty-bitmap-add",
                         varve_qmp_args ("{'node':%s,'name':%s,'disabled':%b}", node,
                                         export->merged_name, true),
                         cancellable, error) &&
          varve_qmp_run (qmp, "block-dirty-bitmap-merge",
                         varve_qmp_args ("{'node':%s,'target':%s,'bitmaps':%a}", node,
                                         export->merged_name, json_names (export->merged)),
                         cancellable, error)) ||
         varve_prefix (error, "Merging bitmaps of image '%s'", export->image->path);
}

bool
varve_daemon_export_publish (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
                             GCancellable *cancellable, GError **error)
{
  g_autofree char *id = g_strconcat ("e-", node, NULL);
  JsonArray *bitmaps;

  if (!merge_bitmaps (qmp, export, node, cancellable, error))
    return false;
  bitmaps = json_names (export->bitmaps);
  if (export->merged_name)
    json_array_add_string_element (bitmaps, export->merged_name);

  JsonObject *arguments =
      varve_qmp_args ("{'type':'nbd','id':%s,'node-name':%s,'name':%s,'writable':%b,'bitmaps':%a}",
                      id, node, export->export_name, export->writable, bitmaps);
  /* Left out where not asked for: QEMU before 5.2 does not know it. */
  if (export->allocation_depth)
    json_object_set_boolean_member (arguments, "allocation-depth", TRUE);
  return varve_qmp_run (qmp, "block-export-add", arguments, cancellable, error) ||
         varve_prefix (error, "Exporting image '%s' as '%s'", export->image->path,
                       export->export_name);
}

bool
varve_daemon_export_open (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
                          GCancellable *cancellable, GError **error)
{
  return open_images (qmp, export, node, cancellable, error) &&
         check_bitmaps (qmp, export, export->bitmaps, node, cancellable, error) &&
         check_bitmaps (qmp, export, export->merged, node, cancellable, error);
}
