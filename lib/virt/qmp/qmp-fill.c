/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A QEMU that was started for a guest whose disks are to come: its CPUs stand still (-S), and each device has some empty disk
 * to begin with, as no device comes without (-blockdev null-co,…). It gets the images in their place, and goes. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "util/error.h"
#include "util/failpoint.h"

static bool
check_waits (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);

  if (!status)
    return false;
  return g_str_equal (status, "prelaunch") ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The QEMU of domain '%s' is '%s', and its guest may have the disks that it "
                      "has in its memory: start it with -S, so that it waits for those that are "
                      "restored.",
                      domain->base.name, status);
}

static bool
check_disk (const VarveQmpDomain *domain, const VarveQmpDisk *disk, const char *name,
            GError **error)
{
  if (!disk)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "The QEMU of domain '%s' has no device for disk '%s': start it with one, "
                        "-blockdev null-co,node-name=empty,size=1048576,read-zeroes=on -device "
                        "virtio-blk-pci,id=%s,drive=empty, say.",
                        domain->base.name, name, name);
  return disk->has_id || varve_throw (error, VARVE_ERROR_REFUSED,
                                      "The device of disk '%s' of domain '%s' has no id (-device "
                                      "…,id=NAME), so that it cannot be given another disk.",
                                      name, domain->base.name);
}

/* Of VarveQmpDisk, in the order of @fill. */
static GPtrArray *
find_disks (VarveQmpDomain *domain, const VarveFill *fill, GPtrArray *all, GError **error)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new ();

  for (guint i = 0; i < fill->disks->len; i++) {
    const char *name = varve_fill_disk (fill, i)->disk;
    VarveQmpDisk *disk = varve_qmp_disks_find (all, name);

    if (!check_disk (domain, disk, name, error))
      return NULL;
    g_ptr_array_add (found, disk);
  }
  return g_steal_pointer (&found);
}

bool
varve_qmp_fill_check (VarveDomain *base, const VarveFill *fill, GCancellable *cancellable,
                      GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (GPtrArray) all = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;
  g_autoptr (GPtrArray) found = NULL;

  if (!all || !check_waits (domain, cancellable, error))
    return false;
  found = find_disks (domain, fill, all, error);
  return found != NULL;
}

static bool
set_drive (VarveQmpDomain *domain, const VarveQmpDisk *disk, const char *node,
           GCancellable *cancellable, GError **error)
{
  return varve_qmp_run (
      domain->qmp, "qom-set",
      varve_qmp_args ("{'path':%s,'property':'drive','value':%s}", disk->device, node), cancellable,
      error);
}

static bool
give_disk (VarveQmpDomain *domain, const VarveFill *fill, guint i, GHashTable *nodes,
           const VarveQmpDisk *disk, GCancellable *cancellable, GError **error)
{
  const VarveFillDisk *image = varve_fill_disk (fill, i);
  g_autofree char *node = varve_fill_node (fill, i);

  return varve_qmp_hand_over (domain, image->path, error) &&
         (g_hash_table_contains (nodes, node) ||
          varve_fill_open (domain->qmp, node, image->path, fill->socket, image->disk, cancellable,
                           error)) &&
         (g_strcmp0 (disk->top, node) == 0 || set_drive (domain, disk, node, cancellable, error));
}

/* As far as it was done. */
static void
take_back (VarveQmpDomain *domain, const VarveFill *fill, GPtrArray *disks)
{
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);
    g_autofree char *node = varve_fill_node (fill, i);

    if (disk->top)
      set_drive (domain, disk, disk->top, NULL, NULL);
    varve_qmp_run (domain->qmp, "blockdev-del", varve_qmp_args ("{'node-name':%s}", node), NULL,
                   NULL);
  }
}

static bool
give_disks (VarveQmpDomain *domain, const VarveFill *fill, GHashTable *nodes, GPtrArray *disks,
            GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < disks->len; i++)
    if (!give_disk (domain, fill, i, nodes, g_ptr_array_index (disks, i), cancellable, error))
      return varve_prefix (error, "Disk '%s'", varve_fill_disk (fill, i)->disk);
  return varve_failpoint ("instant-disks-given", error) &&
         varve_qmp_run (domain->qmp, "cont", NULL, cancellable, error);
}

bool
varve_qmp_fill_boot (VarveDomain *base, const VarveFill *fill, GCancellable *cancellable,
                     GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autofree char *directory = g_path_get_dirname (fill->socket);
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (GPtrArray) all = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;
  g_autofree char *status = all ? varve_qmp_domain_status (domain, cancellable, error) : NULL;
  g_autoptr (GPtrArray) disks = NULL;

  if (!status)
    return false;
  if (!g_str_equal (status, "prelaunch"))
    return true;
  disks = find_disks (domain, fill, all, error);
  if (!disks || !varve_qmp_hand_over (domain, directory, error))
    return false;
  if (give_disks (domain, fill, nodes, disks, cancellable, error))
    return true;
  take_back (domain, fill, disks);
  return false;
}

bool
varve_qmp_fill_step (VarveDomain *base, VarveFill *fill, GCancellable *cancellable, GError **error)
{
  return varve_fill_step_all (((VarveQmpDomain *)base)->qmp, fill, cancellable, error);
}
