/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Disks that a guest gets before their data is there: qcow2 images above a served backup, which are filled while it runs
 * (qemu/fill.h). A driver's part, in VarveDomainOps:
 *
 *   fill_check  whether it can, before anything is made
 *   fill_boot   the images become the domain's disks, and the guest runs
 *   fill_step   the jobs begin, where there are none, and tell how far they are; again and again
 *
 * A domain that is off is filled by a storage daemon of ours. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

#include "qemu/fill.h"
#include "qemu/storage-daemon.h"

typedef struct {
  char *disk;
  char *path; /* of the image, absolute */
  VarveFillProgress progress;
  unsigned missed; /* looks that found neither a job nor its end */
} VarveFillDisk;

typedef struct {
  char *session;
  char *socket; /* of the server, which has an export of each disk's name, in a private directory */
  uint64_t speed;   /* bytes per second over all disks at most; 0: no limit */
  GPtrArray *disks; /* of VarveFillDisk */
} VarveFill;

VarveFill *varve_fill_new (const char *session, const char *socket);
VarveFillDisk *varve_fill_add_disk (VarveFill *fill, const char *disk, const char *path);
VarveFillDisk *varve_fill_disk (const VarveFill *fill, guint i);
void varve_fill_free (VarveFill *fill);
bool varve_fill_is_ready (const VarveFill *fill);

/* The block node of disk @i where varve makes them. No name of a session (qmp-domain.h): it is the disk's for good.
 * (transfer full) */
char *varve_fill_node (const VarveFill *fill, guint i);
/* What is left of the speed for each disk; 0: no limit. */
uint64_t varve_fill_disk_speed (const VarveFill *fill);
/* varve_fill_step of all that are not ready. */
bool varve_fill_step_all (VarveQmp *qmp, VarveFill *fill, GCancellable *cancellable,
                          GError **error);

/* The images opened by a daemon, for varve_fill_step_all; its end stores their bitmaps. An image that somebody else has open is
 * VARVE_ERROR_BUSY. */
VarveStorageDaemon *varve_fill_stopped (const VarveFill *fill, GCancellable *cancellable,
                                        GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveFill, varve_fill_free)
