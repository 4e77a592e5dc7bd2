/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The storage daemon that serves the images of a start: read-only for a snapshot, for writing where
 * disks are put back. */
#include "config.h"
#include "virt/image/image-domain.h"

/* What the daemon merges bitmaps into: where several make up the map, and where the one would go on
 * recording what is written (@frozen). (transfer full) */
static char *
merged_name (const VarveStart *start, const VarveStartDisk *disk, bool frozen)
{
  return disk->since && (disk->since_also || frozen) ? g_strconcat ("varve-", start->session, NULL)
                                                     : NULL;
}

/* NULL-terminated; the names are borrowed. */
static GPtrArray *
bitmaps_since (const VarveStartDisk *disk)
{
  GPtrArray *names = g_ptr_array_new ();

  if (disk->since)
    g_ptr_array_add (names, disk->since);
  for (guint i = 0; disk->since && disk->since_also && i < disk->since_also->len; i++)
    g_ptr_array_add (names, g_ptr_array_index (disk->since_also, i));
  g_ptr_array_add (names, NULL);
  return names;
}

VarveStorageDaemon *
varve_image_serve (VarveImageDomain *domain, const VarveStart *start, bool writable,
                   GCancellable *cancellable, GError **error)
{
  guint n = start->disks->len;
  g_autofree VarveDaemonExport *exports = g_new0 (VarveDaemonExport, n);
  g_autoptr (GPtrArray) lists = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  g_autoptr (GPtrArray) merged = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) infos =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_image_info_free);

  for (guint i = 0; i < n; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    GPtrArray *names = bitmaps_since (disk);
    char *name = merged_name (start, disk, writable);

    g_ptr_array_add (lists, names);
    g_ptr_array_add (merged, name);
    exports[i].info = varve_image_domain_info (domain, disk->disk, cancellable, error);
    if (!exports[i].info)
      return NULL;
    g_ptr_array_add (infos, exports[i].info);
    exports[i].image = g_hash_table_lookup (domain->images, disk->disk);
    exports[i].export_name = disk->disk;
    exports[i].writable = writable;
    exports[i].merged_name = name;
    if (name)
      exports[i].merged = (const char *const *)names->pdata;
    else
      exports[i].bitmaps = (const char *const *)names->pdata;
  }
  return varve_storage_daemon_start (start->push ? NULL : start->directory, exports, n, cancellable,
                                     error);
}

void
varve_image_endpoint (VarveStorageDaemon *daemon, const VarveStart *start,
                      const VarveStartDisk *disk, bool writable, VarveEndpoint *out)
{
  g_autofree char *merged = merged_name (start, disk, writable);

  out->uri = varve_storage_daemon_uri (daemon, disk->disk);
  out->socket = g_strdup (varve_storage_daemon_socket (daemon));
  out->export_name = g_strdup (disk->disk);
  if (disk->since)
    out->dirty_context = g_strconcat ("qemu:dirty-bitmap:", merged ? merged : disk->since, NULL);
  out->allocation_context = g_strdup ("base:allocation");
  out->contexts_may_share = true;
  out->connections = 2;
}
