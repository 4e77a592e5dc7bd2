/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the actions of a run share. */
#pragma once

#include "job/def.h"
#include "state/lock.h"
#include "state/record.h"
#include "state/state-dir.h"
#include "util/event.h"
#include "virt/domain.h"

/* The speed that varve_run_set_speed() asks for, by any thread: bytes per second, 0 for no limit, negative while nobody
 * has asked: then it is the action's. */
typedef _Atomic int64_t VarveRunSpeed;

typedef struct {
  const char *job;
  VarveStateDir *state;
  const VarveEventSink *events;
  int output; /* where commands of the job write what they say; -1: as we do */
  const VarveRunSpeed *speed;
} VarveRunContext;

/* What holds at this moment for an action that asks for @wanted. */
uint64_t varve_run_speed (const VarveRunContext *context, uint64_t wanted);

bool varve_run_backup (const VarveRunContext *context, const VarveBackupDef *def,
                       GCancellable *cancellable, GError **error);
bool varve_run_restore (const VarveRunContext *context, const VarveRestoreDef *def,
                        GCancellable *cancellable, GError **error);

bool varve_run_revert (const VarveRunContext *context, const VarveRevertDef *def,
                       GCancellable *cancellable, GError **error);
bool varve_run_export (const VarveRunContext *context, const VarveExportDef *def,
                       GCancellable *cancellable, GError **error);
bool varve_run_verify (const VarveRunContext *context, const VarveVerifyDef *def,
                       GCancellable *cancellable, GError **error);
/* The monitor of a bare QEMU serves one client: whoever has it makes the domain busy, and is waited
 * for as the domain's lock is. A guard that is at work on the domain gets it to himself first. Where it is busy with a
 * session of ours, the error says whose. */
VarveDomain *varve_run_open_domain (const VarveStateDir *state, const VarveDomainAddress *address,
                                    unsigned wait_s, GCancellable *cancellable, GError **error);

/* Adds to @bitmaps those that the hypervisor has and does not list, of the @newest backups of the domain
 * by each owner; from @manifests, oldest first. */
bool varve_run_find_bitmaps (VarveDomain *domain, GPtrArray *manifests, unsigned newest,
                             GPtrArray *bitmaps, GCancellable *cancellable, GError **error);

/* The lock of a domain, by its uuid: one run at a time. A guard that ends what another left there is always
 * waited for, as that takes seconds. */
VarveLock *varve_run_lock_domain (const VarveStateDir *state, const char *name, const char *uuid,
                                  const char *holder, unsigned wait_s, GCancellable *cancellable,
                                  GError **error);

/* Whether a guard is at work on the domain. It wants the monitor of a bare QEMU, which serves one client: who has
 * the domain open closes it, and waits. */
bool varve_run_guard_is_at_work (const VarveStateDir *state, const char *uuid);
bool varve_run_await_guard (const VarveStateDir *state, const char *name, const char *uuid,
                            GCancellable *cancellable, GError **error);

/* Ends the left-over sessions of @domain, whose lock the caller holds. */
bool varve_run_recover_domain (const VarveStateDir *state, VarveDomain *domain,
                               const VarveEventSink *events, GCancellable *cancellable,
                               GError **error);
