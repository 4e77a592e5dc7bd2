/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Push of stopped images: the storage daemon that has them open, read-only, writes the targets. It serves nothing then.
 * Of the bitmaps to go by it makes a map of its own, in its memory alone. */
#include "config.h"
#include "virt/image/image-domain.h"

#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"
#include "virt/qemu-push.h"
#include "virt/qmp/qmp-names.h"

static JsonArray *
bitmaps_since (const VarveStartDisk *disk)
{
  JsonArray *names = json_array_new ();

  json_array_add_string_element (names, disk->since);
  for (guint i = 0; disk->since_also && i < disk->since_also->len; i++)
    json_array_add_string_element (names, g_ptr_array_index (disk->since_also, i));
  return names;
}

static bool
push_disk (VarveStorageDaemon *daemon, const VarveStart *start, guint index,
           GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  VarveQmp *qmp = varve_storage_daemon_qmp (daemon);
  const char *node = varve_storage_daemon_node (daemon, disk->disk);
  g_autofree char *map = varve_qmp_name (start->session, 't', index);

  return varve_qemu_push_open (qmp, start, index, cancellable, error) &&
         (!disk->since ||
          varve_qemu_merge_map (qmp, node, map, bitmaps_since (disk), cancellable, error)) &&
         varve_qmp_run (qmp, "blockdev-backup", varve_qemu_push_job (start, index, node, map),
                        cancellable, error);
}

bool
varve_image_push_start (VarveStorageDaemon *daemon, const VarveStart *start,
                        GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (!push_disk (daemon, start, i, cancellable, error))
      return varve_prefix (error, "Disk '%s'", disk->disk);
  }
  return varve_failpoint ("push-image-started", error);
}

/* Closed one by one, so that an error of the last write is heard of. */
static bool
close_target (VarveQmp *qmp, const VarveStart *start, guint index, GCancellable *cancellable,
              GError **error)
{
  g_autofree char *job = varve_qmp_name (start->session, 'j', index);
  g_autofree char *target = varve_qmp_name (start->session, 'p', index);

  return varve_qmp_run (qmp, "job-dismiss", varve_qmp_args ("{'id':%s}", job), cancellable,
                        error) &&
         varve_qmp_run (qmp, "blockdev-del", varve_qmp_args ("{'node-name':%s}", target),
                        cancellable, error);
}

bool
varve_image_push_finish (VarveStorageDaemon *daemon, const VarveStart *start,
                         GCancellable *cancellable, GError **error)
{
  VarveQmp *qmp = varve_storage_daemon_qmp (daemon);

  if (!varve_qemu_push_finish (qmp, start, cancellable, error))
    return false;
  for (guint i = 0; i < start->disks->len; i++) {
    if (!close_target (qmp, start, i, cancellable, error))
      return false;
  }
  return true;
}
