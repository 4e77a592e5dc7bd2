/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints without a backup, and libvirt's records of them.
 *
 * libvirt knows recording bitmaps only. So while the domain runs, merging is removing what is newer
 * than a checkpoint that records anyway; a disabled bitmap, which an older tool or bare QEMU left,
 * can be merged while the domain is off. Off, bitmaps are changed by the image driver first, and
 * metadata after them: a cut in between leaves bitmaps without metadata when one is added (which are
 * listed all the same, and can be redefined), and metadata without bitmaps when one is removed. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <string.h>

#include "util/failpoint.h"
#include "virt/merge-plan.h"

static bool
is_new (VarveLibvirtDomain *self, const char *name, GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  return !known ||
         varve_throw (error, VARVE_ERROR_EXISTS, "Domain '%s' has a checkpoint '%s' already.",
                      self->base.name, name);
}

/* --- adding ---------------------------------------------------------------------------------- */

static bool
may_add (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition, const char *disk,
         GError **error)
{
  const VarveLibvirtDisk *known = varve_libvirt_definition_find (definition, disk);
  g_autofree char *why = known ? varve_libvirt_disk_why_not (known, false) : NULL;

  if (!known)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND, "Domain '%s' has no disk '%s'.",
                        self->base.name, disk);
  if (!why && g_strcmp0 (known->format, "qcow2") != 0)
    why = g_strdup_printf ("libvirt keeps no checkpoints in images of format '%s'",
                           known->format ? known->format : "unknown");
  return !why || varve_throw (error, VARVE_ERROR_REFUSED,
                              "Disk '%s' of domain '%s' can have no checkpoint: %s. Leave it out.",
                              disk, self->base.name, why);
}

/* Each bitmap counts when libvirt can tell how much of it is dirty. */
static bool
check_added (VarveLibvirtDomain *self, virDomainCheckpoint *created, GPtrArray *disks,
             GError **error)
{
  g_autoptr (VarveLibvirtCheckpoint) checkpoint =
      varve_libvirt_checkpoint_describe (self, created, true, error);
  guint sound = 0;

  if (!checkpoint)
    return false;
  for (guint i = 0; i < checkpoint->disks->len; i++)
    sound += ((VarveLibvirtCheckpointDisk *)g_ptr_array_index (checkpoint->disks, i))->has_size;
  return sound == disks->len ||
         varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "Checkpoint '%s' of domain '%s' was created, and libvirt finds its bitmap on "
                      "%u of %u disks.",
                      checkpoint->name, self->base.name, sound, disks->len);
}

/* Nobody had it before, so it is nobody else's. */
static void
undo_running (VarveLibvirtDomain *self, const char *name)
{
  g_autoptr (virDomainCheckpoint) known = NULL;
  g_autoptr (GError) failed = NULL;

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, &failed) ||
      (known && !varve_libvirt_checkpoint_remove (&self->base, name, NULL, &failed)))
    g_debug ("after a checkpoint that could not be created: %s", failed->message);
}

static bool
add_running (VarveLibvirtDomain *self, const char *name, const char *description, GPtrArray *disks,
             GError **error)
{
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition (self, 0, error);
  g_autoptr (virDomainCheckpoint) created = NULL;
  g_autofree char *xml = NULL;

  if (!definition)
    return false;
  for (guint i = 0; i < disks->len; i++) {
    if (!may_add (self, definition, g_ptr_array_index (disks, i), error))
      return false;
  }
  xml = varve_libvirt_format_new_checkpoint (name, description, disks, definition);
  created = virDomainCheckpointCreateXML (self->domain, xml, 0);
  if (created && varve_failpoint ("libvirt-add-created", error) &&
      check_added (self, created, disks, error))
    return true;
  if (!created)
    varve_libvirt_throw (error, "Cannot create checkpoint '%s' of domain '%s'", name,
                         self->base.name);
  undo_running (self, name);
  return false;
}

static bool
add_stopped (VarveLibvirtDomain *self, const char *name, const char *description, GPtrArray *disks,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) images = NULL;
  int64_t now = g_get_real_time () / G_USEC_PER_SEC;

  if (!varve_libvirt_stopped_need (self, &images, cancellable, error) ||
      !varve_domain_checkpoint_add (images, name, description, disks, cancellable, error))
    return false;
  if (varve_failpoint ("libvirt-add-stored", error) &&
      varve_libvirt_checkpoint_define (self, name, description, now, disks, false, error))
    return true;
  varve_domain_checkpoint_remove (images, name, NULL, NULL);
  return false;
}

bool
varve_libvirt_checkpoint_add (VarveDomain *domain, const char *name, const char *description,
                              GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error) || !is_new (self, name, error))
    return false;
  return state == VARVE_DOMAIN_OFF
             ? add_stopped (self, name, description, disks, cancellable, error)
             : add_running (self, name, description, disks, error);
}

/* --- merging --------------------------------------------------------------------------------- */

/* What is removed must not be the only one that knows. */
static bool
check_records (VarveLibvirtDomain *self, GPtrArray *bitmaps, const char *disk, const char *into,
               GError **error)
{
  const VarveBitmap *target = varve_bitmap_find (bitmaps, disk, into);

  if (!target->recording)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "Disk '%s': the bitmap '%s' does not record, and libvirt merges none while "
                        "the domain runs: shut '%s' down, merge, and start it again.",
                        disk, into, self->base.name);
  return target->dirty != UINT64_MAX ||
         varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "Disk '%s': libvirt has no record of checkpoint '%s', so whether its bitmap "
                      "is sound cannot be told: redefine it first.",
                      disk, into);
}

static bool
merge_running (VarveLibvirtDomain *self, const char *into, GPtrArray *from,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) plan = NULL;

  if (!varve_libvirt_bitmaps (&self->base, &bitmaps, cancellable, error) ||
      !varve_merge_plan (bitmaps, into, from, &plan, error))
    return false;
  for (guint i = 0; i < plan->len; i++) {
    const VarveMergeDisk *disk = g_ptr_array_index (plan, i);

    if (!check_records (self, bitmaps, disk->disk, into, error))
      return false;
  }
  for (guint i = 0; i < from->len; i++) {
    if (!varve_libvirt_checkpoint_remove (&self->base, g_ptr_array_index (from, i), cancellable,
                                          error))
      return false;
  }
  return true;
}

static bool
merge_stopped (VarveLibvirtDomain *self, const char *into, GPtrArray *from,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) images = NULL;

  if (!varve_libvirt_stopped_need (self, &images, cancellable, error) ||
      !varve_domain_checkpoint_merge (images, into, from, cancellable, error) ||
      !varve_failpoint ("libvirt-merge-stored", error))
    return false;
  for (guint i = 0; i < from->len; i++) {
    if (!varve_libvirt_checkpoint_forget (self, g_ptr_array_index (from, i), error))
      return false;
  }
  return true;
}

bool
varve_libvirt_checkpoint_merge (VarveDomain *domain, const char *into, GPtrArray *from,
                                GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  return state == VARVE_DOMAIN_OFF ? merge_stopped (self, into, from, cancellable, error)
                                   : merge_running (self, into, from, cancellable, error);
}

/* --- records --------------------------------------------------------------------------------- */

/* libvirt validates against a running QEMU only. */
static bool
check_images (VarveLibvirtDomain *self, const char *name, GPtrArray *disks,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveDomain) images = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;

  if (!varve_libvirt_stopped_need (self, &images, cancellable, error) ||
      !varve_domain_bitmaps (images, &bitmaps, cancellable, error))
    return false;
  for (guint i = 0; i < disks->len; i++) {
    const char *disk = g_ptr_array_index (disks, i);
    const VarveBitmap *bitmap = varve_bitmap_find (bitmaps, disk, name);

    if (!bitmap || bitmap->inconsistent || !bitmap->recording)
      return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                          "Checkpoint '%s' of domain '%s' cannot be redefined: the bitmap on disk "
                          "'%s' %s.",
                          name, self->base.name, disk,
                          !bitmap                ? "is not there"
                          : bitmap->inconsistent ? "is inconsistent"
                                                 : "does not record");
  }
  return true;
}

bool
varve_libvirt_checkpoint_redefine (VarveDomain *domain, const char *name, const char *description,
                                   int64_t created, GPtrArray *disks, GCancellable *cancellable,
                                   GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error) ||
      (state == VARVE_DOMAIN_OFF && !check_images (self, name, disks, cancellable, error)))
    return false;
  return varve_libvirt_checkpoint_define (self, name, description, created, disks,
                                          state != VARVE_DOMAIN_OFF, error);
}

bool
varve_libvirt_forget (VarveDomain *domain, const char *name, GCancellable *cancellable,
                      GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  return varve_libvirt_look (self, &state, cancellable, error) &&
         varve_libvirt_checkpoint_forget (self, name, error);
}

static VarveCheckpointMetadata *
metadata_of (const VarveLibvirtCheckpoint *checkpoint)
{
  VarveCheckpointMetadata *metadata = varve_checkpoint_metadata_new (checkpoint->name);

  metadata->description = g_strdup (checkpoint->description);
  metadata->created = checkpoint->created;
  for (guint i = 0; i < checkpoint->disks->len; i++) {
    const VarveLibvirtCheckpointDisk *disk = g_ptr_array_index (checkpoint->disks, i);

    g_ptr_array_add (metadata->disks, g_strdup (disk->disk));
  }
  return metadata;
}

static gint
compare_age (gconstpointer a, gconstpointer b)
{
  const VarveCheckpointMetadata *x = *(const VarveCheckpointMetadata *const *)a;
  const VarveCheckpointMetadata *y = *(const VarveCheckpointMetadata *const *)b;

  if (x->created != y->created)
    return x->created < y->created ? -1 : 1;
  return strcmp (x->name, y->name);
}

bool
varve_libvirt_checkpoint_metadata (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                                   GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (GPtrArray) known = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  known = varve_libvirt_checkpoints (self, false, error);
  if (!known)
    return false;
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_metadata_free);
  for (guint i = 0; i < known->len; i++)
    g_ptr_array_add (*out, metadata_of (g_ptr_array_index (known, i)));
  g_ptr_array_sort (*out, compare_age);
  return true;
}
