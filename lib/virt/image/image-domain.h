/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A stopped domain: a set of images that nobody else has open for writing. */
#pragma once

#include "virt/domain.h"

typedef struct {
  VarveDomain base;
  GHashTable *images; /* disk name → VarveImage */
  GPtrArray *names;   /* of the disks, sorted; borrowed from @images */
} VarveImageDomain;

/* NULL with VARVE_ERROR_NOT_FOUND when the domain has no such disk. */
const VarveImage *varve_image_domain_image (VarveImageDomain *domain, const char *disk,
                                            GError **error);

/* The header, with the locks respected: an image that something writes to is VARVE_ERROR_BUSY. */
VarveImageInfo *varve_image_domain_info (VarveImageDomain *domain, const char *disk,
                                         GCancellable *cancellable, GError **error);
/* NULL when there is none. */
const VarveImageBitmap *varve_image_domain_bitmap (const VarveImageInfo *info, const char *name);

bool varve_image_domain_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
                               GCancellable *cancellable, GError **error);

bool varve_image_domain_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                               uint64_t *out_pause_us, GCancellable *cancellable, GError **error);
bool varve_image_domain_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                                GCancellable *cancellable, GError **error);
bool varve_image_snapshot_endpoint (VarveSnapshot *base, const char *disk, VarveEndpoint *out,
                                    GCancellable *cancellable, GError **error);
bool varve_image_snapshot_poll (VarveSnapshot *base, VarveSnapshotStatus *out,
                                GCancellable *cancellable, GError **error);
bool varve_image_snapshot_finish (VarveSnapshot *base, GCancellable *cancellable, GError **error);
bool varve_image_snapshot_end (VarveSnapshot *base, bool start_was_cut, GCancellable *cancellable,
                               GError **error);
void varve_image_snapshot_free (VarveSnapshot *base);
