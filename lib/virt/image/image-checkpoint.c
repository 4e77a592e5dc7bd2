/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints of a stopped domain. A storage daemon opens all images that take part for writing, so
 * that nobody else has them from the first look to the last, changes their bitmaps in one
 * transaction, and stores them when it quits: this takes some tens of milliseconds. It quits as
 * well when this process dies; only a kill of the daemon itself, or of the host, in between costs
 * bitmaps, and then they are told as inconsistent. Removal goes image by image, as it may be run
 * again. */
#include "config.h"
#include "virt/image/image-domain.h"

#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"

bool
varve_image_store_bitmaps (VarveStorageDaemon *daemon, JsonArray *actions, GError **error)
{
  return varve_qemu_transact (varve_storage_daemon_qmp (daemon), actions, error) &&
         varve_failpoint ("image-checkpoint-changed", error) &&
         varve_storage_daemon_quit (daemon, error);
}

/* --- removing --------------------------------------------------------------------------------- */

/* One image; one that has no such bitmap is left alone. */
static bool
remove_bitmap (VarveImageDomain *domain, const char *disk, const char *name,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImageInfo) before = varve_image_domain_info (domain, disk, cancellable, error);

  if (!before)
    return false;
  if (!varve_image_domain_bitmap (before, name))
    return true;
  if (!varve_image_bitmap_remove (g_hash_table_lookup (domain->images, disk), name, cancellable,
                                  error))
    return varve_prefix (error, "Disk '%s' of domain '%s'", disk, domain->base.name);

  g_autoptr (VarveImageInfo) after = varve_image_domain_info (domain, disk, cancellable, error);
  if (!after)
    return false;
  return !varve_image_domain_bitmap (after, name) ||
         varve_throw (
             error, VARVE_ERROR_CHECKPOINT,
             "The bitmap '%s' of disk '%s' of domain '%s' was removed, and is still there.", name,
             disk, domain->base.name);
}

bool
varve_image_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                               GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;

  for (guint i = 0; i < domain->names->len; i++) {
    if (!remove_bitmap (domain, g_ptr_array_index (domain->names, i), name, cancellable, error))
      return false;
  }
  return true;
}

/* --- adding ----------------------------------------------------------------------------------- */

static bool
may_add (VarveImageDomain *domain, const char *disk, const char *name, GCancellable *cancellable,
         GError **error)
{
  g_autoptr (VarveImageInfo) info = varve_image_domain_info (domain, disk, cancellable, error);

  if (!info)
    return false;
  if (!info->can_persist)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Disk '%s' can have no checkpoint while its domain is off: its image "
                        "cannot store bitmaps (only qcow2 of version 3 can). Leave it out.",
                        disk);
  return !varve_image_domain_bitmap (info, name) ||
         varve_throw (error, VARVE_ERROR_EXISTS, "Disk '%s' has a bitmap '%s' already.", disk,
                      name);
}

bool
varve_image_check_added (VarveImageDomain *domain, const char *name, GPtrArray *disks,
                         GError **error)
{
  g_autoptr (GPtrArray) bitmaps = varve_image_domain_stored (domain, NULL, error);

  if (!bitmaps)
    return false;
  for (guint i = 0; i < disks->len; i++) {
    if (!varve_qemu_check_added (bitmaps, g_ptr_array_index (disks, i), name, true, error))
      return false;
  }
  return true;
}

static bool
add_bitmaps (VarveImageDomain *domain, const char *name, GPtrArray *disks,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStorageDaemon) daemon =
      varve_image_domain_open_disks (domain, disks, true, cancellable, error);
  JsonArray *actions;

  if (!daemon)
    return false;
  actions = json_array_new ();
  for (guint i = 0; i < disks->len; i++)
    varve_qemu_add_bitmap (
        actions, varve_storage_daemon_node (daemon, g_ptr_array_index (disks, i)), name, true);
  return varve_image_store_bitmaps (daemon, actions, error);
}

bool
varve_image_checkpoint_add (VarveDomain *base, const char *name, const char *description,
                            GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;

  for (guint i = 0; i < disks->len; i++) {
    if (!may_add (domain, g_ptr_array_index (disks, i), name, cancellable, error))
      return false;
  }
  if (add_bitmaps (domain, name, disks, cancellable, error) &&
      varve_image_check_added (domain, name, disks, error))
    return true;
  /* None of them was there before, so none is anybody else's. */
  varve_image_checkpoint_remove (base, name, NULL, NULL);
  return false;
}

/* --- merging ---------------------------------------------------------------------------------- */

/* The disks that take part; the plan itself is made once their images are held. */
static GPtrArray *
disks_to_merge (VarveImageDomain *domain, const char *into, GPtrArray *from,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) plan = NULL;
  GPtrArray *disks;

  if (!varve_image_domain_bitmaps (&domain->base, &bitmaps, cancellable, error) ||
      !varve_merge_plan (bitmaps, into, from, &plan, error))
    return NULL;
  disks = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < plan->len; i++)
    g_ptr_array_add (disks, g_strdup (((VarveMergeDisk *)g_ptr_array_index (plan, i))->disk));
  return disks;
}

static bool
merge_bitmaps (VarveStorageDaemon *daemon, GPtrArray *plan, const char *into, GError **error)
{
  JsonArray *actions = json_array_new ();

  for (guint i = 0; i < plan->len; i++) {
    const VarveMergeDisk *disk = g_ptr_array_index (plan, i);

    varve_qemu_merge_bitmaps (actions, varve_storage_daemon_node (daemon, disk->disk), into, disk);
  }
  return varve_image_store_bitmaps (daemon, actions, error);
}

bool
varve_image_checkpoint_merge (VarveDomain *base, const char *into, GPtrArray *from,
                              GCancellable *cancellable, GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;
  g_autoptr (GPtrArray) disks = disks_to_merge (domain, into, from, cancellable, error);
  g_autoptr (VarveStorageDaemon) daemon =
      disks ? varve_image_domain_open_disks (domain, disks, true, cancellable, error) : NULL;
  g_autoptr (GPtrArray) before =
      daemon ? varve_image_domain_loaded (daemon, disks, cancellable, error) : NULL;
  g_autoptr (GPtrArray) plan = NULL;
  g_autoptr (GPtrArray) after = NULL;

  if (!before || !varve_merge_plan (before, into, from, &plan, error) ||
      !merge_bitmaps (daemon, plan, into, error) ||
      !varve_image_domain_bitmaps (base, &after, NULL, error))
    return false;
  for (guint i = 0; i < plan->len; i++) {
    if (!varve_qemu_check_merged (after, before, into, g_ptr_array_index (plan, i), error))
      return false;
  }
  return true;
}
