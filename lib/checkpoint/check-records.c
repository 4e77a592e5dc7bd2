/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The hypervisor's own records of checkpoints, against its bitmaps: libvirt answers by its records,
 * and QEMU by its bitmaps. A record is no data; it can be made anew from the name, and it can go. */
#include "config.h"

#include "checkpoint/check-private.h"

#include <string.h>

static bool
contains (GPtrArray *names, const char *name)
{
  return g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL);
}

/* The disks on which libvirt accepts the checkpoint: neither broken nor disabled. */
static GPtrArray *
sound_disks (const VarveCheckFacts *facts, const char *name)
{
  GPtrArray *disks = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (g_str_equal (bitmap->name, name) && bitmap->recording && !bitmap->inconsistent &&
        !bitmap->missing && varve_disk_find (facts->disks, bitmap->disk) != NULL)
      g_ptr_array_add (disks, g_strdup (bitmap->disk));
  }
  return disks;
}

/* On any disk, sound or not. */
static bool
has_bitmap (const VarveCheckFacts *facts, const char *name)
{
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (!bitmap->missing && g_str_equal (bitmap->name, name) &&
        varve_disk_find (facts->disks, bitmap->disk) != NULL)
      return true;
  }
  return false;
}

static bool
lacks_bitmap (const VarveCheckFacts *facts, const char *disk, const char *name)
{
  const VarveBitmap *bitmap = varve_bitmap_find (facts->bitmaps, disk, name);

  return bitmap == NULL || bitmap->missing;
}

static void
take_disks (VarveFindingFacts *finding, GPtrArray *disks)
{
  g_ptr_array_unref (finding->disks);
  finding->disks = g_ptr_array_ref (disks);
}

/* The record names @disk, and is wrong about it. */
static void
add_wrong (VarveCheck *check, VarveCheckKind kind, const VarveCheckpointMetadata *record,
           const char *disk, GPtrArray *sound)
{
  VarveFindingFacts *finding = varve_check_add (check, kind, record->name, disk);

  finding->what =
      kind == VARVE_CHECK_RECORD_OF_LOST_DISK
          ? g_strdup_printf ("libvirt's record of the checkpoint names disk '%s', which the domain "
                             "does not have any more.",
                             disk)
          : g_strdup_printf (
                "libvirt's record of the checkpoint names disk '%s', which does not have "
                "its bitmap.",
                disk);
  finding->meaning = g_strdup ("libvirt refuses to delete the checkpoint or to tell its size.");
  take_disks (finding, sound);
  if (sound->len > 0)
    varve_check_offer (check, finding, VARVE_REPAIR_RECORD,
                       g_strdup ("The record is made anew with the disks that have the bitmap."));
  else if (has_bitmap (check->facts, record->name))
    varve_check_refuse (finding,
                        g_strdup ("What is left of the checkpoint is broken, and the record "
                                  "goes with that."));
  else
    varve_check_offer (check, finding, VARVE_REPAIR_FORGET, g_strdup ("The record is removed."));
}

static void
check_record (VarveCheck *check, const VarveCheckpointMetadata *record)
{
  const VarveCheckFacts *facts = check->facts;
  g_autoptr (GPtrArray) sound = sound_disks (facts, record->name);

  for (guint i = 0; i < record->disks->len; i++) {
    const char *disk = g_ptr_array_index (record->disks, i);

    if (varve_disk_find (facts->disks, disk) == NULL)
      add_wrong (check, VARVE_CHECK_RECORD_OF_LOST_DISK, record, disk, sound);
    else if (lacks_bitmap (facts, disk, record->name))
      add_wrong (check, VARVE_CHECK_RECORD_WITHOUT_BITMAP, record, disk, sound);
  }
  if (record->disks->len == 0 && !has_bitmap (facts, record->name)) {
    VarveFindingFacts *finding =
        varve_check_add (check, VARVE_CHECK_RECORD_WITHOUT_BITMAP, record->name, NULL);

    finding->what =
        g_strdup ("libvirt has a record of the checkpoint, and no disk has its bitmap.");
    finding->meaning = g_strdup ("No backup can use it.");
    varve_check_offer (check, finding, VARVE_REPAIR_FORGET, g_strdup ("The record is removed."));
  }
}

/* A bitmap that libvirt does not know of, or not on all of its disks. */
static void
check_unrecorded (VarveCheck *check, const char *name)
{
  const VarveCheckFacts *facts = check->facts;
  const VarveCheckpointMetadata *record = varve_checkpoint_metadata_find (facts->records, name);
  g_autoptr (GPtrArray) sound = sound_disks (facts, name);
  VarveFindingFacts *finding;
  const char *first = NULL;

  for (guint i = 0; first == NULL && i < sound->len; i++) {
    const char *disk = g_ptr_array_index (sound, i);

    if (record == NULL || !contains (record->disks, disk))
      first = disk;
  }
  if (first == NULL)
    return;
  finding = varve_check_add (check, VARVE_CHECK_BITMAP_WITHOUT_RECORD, name, first);
  finding->what = g_strdup_printf ("Disk '%s' has the bitmap of the checkpoint, and libvirt has no "
                                   "record of it.",
                                   first);
  finding->meaning =
      g_strdup ("varve finds it by its name and tells libvirt when it needs it; libvirt "
                "itself neither lists nor deletes it, and forgets it when disks are "
                "copied or snapshots taken.");
  take_disks (finding, sound);
  varve_check_offer (check, finding, VARVE_REPAIR_RECORD,
                     g_strdup ("libvirt is told of the checkpoint."));
}

/* Bitmaps are looked at before records. */
static bool
is_to_be_removed (const VarveCheck *check, const char *checkpoint)
{
  for (guint i = 0; i < check->findings->len; i++) {
    const VarveFindingFacts *finding = g_ptr_array_index (check->findings, i);

    if (finding->repair == VARVE_REPAIR_REMOVE && g_str_equal (finding->checkpoint, checkpoint))
      return true;
  }
  return false;
}

/* Ours, and not one that goes as a whole, the record with it: by its session, because there is no such
 * backup, or as no disk can use it. */
static bool
is_looked_at (const VarveCheck *check, const char *checkpoint)
{
  const VarveCheckFacts *facts = check->facts;
  g_auto (VarveCheckpointName) name = { NULL };

  if (is_to_be_removed (check, checkpoint) || !varve_checkpoint_name_parse (checkpoint, &name) ||
      varve_check_is_tentative (facts, checkpoint, &name))
    return false;
  return varve_check_find_backup (facts, name.owner, name.backup, NULL) !=
             VARVE_CHECK_BACKUP_ABSENT ||
         !has_bitmap (facts, checkpoint);
}

/* Each name once, where it comes first. */
static bool
is_first (GPtrArray *bitmaps, guint index)
{
  const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, index);

  for (guint i = 0; i < index; i++)
    if (g_str_equal (((VarveBitmap *)g_ptr_array_index (bitmaps, i))->name, bitmap->name))
      return false;
  return true;
}

void
varve_check_records (VarveCheck *check)
{
  const VarveCheckFacts *facts = check->facts;

  if (!facts->keeps_records)
    return;
  for (guint i = 0; i < facts->records->len; i++) {
    const VarveCheckpointMetadata *record = g_ptr_array_index (facts->records, i);

    if (is_looked_at (check, record->name))
      check_record (check, record);
  }
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (is_first (facts->bitmaps, i) && is_looked_at (check, bitmap->name))
      check_unrecorded (check, bitmap->name);
  }
}
