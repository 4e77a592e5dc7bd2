/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A stopped domain by its images: what is there. Whatever looks at an image does so under QEMU's
 * locks, so that a domain that has been started meanwhile is VARVE_ERROR_BUSY and never a torn
 * read. */
#include "config.h"
#include "virt/image/image-domain.h"

#include "util/error.h"

static const VarveDomainOps image_ops;

const VarveImage *
varve_image_domain_image (VarveImageDomain *domain, const char *disk, GError **error)
{
  const VarveImage *image = g_hash_table_lookup (domain->images, disk);

  if (!image)
    varve_throw (error, VARVE_ERROR_NOT_FOUND, "Domain '%s' has no disk '%s'.", domain->base.name,
                 disk);
  return image;
}

const VarveImageBitmap *
varve_image_domain_bitmap (const VarveImageInfo *info, const char *name)
{
  for (guint i = 0; i < info->bitmaps->len; i++) {
    const VarveImageBitmap *bitmap = g_ptr_array_index (info->bitmaps, i);

    if (g_str_equal (bitmap->name, name))
      return bitmap;
  }
  return NULL;
}

static VarveDisk *
disk_from_info (const char *name, const VarveImage *image, const VarveImageInfo *info)
{
  VarveDisk *disk = varve_disk_new (name);

  disk->size = info->size;
  disk->format = g_strdup (image->format);
  disk->path = g_strdup (image->path);
  disk->can_persist = info->can_persist;
  if (!info->can_persist)
    disk->why_not_persist =
        g_str_equal (image->format, "qcow2")
            ? g_strdup ("a qcow2 image of version 2 cannot store bitmaps: convert it with qemu-img "
                        "amend -o compat=1.1")
            : g_strdup_printf ("a %s image cannot store bitmaps", image->format);
  disk->can_back_up = info->size > 0;
  if (!disk->can_back_up)
    disk->why_not = g_strdup ("it is empty");
  return disk;
}

static bool
image_inventory (VarveDomain *base, GPtrArray **out_disks, GCancellable *cancellable,
                 GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;
  g_autoptr (GPtrArray) disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);

  for (guint i = 0; i < domain->names->len; i++) {
    const char *name = g_ptr_array_index (domain->names, i);
    g_autoptr (VarveImageInfo) info = varve_image_domain_info (domain, name, cancellable, error);

    if (!info)
      return false;
    g_ptr_array_add (disks,
                     disk_from_info (name, g_hash_table_lookup (domain->images, name), info));
  }
  *out_disks = g_steal_pointer (&disks);
  return true;
}

/* Asks in any case: who has started the domain holds its images' locks, and need not have changed them. */
static bool
image_state (VarveDomain *base, VarveDomainState *out, GCancellable *cancellable, GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;

  for (guint i = 0; i < domain->names->len; i++) {
    const char *name = g_ptr_array_index (domain->names, i);
    g_autoptr (VarveImageInfo) info =
        varve_image_domain_info_now (domain, name, cancellable, error);

    if (!info)
      return false;
  }
  *out = VARVE_DOMAIN_OFF;
  return true;
}

static bool
image_files (VarveDomain *base, VarveDomainFiles *out, GCancellable *cancellable, GError **error)
{
  out->why_not = g_strdup ("Only the images of the domain are known, no definition of it.");
  return true;
}

/* What is off is not paused. */
static bool
image_resume (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  return true;
}

static void
image_domain_free (VarveDomain *base)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;

  g_ptr_array_unref (domain->names);
  g_hash_table_unref (domain->images);
  g_hash_table_unref (domain->headers);
  g_free (base->uri);
  g_free (base->name);
  g_free (base->uuid);
  g_free (domain);
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return g_strcmp0 (*(const char *const *)a, *(const char *const *)b);
}

static void
copy_images (VarveImageDomain *domain, GHashTable *images)
{
  GHashTableIter iter;
  gpointer key, value;

  g_hash_table_iter_init (&iter, images);
  while (g_hash_table_iter_next (&iter, &key, &value)) {
    char *name = g_strdup (key);

    g_hash_table_insert (domain->images, name, varve_image_copy (value));
    g_ptr_array_add (domain->names, name);
  }
  g_ptr_array_sort (domain->names, compare_names);
}

static bool
check_address (const VarveDomainAddress *address, GError **error)
{
  if (!address->name)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Images do not tell whose they are: give the domain a name.");
  if (!address->images || g_hash_table_size (address->images) == 0)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Domain '%s' is off and no image of it is named: give at least one, with "
                        "its format.",
                        address->name);
  return !address->uuid || g_uuid_string_is_valid (address->uuid) ||
         varve_throw (error, VARVE_ERROR_USAGE, "Domain '%s': '%s' is no uuid.", address->name,
                      address->uuid);
}

VarveDomain *
varve_image_domain_open (const VarveDomainAddress *address, GCancellable *cancellable,
                         GError **error)
{
  if (!check_address (address, error))
    return NULL;

  VarveImageDomain *domain = g_new0 (VarveImageDomain, 1);
  domain->base.ops = &image_ops;
  domain->base.uri = g_strdup (address->uri);
  domain->base.name = g_strdup (address->name);
  domain->base.uuid = address->uuid ? g_ascii_strdown (address->uuid, -1)
                                    : varve_domain_uuid_from_name (address->name);
  domain->base.local = true;
  domain->images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);
  domain->headers =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, varve_image_header_free);
  domain->names = g_ptr_array_new ();
  copy_images (domain, address->images);
  return &domain->base;
}

static const VarveDomainOps image_ops = {
  .name = "image",
  .inventory = image_inventory,
  .bitmaps = varve_image_domain_bitmaps,
  .state = image_state,
  .files = image_files,
  .check = varve_image_domain_check,
  .start = varve_image_domain_start,
  .attach = varve_image_domain_attach,
  .endpoint = varve_image_snapshot_endpoint,
  .poll = varve_image_snapshot_poll,
  .progress = varve_image_snapshot_progress,
  .set_speed = varve_image_snapshot_set_speed,
  .finish = varve_image_snapshot_finish,
  .end = varve_image_snapshot_end,
  .snapshot_free = varve_image_snapshot_free,
  .rewrite = varve_image_rewrite,
  .rewrite_endpoint = varve_image_rewrite_endpoint,
  .rewrite_finish = varve_image_rewrite_finish,
  .rewrite_free = varve_image_rewrite_free,
  .checkpoint_remove = varve_image_checkpoint_remove,
  .checkpoint_add = varve_image_checkpoint_add,
  .checkpoint_merge = varve_image_checkpoint_merge,
  .resume = image_resume,
  .free = image_domain_free,
};
