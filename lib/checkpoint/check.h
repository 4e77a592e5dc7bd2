/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is wrong with the checkpoints of a domain, what that means for its next backup, and what
 * mends it. Pure: what stores, session records, the hypervisor's own records and its bitmaps say goes
 * in, and where they differ comes out.
 *
 * A finding has a repair only where that takes nothing away which a backup could still use, and is
 * the caller's owner's: otherwise it says why there is none. Foreign bitmaps are not looked at.
 */
#pragma once

#include "checkpoint/name.h"
#include "virt/inventory.h"

typedef enum {
  VARVE_CHECK_NO_BACKUP,             /* checkpoint of a backup that the store does not have */
  VARVE_CHECK_BITMAP_BROKEN,         /* inconsistent: QEMU lost it */
  VARVE_CHECK_IMAGE_NOT_CLOSED,      /* the same, seen in the image of a domain that is off */
  VARVE_CHECK_BITMAP_DISABLED,       /* does not record */
  VARVE_CHECK_BITMAP_MISSING,        /* the backup has it, the disk does not */
  VARVE_CHECK_BITMAP_TRANSIENT,      /* dies with QEMU, though the disk could store it */
  VARVE_CHECK_BITMAP_COARSE,         /* of larger grains than varve makes */
  VARVE_CHECK_IMAGE_COPIED,          /* the backup is another domain's */
  VARVE_CHECK_DISK_SHRUNK,           /* the backup is of a larger disk */
  VARVE_CHECK_DISK_NOT_IN_BACKUP,    /* the backup does not have the disk */
  VARVE_CHECK_BACKUP_DAMAGED,        /* the backup's files are not fit to be built upon */
  VARVE_CHECK_RECORD_WITHOUT_BITMAP, /* libvirt has a checkpoint that no disk has */
  VARVE_CHECK_BITMAP_WITHOUT_RECORD, /* a disk has a checkpoint that libvirt does not have */
  VARVE_CHECK_RECORD_OF_LOST_DISK,   /* libvirt's checkpoint names a disk that is gone */
  VARVE_CHECK_SESSION_DEAD,          /* nobody is at it any more, and something of it is there */
  VARVE_CHECK_SESSION_EMPTY,         /* a record, and nothing behind it */
  VARVE_CHECK_SESSION_UNRECORDED,    /* something of it is in QEMU, and there is no record */
  VARVE_CHECK_SESSION_FILES,         /* scratch or sockets of a session that is not on record */
  VARVE_CHECK_SESSION_UNREADABLE,    /* a record that cannot be read */
  VARVE_CHECK_STORE_UNKNOWN,         /* what cannot be said without the store */
  VARVE_CHECK_KINDS,
} VarveCheckKind;

/* "bitmap-broken" … */
const char *varve_check_kind_name (VarveCheckKind kind);

typedef enum {
  VARVE_REPAIR_NONE,
  VARVE_REPAIR_REMOVE,      /* the checkpoint, from all disks, the record too */
  VARVE_REPAIR_RECORD,      /* the hypervisor's record is made anew, of the finding's disks */
  VARVE_REPAIR_FORGET,      /* the hypervisor's record goes */
  VARVE_REPAIR_RECOVER,     /* the session is ended by its record */
  VARVE_REPAIR_END,         /* the session is ended by its id alone */
  VARVE_REPAIR_REMOVE_FILES /* of the session */
} VarveRepair;

/* --- facts ------------------------------------------------------------------------------------ */

typedef struct {
  char *name;
  uint64_t size;
  bool checkpoint; /* got a bitmap */
} VarveCheckBackupDisk;

/* A backup that a store at hand has. */
typedef struct {
  char *store; /* first 8 hex of its uuid */
  char *id;
  char *owner;
  char *checkpoint; /* or NULL */
  char *uuid;       /* of the domain */
  char *domain;
  GPtrArray *disks; /* of VarveCheckBackupDisk */
} VarveCheckBackup;

/* A session of this domain, or, when it has no record, of whoever's. */
typedef struct {
  char *id;
  bool live;
  bool recorded;
  bool reverting;   /* a revert that was cut off: disks are partly as at @backup */
  char *unreadable; /* why the record cannot be read, or NULL */
  char *owner, *backup, *checkpoint;
  bool in_hypervisor; /* nodes, exports, jobs or frozen bitmaps of it are there */
  GPtrArray *files;   /* of char *: scratch images and socket directories that exist */
  char *in_use;       /* without a record: why it may be alive all the same, or NULL */
} VarveCheckSession;

/* NULL: the layer may serve as a base; else why not, without a full stop. (transfer full) */
typedef char *(*VarveCheckBaseFunc) (const VarveCheckBackup *backup, const char *disk,
                                     gpointer data);

typedef struct {
  const char *uuid;
  const char *owner; /* label, or a whole owner: whose findings may be mended */
  bool off;
  bool keeps_records;  /* the hypervisor has records of its own */
  GPtrArray *disks;    /* of VarveDisk */
  GPtrArray *bitmaps;  /* of VarveBitmap */
  GPtrArray *records;  /* of VarveCheckpointMetadata */
  GPtrArray *sessions; /* of VarveCheckSession */
  GPtrArray *stores;   /* of char *: those at hand, by 8 hex; "!" behind it: not all of its backups
                          can be read */
  GPtrArray *backups;  /* of VarveCheckBackup, of those stores, oldest first */
  VarveCheckBaseFunc check_base;
  gpointer check_data;
} VarveCheckFacts;

VarveCheckBackup *varve_check_backup_new (const char *store, const char *id);
void varve_check_backup_free (VarveCheckBackup *backup);
VarveCheckBackupDisk *varve_check_backup_add_disk (VarveCheckBackup *backup, const char *name,
                                                   uint64_t size, bool checkpoint);
VarveCheckSession *varve_check_session_new (const char *id);
void varve_check_session_free (VarveCheckSession *session);

typedef enum {
  VARVE_CHECK_BACKUP_THERE,
  VARVE_CHECK_BACKUP_ABSENT,
  VARVE_CHECK_BACKUP_UNKNOWN, /* the store is not at hand, or cannot be read as a whole */
  VARVE_CHECK_BACKUP_NO_STORE,
} VarveCheckBackupState;

/* Whether there is the backup that a checkpoint of @owner names; *@out (may be NULL) is set when it
 * is. */
VarveCheckBackupState varve_check_find_backup (const VarveCheckFacts *facts, const char *owner,
                                               const char *backup, const VarveCheckBackup **out);

/* The session that made the checkpoint and has not been ended; NULL: none. */
const VarveCheckSession *varve_check_session_of (const VarveCheckFacts *facts,
                                                 const char *checkpoint);
/* Whether it is for the session to keep the checkpoint or drop it: a live one, or one that died
 * before its backup was complete. */
bool varve_check_is_tentative (const VarveCheckFacts *facts, const char *checkpoint,
                               const VarveCheckpointName *name);

/* --- findings --------------------------------------------------------------------------------- */

typedef struct {
  VarveCheckKind kind;
  bool damage; /* false: worth knowing, and no fault */
  char *checkpoint;
  char *owner;
  char *disk;
  char *session;
  char *what;    /* a sentence */
  char *meaning; /* for the next backup: a sentence */
  VarveRepair repair;
  char *cure;       /* what the repair does, or why there is none: a sentence */
  GPtrArray *disks; /* of char *, for VARVE_REPAIR_RECORD */
  GPtrArray *files; /* of char *, for VARVE_REPAIR_END and _REMOVE_FILES */
} VarveFindingFacts;

void varve_finding_facts_free (VarveFindingFacts *finding);
/* Whether both tell of the same thing: of kind, checkpoint, owner, disk and session. */
bool varve_finding_facts_same (const VarveFindingFacts *a, const VarveFindingFacts *b);

/* Array of VarveFindingFacts: sessions first, then checkpoints by name; empty for a healthy domain.
 * (transfer full) */
GPtrArray *varve_check (const VarveCheckFacts *facts);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveCheckBackup, varve_check_backup_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveCheckSession, varve_check_session_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveFindingFacts, varve_finding_facts_free)
