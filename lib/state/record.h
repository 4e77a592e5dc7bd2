/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A session record: everything that is needed to end what a start set up, written durably before
 * the start does anything. sessions/ID.session, a key file. The live owner of a record holds the
 * lock "session-ID"; a record whose lock is free was left behind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

#include "state/lock.h"
#include "state/state-dir.h"

#define VARVE_RECORD_VERSION 1

typedef enum {
  VARVE_PHASE_STARTING, /* the start may have been made in part, the guest may stand still for it */
  VARVE_PHASE_STARTED,
  /* No snapshot, but a revert to `backup`. Where was_running, the guest was halted for it, and is to run again. */
  VARVE_PHASE_REVERTING, /* disks are being written */
  VARVE_PHASE_HALTED,    /* nothing is written, and the guest halted, or about to be */
  VARVE_PHASE_REVERTED,  /* all is written, and the guest not started yet, or just now */
  /* No snapshot, but a guest that runs on disks that are filled from `backup` meanwhile: their images are the targets. */
  VARVE_PHASE_PREPARING, /* images and domain are being made, which nobody has used yet: they go */
  VARVE_PHASE_BOOTING,   /* the guest is about to be started, or was just now */
  VARVE_PHASE_FILLING,   /* it runs, or ran */
} VarvePhase;

typedef struct {
  char *name;      /* disk */
  char *since;     /* bitmap that is read, or NULL */
  char *scratch;   /* path of the scratch image, or NULL */
  char *target;    /* path of what QEMU writes, of a push or while it is filled, or NULL */
  bool checkpoint; /* this disk gets the new bitmap */
} VarveRecordDisk;

/* An image of a stopped domain, as it was opened: none of it can be asked from a hypervisor later.
 */
typedef struct {
  char *disk;
  char *path; /* absolute */
  char *format;
  char *key_file; /* LUKS, absolute, or NULL */
} VarveRecordImage;

typedef struct {
  char *id; /* session = run id, 16 hex; every name on the hypervisor's side has it */
  VarvePhase phase;
  char *uri; /* of the domain */
  char *domain;
  char *uuid;
  char *owner;
  char *backup;
  char *checkpoint;  /* tentative, or NULL */
  char *store;       /* STORE argument, or NULL */
  char *strategy;    /* driver's word, set by the start */
  char *directory;   /* with the sockets */
  char *socket;      /* published UNIX socket of an export session, or NULL */
  char *agent;       /* guest agent's socket of a bare QEMU, or NULL */
  char *nvram;       /* firmware variables of a domain that is being made, or NULL */
  char *tpm;         /* the same of what its TPM remembers */
  bool was_running;  /* before the start */
  bool frozen;       /* file systems were frozen by us, or may be yet: thaw */
  bool kept;         /* the checkpoint is committed */
  bool push;         /* QEMU writes the backup itself */
  bool stuck;        /* a job that fills disks failed, and this QEMU is not to be given another */
  int64_t started;   /* unix seconds */
  int64_t expires;   /* unix seconds; 0: a session that lasts as long as its work */
  uint64_t speed;    /* bytes per second that disks are filled at; 0: no limit */
  GPtrArray *disks;  /* of VarveRecordDisk */
  GPtrArray *images; /* of VarveRecordImage: how a stopped domain was opened */
} VarveRecord;

VarveRecord *varve_record_new (const char *id);
void varve_record_free (VarveRecord *record);
bool varve_record_is_revert (const VarveRecord *record);
bool varve_record_is_instant (const VarveRecord *record);
/* Both return what they added; it belongs to @record. @key_file may be NULL. */
VarveRecordDisk *varve_record_add_disk (VarveRecord *record, const char *name);
VarveRecordImage *varve_record_add_image (VarveRecord *record, const char *disk, const char *path,
                                          const char *format, const char *key_file);

/* Durable: replaces the file of this id. */
bool varve_record_save (const VarveRecord *record, const VarveStateDir *dir, GError **error);
bool varve_record_unlink (const VarveRecord *record, const VarveStateDir *dir, GError **error);

/* One record; refuses what is not well formed (a name with a slash, an unknown version). */
VarveRecord *varve_record_load (const VarveStateDir *dir, const char *id, GError **error);
/* Ids of all records, oldest first. (transfer full) array of strings. */
GPtrArray *varve_record_list (const VarveStateDir *dir, GError **error);

/* Bytes in memory, for tests and the fuzzer. */
char *varve_record_format (const VarveRecord *record);
VarveRecord *varve_record_parse (const char *data, size_t length, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRecord, varve_record_free)
