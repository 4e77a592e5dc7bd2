/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "checkpoint/checkpoint.h"

#include <string.h>

#include "checkpoint/name.h"

VarveCheckpointState
varve_checkpoint_state (const VarveBitmap *bitmap, const char *owner, VarveCommittedFunc committed,
                        gpointer data)
{
  g_auto (VarveCheckpointName) name = { NULL };

  if (!varve_checkpoint_name_parse (bitmap->name, &name) || strcmp (name.owner, owner) != 0)
    return VARVE_CHECKPOINT_OTHER;
  if (!committed (name.backup, data))
    return VARVE_CHECKPOINT_LEFT_OVER;
  return bitmap->inconsistent ? VARVE_CHECKPOINT_BROKEN : VARVE_CHECKPOINT_COMMITTED;
}

static void
add_once (GPtrArray *names, const char *name)
{
  if (!g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
    g_ptr_array_add (names, g_strdup (name));
}

static bool
sound_somewhere (GPtrArray *bitmaps, const char *name)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (!bitmap->inconsistent && g_str_equal (bitmap->name, name))
      return true;
  }
  return false;
}

GPtrArray *
varve_checkpoint_stale (GPtrArray *bitmaps, const char *owner, VarveCommittedFunc committed,
                        gpointer data)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    VarveCheckpointState state = varve_checkpoint_state (bitmap, owner, committed, data);

    if (state == VARVE_CHECKPOINT_LEFT_OVER ||
        (state == VARVE_CHECKPOINT_BROKEN && !sound_somewhere (bitmaps, bitmap->name)))
      add_once (names, bitmap->name);
  }
  return g_steal_pointer (&names);
}

/* Names differ only behind the owner here, so that their order is that of the backups' times. */
static int
newest_first (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)b, *(const char *const *)a);
}

GPtrArray *
varve_checkpoint_retire (GPtrArray *bitmaps, const char *owner, unsigned keep,
                         VarveCommittedFunc committed, gpointer data)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    VarveCheckpointState state = varve_checkpoint_state (bitmap, owner, committed, data);

    if (state == VARVE_CHECKPOINT_COMMITTED || state == VARVE_CHECKPOINT_BROKEN)
      add_once (names, bitmap->name);
  }
  g_ptr_array_sort (names, newest_first);
  g_ptr_array_remove_range (names, 0, MIN (keep, names->len));
  return g_steal_pointer (&names);
}

char *
varve_checkpoint_distrust (const VarveBitmap *bitmap)
{
  if (bitmap->inconsistent)
    return g_strdup_printf ("bitmap '%s' is inconsistent, as QEMU was not shut down cleanly",
                            bitmap->name);
  if (!bitmap->recording)
    return g_strdup_printf ("bitmap '%s' is disabled and has not recorded every write",
                            bitmap->name);
  if (bitmap->busy)
    return g_strdup_printf ("bitmap '%s' is in use by another job", bitmap->name);
  return NULL;
}
