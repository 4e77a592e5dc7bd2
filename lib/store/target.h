/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One place outside a store that a whole disk is written to: a file, a block device, an NBD export.
 *
 * A file appears under its name when it is complete and durable, and not before; what was there stays until then. A
 * device and an export are written in place: that cannot be undone, so it wants to be forced. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

#include "block/sink.h"

typedef struct {
  const char *disk;
  const char *path;   /* absolute, or an NBD URI */
  const char *format; /* "raw" or "qcow2" */
  bool force;         /* what is there may be written over */
  bool over;          /* … compared, and only what differs is written */
  bool can_be_over;   /* who is refused is told that there is such a way */
} VarveTarget;

typedef enum {
  VARVE_TARGET_ABSENT,
  VARVE_TARGET_FILE,
  VARVE_TARGET_DEVICE,
  VARVE_TARGET_NBD,
} VarveTargetKind;

bool varve_target_is_nbd (const char *path);

/* What is there. */
bool varve_target_look (const char *path, VarveTargetKind *out, GError **error);

/* Whether it can be written, before anything is: not in use, not there already without force or over; device and export
 * only raw. */
bool varve_target_check (const VarveTarget *target, VarveTargetKind *out, GError **error);

/* Whether what is there has the right size: of a file it must be the disk's, a device or an export may be larger. An NBD
 * server is asked. */
bool varve_target_check_size (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
                              GCancellable *cancellable, GError **error);

/* Whether both lead to one file or device, by whatever names, also where it is yet to be made. Of two NBD URIs only
 * their text is compared. */
bool varve_target_same (const char *a, const char *b);

/* Where a file is written until it is published; NULL of what is written in place. (transfer full) */
char *varve_target_partial (const VarveTarget *target, VarveTargetKind kind);
/* Not over what is there. */
BlockSink *varve_target_open (const VarveTarget *target, VarveTargetKind kind, uint64_t size,
                              GCancellable *cancellable, GError **error);
/* A file, flushed and closed, gets its name. */
bool varve_target_publish (const VarveTarget *target, const char *partial, GError **error);
