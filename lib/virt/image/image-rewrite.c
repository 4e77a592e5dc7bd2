/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Stopped images, open for writing. One storage daemon has all of them, so that nobody else can start
 * the domain or read it half-written. Its bitmaps record what is written; the map that says what had
 * changed before is frozen. The daemon quits cleanly when this process dies, and stores them all: only
 * a kill of the daemon itself, or of the host, costs bitmaps, and then they are told as inconsistent.
 */
#include "config.h"
#include "virt/image/image-domain.h"

#include "util/error.h"
#include "virt/qemu-bitmaps.h"

typedef struct {
  VarveRewrite base;
  VarveStorageDaemon *daemon; /* NULL behind the end */
} ImageRewrite;

void
varve_image_rewrite_free (VarveRewrite *base)
{
  ImageRewrite *rewrite = (ImageRewrite *)base;

  g_clear_pointer (&rewrite->daemon, varve_storage_daemon_free);
  varve_start_free (base->start);
  g_free (rewrite);
}

bool
varve_image_rewrite (VarveDomain *base, const VarveStart *start, VarveRewrite **out,
                     GCancellable *cancellable, GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;
  VarveStorageDaemon *daemon;
  ImageRewrite *rewrite;

  if (!varve_image_check_start (domain, start, cancellable, error))
    return false;
  daemon = varve_image_serve (domain, start, true, cancellable, error);
  if (!daemon)
    return false;
  rewrite = g_new0 (ImageRewrite, 1);
  rewrite->base.domain = base;
  rewrite->base.start = varve_start_copy (start);
  rewrite->daemon = daemon;
  *out = &rewrite->base;
  return true;
}

bool
varve_image_rewrite_endpoint (VarveRewrite *base, const char *disk, VarveEndpoint *out,
                              GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *found = varve_start_find_disk (base->start, disk);

  if (!found)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "Disk '%s' is not among those of domain '%s' that are written.", disk,
                        base->domain->name);
  varve_image_endpoint (((ImageRewrite *)base)->daemon, base->start, found, true, out);
  return true;
}

bool
varve_image_rewrite_finish (VarveRewrite *base, GCancellable *cancellable, GError **error)
{
  ImageRewrite *rewrite = (ImageRewrite *)base;
  g_autoptr (GPtrArray) disks = varve_start_marked_disks (base->start);
  JsonArray *actions = json_array_new ();
  bool ok;

  for (guint i = 0; i < disks->len; i++)
    varve_qemu_add_bitmap (
        actions, varve_storage_daemon_node (rewrite->daemon, g_ptr_array_index (disks, i)),
        base->start->checkpoint, true);
  ok = varve_image_store_bitmaps (rewrite->daemon, actions, error);
  g_clear_pointer (&rewrite->daemon, varve_storage_daemon_free);
  return ok && (disks->len == 0 || varve_image_check_added ((VarveImageDomain *)base->domain,
                                                            base->start->checkpoint, disks, error));
}
