/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A session: what a start has set up and must be ended. Its record is durable before the first act,
 * and goes when the last trace of it on the hypervisor has gone.
 *
 * Of a push nothing is copied by us: QEMU writes, and varve_session_progress tells when all of it is there.
 *
 *   begin ─▶ (copy) ─▶ finish ─▶ close ─▶ (the store commits) ─▶ keep ─▶ end
 *      └────────┴─────────┴────────┴────── any failure: end without keep drops the new checkpoint
 *
 * From begin to close a watch (watch.h) looks after the guest, and a guard (guard.h), a process of its own, after the
 * watch: until the session has ended. Whoever finds a record whose lock is free calls recover: the guard, the next run,
 * varve recover. There is no second way to clean up.
 *
 * From begin to close the domain is the session's: nobody else calls its ops.
 */
#pragma once

#include "state/record.h"
#include "virt/domain.h"

typedef struct VarveSession VarveSession;

typedef struct {
  bool quiesce;          /* freeze file systems around the start */
  bool quiesce_required; /* and fail where that cannot be done */
  unsigned quiesce_timeout;
} VarveQuiesce;

/* Takes the session's lock, writes the record, posts the guard, starts. On failure everything is undone and the
 * record is gone, or, where even that failed, the record stays for recover. @record (transfer full)
 * has id, domain, owner, backup, store; the rest is taken from @start. @out_weaker (may be NULL)
 * gets a sentence when the freeze was asked for and not had. */
VarveSession *varve_session_begin (const VarveStateDir *dir, VarveDomain *domain,
                                   const VarveStart *start, VarveRecord *record,
                                   const VarveQuiesce *quiesce, uint64_t *out_pause_us,
                                   bool *out_frozen, GPtrArray *out_weaker,
                                   GCancellable *cancellable, GError **error);

/* Where @disk is read. */
bool varve_session_endpoint (VarveSession *session, const char *disk, VarveEndpoint *out,
                             GCancellable *cancellable, GError **error);
/* How far a push is; see the op of VarveDomainOps. A snapshot that the watch has given up fails with its reason. */
bool varve_session_progress (VarveSession *session, GArray **out, GCancellable *cancellable,
                             GError **error);
/* Of a push that is under way: what the disks that are not ready may write together. */
bool varve_session_set_speed (VarveSession *session, uint64_t bytes_per_second,
                              GCancellable *cancellable, GError **error);
const VarveRecord *varve_session_record (const VarveSession *session);

/* Called every few seconds by whoever hosts the session, while it is read: a host that does not for
 * minutes (VARVE_WATCH_HOST_S) is taken for hung. False when the snapshot is lost, with the reason: it
 * has been taken down then, or is about to be. */
bool varve_session_check (VarveSession *session, GError **error);

/* Readers that are not the caller's: @release closes their connections to the hypervisor. It is called before the watch
 * takes a lost snapshot down, in any thread; whoever ends the session himself closes them himself. @data must live until
 * then. */
void varve_session_set_release (VarveSession *session, void (*release) (gpointer data),
                                gpointer data);

/* A reader of a lost snapshot is only told that his connection broke: *@error becomes the reason, where
 * the watch knows one. */
void varve_session_explain (VarveSession *session, GError **error);

/* Scratch used, and the like, as the last look found it. */
void varve_session_status (VarveSession *session, VarveSnapshotStatus *out);

/* Proof that all that was read came from a live snapshot. */
bool varve_session_finish (VarveSession *session, GCancellable *cancellable, GError **error);

/* Takes the snapshot down. Idempotent. */
bool varve_session_close (VarveSession *session, GError **error);

/* The backup is durable: the checkpoint stays. A store says so itself, by its manifest; for a session without one the
 * record does. */
bool varve_session_keep (VarveSession *session, GError **error);

/* Closes if that has not been done; drops the checkpoint unless kept; resumes a guest that an I/O
 * error paused behind our start; unlinks the record; frees. On failure the record stays for
 * recover. */
bool varve_session_end (VarveSession *session, GError **error);

/* As end, where the error is of no use: what could not be ended is on record. */
void varve_session_free (VarveSession *session);

/* Whether the backup that a record names has been committed. @out_known is false where its store
 * cannot be asked: then the checkpoint is left alone, as its name says all. */
typedef bool (*VarveRecordCommittedFunc) (const VarveRecord *record, bool *out_known,
                                          gpointer data);

/* Ends what a record tells of, whatever is left of it. @domain NULL: it is gone for good (its QEMU
 * has exited, or it was undefined): then only files of ours are removed. The caller holds the
 * domain's lock. */
bool varve_session_recover (const VarveStateDir *dir, VarveDomain *domain,
                            const VarveRecord *record, VarveRecordCommittedFunc committed,
                            gpointer data, GCancellable *cancellable, GError **error);

/* The lock by which a session is known to be live. @holder: who has it, in words. */
VarveLock *varve_session_lock (const VarveStateDir *dir, const char *id, const char *holder,
                               GError **error);
/* Whether a live process holds the session. */
bool varve_session_is_live (const VarveStateDir *dir, const char *id);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveSession, varve_session_free)
