/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the files of the libvirt driver share. The driver is split by what it does:
 *
 *   libvirt-connect.c     connection, state, documents as told by libvirt
 *   libvirt-inventory.c   disks
 *   libvirt-bitmaps.c     checkpoints seen as bitmaps
 *   libvirt-check.c       what is refused, and which promise is weaker
 *   libvirt-start.c       one virDomainBackupBegin
 *   libvirt-snapshot.c    the running job: endpoint, poll, finish, end
 *   libvirt-push.c        the same of a job that writes the disks itself
 *   libvirt-checkpoint.c  removal and metadata
 *   libvirt-manage.c      checkpoints without a backup: add, merge, redefine
 *   libvirt-rewrite.c     writing to the disks of a domain that is off, or is turned off for it
 *   libvirt-fill.c        a domain that is started on images which are filled meanwhile
 *   libvirt-clone.c       the definition of a new domain, from that of another
 *   libvirt-define.c      the same on this host
 *   libvirt-tpm.c         what an emulated TPM remembers, read and written
 *   libvirt-stopped.c     all of it for a domain that is off, through the image driver
 *
 * Invariants: nothing process-wide is registered (no event loop, no global error function); state
 * is polled. Only a backup job that carries our session's id is ever ended. A call that libvirt
 * would let wait (30 s behind another job) is preceded by a look that finds the other job first. */
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "virt/domain.h"
#include "virt/libvirt/libvirt-error.h"
#include "virt/libvirt/libvirt-sigpipe.h"
#include "virt/libvirt/libvirt-xml.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC (virDomainCheckpoint, virDomainCheckpointFree)

typedef struct {
  VarveDomain base;
  virConnectPtr connection;
  virDomainPtr domain;
} VarveLibvirtDomain;

/* Either a job of libvirt, or, for a domain that was off, a snapshot of its images. */
typedef struct {
  VarveSnapshot base;
  VarveDomain *images; /* NULL: a job of libvirt */
  VarveSnapshot *image_snapshot;
  bool attached; /* from its record: whoever started it may have died at that */
} VarveLibvirtSnapshot;

/* --- libvirt-connect.c --- */

/* To a libvirt of this host. */
virConnectPtr varve_libvirt_connect_here (const char *uri, GError **error);

/* The state; connects anew when libvirtd has gone and come back. Every op begins with it. */
bool varve_libvirt_look (VarveLibvirtDomain *self, VarveDomainState *out, GCancellable *cancellable,
                         GError **error);
VarveLibvirtDefinition *varve_libvirt_definition (VarveLibvirtDomain *self, unsigned flags,
                                                  GError **error);
/* The job that runs; *out NULL: none. */
bool varve_libvirt_backup (VarveLibvirtDomain *self, VarveLibvirtBackup **out, GError **error);

/* --- libvirt-inventory.c, libvirt-bitmaps.c --- */
bool varve_libvirt_inventory (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
bool varve_libvirt_bitmaps (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
/* One of them, as libvirt tells it. */
VarveLibvirtCheckpoint *varve_libvirt_checkpoint_describe (VarveLibvirtDomain *self,
                                                           virDomainCheckpoint *checkpoint,
                                                           bool running, GError **error);
/* Bitmaps of this run of QEMU that libvirt has no metadata of: the header does not have them yet, and
 * libvirt answers for names only. */
bool varve_libvirt_find_bitmaps (VarveDomain *, GPtrArray *names, GPtrArray *bitmaps,
                                 GCancellable *, GError **);
/* Every checkpoint that libvirt knows of (VarveLibvirtCheckpoint); sizes only where the domain
 * runs. */
GPtrArray *varve_libvirt_checkpoints (VarveLibvirtDomain *self, bool running, GError **error);

/* --- libvirt-check.c --- */
bool varve_libvirt_check (VarveDomain *, const VarveStart *, VarveStartReport **out, GCancellable *,
                          GError **);
/* What check refuses, without a report: fills @refusals (sentences), and fails where the domain is
 * busy. */
bool varve_libvirt_refusals (VarveLibvirtDomain *self, const VarveStart *start,
                             const VarveLibvirtDefinition *definition, GPtrArray *refusals,
                             GError **error);

/* --- libvirt-access.c --- */
/* Makes the private directory writable for the user that QEMU runs as. */
bool varve_libvirt_open_directory (VarveLibvirtDomain *self,
                                   const VarveLibvirtDefinition *definition, const char *directory,
                                   GError **error);
/* *@out_other: QEMU runs as another user than we do, and we may give files to him. */
bool varve_libvirt_qemu_user (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                              bool *out_other, uid_t *out_uid, gid_t *out_gid, GError **error);
/* "+64055:+64055" or "libvirt-qemu:kvm". */
bool varve_libvirt_parse_label (const char *label, uid_t *out_uid, gid_t *out_gid, GError **error);
/* Names the first directory above @path that others may not pass through; NULL: none. (transfer
 * full) */
char *varve_libvirt_closed_directory (const char *path);

/* --- libvirt-start.c, libvirt-snapshot.c --- */
bool varve_libvirt_start (VarveDomain *, const VarveStart *, VarveSnapshot **out,
                          uint64_t *out_pause_us, GCancellable *, GError **);
bool varve_libvirt_attach (VarveDomain *, const VarveStart *, VarveSnapshot **out, GCancellable *,
                           GError **);
VarveLibvirtSnapshot *varve_libvirt_snapshot_new (VarveDomain *domain, const VarveStart *start);
bool varve_libvirt_endpoint (VarveSnapshot *, const char *disk, VarveEndpoint *out, GCancellable *,
                             GError **);
bool varve_libvirt_poll (VarveSnapshot *, VarveSnapshotStatus *out, GCancellable *, GError **);
bool varve_libvirt_finish (VarveSnapshot *, GCancellable *, GError **);
bool varve_libvirt_end (VarveSnapshot *, bool start_was_cut, GCancellable *, GError **);
void varve_libvirt_snapshot_free (VarveSnapshot *);
/* Ends the job if it is @start's, waits until it is gone, and removes socket and scratch. */
bool varve_libvirt_end_job (VarveLibvirtDomain *self, const VarveStart *start,
                            GCancellable *cancellable, GError **error);

/* False only for errors; @out_ours says whether the job of @start runs. */
bool varve_libvirt_job_is_ours (VarveLibvirtDomain *self, const VarveStart *start, bool *out_ours,
                                GError **error);

/* --- libvirt-push.c --- */
/* Makes the images that QEMU is to write reachable and writable for its user. */
bool varve_libvirt_open_targets (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                                 const VarveStart *start, GError **error);
bool varve_libvirt_push_speed (VarveLibvirtDomain *self, const VarveStart *start, uint64_t speed,
                               GError **error);
/* libvirt forgets its job before it has had QEMU close the last image, and has taken that back. It does both while it
 * keeps all others from asking QEMU: so this asks. */
void varve_libvirt_let_images_go (VarveLibvirtDomain *self, const VarveStart *start);
/* How a job that was ours ended: fills in state, why and code. */
bool varve_libvirt_push_poll (VarveLibvirtDomain *self, VarveSnapshotStatus *out);
bool varve_libvirt_progress (VarveSnapshot *, GArray **out, GCancellable *, GError **);
bool varve_libvirt_set_speed (VarveSnapshot *, uint64_t speed, GCancellable *, GError **);
bool varve_libvirt_push_finish (VarveSnapshot *, GCancellable *, GError **);

/* --- libvirt-left-over.c --- */
bool varve_libvirt_left_overs (VarveDomain *, GPtrArray **out, GCancellable *, GError **);

/* --- libvirt-checkpoint.c --- */
bool varve_libvirt_checkpoint_remove (VarveDomain *, const char *name, GCancellable *, GError **);
/* *out NULL: libvirt does not know it. */
bool varve_libvirt_checkpoint_lookup (VarveLibvirtDomain *self, const char *name,
                                      virDomainCheckpoint **out, GError **error);
/* Tells libvirt of bitmaps that are there; what it knew under this name is replaced. @validate: it looks whether they are (running domain
 * only). */
bool varve_libvirt_checkpoint_define (VarveLibvirtDomain *self, const char *name,
                                      const char *description, int64_t created, GPtrArray *disks,
                                      bool validate, GError **error);
/* Forgets the checkpoint without touching the bitmaps; one that is not there is no error. */
bool varve_libvirt_checkpoint_forget (VarveLibvirtDomain *self, const char *name, GError **error);

/* --- libvirt-manage.c --- */
bool varve_libvirt_checkpoint_add (VarveDomain *, const char *name, const char *description,
                                   GPtrArray *disks, GCancellable *, GError **);
bool varve_libvirt_checkpoint_merge (VarveDomain *, const char *into, GPtrArray *from,
                                     GCancellable *, GError **);
bool varve_libvirt_checkpoint_redefine (VarveDomain *, const char *name, const char *description,
                                        int64_t created, GPtrArray *disks, GCancellable *,
                                        GError **);
bool varve_libvirt_forget (VarveDomain *, const char *name, GCancellable *, GError **);
bool varve_libvirt_checkpoint_metadata (VarveDomain *, GPtrArray **out, GCancellable *, GError **);

/* --- libvirt-stopped.c --- */
/* The domain's images as a domain of the image driver, with the same name, uuid and disks. *out
 * NULL: none of its disks can be opened as an image. */
bool varve_libvirt_stopped_open (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                                 VarveDomain **out, GCancellable *cancellable, GError **error);
bool varve_libvirt_stopped_domain (VarveLibvirtDomain *self, VarveDomain **out,
                                   GCancellable *cancellable, GError **error);
/* The same, where it makes no sense without them. */
bool varve_libvirt_stopped_need (VarveLibvirtDomain *self, VarveDomain **out,
                                 GCancellable *cancellable, GError **error);
bool varve_libvirt_stopped_check (VarveLibvirtDomain *self, const VarveStart *start,
                                  VarveStartReport **out, GCancellable *cancellable,
                                  GError **error);
bool varve_libvirt_stopped_start (VarveLibvirtDomain *self, const VarveStart *start,
                                  VarveSnapshot **out, uint64_t *out_pause_us,
                                  GCancellable *cancellable, GError **error);
/* Tells libvirt of the start's bitmaps, which the images have. */
bool varve_libvirt_stopped_register (VarveLibvirtDomain *self, const VarveStart *start,
                                     GError **error);
/* What a worker that died may have left of a session with images; nothing left is no error. */
bool varve_libvirt_stopped_end (VarveLibvirtDomain *self, const VarveStart *start,
                                bool start_was_cut, GCancellable *cancellable, GError **error);

/* --- libvirt-rewrite.c --- */
bool varve_libvirt_halt (VarveDomain *, GCancellable *, GError **);
bool varve_libvirt_restart (VarveDomain *, bool afresh, bool *out_runs, GCancellable *, GError **);
bool varve_libvirt_rewrite_check (VarveDomain *, GPtrArray *disks, bool halt, GCancellable *,
                                  GError **);
bool varve_libvirt_rewrite (VarveDomain *, const VarveStart *, VarveRewrite **out, GCancellable *,
                            GError **);
bool varve_libvirt_rewrite_endpoint (VarveRewrite *, const char *disk, VarveEndpoint *out,
                                     GCancellable *, GError **);
bool varve_libvirt_rewrite_finish (VarveRewrite *, GCancellable *, GError **);
void varve_libvirt_rewrite_free (VarveRewrite *);

/* --- libvirt-fill.c --- */
bool varve_libvirt_fill_boot (VarveDomain *, const VarveFill *, GCancellable *, GError **);
bool varve_libvirt_fill_step (VarveDomain *, VarveFill *, GCancellable *, GError **);
