/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ending what killed runs left behind. */
#pragma once

#include "run/context.h"
#include "session/session.h"

/* Ends one session, whose domain's lock the caller holds. @domain NULL: it is gone for good. */
bool varve_recover_record (const VarveStateDir *state, VarveDomain *domain,
                           const VarveRecord *record, const VarveEventSink *events,
                           GCancellable *cancellable, GError **error);

/* Ends session @id, whose worker is dead. A record that is not there is no error. */
bool varve_recover_session (const VarveStateDir *state, const char *id,
                            const VarveEventSink *events, GCancellable *cancellable,
                            GError **error);

/* Ends session @id for a guard: takes the domain's lock, and around it one by which a run that finds the
 * domain busy knows that it is a guard who is at work. A record that is not there is no error: somebody
 * else was quicker. Also where the domain's lock was not to be had (VARVE_ERROR_BUSY). */
bool varve_recover_as_guard (const VarveStateDir *state, const char *id, GCancellable *cancellable,
                             GError **error);

/* How long a run waits for a guard. A guest's paused QEMU, a hung client: an end has time-outs of its own. */
#define VARVE_RECOVER_WAIT_S 60

/* The lock of a guard that is at work on the domain of that uuid. (transfer full) */
char *varve_recover_lock_name (const char *uuid);

void varve_recover_warn (const VarveEventSink *events, const char *text);
