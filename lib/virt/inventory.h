/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a domain is made of, as plain data: inventory, bitmaps, and the start of a backup. The parts
 * of a start meet here, in data: checkpoint/ fills the checkpoint columns, fleece/ the snapshot
 * ones, and only a driver turns the whole into QMP, libvirt documents or qemu-img steps. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

#include "qemu/qemu-img.h"
#include "util/varve-error.h"

typedef enum {
  VARVE_DOMAIN_OFF,
  VARVE_DOMAIN_RUNNING,
  VARVE_DOMAIN_PAUSED,          /* by a user */
  VARVE_DOMAIN_PAUSED_IO_ERROR, /* by QEMU, after an I/O error */
} VarveDomainState;

typedef struct {
  char *name;       /* target ("vda"); bare QEMU: qdev id, else -drive id */
  uint64_t size;    /* bytes, as the guest sees it */
  char *format;     /* of the active image */
  char *path;       /* as the hypervisor sees it; NULL when it is no file or device */
  bool iothread;    /* served by an iothread */
  bool can_persist; /* its bitmaps outlive QEMU */
  char *why_not_persist;
  bool can_back_up; /* false: no medium, read-only medium … */
  char *why_not;
  bool transient_ok; /* bitmaps that die with QEMU can be made (raw disks on bare QEMU) */
} VarveDisk;

typedef struct {
  char *disk;
  char *name;
  uint32_t granularity; /* bytes; 0: not known to this driver */
  uint64_t dirty;       /* bytes; UINT64_MAX: not known */
  bool recording;
  bool persistent;
  bool inconsistent;
  bool missing; /* the hypervisor's record speaks of it, and the disk does not have it; then it is
                   told as inconsistent, too */
  bool busy;
} VarveBitmap;

VarveDisk *varve_disk_new (const char *name);
void varve_disk_free (VarveDisk *disk);
VarveBitmap *varve_bitmap_new (const char *disk, const char *name);
void varve_bitmap_free (VarveBitmap *bitmap);
/* What a hypervisor has on record of a checkpoint, besides the bitmaps themselves. */
typedef struct {
  char *name;
  char *description; /* or NULL */
  int64_t created;   /* unix seconds; 0: not stated */
  GPtrArray *disks;  /* of char *: those that the record says to have a bitmap of this name */
} VarveCheckpointMetadata;

VarveCheckpointMetadata *varve_checkpoint_metadata_new (const char *name);
void varve_checkpoint_metadata_free (VarveCheckpointMetadata *metadata);

/* A session of varve of which something is in the hypervisor. */
typedef struct {
  char *session;
  char *directory; /* of its sockets; NULL: not told */
} VarveLeftOver;

VarveLeftOver *varve_left_over_new (const char *session, const char *directory);
void varve_left_over_free (VarveLeftOver *over);

/* NULL when there is none. */
VarveDisk *varve_disk_find (GPtrArray *disks, const char *name);
VarveBitmap *varve_bitmap_find (GPtrArray *bitmaps, const char *disk, const char *name);
VarveCheckpointMetadata *varve_checkpoint_metadata_find (GPtrArray *metadata, const char *name);

typedef enum { VARVE_PAUSE_BRIEF, VARVE_PAUSE_NEVER } VarvePause;

/* What may happen to the guest for the sake of the backup. */
typedef struct {
  unsigned write_timeout; /* seconds a guest write waits for its copy-before-write, 1..4 */
  uint64_t scratch_limit; /* bytes of scratch over all disks; 0: what the directory has */
  uint64_t watermark;     /* bytes of scratch at which the session is given up; 0: none */
  VarvePause pause;       /* may the guest stand still for some ms? */
} VarveGuardPolicy;

/* Where the hypervisor's NBD server is to listen. */
typedef struct {
  char *host; /* TCP, with TLS; NULL: a UNIX socket in the start's directory */
  unsigned port;
  char *credentials; /* directory of x509 files with which we connect */
} VarveServer;

/* What a push writes to. */
typedef enum {
  VARVE_PUSH_QCOW2,  /* a file of this format */
  VARVE_PUSH_RAW,    /* a raw file */
  VARVE_PUSH_DEVICE, /* a block device, raw */
} VarvePushForm;

typedef struct {
  char *disk;
  char *since; /* bitmap to freeze and read by; NULL: read everything */
  /* Of char *, or NULL: further bitmaps, merged into the frozen map. For chains of the older kind,
   * in which the older bitmaps are disabled and only the newest records. */
  GPtrArray *since_also;
  bool checkpoint; /* add the start's checkpoint to this disk */
  bool transient;  /* … as a bitmap that is not stored (raw disks) */
  char *scratch;   /* path of the scratch image, not yet existing; NULL: the driver needs none */
  /* Push: path of what QEMU writes, alone, without what it is linked to. It was there beforehand, and stays when the
   * session has ended. Some drivers know their job by it. */
  char *target;
  VarvePushForm target_form; /* a qcow2 image is empty, and of the disk's size */
  uint64_t target_size;      /* of the disk, where the target is a device, which may be larger */
  bool target_in_place;      /* it is not of varve's making: QEMU's user is given no right to it */
} VarveStartDisk;

/* One instant over several disks. All names are chosen by the caller, so that the session record is
 * on disk before anything happens. */
typedef struct {
  char *session;     /* 16 hex: every node, job, export and file made for it carries it */
  char *checkpoint;  /* name of the new bitmaps; NULL: none */
  char *description; /* for libvirt's checkpoint metadata; may be NULL */
  char *directory;   /* private, for sockets, as the hypervisor sees it; exists */
  /* The snapshot is no frozen view to read: QEMU itself writes each disk to its target. A disk with a `since` is written
   * where that bitmap is dirty, any other in full. */
  bool push;
  /* Push: from here on the directories on the way to the targets are varve's, and a QEMU of another user is let through
   * them. NULL: none is. */
  char *target_root;
  /* Push: what is written is read from a frozen view, so that the guest waits for scratch and never for the target. */
  bool fleece;
  bool compress;    /* push: QEMU compresses what it writes */
  unsigned workers; /* push: requests at once, for each disk; 0: QEMU's own number */
  uint64_t chunk;   /* push: bytes of one such request at most; 0: QEMU's own number */
  uint64_t speed;   /* push: bytes per second over all disks at most; 0: no limit */
  VarveGuardPolicy policy;
  VarveServer server;   /* TCP: libvirt only */
  bool foreign_readers; /* NBD clients that are not varve: what is exported is exact by itself */
  bool allow_trim;      /* … and may be trimmed, to give back scratch */
  GPtrArray *disks;     /* of VarveStartDisk */
} VarveStart;

VarveStart *varve_start_new (const char *session);
VarveStart *varve_start_copy (const VarveStart *start);
void varve_start_free (VarveStart *start);
VarveStartDisk *varve_start_add_disk (VarveStart *start, const char *disk);
VarveStartDisk *varve_start_find_disk (const VarveStart *start, const char *disk);
/* Those that get the start's checkpoint; the names (char *) are borrowed. */
GPtrArray *varve_start_marked_disks (const VarveStart *start);
/* Adds to the disk's since_also, which is made where there is none. */
void varve_start_disk_also (VarveStartDisk *disk, const char *bitmap);

/* What `check` found: how it will be done, which promises are weaker than the best and why, and
 * which disks are refused ("disk: reason and the way round"). */
typedef struct {
  char *strategy;
  bool needs_scratch;
  GPtrArray *weaker;   /* of char* sentences */
  GPtrArray *refusals; /* of char* sentences */
} VarveStartReport;

VarveStartReport *varve_start_report_new (void);
void varve_start_report_free (VarveStartReport *report);
/* VARVE_ERROR_REFUSED with all refusals; true where there is none. */
bool varve_start_report_allows (const VarveStartReport *report, GError **error);

typedef struct {
  char *uri;
  char *socket;             /* the UNIX socket in @uri, */
  char *export_name;        /* and the export */
  char *dirty_context;      /* NULL: full */
  char *allocation_context; /* NULL: none */
  bool contexts_may_share;
  uint32_t trim_unit; /* only whole ones may be trimmed; 0: nothing */
  unsigned connections;
  char *copied_uri;     /* NULL, or an export that tells what has been copied to scratch */
  char *copied_context; /* of that: bit 0 is set where something was copied */
  char *proof_uri;      /* NULL, or an export that answers for as long as the view is whole */
} VarveEndpoint;

void varve_endpoint_clear (VarveEndpoint *endpoint);

typedef enum {
  VARVE_SNAPSHOT_ALIVE,
  VARVE_SNAPSHOT_BROKEN,
  VARVE_SNAPSHOT_GONE
} VarveSnapshotState;

/* How far the push of one disk is. */
typedef struct {
  uint64_t done, total; /* bytes; both may grow */
  bool ready;           /* all of it is in the target; what is left is `finish` */
} VarvePushProgress;

typedef struct {
  VarveSnapshotState state;
  VarveError code; /* when not alive: how that is to be told; VARVE_ERROR_SOURCE_LOST mostly */
  char *why;       /* when not alive */
  uint64_t scratch_used; /* bytes; 0 where it cannot be told */
  bool guest_paused;     /* by an I/O error, after our start */
} VarveSnapshotStatus;

void varve_snapshot_status_clear (VarveSnapshotStatus *status);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveDisk, varve_disk_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveBitmap, varve_bitmap_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveCheckpointMetadata, varve_checkpoint_metadata_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStart, varve_start_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStartReport, varve_start_report_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveEndpoint, varve_endpoint_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveSnapshotStatus, varve_snapshot_status_clear)
