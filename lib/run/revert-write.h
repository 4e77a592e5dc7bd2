/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The disks of a domain, put back: all of them, or a record that says that it is not done.
 *
 *   disks and store opened ─▶ record ─▶ write, flush, disk by disk ─▶ new checkpoint ─▶ guest started ─▶ record gone
 *       (nothing written)      └── cut off here: whoever finds the record does it again from the plan on ──┘
 *
 * Bitmaps record what is written. So what a cut leaves is planned and written as anything else that has
 * changed since a checkpoint; and only a disk that is as at the backup gets the bitmap that says so. */
#pragma once

#include "run/revert-plan.h"

/* Before it, of a guest that runs: puts on record that it is to run again, and halts it. Held: the domain's lock,
 * and that of the record's session. Refused with VARVE_ERROR_BUSY while other sessions have the disks. On failure
 * the record stays, and varve_revert_resume lets the guest go on. */
bool varve_revert_halt (const VarveStateDir *state, const VarveLook *look,
                        const VarveManifest *wanted, VarveRecord *record, GCancellable *cancellable,
                        GError **error);

/* Held: the domain's lock, and that of the record's session. @record has what an action knows of the domain: id, URI,
 * images; or it is that of a revert of the same disks that was cut off, whatever backup that was to. *@out_runs: a guest
 * that was halted for it runs again; false where its QEMU has exited. */
bool varve_revert_write (const VarveStateDir *state, const VarveEventSink *events,
                         const VarveLook *look, const VarveRevertPlan *plan, VarveRecord *record,
                         bool *out_runs, GCancellable *cancellable, GError **error);

/* Does again what the record @id tells of, or starts the guest where that is all that is left to do. Held: the domain's
 * lock. @domain NULL: it is gone for good, and its record goes. A domain that runs on disks that are half-written is
 * VARVE_ERROR_REFUSED. *@out_runs: as above. */
bool varve_revert_resume (const VarveStateDir *state, VarveDomain *domain, const char *id,
                          const VarveEventSink *events, bool *out_runs, GCancellable *cancellable,
                          GError **error);

/* The record of a revert of the domain with this uuid (NULL: any) that was cut off while it wrote; NULL: there is none.
 * (transfer full) */
VarveRecord *varve_revert_unfinished (const VarveStateDir *state, const char *uuid);
