/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints of the scripted driver. It keeps the drivers' promises: what fails is not done, a
 * removal of what is not there is none. Records are kept where the script wants them, as libvirt
 * does; else there are none, as with bare QEMU. */
#include "config.h"
#include "virt/fake/fake-private.h"

#include "virt/merge-plan.h"

static void
remove_everywhere (VarveFake *fake, const char *name)
{
  for (guint i = fake->bitmaps->len; i > 0; i--) {
    const VarveBitmap *bitmap = g_ptr_array_index (fake->bitmaps, i - 1);

    if (g_str_equal (bitmap->name, name))
      g_ptr_array_remove_index (fake->bitmaps, i - 1);
  }
}

static void
forget (VarveFake *fake, const char *name)
{
  VarveCheckpointMetadata *known = varve_checkpoint_metadata_find (fake->metadata, name);

  if (known)
    g_ptr_array_remove (fake->metadata, known);
}

VarveCheckpointMetadata *
varve_fake_note (VarveFake *fake, const char *name, const char *description, const char *disk)
{
  VarveCheckpointMetadata *known = varve_checkpoint_metadata_find (fake->metadata, name);

  if (!known) {
    known = varve_checkpoint_metadata_new (name);
    known->description = g_strdup (description);
    g_ptr_array_add (fake->metadata, known);
  }
  g_ptr_array_add (known->disks, g_strdup (disk));
  return known;
}

bool
varve_fake_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                              GError **error)
{
  if (!varve_fake_enter (base, "checkpoint_remove", name, cancellable, error))
    return false;
  remove_everywhere ((VarveFake *)base, name);
  forget ((VarveFake *)base, name);
  return true;
}

static bool
may_add (VarveFake *fake, const char *name, const char *disk, GError **error)
{
  const VarveDisk *found = varve_disk_find (fake->disks, disk);

  if (!found)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND, "The fake domain '%s' has no disk '%s'.",
                        fake->base.name, disk);
  if (!found->can_persist && !found->transient_ok)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Disk '%s' of the fake domain '%s' can have no bitmap.", disk,
                        fake->base.name);
  return !varve_bitmap_find (fake->bitmaps, disk, name) ||
         varve_throw (error, VARVE_ERROR_EXISTS,
                      "Disk '%s' of the fake domain '%s' has a bitmap '%s' already.", disk,
                      fake->base.name, name);
}

bool
varve_fake_checkpoint_add (VarveDomain *base, const char *name, const char *description,
                           GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  VarveFake *fake = (VarveFake *)base;

  if (!varve_fake_enter (base, "checkpoint_add", name, cancellable, error))
    return false;
  for (guint i = 0; i < disks->len; i++) {
    if (!may_add (fake, name, g_ptr_array_index (disks, i), error))
      return false;
  }
  for (guint i = 0; i < disks->len; i++) {
    const char *disk = g_ptr_array_index (disks, i);
    VarveBitmap *bitmap = varve_fake_add_bitmap (base, disk, name);

    bitmap->persistent = varve_disk_find (fake->disks, disk)->can_persist;
    bitmap->dirty = 0;
    if (fake->keeps_metadata)
      varve_fake_note (fake, name, description, disk);
  }
  return true;
}

/* A sum that is too large by what both have; unknown where one is. */
static void
add_dirty (VarveBitmap *into, const VarveBitmap *from)
{
  into->dirty = into->dirty == UINT64_MAX || from->dirty == UINT64_MAX ? UINT64_MAX
                                                                       : into->dirty + from->dirty;
}

static void
merge_disk (VarveFake *fake, const VarveMergeDisk *disk, const char *into)
{
  VarveBitmap *target = varve_bitmap_find (fake->bitmaps, disk->disk, into);

  target->recording = true;
  for (guint i = 0; i < disk->content->len; i++)
    add_dirty (target,
               varve_bitmap_find (fake->bitmaps, disk->disk, g_ptr_array_index (disk->content, i)));
}

bool
varve_fake_checkpoint_merge (VarveDomain *base, const char *into, GPtrArray *from,
                             GCancellable *cancellable, GError **error)
{
  VarveFake *fake = (VarveFake *)base;
  g_autoptr (GPtrArray) plan = NULL;

  if (!varve_fake_enter (base, "checkpoint_merge", into, cancellable, error) ||
      !varve_merge_plan (fake->bitmaps, into, from, &plan, error))
    return false;
  for (guint i = 0; i < plan->len; i++)
    merge_disk (fake, g_ptr_array_index (plan, i), into);
  for (guint i = 0; i < from->len; i++) {
    remove_everywhere (fake, g_ptr_array_index (from, i));
    forget (fake, g_ptr_array_index (from, i));
  }
  return true;
}

bool
varve_fake_checkpoint_redefine (VarveDomain *base, const char *name, const char *description,
                                int64_t created, GPtrArray *disks, GCancellable *cancellable,
                                GError **error)
{
  VarveFake *fake = (VarveFake *)base;

  if (!varve_fake_enter (base, "checkpoint_redefine", name, cancellable, error))
    return false;
  if (!fake->keeps_metadata)
    return true;
  for (guint i = 0; i < disks->len; i++) {
    const char *disk = g_ptr_array_index (disks, i);

    if (!varve_bitmap_find (fake->bitmaps, disk, name))
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Disk '%s' of the fake domain '%s' has no bitmap '%s'.", disk, base->name,
                          name);
  }
  forget (fake, name);
  for (guint i = 0; i < disks->len; i++)
    varve_fake_note (fake, name, description, g_ptr_array_index (disks, i))->created = created;
  return true;
}

bool
varve_fake_checkpoint_forget (VarveDomain *base, const char *name, GCancellable *cancellable,
                              GError **error)
{
  if (!varve_fake_enter (base, "checkpoint_forget", name, cancellable, error))
    return false;
  forget ((VarveFake *)base, name);
  return true;
}

static VarveCheckpointMetadata *
copy_metadata (const VarveCheckpointMetadata *from)
{
  VarveCheckpointMetadata *to = varve_checkpoint_metadata_new (from->name);

  to->description = g_strdup (from->description);
  to->created = from->created;
  for (guint i = 0; i < from->disks->len; i++)
    g_ptr_array_add (to->disks, g_strdup (g_ptr_array_index (from->disks, i)));
  return to;
}

bool
varve_fake_checkpoint_metadata (VarveDomain *base, GPtrArray **out, GCancellable *cancellable,
                                GError **error)
{
  VarveFake *fake = (VarveFake *)base;

  if (!varve_fake_enter (base, "checkpoint_metadata", NULL, cancellable, error))
    return false;
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_metadata_free);
  for (guint i = 0; i < fake->metadata->len; i++)
    g_ptr_array_add (*out, copy_metadata (g_ptr_array_index (fake->metadata, i)));
  return true;
}
