/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Full, incremental, rescan or skip, and why: for each disk, before anything is started. A pure
 * function of what there is; the one thing it asks for is the store's cheap check of a base.
 *
 *   incremental  reads what a bitmap says has changed since a backup that the store holds
 *   rescan       reads everything, stores only what differs from a backup that the store holds
 *   full         reads and stores everything: the last resort
 *   skip         not backed up
 *
 * Without a store (an export to a reader that keeps his own books) there is no rescan, the checkpoint that was
 * named is taken at its word, whoever's it is, and a disk that does not have it is full.
 *
 * A push knows no rescan, as nobody compares: such a disk is full, and so is one that has grown, of which the bitmap does not
 * tell what came with the new part.
 */
#pragma once

#include "checkpoint/checkpoint.h"
#include "store/manifest.h"
#include "virt/inventory.h"

typedef enum {
  VARVE_DECISION_FULL,
  VARVE_DECISION_INCREMENTAL,
  VARVE_DECISION_RESCAN,
  VARVE_DECISION_SKIP,
} VarveDecision;

const char *varve_decision_name (VarveDecision decision);

/* NULL: the layer may serve as a base; else why not, without a full stop. (transfer full) */
typedef char *(*VarveBaseCheckFunc) (const VarveManifest *manifest, const char *disk,
                                     gpointer data);

typedef struct {
  const char *uuid; /* of the domain */
  const char *owner;
  const char *incremental; /* "auto", "never", or a checkpoint; without a store not "auto" */
  GPtrArray *disks;        /* of VarveDisk */
  GPtrArray *bitmaps;      /* of VarveBitmap */
  GPtrArray *manifests;    /* of VarveManifest: all of the store, oldest first; NULL: no store */
  GPtrArray *include;      /* of char*: only these; empty: all that can be */
  GPtrArray *exclude;      /* of char* */
  unsigned max_chain;      /* links */
  bool push;               /* QEMU writes the layers */
  VarveBaseCheckFunc check_base;
  gpointer check_data;
} VarvePlanInput;

typedef struct {
  const VarveDisk *disk;
  VarveDecision decision;
  char *reason;              /* a sentence without a full stop */
  char *distrust;            /* the part of it that says why no bitmap is of use; NULL: one is */
  char *since;               /* bitmap, for an increment */
  const VarveManifest *base; /* for an increment or a rescan */
  bool checkpoint;           /* the new bitmap goes on this disk */
  bool transient;            /* … and dies with QEMU */
  bool flatten;              /* the chain is long enough: make a full layer of it */
} VarvePlanDisk;

/* Array of VarvePlanDisk, in the order of the inventory; borrows from @input. Fails where the
 * caller asked for what is not there: an unknown disk, a disk that cannot be backed up, a named
 * checkpoint that cannot be used. */
GPtrArray *varve_plan (const VarvePlanInput *input, GError **error);
