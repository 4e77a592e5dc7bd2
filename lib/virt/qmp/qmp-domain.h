/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A bare QEMU behind its QMP socket: what the files of this driver share.
 *
 * Everything that a start makes in QEMU carries the session's id and the disk's place in the start,
 * so that whoever ends it finds it by asking QEMU alone:
 *
 *   varve-SESSION-s-N  node    scratch, of the disk's size: raw for varve, qcow2 for foreign readers
 *   varve-SESSION-c-N  node    copy-before-write filter (a job's own, or put below the device by us); or what the device
 *                              has for a disk while its own is written
 *   varve-SESSION-a-N  node    snapshot-access on the filter
 *   varve-SESSION-j-N  job     in the job strategies, and of a push
 *   varve-SESSION-e-N  export  snapshot-access: the frozen view, or the witness (qmp-export.c); or the disk, to be written
 *   varve-SESSION-d-N  export  the scratch image: the witness, or the frozen view
 *   varve-SESSION-p-N  node    target of a push; or above the disk, to be written through
 *   varve-SESSION-b-N  job     that writes the target from the frozen view
 *   varve-SESSION-m-N  bitmap  on the snapshot-access node: what such a job copies
 *   varve-SESSION-t-N  bitmap  disabled, on the disk's own node: what changed, frozen. Made for a full
 *                              backup, too: it tells which node is to go back below the device
 *   varve-SESSION-w-N  bitmap  on scratch, where that is raw: what has been copied to it (the witness)
 *
 * A node's name has at most 31 bytes, which leaves three digits to N.
 */
#pragma once

#include <sys/types.h>

#include "qemu/qmp.h"
#include "qemu/schema.h"
#include "virt/domain.h"
#include "virt/qmp/qmp-names.h"

typedef struct {
  VarveDomain base;
  char *path;  /* of the monitor's socket */
  char *agent; /* of the guest agent's, or NULL */
  VarveQmp *qmp;
  VarveQmpSchema *schema; /* NULL until it is asked for */
  GHashTable *qdevs;      /* disk name → qdev id or node name; may be empty */
  GHashTable *images;     /* disk name → VarveImage; may be empty */
  pid_t pid;              /* of QEMU; 0: not to be seen from here */
  uid_t uid;              /* that QEMU has files opened as */
  gid_t gid;
} VarveQmpDomain;

/* A guest disk as this driver handles it. */
typedef struct {
  VarveDisk *disk;
  char *device; /* QOM path of the device with the "drive" property, or NULL */
  bool has_id;  /* … and it is /machine/peripheral/ID */
  char *node;   /* the disk's own node, below any filter of ours: bitmaps live there */
  char *top;    /* node that the device uses now */
} VarveQmpDisk;

void varve_qmp_disk_free (VarveQmpDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveQmpDisk, varve_qmp_disk_free)

typedef enum {
  VARVE_QMP_JOB_POLICY, /* blockdev-backup that gives up the snapshot rather than the guest's write
                         */
  VARVE_QMP_FILTER,     /* filters put below the devices while the guest stands still */
  VARVE_QMP_JOB,        /* blockdev-backup that knows no policy */
  VARVE_QMP_PUSH,       /* blockdev-backup to the target itself */
} VarveQmpStrategy;

/* Unit of copying before a write, into scratch of any form. A TRIM of anything but whole ones makes QEMU older than 9.1
 * abort. */
#define VARVE_QMP_COPY_UNIT (64u << 10)

/* The socket of QEMU's NBD server for a start. (transfer full) */
char *varve_qmp_socket (const VarveStart *start);

/* Opens the connection again where it is broken. *@out_gone: nobody listens on the socket any more,
 * which is no error. */
bool varve_qmp_domain_revive (VarveQmpDomain *domain, bool *out_gone, GError **error);
/* query-status (transfer full). */
char *varve_qmp_domain_status (VarveQmpDomain *domain, GCancellable *cancellable, GError **error);

/* query-named-block-nodes, flat: node name → JsonObject. (transfer full) */
GHashTable *varve_qmp_nodes (VarveQmpDomain *domain, GCancellable *cancellable, GError **error);
/* query-block. (transfer full) */
JsonArray *varve_qmp_drives (VarveQmpDomain *domain, GCancellable *cancellable, GError **error);
/* An array command without arguments, checked to be one. (transfer full) */
JsonArray *varve_qmp_list (VarveQmpDomain *domain, const char *command, GCancellable *cancellable,
                           GError **error);
/* The node that has the bitmap, or NULL. Belongs to @nodes. */
const char *varve_qmp_node_with_bitmap (GHashTable *nodes, const char *bitmap);

/* All disks, of VarveQmpDisk. */
GPtrArray *varve_qmp_disks (VarveQmpDomain *domain, GHashTable *nodes, GCancellable *cancellable,
                            GError **error);
VarveQmpDisk *varve_qmp_disks_find (GPtrArray *disks, const char *name);
/* A property of a device as text; NULL where it cannot be had. (transfer full) */
char *varve_qmp_property (VarveQmpDomain *domain, const char *device, const char *property,
                          GCancellable *cancellable);
/* Whether an iothread serves the device; true where that cannot be told. */
bool varve_qmp_uses_iothread (VarveQmpDomain *domain, const char *device,
                              GCancellable *cancellable);

bool varve_qmp_freeze (VarveDomain *base, unsigned timeout_s, GCancellable *cancellable,
                       GError **error);
bool varve_qmp_thaw (VarveDomain *base, GCancellable *cancellable, GError **error);

bool varve_qmp_inventory (VarveDomain *base, GPtrArray **out_disks, GCancellable *cancellable,
                          GError **error);
bool varve_qmp_bitmaps (VarveDomain *base, GPtrArray **out_bitmaps, GCancellable *cancellable,
                        GError **error);

bool varve_qmp_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
                      GCancellable *cancellable, GError **error);
/* As check; @out_strategy and @out_disks (of VarveQmpDisk, in the order of the start) too; any
 * refusal is VARVE_ERROR_REFUSED. */
bool varve_qmp_prepare (VarveQmpDomain *domain, const VarveStart *start,
                        VarveQmpStrategy *out_strategy, GPtrArray **out_disks,
                        GCancellable *cancellable, GError **error);

/* Makes a scratch image that QEMU can open and nobody else can read. */
bool varve_qmp_scratch_create (VarveQmpDomain *domain, const char *path, const char *format,
                               uint64_t size, GCancellable *cancellable, GError **error);
/* Whether QEMU's user may do with our files what we may. */
bool varve_qmp_can_read_ours (const VarveQmpDomain *domain);
/* Gives a file or directory of ours to QEMU's user, where that is another. */
bool varve_qmp_hand_over (VarveQmpDomain *domain, const char *path, GError **error);

/* Starts QEMU's NBD server for @start, which it must not have yet. */
bool varve_qmp_start_server (VarveQmpDomain *domain, const VarveStart *start,
                             GCancellable *cancellable, GError **error);
/* Adds actions that make the frozen map of disk @index on its own @node. It is merged from the old bitmaps in one
 * transaction, as those go on recording. */
void varve_qmp_add_frozen (const VarveStart *start, guint index, const char *node,
                           JsonArray *actions);
/* Adds a map to the arguments of an export. */
void varve_qmp_export_map (JsonObject *arguments, const char *node, const char *bitmap);
/* The place of a disk in the start, or -1. */
int varve_qmp_index_of (const VarveStart *start, const char *disk);
/* Where disk @index is to be found that is exported by its name, with the frozen map. */
void varve_qmp_fill_endpoint (const VarveStart *start, guint index, VarveEndpoint *out);
/* Publishes disk @index of @start, whose own node is @node, on the NBD server that runs already. */
bool varve_qmp_export (VarveQmpDomain *domain, const VarveStart *start, guint index,
                       const char *node, GCancellable *cancellable, GError **error);

/* Opens the targets of a push in QEMU, to whose user they are given. */
bool varve_qmp_push_open (VarveQmpDomain *domain, const VarveStart *start,
                          GCancellable *cancellable, GError **error);
/* The transaction's action that begins to write disk @index from its own @node. (transfer full) */
JsonObject *varve_qmp_push_action (VarveQmpDomain *domain, const VarveStart *start, guint index,
                                   const char *node);
/* Begins to write disk @index, whose own node is @node, from its frozen view, which is there. */
bool varve_qmp_push_view (VarveQmpDomain *domain, const VarveStart *start, guint index,
                          const char *node, GCancellable *cancellable, GError **error);

bool varve_qmp_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                      uint64_t *out_pause_us, GCancellable *cancellable, GError **error);
bool varve_qmp_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                       GCancellable *cancellable, GError **error);
bool varve_qmp_endpoint (VarveSnapshot *snapshot, const char *disk, VarveEndpoint *out,
                         GCancellable *cancellable, GError **error); /* in qmp-export.c */
bool varve_qmp_poll (VarveSnapshot *snapshot, VarveSnapshotStatus *out, GCancellable *cancellable,
                     GError **error);
bool varve_qmp_progress (VarveSnapshot *snapshot, GArray **out, GCancellable *cancellable,
                         GError **error);
bool varve_qmp_set_speed (VarveSnapshot *snapshot, uint64_t speed, GCancellable *cancellable,
                          GError **error);
bool varve_qmp_finish (VarveSnapshot *snapshot, GCancellable *cancellable, GError **error);
bool varve_qmp_end (VarveSnapshot *snapshot, bool start_was_cut, GCancellable *cancellable,
                    GError **error);
bool varve_qmp_left_overs (VarveDomain *base, GPtrArray **out, GCancellable *cancellable,
                           GError **error);
/* Has QEMU write what is in its caches of the scratch images, which nothing may use any more.
 * VARVE_ERROR_BUSY: their storage does not answer; with the guest off them, that can be waited for. */
bool varve_qmp_settle (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
                       GError **error);
/* Resumes the guest where @was_stopped, and takes down what of @start is in QEMU. */
bool varve_qmp_take_down (VarveQmpDomain *domain, const VarveStart *start, bool was_stopped,
                          GCancellable *cancellable, GError **error);

void varve_qmp_snapshot_free (VarveSnapshot *snapshot);

/* qmp-rewrite.c */
bool varve_qmp_halt (VarveDomain *base, GCancellable *cancellable, GError **error);
bool varve_qmp_restart (VarveDomain *base, bool afresh, bool *out_runs, GCancellable *cancellable,
                        GError **error);
bool varve_qmp_rewrite_check (VarveDomain *base, GPtrArray *disks, bool halt,
                              GCancellable *cancellable, GError **error);
bool varve_qmp_rewrite (VarveDomain *base, const VarveStart *start, VarveRewrite **out,
                        GCancellable *cancellable, GError **error);
bool varve_qmp_rewrite_endpoint (VarveRewrite *rewrite, const char *disk, VarveEndpoint *out,
                                 GCancellable *cancellable, GError **error);
bool varve_qmp_rewrite_finish (VarveRewrite *rewrite, GCancellable *cancellable, GError **error);
void varve_qmp_rewrite_free (VarveRewrite *rewrite);

/* qmp-fill.c */
bool varve_qmp_fill_check (VarveDomain *base, const VarveFill *fill, GCancellable *cancellable,
                           GError **error);
bool varve_qmp_fill_boot (VarveDomain *base, const VarveFill *fill, GCancellable *cancellable,
                          GError **error);
bool varve_qmp_fill_step (VarveDomain *base, VarveFill *fill, GCancellable *cancellable,
                          GError **error);

/* Where QEMU has gone, these go by the images that the address names. */
bool varve_qmp_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                                  GError **error);
bool varve_qmp_checkpoint_add (VarveDomain *base, const char *name, const char *description,
                               GPtrArray *disks, GCancellable *cancellable, GError **error);
bool varve_qmp_checkpoint_merge (VarveDomain *base, const char *into, GPtrArray *from,
                                 GCancellable *cancellable, GError **error);
