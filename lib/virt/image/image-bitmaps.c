/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The bitmaps of stopped images. Headers tell their names and flags; how much is dirty only a
 * program tells that loads them, so a storage daemon opens the images for a moment, read-only, with
 * nothing below them, and serves nothing. Where it cannot (an encrypted image without its key), the
 * headers stand alone. */
#include "config.h"
#include "virt/image/image-domain.h"

#include "util/error.h"
#include "virt/qemu-bitmaps.h"

VarveStorageDaemon *
varve_image_domain_open_disks (VarveImageDomain *domain, GPtrArray *disks, bool writable,
                               GCancellable *cancellable, GError **error)
{
  g_autofree VarveDaemonExport *exports = g_new0 (VarveDaemonExport, disks->len);
  g_autoptr (GPtrArray) infos = varve_image_domain_infos (domain, disks, cancellable, error);

  if (!infos)
    return NULL;
  for (guint i = 0; i < disks->len; i++) {
    exports[i].export_name = g_ptr_array_index (disks, i);
    exports[i].image = g_hash_table_lookup (domain->images, exports[i].export_name);
    exports[i].info = g_ptr_array_index (infos, i);
    exports[i].without_backing = true;
    exports[i].writable = writable;
  }
  return varve_storage_daemon_start (NULL, exports, disks->len, cancellable, error);
}

GPtrArray *
varve_image_domain_loaded (VarveStorageDaemon *daemon, GPtrArray *disks, GCancellable *cancellable,
                           GError **error)
{
  g_autoptr (GHashTable) nodes =
      varve_qemu_nodes (varve_storage_daemon_qmp (daemon), cancellable, error);
  GPtrArray *bitmaps;

  if (!nodes)
    return NULL;
  bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  for (guint i = 0; i < disks->len; i++) {
    const char *disk = g_ptr_array_index (disks, i);

    varve_qemu_node_bitmaps (g_hash_table_lookup (nodes, varve_storage_daemon_node (daemon, disk)),
                             disk, bitmaps);
  }
  return bitmaps;
}

static void
add_header (GPtrArray *out, const char *disk, const VarveImageInfo *info)
{
  for (guint i = 0; i < info->bitmaps->len; i++) {
    const VarveImageBitmap *found = g_ptr_array_index (info->bitmaps, i);
    VarveBitmap *bitmap = varve_bitmap_new (disk, found->name);

    bitmap->granularity = found->granularity;
    bitmap->recording = found->recording && !found->inconsistent;
    bitmap->inconsistent = found->inconsistent;
    bitmap->persistent = true;
    g_ptr_array_add (out, bitmap);
  }
}

GPtrArray *
varve_image_domain_stored (VarveImageDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) bitmaps =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);

  for (guint i = 0; i < domain->names->len; i++) {
    const char *name = g_ptr_array_index (domain->names, i);
    g_autoptr (VarveImageInfo) info = varve_image_domain_info (domain, name, cancellable, error);

    if (!info)
      return NULL;
    add_header (bitmaps, name, info);
  }
  return g_steal_pointer (&bitmaps);
}

/* The disks that have any; the names are borrowed. */
static GPtrArray *
disks_of (GPtrArray *bitmaps)
{
  GPtrArray *disks = g_ptr_array_new ();

  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (!g_ptr_array_find_with_equal_func (disks, bitmap->disk, g_str_equal, NULL))
      g_ptr_array_add (disks, bitmap->disk);
  }
  return disks;
}

/* What the headers cannot say; NULL without an error where nobody can. */
static GPtrArray *
load_bitmaps (VarveImageDomain *domain, GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (VarveStorageDaemon) daemon =
      varve_image_domain_open_disks (domain, disks, false, cancellable, &local);
  GPtrArray *bitmaps =
      daemon ? varve_image_domain_loaded (daemon, disks, cancellable, &local) : NULL;

  if (bitmaps)
    return bitmaps;
  if (g_error_matches (local, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
      varve_error_matches (local, VARVE_ERROR_BUSY))
    g_propagate_error (error, g_steal_pointer (&local));
  else
    g_debug ("How much of the bitmaps of domain '%s' is dirty cannot be told: %s",
             domain->base.name, local->message);
  return NULL;
}

bool
varve_image_domain_bitmaps (VarveDomain *base, GPtrArray **out_bitmaps, GCancellable *cancellable,
                            GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;
  g_autoptr (GPtrArray) stored = varve_image_domain_stored (domain, cancellable, error);
  g_autoptr (GPtrArray) disks = stored ? disks_of (stored) : NULL;
  g_autoptr (GError) local = NULL;

  if (!stored)
    return false;
  *out_bitmaps = disks->len > 0 ? load_bitmaps (domain, disks, cancellable, &local) : NULL;
  if (local) {
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  if (!*out_bitmaps)
    *out_bitmaps = g_steal_pointer (&stored);
  return true;
}
