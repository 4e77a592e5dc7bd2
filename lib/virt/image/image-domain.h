/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A stopped domain: a set of images that nobody else has open for writing. */
#pragma once

#include "qemu/storage-daemon.h"
#include "virt/domain.h"

typedef struct {
  VarveDomain base;
  GHashTable *images;  /* disk name → VarveImage */
  GPtrArray *names;    /* of the disks, sorted; borrowed from @images */
  GHashTable *headers; /* disk name → what image-header.c keeps of them */
} VarveImageDomain;

/* NULL with VARVE_ERROR_NOT_FOUND when the domain has no such disk. */
const VarveImage *varve_image_domain_image (VarveImageDomain *domain, const char *disk,
                                            GError **error);

/* image-header.c: the header (transfer full). What reads it respects the locks: an image that something writes to is
 * VARVE_ERROR_BUSY; one that has not changed since it was read need not be read again. */
VarveImageInfo *varve_image_domain_info (VarveImageDomain *domain, const char *disk,
                                         GCancellable *cancellable, GError **error);
/* Of each of @disks (char *): a GPtrArray of VarveImageInfo (transfer full). */
GPtrArray *varve_image_domain_infos (VarveImageDomain *domain, GPtrArray *disks,
                                     GCancellable *cancellable, GError **error);
/* Reads it in any case. */
VarveImageInfo *varve_image_domain_info_now (VarveImageDomain *domain, const char *disk,
                                             GCancellable *cancellable, GError **error);
void varve_image_header_free (gpointer header);
/* NULL when there is none. */
const VarveImageBitmap *varve_image_domain_bitmap (const VarveImageInfo *info, const char *name);

/* A storage daemon that has the images of @disks (char *) open, each without what is below it, and
 * serves nothing. */
VarveStorageDaemon *varve_image_domain_open_disks (VarveImageDomain *domain, GPtrArray *disks,
                                                   bool writable, GCancellable *cancellable,
                                                   GError **error);
/* The bitmaps that it has loaded, of VarveBitmap. */
GPtrArray *varve_image_domain_loaded (VarveStorageDaemon *daemon, GPtrArray *disks,
                                      GCancellable *cancellable, GError **error);

/* The bitmaps that the headers name, of VarveBitmap; how much of them is dirty is not known. */
GPtrArray *varve_image_domain_stored (VarveImageDomain *domain, GCancellable *cancellable,
                                      GError **error);

bool varve_image_domain_bitmaps (VarveDomain *base, GPtrArray **out_bitmaps,
                                 GCancellable *cancellable, GError **error);
bool varve_image_checkpoint_remove (VarveDomain *base, const char *name, GCancellable *cancellable,
                                    GError **error);
bool varve_image_checkpoint_add (VarveDomain *base, const char *name, const char *description,
                                 GPtrArray *disks, GCancellable *cancellable, GError **error);
bool varve_image_checkpoint_merge (VarveDomain *base, const char *into, GPtrArray *from,
                                   GCancellable *cancellable, GError **error);

bool varve_image_domain_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
                               GCancellable *cancellable, GError **error);

/* image-push.c: of a daemon that has the images open. */
bool varve_image_push_start (VarveStorageDaemon *daemon, const VarveStart *start,
                             GCancellable *cancellable, GError **error);
bool varve_image_push_finish (VarveStorageDaemon *daemon, const VarveStart *start,
                              GCancellable *cancellable, GError **error);

bool varve_image_domain_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                               uint64_t *out_pause_us, GCancellable *cancellable, GError **error);
bool varve_image_domain_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                                GCancellable *cancellable, GError **error);
bool varve_image_snapshot_endpoint (VarveSnapshot *base, const char *disk, VarveEndpoint *out,
                                    GCancellable *cancellable, GError **error);
bool varve_image_snapshot_poll (VarveSnapshot *base, VarveSnapshotStatus *out,
                                GCancellable *cancellable, GError **error);
bool varve_image_snapshot_progress (VarveSnapshot *base, GArray **out, GCancellable *cancellable,
                                    GError **error);
bool varve_image_snapshot_set_speed (VarveSnapshot *base, uint64_t speed, GCancellable *cancellable,
                                     GError **error);
bool varve_image_snapshot_finish (VarveSnapshot *base, GCancellable *cancellable, GError **error);
bool varve_image_snapshot_end (VarveSnapshot *base, bool start_was_cut, GCancellable *cancellable,
                               GError **error);
void varve_image_snapshot_free (VarveSnapshot *base);

/* What a snapshot and a rewrite have in common: the daemon that serves a start's disks, with the maps
 * that it wants; and where one of them is. */
VarveStorageDaemon *varve_image_serve (VarveImageDomain *domain, const VarveStart *start,
                                       bool writable, GCancellable *cancellable, GError **error);
void varve_image_endpoint (VarveStorageDaemon *daemon, const VarveStart *start,
                           const VarveStartDisk *disk, bool writable, VarveEndpoint *out);
/* What start refuses. */
bool varve_image_check_start (VarveImageDomain *domain, const VarveStart *start,
                              GCancellable *cancellable, GError **error);
/* Changes bitmaps in one transaction (transfer full), and quits the daemon, which stores them. */
bool varve_image_store_bitmaps (VarveStorageDaemon *daemon, JsonArray *actions, GError **error);
/* Each of @disks (char *) has the new checkpoint @name. */
bool varve_image_check_added (VarveImageDomain *domain, const char *name, GPtrArray *disks,
                              GError **error);

bool varve_image_rewrite (VarveDomain *base, const VarveStart *start, VarveRewrite **out,
                          GCancellable *cancellable, GError **error);
bool varve_image_rewrite_endpoint (VarveRewrite *base, const char *disk, VarveEndpoint *out,
                                   GCancellable *cancellable, GError **error);
bool varve_image_rewrite_finish (VarveRewrite *base, GCancellable *cancellable, GError **error);
void varve_image_rewrite_free (VarveRewrite *base);
