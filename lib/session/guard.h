/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The worker's side of the guard: a small program (libexec/varve-guard) that outlives the worker. It
 * ends the session when the worker dies, gives it up, or no longer gives signs of life; by
 * varve_session_recover, as everybody does. It never talks to the hypervisor while the worker lives: a
 * QEMU monitor serves one client, and two who mend at once mend badly.
 *
 * A beat is a promise to beat again. What it proves is in watch.h. No two threads use a guard at once.
 *
 * VARVE_GUARD=none in the environment does without, for tests of what happens then.
 */
#pragma once

#include "state/state-dir.h"

typedef struct VarveGuard VarveGuard;

/* Starts the guard of @session, and waits until it stands. *@out stays NULL where none is wanted. */
bool varve_guard_start (const VarveStateDir *dir, const char *session, VarveGuard **out,
                        GError **error);

/* "I beat again within @seconds"; 0: nothing is owed from here on. A guard that has gone is replaced
 * by another, a few times. No-op for NULL, as are the others. */
void varve_guard_beat (VarveGuard *guard, unsigned seconds);

/* The session is no more: the guard goes. */
void varve_guard_dismiss (VarveGuard *guard);

/* Frees our side. A guard that was not dismissed takes the session over. */
void varve_guard_free (VarveGuard *guard);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveGuard, varve_guard_free)
