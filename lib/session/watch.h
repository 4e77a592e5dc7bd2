/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The watch over a guest while its snapshot is read: a thread of the worker's own, so that no slow
 * store, base or listener can keep it from looking. Once a second it asks the hypervisor how the
 * snapshot, the guest and scratch are. What it finds wrong it keeps, and ends by itself: the snapshot
 * is taken down, a guest that our I/O error paused goes on, and the reader gets errors and this reason.
 *
 * It is the watch that beats to the guard, so what a beat proves is this: the guest was looked at, and
 * either nothing was wrong or it has been put right; and whoever hosts the session has moved within the
 * last VARVE_WATCH_HOST_S seconds. A host that hangs while his guest is well is so ended in minutes, a
 * guest that is not well is helped in seconds whatever hangs, and where this thread itself hangs or is
 * stopped, the guard does it.
 *
 * A thaw that is still to be made up for (the record says frozen) it tries again until the agent answers.
 *
 * While the watch runs, the domain and the snapshot are its own, save for varve_watch_lock.
 */
#pragma once

#include "session/guard.h"
#include "state/record.h"
#include "virt/domain.h"

#define VARVE_WATCH_HOST_S 300

typedef struct VarveWatch VarveWatch;

typedef struct {
  VarveSnapshot *snapshot;
  const VarveRecord *record;
  uint64_t watermark;    /* bytes of scratch; 0: none */
  VarveGuard *guard;     /* may be NULL */
  unsigned interval_ms;  /* 0: 1000 */
  unsigned tolerance_ms; /* how long the hypervisor may fail to answer; 0: 10 s */
} VarveWatchOptions;

/* All of @options must live until the watch is freed. */
VarveWatch *varve_watch_start (const VarveWatchOptions *options);
/* Called, in whatever thread, before the watch takes the snapshot down. */
void varve_watch_set_release (VarveWatch *watch, void (*release) (gpointer data), gpointer data);
/* Ends the thread. */
void varve_watch_free (VarveWatch *watch);

/* Told by the host, at least every few seconds: "I move". False with the reason when the snapshot is
 * lost: then the host stops reading, and ends the session. */
bool varve_watch_check (VarveWatch *watch, GError **error);

/* Whether something is wrong, without saying anything about the host. */
bool varve_watch_is_well (VarveWatch *watch, GError **error);

/* Whether it made up for the thaw. */
bool varve_watch_has_thawed (VarveWatch *watch);

/* What the last look found; @out is not to be cleared by the caller (it has no why). */
void varve_watch_status (VarveWatch *watch, VarveSnapshotStatus *out);

/* The domain and the snapshot, for a moment. */
GMutexLocker *varve_watch_lock (VarveWatch *watch);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveWatch, varve_watch_free)
