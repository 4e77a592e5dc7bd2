/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A domain that is off: libvirt refuses backups and checkpoints of it, so the image driver does the
 * work, and libvirt is told of the checkpoints by metadata. The bitmap in the image is the truth;
 * metadata without it is reported as inconsistent, a bitmap without metadata is listed all the
 * same. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

static void
add_image (GHashTable *images, const VarveLibvirtDisk *disk)
{
  g_autofree char *why_not = varve_libvirt_disk_why_not (disk, true);

  if (!why_not)
    g_hash_table_insert (images, g_strdup (disk->name),
                         varve_image_new (disk->path, disk->format, NULL));
}

bool
varve_libvirt_stopped_open (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                            VarveDomain **out, GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);
  VarveDomainAddress address = {
    .uri = "image:", .name = self->base.name, .uuid = self->base.uuid, .images = images
  };

  *out = NULL;
  if (!self->base.local)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s' is off, and its images are on another host: start it, or run "
                        "varve on that host.",
                        self->base.name);
  for (guint i = 0; i < definition->disks->len; i++)
    add_image (images, g_ptr_array_index (definition->disks, i));
  if (g_hash_table_size (images) == 0)
    return true;
  *out = varve_image_domain_open (&address, cancellable, error);
  return *out != NULL;
}

bool
varve_libvirt_stopped_domain (VarveLibvirtDomain *self, VarveDomain **out,
                              GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition =
      varve_libvirt_definition (self, VIR_DOMAIN_XML_INACTIVE, error);

  *out = NULL;
  return definition && varve_libvirt_stopped_open (self, definition, out, cancellable, error);
}

bool
varve_libvirt_stopped_need (VarveLibvirtDomain *self, VarveDomain **out, GCancellable *cancellable,
                            GError **error)
{
  if (!varve_libvirt_stopped_domain (self, out, cancellable, error))
    return false;
  return *out || varve_throw (error, VARVE_ERROR_REFUSED,
                              "Domain '%s' is off, and none of its disks can be read without it: "
                              "start it first.",
                              self->base.name);
}

bool
varve_libvirt_stopped_check (VarveLibvirtDomain *self, const VarveStart *start,
                             VarveStartReport **out, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) images = NULL;

  return varve_libvirt_stopped_need (self, &images, cancellable, error) &&
         varve_domain_check (images, start, out, cancellable, error);
}

bool
varve_libvirt_stopped_register (VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  g_autoptr (GPtrArray) disks = varve_start_marked_disks (start);
  int64_t now = g_get_real_time () / G_USEC_PER_SEC;

  return disks->len == 0 ||
         varve_libvirt_checkpoint_define (self, start->checkpoint, start->description, now, disks,
                                          false, error);
}

/* On failure the bitmaps go again, so that nothing is left of the start. */
static bool
register_checkpoint (VarveLibvirtDomain *self, VarveLibvirtSnapshot *snapshot, GError **error)
{
  const VarveStart *start = snapshot->base.start;

  if (varve_libvirt_stopped_register (self, start, error))
    return true;
  if (varve_snapshot_end (snapshot->image_snapshot, false, NULL, NULL))
    varve_domain_checkpoint_remove (snapshot->images, start->checkpoint, NULL, NULL);
  return false;
}

bool
varve_libvirt_stopped_start (VarveLibvirtDomain *self, const VarveStart *start, VarveSnapshot **out,
                             uint64_t *out_pause_us, GCancellable *cancellable, GError **error)
{
  VarveLibvirtSnapshot *snapshot;
  VarveDomain *images;

  if (!varve_libvirt_stopped_need (self, &images, cancellable, error))
    return false;
  snapshot = varve_libvirt_snapshot_new (&self->base, start);
  snapshot->images = images;
  if (!varve_domain_start (images, start, &snapshot->image_snapshot, out_pause_us, cancellable,
                           error) ||
      !register_checkpoint (self, snapshot, error)) {
    varve_libvirt_snapshot_free (&snapshot->base);
    return false;
  }
  *out = &snapshot->base;
  return true;
}

bool
varve_libvirt_stopped_end (VarveLibvirtDomain *self, const VarveStart *start, bool start_was_cut,
                           GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) images = NULL;
  g_autoptr (VarveSnapshot) left = NULL;

  /* Images of another host were never opened. */
  if (!self->base.local)
    return true;
  if (!varve_libvirt_stopped_domain (self, &images, cancellable, error))
    return false;
  return !images || (varve_domain_attach (images, start, &left, cancellable, error) &&
                     varve_snapshot_end (left, start_was_cut, cancellable, error));
}
