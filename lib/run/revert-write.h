/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The disks of a domain, put back: all of them, or a record that says that it is not done.
 *
 *   disks and store opened ─▶ record ─▶ write, flush, disk by disk ─▶ new checkpoint ─▶ record gone
 *       (nothing written)      └── cut off here: whoever finds the record does it again from the plan on ──┘
 *
 * Bitmaps record what is written. So what a cut leaves is planned and written as anything else that has
 * changed since a checkpoint; and only a disk that is as at the backup gets the bitmap that says so. */
#pragma once

#include "run/revert-plan.h"

/* Held: the domain's lock. @record has what an action knows of the domain: id, URI, images; or it is that of
 * a revert of the same disks that was cut off, whatever backup that was to. */
bool varve_revert_write (const VarveStateDir *state, const VarveEventSink *events,
                         const VarveLook *look, const VarveRevertPlan *plan, VarveRecord *record,
                         GCancellable *cancellable, GError **error);

/* Does again what @record tells of. Held: the domain's lock. @domain NULL: it is gone for good, and
 * its record goes. A domain that runs is VARVE_ERROR_REFUSED. */
bool varve_revert_resume (const VarveStateDir *state, VarveDomain *domain, const char *id,
                          const VarveEventSink *events, GCancellable *cancellable, GError **error);

/* The record of a revert of the domain with this uuid (NULL: any) that was cut off; NULL: there is none.
 * (transfer full) */
VarveRecord *varve_revert_unfinished (const VarveStateDir *state, const char *uuid);
