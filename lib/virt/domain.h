/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A domain, and the ops that every driver gives: bare QEMU over QMP, stopped images, libvirt.
 *
 * Whoever calls holds the lock of the domain; a VarveDomain is used by one thread at a time.
 */
#pragma once

#include "virt/fill.h"
#include "virt/inventory.h"

typedef struct VarveDomain VarveDomain;
typedef struct VarveSnapshot VarveSnapshot;
typedef struct VarveRewrite VarveRewrite;

/* What there is of the domain beside its disks, for a store to keep as files. */
typedef struct {
  char *xml;        /* its definition, that `virsh define` takes; or NULL */
  GBytes *nvram;    /* the variables of its firmware; or NULL */
  GBytes *tpm;      /* what its emulated TPM remembers; or NULL */
  char *why_not;    /* why one of the first two is missing; or NULL */
  char *why_no_tpm; /* the same of the TPM's; NULL also where it has none */
} VarveDomainFiles;

typedef struct {
  const char *name;

  /* --- what is there ------------------------------------------------------------------------ */
  bool (*inventory) (VarveDomain *, GPtrArray **out_disks, GCancellable *, GError **);
  /* Named bitmaps of all disks, foreign ones too. */
  bool (*bitmaps) (VarveDomain *, GPtrArray **out_bitmaps, GCancellable *, GError **);
  /* Adds to @bitmaps those called @names (char *) that are on the disks and that the op above could
   * not see, as the hypervisor answers for what it is asked for by name alone. NULL: it sees all. */
  bool (*find_bitmaps) (VarveDomain *, GPtrArray *names, GPtrArray *bitmaps, GCancellable *,
                        GError **);
  bool (*state) (VarveDomain *, VarveDomainState *out, GCancellable *, GError **);
  /* Guest agent. May be NULL: then VARVE_ERROR_UNSUPPORTED. Thaw is idempotent. An agent that does not answer is
   * VARVE_ERROR_SOURCE_UNREACHABLE; a freeze that it was asked for may then still come. */
  bool (*freeze) (VarveDomain *, unsigned timeout_s, GCancellable *, GError **);
  bool (*thaw) (VarveDomain *, GCancellable *, GError **);
  /* What is missing, with a reason, is no error. @out is empty before. */
  bool (*files) (VarveDomain *, VarveDomainFiles *out, GCancellable *, GError **);

  /* --- a snapshot --------------------------------------------------------------------------- */
  /* No side effect: how it would be done, and what is refused. */
  bool (*check) (VarveDomain *, const VarveStart *, VarveStartReport **out, GCancellable *,
                 GError **);
  /* One instant over all disks. On failure nothing of it is left; where even that could not be had,
   * *@out is the rest, for `end`, and else NULL. @out_pause_us: how long the guest stood still. */
  bool (*start) (VarveDomain *, const VarveStart *, VarveSnapshot **out, uint64_t *out_pause_us,
                 GCancellable *, GError **);
  /* The same snapshot from its record, whatever is left of it: only poll and end are then sure to
   * work. Never fails because little is left. */
  bool (*attach) (VarveDomain *, const VarveStart *, VarveSnapshot **out, GCancellable *,
                  GError **);
  bool (*endpoint) (VarveSnapshot *, const char *disk, VarveEndpoint *out, GCancellable *,
                    GError **);
  bool (*poll) (VarveSnapshot *, VarveSnapshotStatus *out, GCancellable *, GError **);
  /* Of a push, which a driver without this op cannot do: how far each disk is, of VarvePushProgress in the order of the
   * start. A disk that failed is an error, which names it, and what the others are at does not matter then:
   * VARVE_ERROR_NO_SPACE where the target is full, VARVE_ERROR_STORE_UNREACHABLE where it fails otherwise,
   * VARVE_ERROR_SOURCE_READ, VARVE_ERROR_SOURCE_LOST. */
  bool (*progress) (VarveSnapshot *, GArray **out, GCancellable *, GError **);
  /* Of a push that runs: as in VarveStart, shared by the disks that are not ready. */
  bool (*set_speed) (VarveSnapshot *, uint64_t bytes_per_second, GCancellable *, GError **);
  /* Proof that the snapshot was alive behind the last read. Of a push, whose disks must all be ready: ends all of them
   * well, or fails. */
  bool (*finish) (VarveSnapshot *, GCancellable *, GError **);
  /* Takes it down in the one safe order; all our NBD connections may still be open, and are closed
   * by the caller afterwards. Idempotent; a domain that is off or gone is no error. Never touches a
   * checkpoint. Removes scratch and sockets; targets of a push are closed, and stay as they are. Resumes a guest that our start left standing still
   * (@start_was_cut: the record says that the start never ended and that the guest ran before). */
  bool (*end) (VarveSnapshot *, bool start_was_cut, GCancellable *, GError **);
  void (*snapshot_free) (VarveSnapshot *);
  /* Sessions of varve, alive or not, of which the hypervisor has something: nodes, exports, jobs,
   * frozen bitmaps. Of VarveLeftOver, each once. NULL: its snapshots die with their process. */
  bool (*left_overs) (VarveDomain *, GPtrArray **out, GCancellable *, GError **);

  /* --- writing ------------------------------------------------------------------------------ */
  /* Turns a guest that runs away from its disks: nothing that it has in memory gets to them any more. Behind
   * it the domain is off, or stands still; one that is off, or was halted, is no error. Refused where it could
   * not be started again, and VARVE_ERROR_BUSY where somebody backs it up. NULL: guests of this driver
   * never run. */
  bool (*halt) (VarveDomain *, GCancellable *, GError **);
  /* Lets a halted guest run: @afresh from its firmware on, as its disks are others now, else where it stood,
   * if there is such a thing. One that runs is no error, nor is one whose hypervisor has exited, so that it
   * must be started by whoever started that (*@out_runs false). NULL as above. */
  bool (*restart) (VarveDomain *, bool afresh, bool *out_runs, GCancellable *, GError **);
  /* Opens the disks of a start for writing, all or none, and keeps everybody else out of them until
   * it is freed. The domain must be off or halted (VARVE_ERROR_REFUSED). Bitmaps of the disks go on recording;
   * `since` and `since_also` are frozen for reading, the start's checkpoint is left to rewrite_finish.
   * NULL: this driver cannot. */
  bool (*rewrite) (VarveDomain *, const VarveStart *, VarveRewrite **out, GCancellable *,
                   GError **);
  /* Before anything is done for a rewrite of @disks (char *): whether the domain lets them change
   * behind its back (else VARVE_ERROR_REFUSED). @halt: it is halted first. NULL: whenever it is off. */
  bool (*rewrite_check) (VarveDomain *, GPtrArray *disks, bool halt, GCancellable *, GError **);
  /* Writable. The disk is one of the start's. */
  bool (*rewrite_endpoint) (VarveRewrite *, const char *disk, VarveEndpoint *out, GCancellable *,
                            GError **);
  /* All is written, and was flushed: adds the start's checkpoint where it is wanted, at one instant,
   * lets go of the disks, and reads back. */
  bool (*rewrite_finish) (VarveRewrite *, GCancellable *, GError **);
  /* Without finish: what was written stays, and is in all bitmaps that were there. */
  void (*rewrite_free) (VarveRewrite *);

  /* --- disks that are filled while the guest runs ------------------------------------------- */
  /* Before anything is made: whether the domain can be given the disks. NULL: if it is there, it can. */
  bool (*fill_check) (VarveDomain *, const VarveFill *, GCancellable *, GError **);
  /* Gives the domain the images of the fill for its disks, above the server at the fill's socket, whose directory QEMU's user
   * is let into, and has the guest run; one that runs already has them. On failure nothing of it is left. NULL: this driver
   * cannot. */
  bool (*fill_boot) (VarveDomain *, const VarveFill *, GCancellable *, GError **);
  /* Looks how far each image of a domain that was given them is (progress), and begins to fill one that nobody fills. A fill
   * that failed is an error that names the disk; the next step tries it again. */
  bool (*fill_step) (VarveDomain *, VarveFill *, GCancellable *, GError **);

  /* --- checkpoints -------------------------------------------------------------------------- */
  /* From all disks that have it, in one step where the hypervisor can, metadata too; reads back
   * that it is gone. One that is not there is no error. */
  bool (*checkpoint_remove) (VarveDomain *, const char *name, GCancellable *, GError **);
  /* A recording bitmap of this name on each of @disks (char *), at one instant, and read back:
   * stored where the disk can, else one that dies with QEMU, which VarveDisk tells beforehand and
   * VarveBitmap afterwards. Where the hypervisor keeps records, one with @description (may be NULL).
   * A name that one of the disks has already is VARVE_ERROR_EXISTS, a disk that can have no bitmap
   * at all VARVE_ERROR_REFUSED. On failure nothing of it is left. */
  bool (*checkpoint_add) (VarveDomain *, const char *name, const char *description,
                          GPtrArray *disks, GCancellable *, GError **);
  /* On every disk that has it, @into gets what the bitmaps @from (char *, oldest first) have, and
   * records from that instant on; then @from are removed from all disks, records too. One
   * transaction where the hypervisor has them.
   *
   * No change is lost that any bitmap knows of: where @into does not record yet, all of @from must
   * be there and sound, and whatever else the disk has is merged as well (and stays), as it may
   * know of a time that @from leave out. Where nothing at all records on a disk, what was written
   * since the newest was disabled is known to nobody: that is the caller's to see in VarveBitmap.
   *
   * Where @into records, a bitmap of @from that is broken or not there (as after a merge that was
   * cut off) is no error. @into nowhere: VARVE_ERROR_NOT_FOUND; a disk that has one of @from but not
   * @into, or one of which the above does not hold: VARVE_ERROR_CHECKPOINT, before anything is done. */
  bool (*checkpoint_merge) (VarveDomain *, const char *into, GPtrArray *from, GCancellable *,
                            GError **);
  /* The hypervisor's own record of the checkpoint, made or replaced, for bitmaps that are there on
   * @disks (char *): one that is not is VARVE_ERROR_CHECKPOINT. Does nothing where no records are
   * kept (bare QEMU, images). */
  bool (*checkpoint_redefine) (VarveDomain *, const char *name, const char *description,
                               int64_t created, GPtrArray *disks, GCancellable *, GError **);
  /* The record alone goes, the bitmaps stay. One that is not there is no error. */
  bool (*checkpoint_forget) (VarveDomain *, const char *name, GCancellable *, GError **);
  /* The hypervisor's records, of VarveCheckpointMetadata, by creation time and then by name; empty
   * where none are kept. What it says is not compared with bitmaps. */
  bool (*checkpoint_metadata) (VarveDomain *, GPtrArray **out, GCancellable *, GError **);

  /* Resumes a guest that QEMU paused for an I/O error. */
  bool (*resume) (VarveDomain *, GCancellable *, GError **);
  void (*free) (VarveDomain *);
} VarveDomainOps;

struct VarveDomain {
  const VarveDomainOps *ops;
  char *uri;
  char *name;
  char *uuid; /* lower case with dashes; made from the name where the hypervisor has none */
  bool local; /* false: its files are another host's */
};

struct VarveSnapshot {
  VarveDomain *domain; /* borrowed */
  VarveStart *start;   /* owned copy */
};

struct VarveRewrite {
  VarveDomain *domain; /* borrowed */
  VarveStart *start;   /* owned copy */
};

/* How to reach a domain. @images, by disk name, say how a stopped domain's disks are to be opened:
 * required for "image:", a fall-back for "qmp+unix:" whose QEMU is not there. */
typedef struct {
  const char *uri; /* qemu:///system, qmp+unix:///PATH, image: */
  const char *name;
  const char *uuid;   /* optional; of stopped images, where it is not made from the name */
  GHashTable *images; /* char * → VarveImage *, or NULL */
  GHashTable *qdevs;  /* disk name → qdev id or node name, for bare QEMU; or NULL */
  const char *agent;  /* socket of the guest agent, for bare QEMU; or NULL */
  bool elsewhere;     /* a libvirt of another host will do: nothing is to be reached by path */
} VarveDomainAddress;

VarveDomain *varve_domain_open (const VarveDomainAddress *address, GCancellable *cancellable,
                                GError **error);
void varve_domain_free (VarveDomain *domain);
void varve_snapshot_free (VarveSnapshot *snapshot);
void varve_rewrite_free (VarveRewrite *rewrite);

/* The identity of a domain that has no uuid of its own: a version 5 uuid of its name. (transfer
 * full) */
char *varve_domain_uuid_from_name (const char *name);

/* Thin wrappers: each calls the op, and prefixes the error with "Domain 'NAME': " where it is not
 * there. A driver that keeps no records of checkpoints leaves the ops for them NULL. */
bool varve_domain_inventory (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
bool varve_domain_bitmaps (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
bool varve_domain_find_bitmaps (VarveDomain *, GPtrArray *names, GPtrArray *bitmaps, GCancellable *,
                                GError **);
bool varve_domain_state (VarveDomain *, VarveDomainState *out, GCancellable *, GError **);
bool varve_domain_freeze (VarveDomain *, unsigned timeout_s, GCancellable *, GError **);
bool varve_domain_thaw (VarveDomain *, GCancellable *, GError **);
bool varve_domain_files (VarveDomain *, VarveDomainFiles *out, GCancellable *, GError **);
void varve_domain_files_clear (VarveDomainFiles *files);
bool varve_domain_check (VarveDomain *, const VarveStart *, VarveStartReport **out, GCancellable *,
                         GError **);
bool varve_domain_start (VarveDomain *, const VarveStart *, VarveSnapshot **out,
                         uint64_t *out_pause_us, GCancellable *, GError **);
bool varve_domain_attach (VarveDomain *, const VarveStart *, VarveSnapshot **out, GCancellable *,
                          GError **);
bool varve_domain_left_overs (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
bool varve_domain_resume (VarveDomain *, GCancellable *, GError **);
bool varve_domain_halt (VarveDomain *, GCancellable *, GError **);
bool varve_domain_restart (VarveDomain *, bool afresh, bool *out_runs, GCancellable *, GError **);
bool varve_domain_rewrite_check (VarveDomain *, GPtrArray *disks, bool halt, GCancellable *,
                                 GError **);
bool varve_domain_rewrite (VarveDomain *, const VarveStart *, VarveRewrite **out, GCancellable *,
                           GError **);
bool varve_domain_fill_check (VarveDomain *, const VarveFill *, GCancellable *, GError **);
bool varve_domain_fill_boot (VarveDomain *, const VarveFill *, GCancellable *, GError **);
bool varve_domain_fill_step (VarveDomain *, VarveFill *, GCancellable *, GError **);
bool varve_domain_checkpoint_remove (VarveDomain *, const char *name, GCancellable *, GError **);
bool varve_domain_checkpoint_add (VarveDomain *, const char *name, const char *description,
                                  GPtrArray *disks, GCancellable *, GError **);
bool varve_domain_checkpoint_merge (VarveDomain *, const char *into, GPtrArray *from,
                                    GCancellable *, GError **);
bool varve_domain_checkpoint_redefine (VarveDomain *, const char *name, const char *description,
                                       int64_t created, GPtrArray *disks, GCancellable *,
                                       GError **);
bool varve_domain_checkpoint_forget (VarveDomain *, const char *name, GCancellable *, GError **);
bool varve_domain_checkpoint_metadata (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
bool varve_snapshot_endpoint (VarveSnapshot *, const char *disk, VarveEndpoint *out, GCancellable *,
                              GError **);
bool varve_snapshot_progress (VarveSnapshot *, GArray **out, GCancellable *, GError **);
bool varve_snapshot_set_speed (VarveSnapshot *, uint64_t bytes_per_second, GCancellable *,
                               GError **);
bool varve_snapshot_poll (VarveSnapshot *, VarveSnapshotStatus *out, GCancellable *, GError **);
bool varve_snapshot_finish (VarveSnapshot *, GCancellable *, GError **);
bool varve_snapshot_end (VarveSnapshot *, bool start_was_cut, GCancellable *, GError **);
bool varve_rewrite_endpoint (VarveRewrite *, const char *disk, VarveEndpoint *out, GCancellable *,
                             GError **);
bool varve_rewrite_finish (VarveRewrite *, GCancellable *, GError **);

/* The drivers. */
VarveDomain *varve_qmp_domain_open (const VarveDomainAddress *, GCancellable *, GError **);
VarveDomain *varve_image_domain_open (const VarveDomainAddress *, GCancellable *, GError **);
VarveDomain *varve_libvirt_domain_open (const VarveDomainAddress *, GCancellable *, GError **);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveDomainFiles, varve_domain_files_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveDomain, varve_domain_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveSnapshot, varve_snapshot_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRewrite, varve_rewrite_free)
