/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Instant restore: the guest runs on images that are filled from the backup meanwhile.
 *
 *   record "preparing" ─▶ backup served ─▶ images, with their checkpoint ─▶ (domain defined) ─▶ record "booting" ─▶ guest runs
 *   ─▶ record "filling" ─▶ jobs, until the images depend on nothing ─▶ server ended ─▶ record gone
 *
 * Up to "booting" whatever was made goes again where it fails, or is found by its record: nobody has used it. From there on all of
 * it stays, and is gone on with: what the guest wrote is nowhere else. The server lives on when varve is killed, as the guest
 * reads from it. A domain that is off meanwhile is filled without it. */
#pragma once

#include "run/context.h"
#include "run/restore-define.h"
#include "store/store.h"

typedef struct {
  const VarveRestoreDef *def;
  const char *store; /* STORE argument */
  const VarveManifest *manifest;
  GPtrArray *targets; /* of VarveRestoreDisk: qcow2 files that are not there */
  const VarveRestoreDefine
      *define; /* of libvirt; without a definition: a bare QEMU, by the URI of @def */
} VarveInstant;

bool varve_run_instant (const VarveRunContext *context, const VarveInstant *instant,
                        GCancellable *cancellable, GError **error);

/* The id of an instant restore to one of these @targets that was cut off; NULL: there is none. (transfer full) */
char *varve_instant_unfinished (const VarveStateDir *state, GPtrArray *targets);

/* Ends what the record @id tells of: undoes what nobody has used, fills what has been. Held: the domain's lock. @domain NULL: it is
 * gone for good, and its images, so far as they are there, are filled without it. *@out_undone: which of the two. */
bool varve_instant_resume (const VarveStateDir *state, VarveDomain *domain, const char *id,
                           const VarveEventSink *events, bool *out_undone,
                           GCancellable *cancellable, GError **error);
