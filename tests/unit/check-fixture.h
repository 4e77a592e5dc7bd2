/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A healthy domain as `checkpoint check` sees it: two disks with two backups' checkpoints each, and a stranger's. */
#pragma once

#include "checkpoint/check.h"

#define UUID    "11111111-2222-3333-4444-555555555555"
#define ANOTHER "99999999-2222-3333-4444-555555555555"
#define STORE   "1f0c77ab"
#define OWNER   "nightly-" STORE
#define ID_A    "20260101T000000Z-00000000000000aa"
#define ID_B    "20260102T000000Z-00000000000000bb"
#define ID_C    "20260103T000000Z-00000000000000cc"
#define CK_A    "varve." OWNER "." ID_A ".00000001"
#define CK_B    "varve." OWNER "." ID_B ".00000002"
#define CK_C    "varve." OWNER "." ID_C ".00000003"
#define CK_X    "varve.x-acme." ID_C ".00000004"
#define FOREIGN "virtnbdbackup.0"
#define SESSION "0123456789abcdef"
#define GIB     (1ull << 30)

typedef struct {
  VarveCheckFacts facts;
  const char *damaged; /* this backup's files fail the cheap check */
} Fixture;

static inline VarveBitmap *
add_bitmap (Fixture *f, const char *disk, const char *name)
{
  VarveBitmap *bitmap = varve_bitmap_new (disk, name);

  bitmap->granularity = 65536;
  bitmap->recording = true;
  bitmap->persistent = true;
  g_ptr_array_add (f->facts.bitmaps, bitmap);
  return bitmap;
}

static inline VarveBitmap *
get_bitmap (Fixture *f, const char *disk, const char *name)
{
  return varve_bitmap_find (f->facts.bitmaps, disk, name);
}

static inline void
drop_bitmap (Fixture *f, const char *disk, const char *name)
{
  g_ptr_array_remove (f->facts.bitmaps, get_bitmap (f, disk, name));
}

static inline VarveCheckpointMetadata *
get_record (Fixture *f, const char *name)
{
  return varve_checkpoint_metadata_find (f->facts.records, name);
}

static inline void
add_record (Fixture *f, const char *name)
{
  VarveCheckpointMetadata *record = varve_checkpoint_metadata_new (name);

  g_ptr_array_add (record->disks, g_strdup ("vda"));
  g_ptr_array_add (record->disks, g_strdup ("vdb"));
  g_ptr_array_add (f->facts.records, record);
}

static inline VarveCheckBackup *
add_backup (Fixture *f, const char *id, const char *checkpoint)
{
  VarveCheckBackup *backup = varve_check_backup_new (STORE, id);

  backup->owner = g_strdup (OWNER);
  backup->checkpoint = g_strdup (checkpoint);
  backup->uuid = g_strdup (UUID);
  backup->domain = g_strdup ("web01");
  varve_check_backup_add_disk (backup, "vda", GIB, true);
  varve_check_backup_add_disk (backup, "vdb", GIB, true);
  g_ptr_array_add (f->facts.backups, backup);
  return backup;
}

static inline VarveCheckBackup *
get_backup (Fixture *f, unsigned index)
{
  return g_ptr_array_index (f->facts.backups, index);
}

static inline VarveCheckSession *
add_session (Fixture *f)
{
  VarveCheckSession *session = varve_check_session_new (SESSION);

  session->recorded = true;
  session->owner = g_strdup (OWNER);
  session->backup = g_strdup (ID_C);
  session->checkpoint = g_strdup (CK_C);
  g_ptr_array_add (f->facts.sessions, session);
  return session;
}

static inline VarveDisk *
get_disk (Fixture *f, const char *name)
{
  return varve_disk_find (f->facts.disks, name);
}

static inline char *
check_base (const VarveCheckBackup *backup, const char *disk, gpointer data)
{
  const Fixture *f = data;

  return g_strcmp0 (backup->id, f->damaged) == 0 ? g_strdup ("a file is too short") : NULL;
}

static inline void
fill_disks (Fixture *f)
{
  const char *const names[] = { "vda", "vdb" };

  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    VarveDisk *disk = varve_disk_new (names[i]);

    disk->size = GIB;
    disk->can_persist = true;
    disk->can_back_up = true;
    g_ptr_array_add (f->facts.disks, disk);
    add_bitmap (f, names[i], CK_A);
    add_bitmap (f, names[i], CK_B);
    add_bitmap (f, names[i], FOREIGN)->inconsistent = true;
  }
}

static inline void
fixture_init (Fixture *f)
{
  VarveCheckFacts *facts = &f->facts;

  *f = (Fixture){ .facts = { .uuid = UUID, .owner = "nightly", .keeps_records = true } };
  facts->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  facts->bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  facts->records = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_metadata_free);
  facts->sessions = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_check_session_free);
  facts->stores = g_ptr_array_new_with_free_func (g_free);
  facts->backups = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_check_backup_free);
  facts->check_base = check_base;
  facts->check_data = f;
  fill_disks (f);
  g_ptr_array_add (facts->stores, g_strdup (STORE));
  add_backup (f, ID_A, CK_A);
  add_backup (f, ID_B, CK_B);
  add_record (f, FOREIGN);
  add_record (f, CK_A);
  add_record (f, CK_B);
}

static inline void
fixture_clear (Fixture *f)
{
  g_ptr_array_unref (f->facts.disks);
  g_ptr_array_unref (f->facts.bitmaps);
  g_ptr_array_unref (f->facts.records);
  g_ptr_array_unref (f->facts.sessions);
  g_ptr_array_unref (f->facts.stores);
  g_ptr_array_unref (f->facts.backups);
}
