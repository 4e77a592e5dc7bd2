/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The object itself: which domain, on whose behalf; and the list, which changes nothing. */
#include "config.h"

#include "run/checkpoint.h"

#include <string.h>

#include "util/set-text.h"

struct _VarveCheckpoints {
  GObject parent;
  VarveCheckpointsDef def;
};

G_DEFINE_FINAL_TYPE (VarveCheckpoints, varve_checkpoints, G_TYPE_OBJECT)

static void
varve_checkpoints_finalize (GObject *object)
{
  VarveCheckpointsDef *def = &VARVE_CHECKPOINTS (object)->def;

  g_free (def->uri);
  g_free (def->domain);
  g_free (def->uuid);
  g_free (def->owner);
  g_hash_table_unref (def->images);
  g_hash_table_unref (def->qdevs);
  g_ptr_array_unref (def->stores);
  g_free (def->state_directory);
  varve_event_sink_clear (&def->events);
  G_OBJECT_CLASS (varve_checkpoints_parent_class)->finalize (object);
}

static void
varve_checkpoints_class_init (VarveCheckpointsClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_checkpoints_finalize;
}

static void
varve_checkpoints_init (VarveCheckpoints *checkpoints)
{
  VarveCheckpointsDef *def = &checkpoints->def;

  def->images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);
  def->qdevs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  def->stores = g_ptr_array_new_with_free_func (g_free);
}

const VarveCheckpointsDef *
varve_checkpoints_def (VarveCheckpoints *checkpoints)
{
  return &checkpoints->def;
}

VarveCheckpoints *
varve_checkpoints_new (const char *uri, const char *domain)
{
  VarveCheckpoints *checkpoints;

  g_return_val_if_fail (uri != NULL && domain != NULL, NULL);
  checkpoints = g_object_new (VARVE_TYPE_CHECKPOINTS, NULL);
  checkpoints->def.uri = g_strdup (uri);
  checkpoints->def.domain = g_strdup (domain);
  return checkpoints;
}

void
varve_checkpoints_set_uuid (VarveCheckpoints *checkpoints, const char *uuid)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints));
  varve_set_text (&checkpoints->def.uuid, uuid);
}

void
varve_checkpoints_set_image (VarveCheckpoints *checkpoints, const char *disk, const char *path,
                             const char *format, const char *key_file)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && disk && path && format);
  g_hash_table_replace (checkpoints->def.images, g_strdup (disk),
                        varve_image_new (path, format, key_file));
}

void
varve_checkpoints_set_qdev (VarveCheckpoints *checkpoints, const char *disk, const char *qdev)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && disk && qdev);
  g_hash_table_replace (checkpoints->def.qdevs, g_strdup (disk), g_strdup (qdev));
}

void
varve_checkpoints_set_owner (VarveCheckpoints *checkpoints, const char *owner)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints));
  varve_set_text (&checkpoints->def.owner, owner);
}

void
varve_checkpoints_add_store (VarveCheckpoints *checkpoints, const char *store)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && store);
  g_ptr_array_add (checkpoints->def.stores, g_strdup (store));
}

void
varve_checkpoints_set_wait (VarveCheckpoints *checkpoints, guint seconds)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints));
  checkpoints->def.wait = seconds;
}

void
varve_checkpoints_set_state_directory (VarveCheckpoints *checkpoints, const char *path)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints));
  varve_set_text (&checkpoints->def.state_directory, path);
}

void
varve_checkpoints_set_event_func (VarveCheckpoints *checkpoints, VarveEventFunc func,
                                  gpointer user_data, GDestroyNotify destroy)
{
  g_return_if_fail (VARVE_IS_CHECKPOINTS (checkpoints));
  varve_event_sink_clear (&checkpoints->def.events);
  checkpoints->def.events = (VarveEventSink){ func, user_data, destroy };
}

/* --- list ------------------------------------------------------------------------------------- */

/* Ours by time, then the others by name. */
static int
compare (gconstpointer a, gconstpointer b)
{
  VarveCheckpoint *x = *(VarveCheckpoint *const *)a, *y = *(VarveCheckpoint *const *)b;
  const char *left = varve_checkpoint_get_backup (x), *right = varve_checkpoint_get_backup (y);
  int order;

  if ((left == NULL) != (right == NULL))
    return left == NULL ? 1 : -1;
  order = g_strcmp0 (left, right);
  return order ? order : strcmp (varve_checkpoint_get_name (x), varve_checkpoint_get_name (y));
}

static GPtrArray *
list (const VarveCheckFacts *facts)
{
  GPtrArray *found = g_ptr_array_new_with_free_func (g_object_unref);
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (g_hash_table_add (seen, bitmap->name))
      g_ptr_array_add (found, varve_checkpoint_from_facts (facts, bitmap->name));
  }
  for (guint i = 0; i < facts->records->len; i++) {
    const VarveCheckpointMetadata *record = g_ptr_array_index (facts->records, i);

    if (g_hash_table_add (seen, record->name))
      g_ptr_array_add (found, varve_checkpoint_from_facts (facts, record->name));
  }
  g_ptr_array_sort (found, compare);
  return found;
}

GPtrArray *
varve_checkpoints_list (VarveCheckpoints *checkpoints, GCancellable *cancellable, GError **error)
{
  g_auto (VarveCheckpointWork) work = { NULL };

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints), NULL);
  if (!varve_checkpoint_work_open (&work, &checkpoints->def, "list", false, cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return NULL;
  return list (&work.facts);
}
