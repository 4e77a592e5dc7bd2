/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* libvirt's checkpoints, seen as one bitmap a disk.
 *
 * While the domain runs, libvirt's own answer counts: a disk of a checkpoint whose size it cannot
 * tell has a bitmap that is missing or broken (told as inconsistent). What libvirt has no metadata
 * of is looked for in the header of the image, where bitmaps of earlier runs of QEMU stand; each is
 * shown to libvirt for a moment, which then says whether QEMU has it and how much is dirty. Asking
 * QEMU itself would taint the domain. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <string.h>

#include "qemu/bitmap-directory.h"

#define OWN_PREFIX "varve."

/* A checkpoint is made within milliseconds, unless QEMU is slow to answer. */
#define LIST_PAUSE_US   (20 * 1000)
#define LIST_TIMEOUT_US (10 * G_USEC_PER_SEC)

static void
free_checkpoints (virDomainCheckpoint **list, int count)
{
  for (int i = 0; i < count; i++)
    virDomainCheckpointFree (list[i]);
  g_free (list);
}

VarveLibvirtCheckpoint *
varve_libvirt_checkpoint_describe (VarveLibvirtDomain *self, virDomainCheckpoint *checkpoint,
                                   bool running, GError **error)
{
  unsigned size = running ? VIR_DOMAIN_CHECKPOINT_XML_SIZE : 0;
  g_autofree char *xml =
      virDomainCheckpointGetXMLDesc (checkpoint, VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN | size);

  /* Where the sizes cannot be told, the bitmaps are not to be trusted, but the checkpoint is there: somebody else's
   * must not keep us from our own. A domain that went off in between has neither. */
  if (!xml && running && varve_libvirt_error_code () != VIR_ERR_OPERATION_INVALID)
    xml = virDomainCheckpointGetXMLDesc (checkpoint, VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN);
  if (!xml) {
    varve_libvirt_throw (error, "Cannot read checkpoint '%s' of domain '%s'",
                         virDomainCheckpointGetName (checkpoint), self->base.name);
    return NULL;
  }
  return varve_libvirt_checkpoint_parse (xml, error);
}

/* While libvirt makes a checkpoint, be it for a client that has died since, it counts it and cannot list it in order
 * yet: "name in virGetDomainCheckpoint must not be NULL" (9.0). So it is let finish. */
static int
list_checkpoints (VarveLibvirtDomain *self, virDomainCheckpoint ***out)
{
  gint64 deadline = g_get_monotonic_time () + LIST_TIMEOUT_US;
  int count;

  while ((count = virDomainListAllCheckpoints (self->domain, out,
                                               VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)) < 0 &&
         varve_libvirt_error_code () == VIR_ERR_INVALID_ARG && g_get_monotonic_time () < deadline)
    g_usleep (LIST_PAUSE_US);
  return count;
}

GPtrArray *
varve_libvirt_checkpoints (VarveLibvirtDomain *self, bool running, GError **error)
{
  g_autoptr (GPtrArray) found =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_libvirt_checkpoint_free);
  virDomainCheckpoint **list = NULL;
  int count = list_checkpoints (self, &list);
  bool ok = true;

  if (count < 0) {
    varve_libvirt_throw (error, "Cannot list the checkpoints of domain '%s'", self->base.name);
    return NULL;
  }
  for (int i = 0; ok && i < count; i++) {
    VarveLibvirtCheckpoint *checkpoint =
        varve_libvirt_checkpoint_describe (self, list[i], running, error);

    ok = checkpoint != NULL;
    if (ok)
      g_ptr_array_add (found, checkpoint);
  }
  free_checkpoints (list, count);
  return ok ? g_steal_pointer (&found) : NULL;
}

/* --- running -------------------------------------------------------------------------------------
 */

static void
add_checkpoint (GPtrArray *bitmaps, const VarveLibvirtCheckpoint *checkpoint)
{
  for (guint i = 0; i < checkpoint->disks->len; i++) {
    const VarveLibvirtCheckpointDisk *disk = g_ptr_array_index (checkpoint->disks, i);
    VarveBitmap *bitmap = varve_bitmap_new (disk->disk, checkpoint->name);

    bitmap->persistent = true;
    bitmap->inconsistent = !disk->has_size;
    bitmap->recording = disk->has_size;
    bitmap->dirty = disk->has_size ? disk->size : UINT64_MAX;
    g_ptr_array_add (bitmaps, bitmap);
  }
}

/* What libvirt says of a bitmap that it has no metadata of; NULL: it cannot tell. */
static VarveLibvirtCheckpoint *
show_to_libvirt (VarveLibvirtDomain *self, const char *disk, const char *name)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  g_autoptr (virDomainCheckpoint) shown = NULL;
  VarveLibvirtCheckpoint *checkpoint = NULL;

  g_ptr_array_add (disks, (char *)disk);
  if (!varve_libvirt_checkpoint_define (self, name, NULL, 0, disks, true, NULL))
    return NULL;
  if (varve_libvirt_checkpoint_lookup (self, name, &shown, NULL) && shown)
    checkpoint = varve_libvirt_checkpoint_describe (self, shown, true, NULL);
  varve_libvirt_checkpoint_forget (self, name, NULL);
  return checkpoint;
}

static void
add_orphan (VarveLibvirtDomain *self, GPtrArray *bitmaps, const char *disk, const char *name)
{
  g_autoptr (VarveLibvirtCheckpoint) checkpoint = show_to_libvirt (self, disk, name);
  VarveBitmap *bitmap;

  if (checkpoint) {
    add_checkpoint (bitmaps, checkpoint);
    return;
  }
  bitmap = varve_bitmap_new (disk, name);
  bitmap->persistent = true;
  bitmap->inconsistent = true;
  bitmap->dirty = UINT64_MAX;
  g_ptr_array_add (bitmaps, bitmap);
}

/* Somebody else's is not shown to libvirt, not even for a moment. The header says of it what was
 * so when QEMU opened the image; whether it is sound cannot be told. */
static void
add_foreign (GPtrArray *bitmaps, const char *disk, const VarveImageBitmap *stored)
{
  VarveBitmap *bitmap = varve_bitmap_new (disk, stored->name);

  bitmap->persistent = true;
  bitmap->recording = stored->recording;
  g_ptr_array_add (bitmaps, bitmap);
}

static bool
is_known (GPtrArray *checkpoints, const char *name)
{
  for (guint i = 0; i < checkpoints->len; i++)
    if (g_str_equal (((VarveLibvirtCheckpoint *)g_ptr_array_index (checkpoints, i))->name, name))
      return true;
  return false;
}

/* libvirt gives no granularity; the header has that of bitmaps from earlier runs. One of this run
 * has QEMU's default, the cluster size within 4 KiB and 64 KiB, as libvirt never asks for another.
 */
static void
fill_granularity (GPtrArray *bitmaps, const char *disk, const VarveImageInfo *info)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (g_str_equal (bitmap->disk, disk) && bitmap->granularity == 0 && info->cluster_size > 0)
      bitmap->granularity = (uint32_t)CLAMP (info->cluster_size, 4096, 65536);
  }
  for (guint i = 0; info->bitmaps && i < info->bitmaps->len; i++) {
    const VarveImageBitmap *stored = g_ptr_array_index (info->bitmaps, i);
    VarveBitmap *bitmap = varve_bitmap_find (bitmaps, disk, stored->name);

    if (bitmap)
      bitmap->granularity = stored->granularity;
  }
}

static bool
is_stored (const VarveImageInfo *info, const char *name)
{
  for (guint i = 0; info->bitmaps && i < info->bitmaps->len; i++)
    if (g_str_equal (((VarveImageBitmap *)g_ptr_array_index (info->bitmaps, i))->name, name))
      return true;
  return false;
}

/* Where libvirt cannot tell the size, its bitmap is broken or not there. A bitmap breaks by being read
 * from an image that was not closed, so that one that the header does not have is not there. */
static void
mark_missing (GPtrArray *bitmaps, const char *disk, const VarveImageInfo *info)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (bitmap->inconsistent && g_str_equal (bitmap->disk, disk))
      bitmap->missing = !is_stored (info, bitmap->name);
  }
}

static void
look_into_header (VarveLibvirtDomain *self, const VarveLibvirtDisk *disk, GPtrArray *checkpoints,
                  GPtrArray *bitmaps, GCancellable *cancellable)
{
  g_autoptr (VarveImage) image = varve_image_new (disk->path, disk->format, NULL);
  g_autoptr (VarveImageInfo) info = varve_image_bitmaps (image, cancellable, NULL);

  if (!info)
    return;
  for (guint i = 0; info->bitmaps && i < info->bitmaps->len; i++) {
    const VarveImageBitmap *stored = g_ptr_array_index (info->bitmaps, i);

    if (is_known (checkpoints, stored->name))
      continue;
    if (g_str_has_prefix (stored->name, OWN_PREFIX))
      add_orphan (self, bitmaps, disk->name, stored->name);
    else
      add_foreign (bitmaps, disk->name, stored);
  }
  mark_missing (bitmaps, disk->name, info);
  fill_granularity (bitmaps, disk->name, info);
}

static bool
running_bitmaps (VarveLibvirtDomain *self, GPtrArray *bitmaps, GCancellable *cancellable,
                 GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition (self, 0, error);
  g_autoptr (GPtrArray) checkpoints =
      definition ? varve_libvirt_checkpoints (self, true, error) : NULL;

  if (!checkpoints)
    return false;
  for (guint i = 0; i < checkpoints->len; i++)
    add_checkpoint (bitmaps, g_ptr_array_index (checkpoints, i));
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *disk = g_ptr_array_index (definition->disks, i);

    if (disk->path && g_strcmp0 (disk->format, "qcow2") == 0)
      look_into_header (self, disk, checkpoints, bitmaps, cancellable);
  }
  return true;
}

/* Only those that neither libvirt nor a header knows: what is shown to libvirt takes the place of what
 * it knows. */
static bool
is_unseen (GPtrArray *bitmaps, const char *name)
{
  for (guint i = 0; i < bitmaps->len; i++)
    if (g_str_equal (((VarveBitmap *)g_ptr_array_index (bitmaps, i))->name, name))
      return false;
  return true;
}

static void
find_on_disks (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition, const char *name,
               GPtrArray *bitmaps)
{
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *disk = g_ptr_array_index (definition->disks, i);
    g_autoptr (VarveLibvirtCheckpoint) checkpoint = NULL;

    if (g_strcmp0 (disk->format, "qcow2") == 0 && disk->has_medium)
      checkpoint = show_to_libvirt (self, disk->name, name);
    if (checkpoint)
      add_checkpoint (bitmaps, checkpoint);
  }
}

bool
varve_libvirt_find_bitmaps (VarveDomain *domain, GPtrArray *names, GPtrArray *bitmaps,
                            GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (VarveLibvirtDefinition) definition = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return true;
  for (guint i = 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);

    if (!is_unseen (bitmaps, name))
      continue;
    if (!definition)
      definition = varve_libvirt_definition (self, 0, error);
    if (!definition || g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    find_on_disks (self, definition, name, bitmaps);
  }
  return true;
}

/* --- off -----------------------------------------------------------------------------------------
 */

/* What libvirt believes in and no image has. */
static void
add_lost (GPtrArray *bitmaps, const VarveLibvirtCheckpoint *checkpoint)
{
  for (guint i = 0; i < checkpoint->disks->len; i++) {
    const VarveLibvirtCheckpointDisk *disk = g_ptr_array_index (checkpoint->disks, i);
    VarveBitmap *bitmap;

    if (varve_bitmap_find (bitmaps, disk->disk, disk->bitmap))
      continue;
    bitmap = varve_bitmap_new (disk->disk, checkpoint->name);
    bitmap->persistent = true;
    bitmap->inconsistent = true;
    bitmap->missing = true;
    bitmap->dirty = UINT64_MAX;
    g_ptr_array_add (bitmaps, bitmap);
  }
}

static bool
stopped_bitmaps (VarveLibvirtDomain *self, GPtrArray **out, GCancellable *cancellable,
                 GError **error)
{
  g_autoptr (VarveDomain) images = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) checkpoints = NULL;

  if (!varve_libvirt_stopped_domain (self, &images, cancellable, error) ||
      (images && !varve_domain_bitmaps (images, &bitmaps, cancellable, error)))
    return false;
  if (!bitmaps)
    bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  checkpoints = varve_libvirt_checkpoints (self, false, error);
  if (!checkpoints)
    return false;
  for (guint i = 0; i < checkpoints->len; i++)
    add_lost (bitmaps, g_ptr_array_index (checkpoints, i));
  *out = g_steal_pointer (&bitmaps);
  return true;
}

bool
varve_libvirt_bitmaps (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                       GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (GPtrArray) bitmaps = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return stopped_bitmaps (self, out, cancellable, error);
  bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  if (!running_bitmaps (self, bitmaps, cancellable, error))
    return false;
  *out = g_steal_pointer (&bitmaps);
  return true;
}
