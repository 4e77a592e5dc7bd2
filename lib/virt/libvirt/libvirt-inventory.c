/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The disks of a domain. What runs is told by libvirt, as the images belong to QEMU then; what is
 * off is told by the images, opened as the domain document says. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include "qemu/bitmap-directory.h"

static VarveDisk *
disk_new (const VarveLibvirtDisk *known)
{
  VarveDisk *disk = varve_disk_new (known->name);

  disk->format = g_strdup (known->format);
  disk->path = g_strdup (known->path);
  disk->iothread = known->iothread;
  return disk;
}

static void
refuse (VarveDisk *disk, char *why)
{
  disk->can_back_up = false;
  disk->can_persist = false;
  g_free (disk->why_not);
  disk->why_not = why;
}

/* libvirt makes no checkpoint where the image cannot store it, so there is no bitmap that dies with
 * QEMU either (its own <dataStore> came in 10.10, and is not made use of). A header that cannot be
 * read from here is given the benefit of the doubt: version 2 went out of use with QEMU 1.7, and
 * libvirt says so at the start. */
static void
fill_persistence (const VarveLibvirtDomain *self, VarveDisk *disk, GCancellable *cancellable)
{
  g_autoptr (VarveImage) image = NULL;
  g_autoptr (VarveImageInfo) info = NULL;

  if (g_strcmp0 (disk->format, "qcow2") != 0) {
    disk->why_not_persist = g_strdup_printf (
        "libvirt keeps no checkpoints in images of format '%s'; only qcow2 can hold them",
        disk->format ? disk->format : "unknown");
    return;
  }
  disk->can_persist = true;
  if (!disk->path || !self->base.local)
    return;
  image = varve_image_new (disk->path, disk->format, NULL);
  info = varve_image_bitmaps (image, cancellable, NULL);
  if (info && !info->can_persist) {
    disk->can_persist = false;
    disk->why_not_persist =
        g_strdup ("its qcow2 image is of version 2 (compat=0.10), which cannot hold bitmaps; "
                  "'qemu-img amend -o compat=1.1' changes that while the domain is off");
  }
}

static VarveDisk *
running_disk (VarveLibvirtDomain *self, const VarveLibvirtDisk *known, GCancellable *cancellable)
{
  VarveDisk *disk = disk_new (known);
  char *why = varve_libvirt_disk_why_not (known, false);
  virDomainBlockInfo info;

  disk->can_back_up = true;
  if (why) {
    refuse (disk, why);
    return disk;
  }
  fill_persistence (self, disk, cancellable);
  if (virDomainGetBlockInfo (self->domain, known->name, &info, 0) < 0)
    refuse (disk, g_strdup_printf ("libvirt cannot tell its size: %s", virGetLastErrorMessage ()));
  else
    disk->size = info.capacity;
  return disk;
}

static GPtrArray *
running_inventory (VarveLibvirtDomain *self, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition (self, 0, error);
  g_autoptr (GPtrArray) disks = NULL;

  if (!definition)
    return NULL;
  disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  for (guint i = 0; i < definition->disks->len; i++) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return NULL;
    g_ptr_array_add (disks,
                     running_disk (self, g_ptr_array_index (definition->disks, i), cancellable));
  }
  return g_steal_pointer (&disks);
}

/* (transfer full) */
static VarveDisk *
take_disk (GPtrArray *disks, const char *name)
{
  for (guint i = 0; disks && i < disks->len; i++) {
    const VarveDisk *disk = g_ptr_array_index (disks, i);

    if (g_str_equal (disk->name, name))
      return g_ptr_array_steal_index (disks, i);
  }
  return NULL;
}

static VarveDisk *
stopped_disk (const VarveLibvirtDisk *known, GPtrArray *images)
{
  VarveDisk *disk = take_disk (images, known->name);

  if (disk) {
    disk->iothread = known->iothread;
    return disk;
  }
  disk = disk_new (known);
  refuse (disk, varve_libvirt_disk_why_not (known, true));
  return disk;
}

static GPtrArray *
stopped_inventory (VarveLibvirtDomain *self, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition =
      varve_libvirt_definition (self, VIR_DOMAIN_XML_INACTIVE, error);
  g_autoptr (VarveDomain) stopped = NULL;
  g_autoptr (GPtrArray) images = NULL;
  g_autoptr (GPtrArray) disks = NULL;

  if (!definition)
    return NULL;
  if (!varve_libvirt_stopped_open (self, definition, &stopped, cancellable, error) ||
      (stopped && !varve_domain_inventory (stopped, &images, cancellable, error)))
    return NULL;
  disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  for (guint i = 0; i < definition->disks->len; i++)
    g_ptr_array_add (disks, stopped_disk (g_ptr_array_index (definition->disks, i), images));
  return g_steal_pointer (&disks);
}

bool
varve_libvirt_inventory (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                         GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  *out = state == VARVE_DOMAIN_OFF ? stopped_inventory (self, cancellable, error)
                                   : running_inventory (self, cancellable, error);
  return *out != NULL;
}
