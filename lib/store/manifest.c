/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/manifest.h"

#include "util/clock.h"
#include "util/error.h"
#include "util/hex.h"
#include "util/xxh3.h"

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

static void
file_free (gpointer data)
{
  VarveManifestFile *file = data;

  g_free (file->name);
  g_free (file->hash);
  g_free (file);
}

VarveManifest *
varve_manifest_new (const char *id)
{
  Counted *counted = g_new0 (Counted, 1);

  g_atomic_ref_count_init (&counted->refs);
  counted->manifest.id = g_strdup (id);
  counted->manifest.notes = g_ptr_array_new_with_free_func (g_free);
  counted->manifest.files = g_ptr_array_new_with_free_func (file_free);
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
  g_ptr_array_unref (manifest->files);
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

static char *
hash_of (GBytes *data)
{
  XXH128_canonical_t hash;
  size_t length;
  const void *bytes = g_bytes_get_data (data, &length);

  XXH128_canonicalFromHash (&hash, XXH3_128bits (bytes, length));
  return varve_hex (hash.digest, sizeof hash.digest);
}

VarveManifestFile *
varve_manifest_add_file (VarveManifest *manifest, const char *name)
{
  VarveManifestFile *file = g_new0 (VarveManifestFile, 1);

  file->name = g_strdup (name);
  g_ptr_array_add (manifest->files, file);
  return file;
}

void
varve_manifest_sum_file (VarveManifest *manifest, const char *name, GBytes *data)
{
  VarveManifestFile *file = varve_manifest_add_file (manifest, name);

  file->size = g_bytes_get_size (data);
  file->hash = hash_of (data);
}

bool
varve_manifest_check_file (const VarveManifest *manifest, const char *name, GBytes *data,
                           GError **error)
{
  g_autofree char *hash = hash_of (data);

  for (guint i = 0; i < manifest->files->len; i++) {
    const VarveManifestFile *file = g_ptr_array_index (manifest->files, i);

    if (g_str_equal (file->name, name) &&
        (file->size != g_bytes_get_size (data) || !g_str_equal (file->hash, hash)))
      return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                          "The file '%s' is not as it was written: it has %zu bytes and the sum "
                          "%s, and should have %" G_GUINT64_FORMAT " and %s.",
                          name, g_bytes_get_size (data), hash, file->size, file->hash);
  }
  return true;
}
