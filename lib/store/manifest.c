/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/manifest.h"

#include "util/clock.h"

/* Counted by hand, as the public VarveBackup shares it. */
typedef struct {
  VarveManifest manifest;
  gatomicrefcount refs;
} Counted;

static void
disk_free (gpointer data)
{
  VarveManifestDisk *disk = data;

  g_free (disk->name);
  g_free (disk->source_format);
  g_free (disk->decision);
  g_free (disk->reason);
  g_free (disk->base);
  g_free (disk->file);
  g_free (disk->sums_file);
  g_free (disk->sums_hash);
  g_free (disk);
}

VarveManifest *
varve_manifest_new (const char *id)
{
  Counted *counted = g_new0 (Counted, 1);

  g_atomic_ref_count_init (&counted->refs);
  counted->manifest.id = g_strdup (id);
  counted->manifest.notes = g_ptr_array_new_with_free_func (g_free);
  counted->manifest.disks = g_ptr_array_new_with_free_func (disk_free);
  return &counted->manifest;
}

VarveManifest *
varve_manifest_ref (VarveManifest *manifest)
{
  g_atomic_ref_count_inc (&((Counted *)manifest)->refs);
  return manifest;
}

void
varve_manifest_unref (VarveManifest *manifest)
{
  if (manifest == NULL || !g_atomic_ref_count_dec (&((Counted *)manifest)->refs))
    return;
  g_free (manifest->id);
  g_free (manifest->domain);
  g_free (manifest->uuid);
  g_free (manifest->uri);
  g_free (manifest->owner);
  g_free (manifest->checkpoint);
  g_free (manifest->strategy);
  g_free (manifest->consistency);
  g_free (manifest->why_not_xml);
  g_ptr_array_unref (manifest->notes);
  g_ptr_array_unref (manifest->disks);
  g_free (manifest);
}

VarveManifestDisk *
varve_manifest_add_disk (VarveManifest *manifest, const char *name)
{
  VarveManifestDisk *disk = g_new0 (VarveManifestDisk, 1);

  disk->name = g_strdup (name);
  g_ptr_array_add (manifest->disks, disk);
  return disk;
}

VarveManifestDisk *
varve_manifest_find_disk (const VarveManifest *manifest, const char *name)
{
  for (guint i = 0; i < manifest->disks->len; i++) {
    VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);

    if (g_str_equal (disk->name, name))
      return disk;
  }
  return NULL;
}
