/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the verbs on checkpoints share: a domain that is open and locked, and all that is known of its
 * checkpoints.
 */
#pragma once

#include "checkpoint/check.h"
#include "run/context.h"
#include "run/varve-checkpoints.h"
#include "store/store.h"

/* What was said about the domain before it is opened. */
typedef struct {
  char *uri;
  char *domain;
  char *uuid;
  char *owner;        /* label, or a whole owner; NULL: none was given */
  GHashTable *images; /* disk → VarveImage */
  GHashTable *qdevs;  /* disk → char * */
  GPtrArray *stores;  /* of char *: STORE */
  char *state_directory;
  unsigned wait;
  VarveEventSink events;
} VarveCheckpointsDef;

const VarveCheckpointsDef *varve_checkpoints_def (VarveCheckpoints *checkpoints);

/* The owner that is acted for. */
const char *varve_checkpoints_label (const VarveCheckpointsDef *def);

/* A store that was named, or that a session of the domain names. */
typedef struct {
  VarveStoreImpl *impl;
  GPtrArray *manifests; /* of VarveManifest */
} VarveStoreAtHand;

typedef struct {
  const VarveCheckpointsDef *def;
  VarveStateDir *state;
  VarveDomain *domain;
  VarveLock *lock;
  GPtrArray *at_hand; /* of VarveStoreAtHand */
  VarveCheckFacts facts;
} VarveCheckpointWork;

/* Opens the domain, takes its lock. @recover: ends sessions that nobody is at, as every run does
 * before it changes something. @what: for others who wait for the lock. */
bool varve_checkpoint_work_open (VarveCheckpointWork *work, const VarveCheckpointsDef *def,
                                 const char *what, bool recover, GCancellable *cancellable,
                                 GError **error);
/* Fills in the facts, or fills them in anew. */
bool varve_checkpoint_work_look (VarveCheckpointWork *work, GCancellable *cancellable,
                                 GError **error);
void varve_checkpoint_work_clear (VarveCheckpointWork *work);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveCheckpointWork, varve_checkpoint_work_clear)

/* The sessions of the domain, and those of whoever's that are on no record. (transfer full) array of
 * VarveCheckSession */
GPtrArray *varve_checkpoint_sessions (const VarveStateDir *state, VarveDomain *domain,
                                      GCancellable *cancellable, GError **error);
/* Ends a session that is on no record, by its id, and removes @files. */
bool varve_checkpoint_end_session (const VarveStateDir *state, VarveDomain *domain, const char *id,
                                   GPtrArray *files, GCancellable *cancellable, GError **error);
bool varve_checkpoint_remove_files (GPtrArray *files, GError **error);

/* What the hypervisor's record says of a checkpoint for people. (transfer full) */
char *varve_checkpoint_description (const char *name);

/* Whether any disk, or the hypervisor's records, have it. */
bool varve_checkpoint_is_there (const VarveCheckFacts *facts, const char *name);
/* Names of varve that no session still decides about, of every owner, oldest first. (transfer full) */
GPtrArray *varve_checkpoint_ours (const VarveCheckFacts *facts);
/* Whether it may be changed: ours, the owner's, and in no session's hands. */
bool varve_checkpoint_check_own (const VarveCheckFacts *facts, const char *checkpoint,
                                 GError **error);
/* The name of the checkpoint of the owner that is meant by @text, a name or the id of a backup.
 * (transfer full) */
char *varve_checkpoint_resolve (const VarveCheckFacts *facts, const char *text, GError **error);

/* checkpoint-info.c */
VarveCheckpoint *varve_checkpoint_from_facts (const VarveCheckFacts *facts, const char *name);
VarveFinding *varve_finding_from_facts (VarveFindingFacts *facts);
const VarveFindingFacts *varve_finding_facts (VarveFinding *finding);
/* The repair was made: @failure (transfer full) NULL: the finding is gone. */
void varve_finding_close (VarveFinding *finding, char *failure);
bool varve_finding_is_closed (VarveFinding *finding);
