/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An export session in the process that hosts it (varve-export): it is the session's worker, holds the domain's lock,
 * the record, the snapshot and the relay, until somebody ends it.
 *
 *   begin:  listen ─▶ look ─▶ plan ─▶ session begin ─▶ relay ─▶ exports/SESSION.json
 *   serve:  until end is asked for, the holder leaves, max-age, or a signal
 *   end:    (keep: finish) ─▶ relay closed ─▶ close ─▶ (keep, retire) ─▶ end
 *
 * A view that breaks is taken down at once, and its checkpoint dropped: the guest pays for it no longer, and the
 * domain is free. The host lives on, to say so to whoever ends the session.
 */
#pragma once

#include "plan/plan.h"
#include "run/context.h"
#include "run/export-control.h"
#include "run/export-proof.h"
#include "run/export-report.h"
#include "session/relay.h"
#include "session/session.h"

typedef struct {
  const VarveRunContext *context;
  const VarveExportDef *def;
  char *session_id;

  /* listen */
  VarveLock *host_lock; /* "export-SESSION": the host lives */
  VarveExportControl *control;
  VarveListener *listener; /* NULL once the relay has it, */
  VarveTls *tls;           /* and this */
  char *published;         /* path of the UNIX socket, or NULL */
  char *authority;         /* "nbd+unix://" … of the URIs, up to the export's name */

  /* look, plan: all of it goes when the session ends, the lock last */
  VarveDomain *domain;
  VarveLock *lock;
  VarveDomainState state;
  char *owner;
  GPtrArray *disks;   /* of VarveDisk */
  GPtrArray *bitmaps; /* of VarveBitmap */
  GPtrArray *plans;   /* of VarvePlanDisk */
  char *backup;       /* the instant, as the checkpoint's name has it */
  VarveStart *start;

  /* serve */
  VarveSession *session; /* NULL: it has ended */
  VarveExportProof *proof;
  VarveRelay *relay;
  VarveExportReport *report;
  gint64 deadline; /* monotonic us */
} VarveExportHost;

VarveExportHost *varve_export_host_begin (const VarveRunContext *context, const VarveExportDef *def,
                                          const char *session, GCancellable *cancellable,
                                          GError **error);
/* Until it has ended. */
void varve_export_host_serve (VarveExportHost *host, GCancellable *cancellable);
void varve_export_host_free (VarveExportHost *host);

/* Writes exports/SESSION.json anew. */
bool varve_export_host_publish (VarveExportHost *host, GError **error);
/* Ends the session; nothing of the domain is held afterwards. With @keep and no error the checkpoint stays. */
bool varve_export_host_end (VarveExportHost *host, bool keep, GError **error);

/* A VarveCommittedFunc: without a store every checkpoint counts that no session has left over. */
bool varve_export_is_committed (const char *backup, gpointer data);

/* --- names in the state directory ------------------------------------------------------------- */

/* exports/SESSION.ENDING (transfer full) */
char *varve_export_file (const VarveStateDir *state, const char *session, const char *ending);
/* The lock of the host. (transfer full) */
char *varve_export_lock_name (const char *session);
/* Its host lives. */
bool varve_export_is_hosted (const VarveStateDir *state, const char *session);
/* Removes what a dead host left there. */
bool varve_export_forget (const VarveStateDir *state, const char *session, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportHost, varve_export_host_free)
