/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints of a running QEMU: bitmaps of one name on several disks, changed in one transaction,
 * and looked at again behind it. A bare QEMU keeps no records of them. One that has gone is a
 * stopped domain, as far as its images are known. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"

/* The bitmaps and the disks, as they are now. */
static bool
look (VarveQmpDomain *domain, GPtrArray **out_bitmaps, GPtrArray **out_disks,
      GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);

  *out_bitmaps = NULL;
  *out_disks = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;
  return *out_disks && varve_qmp_bitmaps (&domain->base, out_bitmaps, cancellable, error);
}

static bool
look_again (VarveQmpDomain *domain, GPtrArray **out_bitmaps, GError **error)
{
  return varve_failpoint ("qmp-checkpoint-changed", error) &&
         varve_qmp_bitmaps (&domain->base, out_bitmaps, NULL, error);
}

static const char *
node_of (GPtrArray *disks, const char *disk)
{
  return varve_qmp_disks_find (disks, disk)->node;
}

/* *out is the domain by its images where QEMU has gone, and NULL where it is there. */
static bool
open_stopped (VarveQmpDomain *domain, const char *what, VarveDomain **out,
              GCancellable *cancellable, GError **error)
{
  VarveDomain *base = &domain->base;
  VarveDomainAddress address = {
    .uri = base->uri, .name = base->name, .uuid = base->uuid, .images = domain->images
  };
  bool gone;

  *out = NULL;
  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  if (!gone)
    return true;
  if (g_hash_table_size (domain->images) == 0)
    return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "The QEMU of domain '%s' has exited, so the checkpoint cannot be %s: start "
                        "it again, or say where its images are.",
                        base->name, what);
  *out = varve_image_domain_open (&address, cancellable, error);
  return *out != NULL;
}

/* --- removing --------------------------------------------------------------------------------- */

static bool
remove_running (VarveQmpDomain *domain, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) disks = NULL;
  JsonArray *actions;

  if (!look (domain, &bitmaps, &disks, cancellable, error))
    return false;
  actions = json_array_new ();
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (g_str_equal (bitmap->name, name))
      varve_qemu_remove_bitmap (actions, node_of (disks, bitmap->disk), name);
  }
  if (!varve_qemu_transact (domain->qmp, actions, error))
    return false;

  g_clear_pointer (&bitmaps, g_ptr_array_unref);
  if (!look_again (domain, &bitmaps, error))
    return false;
  for (guint i = 0; i < bitmaps->len; i++) {
    if (g_str_equal (((VarveBitmap *)g_ptr_array_index (bitmaps, i))->name, name))
      return varve_throw (
          error, VARVE_ERROR_CHECKPOINT,
          "QEMU of domain '%s' said that the bitmap '%s' was removed, and still has it.",
          domain->base.name, name);
  }
  return true;
}

bool
varve_qmp_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                             GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (VarveDomain) stopped = NULL;

  if (!open_stopped (domain, "removed", &stopped, cancellable, error))
    return false;
  return stopped ? varve_domain_checkpoint_remove (stopped, name, cancellable, error)
                 : remove_running (domain, name, cancellable, error);
}

/* --- adding ----------------------------------------------------------------------------------- */

static bool
may_add (GPtrArray *all, GPtrArray *bitmaps, const char *name, const char *disk, GError **error)
{
  const VarveQmpDisk *found = varve_qmp_disks_find (all, disk);

  if (!found)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND, "There is no disk '%s'.", disk);
  if (!found->disk->can_back_up)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Disk '%s' can have no checkpoint: %s. Leave it out.", disk,
                        found->disk->why_not);
  return !varve_bitmap_find (bitmaps, disk, name) ||
         varve_throw (error, VARVE_ERROR_EXISTS, "Disk '%s' has a bitmap '%s' already.", disk,
                      name);
}

static bool
check_added (VarveQmpDomain *domain, GPtrArray *all, const char *name, GPtrArray *disks,
             GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;

  if (!look_again (domain, &bitmaps, error))
    return false;
  for (guint i = 0; i < disks->len; i++) {
    const char *disk = g_ptr_array_index (disks, i);
    bool persistent = varve_qmp_disks_find (all, disk)->disk->can_persist;

    if (!varve_qemu_check_added (bitmaps, disk, name, persistent, error))
      return false;
  }
  return true;
}

/* None of them was there before, so none is anybody else's. */
static bool
add_and_check (VarveQmpDomain *domain, GPtrArray *all, const char *name, GPtrArray *disks,
               GError **error)
{
  JsonArray *actions = json_array_new ();
  g_autoptr (GError) local = NULL;

  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = varve_qmp_disks_find (all, g_ptr_array_index (disks, i));

    varve_qemu_add_bitmap (actions, disk->node, name, disk->disk->can_persist);
  }
  if (varve_qemu_transact (domain->qmp, actions, &local) &&
      check_added (domain, all, name, disks, &local))
    return true;
  /* Refused is not done; where the answer was lost, or is not true, it may have been. */
  if (!varve_qmp_error_class (local))
    varve_qmp_checkpoint_remove (&domain->base, name, NULL, NULL);
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

static bool
add_running (VarveQmpDomain *domain, const char *name, GPtrArray *disks, GCancellable *cancellable,
             GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) all = NULL;

  if (!look (domain, &bitmaps, &all, cancellable, error))
    return false;
  for (guint i = 0; i < disks->len; i++) {
    if (!may_add (all, bitmaps, name, g_ptr_array_index (disks, i), error))
      return false;
  }
  return add_and_check (domain, all, name, disks, error);
}

bool
varve_qmp_checkpoint_add (VarveDomain *base, const char *name, const char *description,
                          GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (VarveDomain) stopped = NULL;

  if (!open_stopped (domain, "added", &stopped, cancellable, error))
    return false;
  return stopped
             ? varve_domain_checkpoint_add (stopped, name, description, disks, cancellable, error)
             : add_running (domain, name, disks, cancellable, error);
}

/* --- merging ---------------------------------------------------------------------------------- */

static bool
merge_running (VarveQmpDomain *domain, const char *into, GPtrArray *from, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (GPtrArray) before = NULL;
  g_autoptr (GPtrArray) after = NULL;
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GPtrArray) plan = NULL;
  JsonArray *actions;

  if (!look (domain, &before, &disks, cancellable, error) ||
      !varve_merge_plan (before, into, from, &plan, error))
    return false;
  actions = json_array_new ();
  for (guint i = 0; i < plan->len; i++) {
    const VarveMergeDisk *disk = g_ptr_array_index (plan, i);

    varve_qemu_merge_bitmaps (actions, node_of (disks, disk->disk), into, disk);
  }
  if (!varve_qemu_transact (domain->qmp, actions, error) || !look_again (domain, &after, error))
    return false;
  for (guint i = 0; i < plan->len; i++) {
    if (!varve_qemu_check_merged (after, before, into, g_ptr_array_index (plan, i), error))
      return false;
  }
  return true;
}

bool
varve_qmp_checkpoint_merge (VarveDomain *base, const char *into, GPtrArray *from,
                            GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (VarveDomain) stopped = NULL;

  if (!open_stopped (domain, "merged", &stopped, cancellable, error))
    return false;
  return stopped ? varve_domain_checkpoint_merge (stopped, into, from, cancellable, error)
                 : merge_running (domain, into, from, cancellable, error);
}
