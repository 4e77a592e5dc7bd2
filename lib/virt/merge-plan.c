/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A bitmap that records has everything since it was made, so nothing that is merged into it adds
 * to it, and whatever else is there may go. One that is disabled knows a span of time; spans that
 * follow each other without a gap, the last of them still recording, make up the whole. Which ones
 * do is not to be seen: so where the target is disabled it gets all that the disk has, and one that
 * was left out in error costs a larger increment instead of a lost change. */
#include "config.h"
#include "virt/merge-plan.h"

#include "util/error.h"

static void
merge_disk_free (gpointer data)
{
  VarveMergeDisk *disk = data;

  g_free (disk->disk);
  g_ptr_array_unref (disk->content);
  g_ptr_array_unref (disk->remove);
  g_free (disk);
}

static VarveMergeDisk *
merge_disk_new (const char *name)
{
  VarveMergeDisk *disk = g_new0 (VarveMergeDisk, 1);

  disk->disk = g_strdup (name);
  disk->content = g_ptr_array_new_with_free_func (g_free);
  disk->remove = g_ptr_array_new_with_free_func (g_free);
  return disk;
}

static bool
is_sound (const VarveBitmap *bitmap)
{
  return bitmap && !bitmap->inconsistent;
}

static bool
check_names (const char *into, GPtrArray *from, GError **error)
{
  for (guint i = 0; i < from->len; i++) {
    const char *name = g_ptr_array_index (from, i);

    if (g_str_equal (name, into))
      return varve_throw (error, VARVE_ERROR_USAGE,
                          "Checkpoint '%s' cannot be merged into itself: name it once.", into);
    for (guint j = 0; j < i; j++) {
      if (g_str_equal (name, g_ptr_array_index (from, j)))
        return varve_throw (error, VARVE_ERROR_USAGE,
                            "Checkpoint '%s' is to be merged into '%s' twice: name it once.", name,
                            into);
    }
  }
  return true;
}

static bool
not_busy (const VarveBitmap *bitmap, GError **error)
{
  return !bitmap || !bitmap->busy ||
         varve_throw (error, VARVE_ERROR_BUSY,
                      "Disk '%s': the bitmap '%s' is in use by a backup, job or export: wait for "
                      "its end.",
                      bitmap->disk, bitmap->name);
}

/* Where @target does not record, each of @from tells of a span of time that nothing else knows. */
static bool
take_named (VarveMergeDisk *disk, GPtrArray *bitmaps, const VarveBitmap *target, GPtrArray *from,
            GError **error)
{
  for (guint i = 0; i < from->len; i++) {
    const char *name = g_ptr_array_index (from, i);
    const VarveBitmap *bitmap = varve_bitmap_find (bitmaps, disk->disk, name);

    if (!not_busy (bitmap, error))
      return false;
    if (!target->recording && !is_sound (bitmap))
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Disk '%s': the bitmap '%s' is %s, and '%s' does not record: what was "
                          "written in its time would be lost to the merge.",
                          disk->disk, name, bitmap ? "inconsistent" : "not there", target->name);
    if (is_sound (bitmap))
      g_ptr_array_add (disk->content, g_strdup (name));
    if (bitmap)
      g_ptr_array_add (disk->remove, g_strdup (name));
  }
  return true;
}

static bool
take_others (VarveMergeDisk *disk, GPtrArray *bitmaps, const VarveBitmap *target, GPtrArray *from,
             GError **error)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (bitmap == target || !is_sound (bitmap) || !g_str_equal (bitmap->disk, disk->disk) ||
        g_ptr_array_find_with_equal_func (from, bitmap->name, g_str_equal, NULL))
      continue;
    if (!not_busy (bitmap, error))
      return false;
    g_ptr_array_add (disk->content, g_strdup (bitmap->name));
  }
  return true;
}

static bool
check_target (const VarveBitmap *target, GError **error)
{
  if (target->inconsistent)
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Disk '%s': the bitmap '%s' is inconsistent, and nothing can be merged "
                        "into it: remove it.",
                        target->disk, target->name);
  return not_busy (target, error);
}

static VarveMergeDisk *
plan_disk (GPtrArray *bitmaps, const VarveBitmap *target, GPtrArray *from, GError **error)
{
  VarveMergeDisk *disk = merge_disk_new (target->disk);

  disk->enable = !target->recording;
  if (check_target (target, error) && take_named (disk, bitmaps, target, from, error) &&
      (target->recording || take_others (disk, bitmaps, target, from, error)))
    return disk;
  merge_disk_free (disk);
  return NULL;
}

/* A disk that has one of @from alone would be left without any. */
static bool
check_disks (GPtrArray *bitmaps, const char *into, GPtrArray *from, GError **error)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (g_ptr_array_find_with_equal_func (from, bitmap->name, g_str_equal, NULL) &&
        !varve_bitmap_find (bitmaps, bitmap->disk, into))
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Disk '%s' has the bitmap '%s' and none called '%s', so nothing on it "
                          "could tell what changed since: keep '%s', or remove it by itself.",
                          bitmap->disk, bitmap->name, into, bitmap->name);
  }
  return true;
}

bool
varve_merge_plan (GPtrArray *bitmaps, const char *into, GPtrArray *from, GPtrArray **out,
                  GError **error)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new_with_free_func (merge_disk_free);

  if (!check_names (into, from, error) || !check_disks (bitmaps, into, from, error))
    return false;
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *target = g_ptr_array_index (bitmaps, i);

    if (!g_str_equal (target->name, into))
      continue;
    VarveMergeDisk *disk = plan_disk (bitmaps, target, from, error);
    if (!disk)
      return false;
    g_ptr_array_add (disks, disk);
  }
  if (disks->len == 0)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "No disk has a bitmap '%s' that others could be merged into.", into);
  *out = g_steal_pointer (&disks);
  return true;
}
