/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints: removal, and the metadata that libvirt keeps of them.
 *
 * While the domain runs, libvirt removes bitmaps and metadata in one step, unless a bitmap of it
 * has been lost: then libvirt 9.0 refuses the whole removal ("bitmap … not found in backing
 * chain"). So the metadata is then forgotten and made anew disk by disk, each removed alone: what
 * is there goes, what is not there is no error. The same finds bitmaps that libvirt has no metadata
 * of. Off, libvirt removes nothing: the bitmaps go by the image driver, the metadata after them, so
 * that a cut in between leaves metadata that is seen to be empty. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include "qemu/bitmap-directory.h"
#include "util/failpoint.h"

#define NO_BITMAP "not found in backing chain"

bool
varve_libvirt_checkpoint_lookup (VarveLibvirtDomain *self, const char *name,
                                 virDomainCheckpoint **out, GError **error)
{
  *out = virDomainCheckpointLookupByName (self->domain, name, 0);
  if (*out || varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN_CHECKPOINT)
    return true;
  return varve_libvirt_throw (error, "Cannot look up checkpoint '%s' of domain '%s'", name,
                              self->base.name);
}

bool
varve_libvirt_checkpoint_define (VarveLibvirtDomain *self, const char *name,
                                 const char *description, int64_t created, GPtrArray *disks,
                                 bool validate, GError **error)
{
  g_autofree char *xml = varve_libvirt_format_redefine (name, description, created, disks);
  unsigned flags = VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE |
                   (validate ? VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE : 0);
  g_autoptr (virDomainCheckpoint) defined = virDomainCheckpointCreateXML (self->domain, xml, flags);

  return defined || varve_libvirt_throw (error, "Cannot tell libvirt of checkpoint '%s' of '%s'",
                                         name, self->base.name);
}

bool
varve_libvirt_checkpoint_forget (VarveLibvirtDomain *self, const char *name, GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  if (!known || virDomainCheckpointDelete (known, VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY) == 0)
    return true;
  return varve_libvirt_throw (error, "Cannot make libvirt forget checkpoint '%s' of domain '%s'",
                              name, self->base.name);
}

/* --- running
 * --------------------------------------------------------------------------------------- */

/* Removes the bitmap from one disk, of which libvirt has no metadata. Not there: no error. */
static bool
remove_from_disk (VarveLibvirtDomain *self, const char *name, const char *disk, GError **error)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  g_autoptr (virDomainCheckpoint) known = NULL;

  g_ptr_array_add (disks, (char *)disk);
  if (!varve_libvirt_checkpoint_define (self, name, NULL, 0, disks, false, error) ||
      !varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  if (!known || virDomainCheckpointDelete (known, 0) == 0)
    return true;
  if (!varve_libvirt_error_says (NO_BITMAP))
    return varve_libvirt_throw (error, "Cannot remove bitmap '%s' from disk '%s' of domain '%s'",
                                name, disk, self->base.name);
  return varve_libvirt_checkpoint_forget (self, name, error);
}

static bool
remove_disk_by_disk (VarveLibvirtDomain *self, const char *name, GCancellable *cancellable,
                     GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition (self, 0, error);

  if (!definition || !varve_libvirt_checkpoint_forget (self, name, error))
    return false;
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *disk = g_ptr_array_index (definition->disks, i);

    if (g_strcmp0 (disk->format, "qcow2") != 0 || !disk->has_medium)
      continue;
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        !remove_from_disk (self, name, disk->name, error))
      return false;
  }
  return true;
}

static bool
remove_running (VarveLibvirtDomain *self, const char *name, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  if (known && virDomainCheckpointDelete (known, 0) == 0)
    return true;
  if (known && !varve_libvirt_error_says (NO_BITMAP) &&
      varve_libvirt_error_code () != VIR_ERR_CHECKPOINT_INCONSISTENT)
    return varve_libvirt_throw (error, "Cannot remove checkpoint '%s' of domain '%s'", name,
                                self->base.name);
  return remove_disk_by_disk (self, name, cancellable, error);
}

/* --- both
 * ------------------------------------------------------------------------------------------ */

static bool
remove_stopped (VarveLibvirtDomain *self, const char *name, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (VarveDomain) images = NULL;

  if (!varve_libvirt_stopped_domain (self, &images, cancellable, error))
    return false;
  return (!images || varve_domain_checkpoint_remove (images, name, cancellable, error)) &&
         varve_libvirt_checkpoint_forget (self, name, error);
}

/* QEMU still has the bitmap on @disk: it stands in the image's header, or libvirt finds it good. */
static bool
has_bitmap (VarveLibvirtDomain *self, const char *name, const VarveLibvirtDisk *disk,
            GCancellable *cancellable)
{
  g_autoptr (VarveImage) image = varve_image_new (disk->path, disk->format, NULL);
  g_autoptr (VarveImageInfo) info = varve_image_bitmaps (image, cancellable, NULL);
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();

  for (guint i = 0; info && i < info->bitmaps->len; i++) {
    if (g_str_equal (((VarveImageBitmap *)g_ptr_array_index (info->bitmaps, i))->name, name))
      return true;
  }
  g_ptr_array_add (disks, disk->name);
  if (!varve_libvirt_checkpoint_define (self, name, NULL, 0, disks, true, NULL))
    return false;
  varve_libvirt_checkpoint_forget (self, name, NULL);
  return true;
}

static bool
no_bitmap_left (VarveLibvirtDomain *self, const char *name, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition (self, 0, error);

  if (!definition)
    return false;
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *disk = g_ptr_array_index (definition->disks, i);

    if (disk->path && g_strcmp0 (disk->format, "qcow2") == 0 &&
        has_bitmap (self, name, disk, cancellable))
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Checkpoint '%s' of domain '%s' was removed, and disk '%s' still has the "
                          "bitmap.",
                          name, self->base.name, disk->name);
  }
  return true;
}

static bool
is_gone (VarveLibvirtDomain *self, const char *name, bool running, GCancellable *cancellable,
         GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  if (known)
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Checkpoint '%s' of domain '%s' was removed, and libvirt lists it still. "
                        "See 'virsh checkpoint-list %s'.",
                        name, self->base.name, self->base.name);
  return !running || no_bitmap_left (self, name, cancellable, error);
}

bool
varve_libvirt_checkpoint_remove (VarveDomain *domain, const char *name, GCancellable *cancellable,
                                 GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;
  bool removed;

  if (!varve_libvirt_look (self, &state, cancellable, error) ||
      !varve_failpoint ("libvirt-checkpoint-before", error))
    return false;
  removed = state == VARVE_DOMAIN_OFF ? remove_stopped (self, name, cancellable, error)
                                      : remove_running (self, name, cancellable, error);
  return removed && varve_failpoint ("libvirt-checkpoint-after", error) &&
         is_gone (self, name, state != VARVE_DOMAIN_OFF, cancellable, error);
}
