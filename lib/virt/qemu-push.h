/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Backup jobs that write disks to their targets: the same in a QEMU and in a storage daemon.
 *
 *   targets opened, without what they are linked to ─▶ the jobs begin ─▶ each runs until it is pending
 *   ─▶ (all of them) finish: job-finalize ─▶ concluded
 *
 * A job that has copied everything is held back (auto-finalize off), as grouped completion is refused next to bitmap
 * actions: so all disks end well or none. Errors are reported, never waited out: a job that pauses would go on holding
 * up the guest's writes. There is no state here: all is asked by the names that a start gives. */
#pragma once

#include "qemu/qmp.h"
#include "virt/inventory.h"

/* Node "p" of the disk at @index. */
bool varve_qemu_push_open (VarveQmp *qmp, const VarveStart *start, guint index,
                           GCancellable *cancellable, GError **error);
/* Arguments of blockdev-backup, from @node; by @bitmap where the disk has a `since`. (transfer full) */
JsonObject *varve_qemu_push_job (const VarveStart *start, guint index, const char *node,
                                 const char *bitmap);

/* As the ops of VarveDomainOps. */
bool varve_qemu_push_progress (VarveQmp *qmp, const VarveStart *start, GArray **out,
                               GCancellable *cancellable, GError **error);
bool varve_qemu_push_set_speed (VarveQmp *qmp, const VarveStart *start, uint64_t speed,
                                GCancellable *cancellable, GError **error);
/* Of poll: state, why and code. */
bool varve_qemu_push_poll (VarveQmp *qmp, const VarveStart *start, VarveSnapshotStatus *out,
                           GCancellable *cancellable, GError **error);
bool varve_qemu_push_finish (VarveQmp *qmp, const VarveStart *start, GCancellable *cancellable,
                             GError **error);
