/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Writing to the disks of a QEMU whose guest stands still. QEMU lets nobody write to what a device has open, so each
 * device gets an empty disk in its place meanwhile, and a guest that somebody resumes harms nothing:
 *
 *   guest stopped ─▶ NBD server ─▶ transaction {frozen maps} ─▶ for each disk: a node above it, which keeps it open,
 *   the device on an empty disk, the node exported for writing ─▶ (written) ─▶ taken down as any session ─▶ new bitmaps
 *   ─▶ guest reset, and resumed
 *
 * All bears the names of a session (qmp-domain.h), so that what a killed run leaves is ended as what a backup
 * leaves: qmp-end.c puts each device back on the node with the session's bitmap. The guest never goes on where it
 * stood: what it has in its memory fits the old disks. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "qemu/json-get.h"
#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"

#define RESET_TIMEOUT_MS (20 * 1000)

typedef struct {
  VarveRewrite base;
  bool down; /* nothing of it is left in QEMU */
} QmpRewrite;

static bool
run (VarveQmpDomain *domain, const char *command, JsonObject *arguments, GCancellable *cancellable,
     GError **error)
{
  return varve_qmp_run (domain->qmp, command, arguments, cancellable, error);
}

/* --- off and on ------------------------------------------------------------------------------- */

bool
varve_qmp_halt (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  bool gone;

  return varve_qmp_domain_revive (domain, &gone, error) &&
         (gone || run (domain, "stop", NULL, cancellable, error));
}

static bool
is_reset (const char *event, JsonObject *data, gpointer user_data)
{
  return g_str_equal (event, "RESET");
}

/* QEMU answers before it has reset anything. A guest that went on meanwhile would write what fits the old disks. */
static bool
reset (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) event = NULL;
  g_autoptr (GError) local = NULL;

  varve_qmp_forget_events (domain->qmp);
  if (!run (domain, "system_reset", NULL, cancellable, error))
    return false;
  event = varve_qmp_wait_event (domain->qmp, is_reset, NULL, RESET_TIMEOUT_MS, cancellable, &local);
  if (event)
    return true;
  if (!local)
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "The QEMU of domain '%s' does not reset its guest, which is left standing "
                        "still: see what hangs, then run varve recover.",
                        domain->base.name);
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

static bool
let_run (VarveQmpDomain *domain, bool afresh, GCancellable *cancellable, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);

  if (!status)
    return false;
  if (g_str_equal (status, "running"))
    return true;
  return (!afresh || reset (domain, cancellable, error)) &&
         run (domain, "cont", NULL, cancellable, error);
}

/* A QEMU that was told not to reboot (-no-reboot) exits instead: that is as good. */
bool
varve_qmp_restart (VarveDomain *base, bool afresh, bool *out_runs, GCancellable *cancellable,
                   GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GError) local = NULL;
  bool gone;

  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  *out_runs = !gone && let_run (domain, afresh, cancellable, &local);
  if (gone || *out_runs || (varve_qmp_domain_revive (domain, &gone, NULL) && gone))
    return true;
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

/* --- whether ---------------------------------------------------------------------------------- */

static bool
check_halted (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);

  if (!status)
    return false;
  return !g_str_equal (status, "running") ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The guest of domain '%s' runs, and what it holds of its disks in memory "
                      "would not fit what is written.",
                      domain->base.name);
}

static bool
check_disks (VarveQmpDomain *domain, GPtrArray *disks, GError **error)
{
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    if (!disk->has_id)
      return varve_throw (
          error, VARVE_ERROR_REFUSED,
          "The device of disk '%s' of domain '%s' has no id (-device …,id=NAME), so "
          "that it cannot be taken off its disk: quit QEMU, and put the disk back "
          "then.",
          disk->disk->name, domain->base.name);
  }
  return true;
}

/* What a start of these disks is refused for, too. */
bool
varve_qmp_rewrite_check (VarveDomain *base, GPtrArray *names, bool halt, GCancellable *cancellable,
                         GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (VarveStart) start = varve_start_new ("check");
  g_autoptr (GPtrArray) disks = NULL;
  VarveQmpStrategy strategy;

  if (!halt)
    return true;
  for (guint i = 0; i < names->len; i++)
    varve_start_add_disk (start, g_ptr_array_index (names, i));
  return varve_qmp_prepare (domain, start, &strategy, &disks, cancellable, error) &&
         check_disks (domain, disks, error);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool
freeze_maps (VarveQmpDomain *domain, const VarveStart *start, GPtrArray *disks, GError **error)
{
  JsonArray *actions = json_array_new ();

  for (guint i = 0; i < disks->len; i++)
    varve_qmp_add_frozen (start, i, ((VarveQmpDisk *)g_ptr_array_index (disks, i))->node, actions);
  return varve_qemu_transact (domain->qmp, actions, error);
}

/* The node above is what keeps a disk open that nobody but the device holds (-drive). */
static bool
take_device_off (VarveQmpDomain *domain, const VarveStart *start, guint i, const VarveQmpDisk *disk,
                 GError **error)
{
  g_autofree char *above = varve_qmp_name (start->session, 'p', i);
  g_autofree char *empty = varve_qmp_name (start->session, 'c', i);

  return run (domain, "blockdev-add",
              varve_qmp_args ("{'driver':'raw','node-name':%s,'file':%s}", above, disk->node), NULL,
              error) &&
         run (domain, "blockdev-add",
              varve_qmp_args ("{'driver':'null-co','node-name':%s,'size':%llu,'read-zeroes':%b}",
                              empty, (unsigned long long)disk->disk->size, true),
              NULL, error) &&
         run (domain, "qom-set",
              varve_qmp_args ("{'path':%s,'property':'drive','value':%s}", disk->device, empty),
              NULL, error);
}

static bool
export_disk (VarveQmpDomain *domain, const VarveStart *start, guint i, const VarveQmpDisk *disk,
             GCancellable *cancellable, GError **error)
{
  g_autofree char *export = varve_qmp_name (start->session, 'e', i);
  g_autofree char *above = varve_qmp_name (start->session, 'p', i);
  g_autofree char *frozen = varve_qmp_name (start->session, 't', i);
  JsonObject *arguments =
      varve_qmp_args ("{'type':'nbd','id':%s,'node-name':%s,'name':%s,'writable':%b}", export,
                      above, disk->disk->name, true);

  if (((VarveStartDisk *)g_ptr_array_index (start->disks, i))->since)
    varve_qmp_export_map (arguments, disk->node, frozen);
  return run (domain, "block-export-add", arguments, cancellable, error);
}

static bool
open_steps (VarveQmpDomain *domain, const VarveStart *start, GPtrArray *disks,
            GCancellable *cancellable, GError **error)
{
  if (!varve_qmp_start_server (domain, start, cancellable, error) ||
      !freeze_maps (domain, start, disks, error))
    return false;
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    if (!take_device_off (domain, start, i, disk, error) ||
        !export_disk (domain, start, i, disk, cancellable, error))
      return varve_prefix (error, "Disk '%s' could not be opened for writing", disk->disk->name);
  }
  return varve_failpoint ("restart-opened", error);
}

bool
varve_qmp_rewrite (VarveDomain *base, const VarveStart *start, VarveRewrite **out,
                   GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GPtrArray) disks = NULL;
  VarveQmpStrategy strategy;
  QmpRewrite *rewrite;

  if (!check_halted (domain, cancellable, error) ||
      !varve_qmp_prepare (domain, start, &strategy, &disks, cancellable, error) ||
      !check_disks (domain, disks, error))
    return false;
  if (!open_steps (domain, start, disks, cancellable, error)) {
    varve_qmp_take_down (domain, start, false, NULL, NULL);
    return false;
  }
  rewrite = g_new0 (QmpRewrite, 1);
  rewrite->base.domain = base;
  rewrite->base.start = varve_start_copy (start);
  *out = &rewrite->base;
  return true;
}

bool
varve_qmp_rewrite_endpoint (VarveRewrite *rewrite, const char *disk, VarveEndpoint *out,
                            GCancellable *cancellable, GError **error)
{
  varve_qmp_fill_endpoint (rewrite->start, (guint)varve_qmp_index_of (rewrite->start, disk), out);
  return true;
}

static bool
take_down (QmpRewrite *rewrite, GCancellable *cancellable, GError **error)
{
  rewrite->down =
      rewrite->down || varve_qmp_take_down ((VarveQmpDomain *)rewrite->base.domain,
                                            rewrite->base.start, false, cancellable, error);
  return rewrite->down;
}

/* The guest still stands, so nobody writes before the new bitmaps are there. */
bool
varve_qmp_rewrite_finish (VarveRewrite *base, GCancellable *cancellable, GError **error)
{
  const VarveStart *start = base->start;
  g_autoptr (GPtrArray) disks = varve_start_marked_disks (start);

  return take_down ((QmpRewrite *)base, cancellable, error) &&
         (disks->len == 0 ||
          varve_qmp_checkpoint_add (base->domain, start->checkpoint, start->description, disks,
                                    cancellable, error));
}

/* What cannot be taken down now is found by its names. */
void
varve_qmp_rewrite_free (VarveRewrite *base)
{
  QmpRewrite *rewrite = (QmpRewrite *)base;

  take_down (rewrite, NULL, NULL);
  varve_start_free (base->start);
  g_free (rewrite);
}
