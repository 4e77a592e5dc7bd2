/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/backup.h"

#include "util/clock.h"
#include "util/durable.h"

#define MANIFEST_BYTES (1u << 20)

struct _VarveBackup {
  GObject parent;
  VarveManifest *manifest;
  char *directory;
  GPtrArray *disks; /* of VarveBackupDisk */
};

G_DEFINE_FINAL_TYPE (VarveBackup, varve_backup, G_TYPE_OBJECT)

static void
varve_backup_finalize (GObject *object)
{
  VarveBackup *backup = VARVE_BACKUP (object);

  g_clear_pointer (&backup->disks, g_ptr_array_unref);
  g_clear_pointer (&backup->manifest, varve_manifest_unref);
  g_clear_pointer (&backup->directory, g_free);
  G_OBJECT_CLASS (varve_backup_parent_class)->finalize (object);
}

static void
varve_backup_class_init (VarveBackupClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_backup_finalize;
}

static void
varve_backup_init (VarveBackup *backup)
{
  /* Other languages may call g_object_new(): a backup of nothing. */
  backup->manifest = varve_manifest_new (NULL);
  backup->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_backup_disk_free);
}

VarveBackup *
varve_backup_from_manifest (VarveManifest *manifest, VarveStoreImpl *store)
{
  VarveBackup *backup = g_object_new (VARVE_TYPE_BACKUP, NULL);

  varve_manifest_unref (backup->manifest);
  backup->manifest = varve_manifest_ref (manifest);
  backup->directory = store->ops->directory (store, manifest);
  for (guint i = 0; i < manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);
    const VarveBackupDisk view = {
      .name = disk->name,
      .size = disk->size,
      .decision = disk->decision,
      .reason = disk->reason,
      .base = disk->base,
      .links = disk->links,
      .read = disk->read,
      .stored = disk->stored,
      .zeroed = disk->zeroed,
      .format = "qcow2",
      .file = disk->file,
      .sums = disk->sums_file ? "xxh3" : "none",
    };

    g_ptr_array_add (backup->disks, varve_backup_disk_copy (&view));
  }
  return backup;
}

const VarveManifest *
varve_backup_manifest (VarveBackup *backup)
{
  return backup->manifest;
}

const char *
varve_backup_get_id (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->id;
}

const char *
varve_backup_get_domain (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->domain;
}

const char *
varve_backup_get_uuid (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->uuid;
}

const char *
varve_backup_get_owner (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->owner;
}

const char *
varve_backup_get_checkpoint (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->checkpoint;
}

gint64
varve_backup_get_time (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), -1);
  return backup->manifest->started;
}

const char *
varve_backup_get_consistency (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->manifest->consistency;
}

const char *
varve_backup_get_directory (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->directory;
}

char *
varve_backup_get_manifest (VarveBackup *backup, GError **error)
{
  g_autofree char *path = NULL;
  char *data = NULL;
  size_t length;

  g_return_val_if_fail (VARVE_IS_BACKUP (backup) && backup->directory != NULL, NULL);
  path = g_build_filename (backup->directory, "manifest.xml", NULL);
  return varve_read_file (path, MANIFEST_BYTES, &data, &length, error) ? data : NULL;
}

GPtrArray *
varve_backup_get_disks (VarveBackup *backup)
{
  g_return_val_if_fail (VARVE_IS_BACKUP (backup), NULL);
  return backup->disks;
}

/* --- a disk ----------------------------------------------------------------------------------- */

G_DEFINE_BOXED_TYPE (VarveBackupDisk, varve_backup_disk, varve_backup_disk_copy,
                     varve_backup_disk_free)

VarveBackupDisk *
varve_backup_disk_copy (const VarveBackupDisk *disk)
{
  VarveBackupDisk *copy;

  g_return_val_if_fail (disk != NULL, NULL);
  copy = g_memdup2 (disk, sizeof *disk);
  copy->name = g_strdup (disk->name);
  copy->decision = g_strdup (disk->decision);
  copy->reason = g_strdup (disk->reason);
  copy->base = g_strdup (disk->base);
  copy->format = g_strdup (disk->format);
  copy->file = g_strdup (disk->file);
  copy->sums = g_strdup (disk->sums);
  return copy;
}

void
varve_backup_disk_free (VarveBackupDisk *disk)
{
  if (disk == NULL)
    return;
  g_free ((char *)disk->name);
  g_free ((char *)disk->decision);
  g_free ((char *)disk->reason);
  g_free ((char *)disk->base);
  g_free ((char *)disk->format);
  g_free ((char *)disk->file);
  g_free ((char *)disk->sums);
  g_free (disk);
}
