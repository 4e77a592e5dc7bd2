/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Removing a checkpoint: the bitmap of that name from all disks in one transaction, and a look that
 * it is gone. There is no metadata to a bare QEMU. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "util/error.h"

/* The bitmaps called @name; *out_disks has all disks. */
static bool
find (VarveQmpDomain *domain, const char *name, GPtrArray **out_bitmaps, GPtrArray **out_disks,
      GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (GPtrArray) bitmaps = NULL;

  if (!nodes)
    return false;
  *out_disks = varve_qmp_disks (domain, nodes, cancellable, error);
  if (!*out_disks || !varve_qmp_bitmaps (&domain->base, &bitmaps, cancellable, error))
    return false;
  for (guint i = bitmaps->len; i > 0; i--) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i - 1);

    if (!g_str_equal (bitmap->name, name))
      g_ptr_array_remove_index_fast (bitmaps, i - 1);
  }
  *out_bitmaps = g_steal_pointer (&bitmaps);
  return true;
}

static bool
remove_running (VarveQmpDomain *domain, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GPtrArray) disks = NULL;
  JsonArray *actions;

  if (!find (domain, name, &bitmaps, &disks, cancellable, error))
    return false;
  if (bitmaps->len == 0)
    return true;
  actions = json_array_new ();
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    const VarveQmpDisk *disk = varve_qmp_disks_find (disks, bitmap->disk);

    json_array_add_object_element (
        actions, varve_qmp_args ("{'type':'block-dirty-bitmap-remove','data':{'node':%s,"
                                 "'name':%s}}",
                                 disk->node, name));
  }
  if (!varve_qmp_run (domain->qmp, "transaction", varve_qmp_args ("{'actions':%a}", actions),
                      cancellable, error))
    return false;

  g_clear_pointer (&bitmaps, g_ptr_array_unref);
  g_clear_pointer (&disks, g_ptr_array_unref);
  if (!find (domain, name, &bitmaps, &disks, cancellable, error))
    return false;
  if (bitmaps->len == 0)
    return true;
  return varve_throw (
      error, VARVE_ERROR_CHECKPOINT,
      "QEMU of domain '%s' said that the bitmap '%s' was removed, and still has it.",
      domain->base.name, name);
}

bool
varve_qmp_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                             GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  bool gone;

  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  if (!gone)
    return remove_running (domain, name, cancellable, error);
  if (g_hash_table_size (domain->images) == 0)
    return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "The QEMU of domain '%s' has exited, so the checkpoint '%s' cannot be "
                        "removed: start it again, or say in the job where its images are.",
                        base->name, name);

  VarveDomainAddress address = {
    .uri = base->uri, .name = base->name, .uuid = base->uuid, .images = domain->images
  };
  g_autoptr (VarveDomain) stopped = varve_image_domain_open (&address, cancellable, error);
  return stopped && varve_domain_checkpoint_remove (stopped, name, cancellable, error);
}
