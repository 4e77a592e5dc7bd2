/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QEMU says yes to a few things that it does not do (a stored bitmap on an image that is open
 * read-only, for one): so whoever changes bitmaps asks afterwards what is there. */
#include "config.h"
#include "virt/qemu-bitmaps.h"

#include "qemu/json-get.h"
#include "util/error.h"

GHashTable *
varve_qemu_nodes (VarveQmp *qmp, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) array = varve_qmp_execute_list (
      qmp, "query-named-block-nodes", varve_qmp_args ("{'flat':true}"), cancellable, error);

  if (!array)
    return NULL;

  GHashTable *nodes =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_object_unref);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *node = varve_json_array_object (array, i);
    const char *name = varve_json_string (node, "node-name");

    if (name)
      g_hash_table_insert (nodes, g_strdup (name), json_object_ref (node));
  }
  return nodes;
}

static VarveBitmap *
bitmap_from_json (const char *disk, const char *name, JsonObject *json)
{
  VarveBitmap *bitmap = varve_bitmap_new (disk, name);
  int64_t granularity = varve_json_int (json, "granularity", 0);
  int64_t count = varve_json_int (json, "count", -1);

  bitmap->inconsistent = varve_json_bool (json, "inconsistent", false);
  bitmap->granularity = granularity > 0 && granularity <= UINT32_MAX ? (uint32_t)granularity : 0;
  bitmap->dirty = count >= 0 && !bitmap->inconsistent ? (uint64_t)count : UINT64_MAX;
  bitmap->recording = varve_json_bool (json, "recording", false);
  bitmap->persistent = varve_json_bool (json, "persistent", false);
  bitmap->busy = varve_json_bool (json, "busy", false);
  return bitmap;
}

void
varve_qemu_node_bitmaps (JsonObject *node, const char *disk, GPtrArray *out)
{
  JsonArray *bitmaps = varve_json_array (node, "dirty-bitmaps");

  for (guint i = 0; bitmaps && i < json_array_get_length (bitmaps); i++) {
    JsonObject *json = varve_json_array_object (bitmaps, i);
    const char *name = varve_json_string (json, "name");

    if (name && *name)
      g_ptr_array_add (out, bitmap_from_json (disk, name, json));
  }
}

static void
add_action (JsonArray *actions, const char *type, JsonObject *data)
{
  json_array_add_object_element (actions, varve_qmp_args ("{'type':%s,'data':%o}", type, data));
}

void
varve_qemu_add_bitmap (JsonArray *actions, const char *node, const char *name, bool persistent)
{
  add_action (actions, "block-dirty-bitmap-add",
              varve_qmp_args ("{'node':%s,'name':%s,'persistent':%b,'granularity':%u}", node, name,
                              persistent, VARVE_BITMAP_GRANULARITY));
}

void
varve_qemu_remove_bitmap (JsonArray *actions, const char *node, const char *name)
{
  add_action (actions, "block-dirty-bitmap-remove",
              varve_qmp_args ("{'node':%s,'name':%s}", node, name));
}

static JsonArray *
json_names (GPtrArray *names)
{
  JsonArray *array = json_array_new ();

  for (guint i = 0; i < names->len; i++)
    json_array_add_string_element (array, g_ptr_array_index (names, i));
  return array;
}

void
varve_qemu_merge_bitmaps (JsonArray *actions, const char *node, const char *into,
                          const VarveMergeDisk *disk)
{
  if (disk->enable)
    add_action (actions, "block-dirty-bitmap-enable",
                varve_qmp_args ("{'node':%s,'name':%s}", node, into));
  if (disk->content->len > 0)
    add_action (actions, "block-dirty-bitmap-merge",
                varve_qmp_args ("{'node':%s,'target':%s,'bitmaps':%a}", node, into,
                                json_names (disk->content)));
  for (guint i = 0; i < disk->remove->len; i++)
    varve_qemu_remove_bitmap (actions, node, g_ptr_array_index (disk->remove, i));
}

bool
varve_qemu_transact (VarveQmp *qmp, JsonArray *actions, GError **error)
{
  g_autoptr (JsonArray) owned = actions;

  return json_array_get_length (actions) == 0 ||
         varve_qmp_run (qmp, "transaction",
                        varve_qmp_args ("{'actions':%a}", g_steal_pointer (&owned)), NULL, error);
}

bool
varve_qemu_merge_map (VarveQmp *qmp, const char *node, const char *map, JsonArray *bitmaps,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) owned = bitmaps;

  return varve_qmp_run (qmp, "block-dirty-bitmap-add",
                        varve_qmp_args ("{'node':%s,'name':%s,'disabled':true,'granularity':%u}",
                                        node, map, VARVE_BITMAP_GRANULARITY),
                        cancellable, error) &&
         varve_qmp_run (qmp, "block-dirty-bitmap-merge",
                        varve_qmp_args ("{'node':%s,'target':%s,'bitmaps':%a}", node, map,
                                        g_steal_pointer (&owned)),
                        cancellable, error);
}

bool
varve_qemu_check_added (GPtrArray *bitmaps, const char *disk, const char *name, bool persistent,
                        GError **error)
{
  const VarveBitmap *bitmap = varve_bitmap_find (bitmaps, disk, name);

  if (bitmap && bitmap->recording && !bitmap->inconsistent && bitmap->persistent == persistent)
    return true;
  return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "Disk '%s': the bitmap '%s' was added, and %s: was the disk changed "
                      "meanwhile?",
                      disk, name,
                      !bitmap                            ? "is not there"
                      : bitmap->persistent != persistent ? "is not stored as it should be"
                                                         : "does not record");
}

/* A bitmap has at least what the largest of those that were merged into it had. */
static bool
is_full (const VarveBitmap *target, GPtrArray *before, const VarveMergeDisk *disk)
{
  for (guint i = 0; i < disk->content->len; i++) {
    const VarveBitmap *from =
        varve_bitmap_find (before, disk->disk, g_ptr_array_index (disk->content, i));

    if (from && from->dirty != UINT64_MAX && from->granularity <= target->granularity &&
        from->dirty > target->dirty)
      return false;
  }
  return true;
}

bool
varve_qemu_check_merged (GPtrArray *bitmaps, GPtrArray *before, const char *into,
                         const VarveMergeDisk *disk, GError **error)
{
  const VarveBitmap *target = varve_bitmap_find (bitmaps, disk->disk, into);

  if (!target || !target->recording || target->inconsistent || !is_full (target, before, disk))
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Disk '%s': bitmaps were merged into '%s', and it %s.", disk->disk, into,
                        !target                                      ? "is not there afterwards"
                        : target->recording && !target->inconsistent ? "does not have all of them"
                                                                     : "does not record");
  for (guint i = 0; i < disk->remove->len; i++) {
    const char *name = g_ptr_array_index (disk->remove, i);

    if (varve_bitmap_find (bitmaps, disk->disk, name))
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Disk '%s': the bitmap '%s' was merged into '%s' and removed, and is "
                          "still there.",
                          disk->disk, name, into);
  }
  return true;
}
