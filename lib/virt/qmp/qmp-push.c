/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Push of a running QEMU, in two forms:
 *
 *   by itself           a job from the disk's own node to the target, begun in the transaction that is the instant. Until
 *                       a place is copied, a write of the guest to it waits for the target.
 *   through a fleece    the frozen view of a pull, and a job from that to the target. A write of the guest waits for
 *                       scratch only.
 *
 * snapshot-access of QEMU 7.2 shows new data in a range of which only a part was copied (qmp-export.c). So the second
 * job is held to requests of one unit of copying, aligned: such a one was copied as a whole, or not at all. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "util/error.h"
#include "util/failpoint.h"
#include "util/pass.h"
#include "virt/qemu-bitmaps.h"
#include "virt/qemu-push.h"

/* To a QEMU of another user, who is let through the directories above it. */
static bool
hand_over (VarveQmpDomain *domain, const VarveStart *start, const VarveStartDisk *disk,
           GError **error)
{
  const char *root = start->target_root;

  return varve_qmp_can_read_ours (domain) || disk->target_in_place ||
         ((!root || varve_pass_allow_way (root, disk->target, domain->uid, error)) &&
          varve_qmp_hand_over (domain, disk->target, error));
}

bool
varve_qmp_push_open (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
                     GError **error)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (!hand_over (domain, start, disk, error) ||
        !varve_qemu_push_open (domain->qmp, start, i, cancellable, error))
      return varve_prefix (error, "Disk '%s'", disk->disk);
  }
  return varve_failpoint ("push-opened", error);
}

JsonObject *
varve_qmp_push_action (VarveQmpDomain *domain, const VarveStart *start, guint index,
                       const char *node)
{
  g_autofree char *frozen = varve_qmp_name (start->session, 't', index);
  g_autofree char *filter = varve_qmp_name (start->session, 'c', index);
  JsonObject *data = varve_qemu_push_job (start, index, node, frozen);

  json_object_set_string_member (data, "filter-node-name", filter);
  if (varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "on-cbw-error"))
    json_object_set_string_member (data, "on-cbw-error", "break-snapshot");
  return varve_qmp_args ("{'type':'blockdev-backup','data':%o}", data);
}

/* A job goes by bitmaps of the node that it reads from. */
static bool
add_map (VarveQmpDomain *domain, const VarveStart *start, guint index, const char *node,
         const char *view, const char *map, GCancellable *cancellable, GError **error)
{
  g_autofree char *frozen = varve_qmp_name (start->session, 't', index);
  JsonArray *bitmaps = json_array_new ();

  json_array_add_object_element (bitmaps, varve_qmp_args ("{'node':%s,'name':%s}", node, frozen));
  return varve_qemu_merge_map (domain->qmp, view, map, bitmaps, cancellable, error);
}

bool
varve_qmp_push_view (VarveQmpDomain *domain, const VarveStart *start, guint index, const char *node,
                     GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *view = varve_qmp_name (start->session, 'a', index);
  g_autofree char *map = varve_qmp_name (start->session, 'm', index);

  return (!disk->since || add_map (domain, start, index, node, view, map, cancellable, error)) &&
         varve_qmp_run (domain->qmp, "blockdev-backup",
                        varve_qemu_push_job (start, index, view, map), cancellable, error);
}
