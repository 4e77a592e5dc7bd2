/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is being written to targets, for the one file that has varve write, and the other that has QEMU do it. */
#pragma once

#include "store/store.h"
#include "store/target.h"

typedef struct {
  VarveTarget as; /* its strings are owned */
  VarveTargetKind kind;
  bool changes;  /* written over in place, where the disk has changed */
  uint64_t size; /* of the disk; 0: nothing is to be written to this one */
} VarveTargetsDisk;

typedef struct {
  const VarveTargetsDisk *target;
  BlockSink *sink; /* NULL: finished, or written by QEMU */
  char *partial;   /* NULL: in place, or published */
} VarveTargetsWriting;

typedef struct {
  VarveStoreWrite write;
  GPtrArray *disks; /* of VarveTargetsWriting */
} VarveTargetsWrite;

/* Of the disk; NULL: it has none. */
VarveTargetsDisk *varve_targets_find (VarveStoreImpl *impl, const char *disk);
VarveTargetsWriting *varve_targets_writing (VarveTargetsWrite *write, const char *disk);

/* As it is now. */
bool varve_targets_look (VarveTargetsDisk *target, GError **error);
/* (transfer none) */
VarveTargetsWriting *varve_targets_open (VarveTargetsWrite *write, const VarveTargetsDisk *target,
                                         GCancellable *cancellable, GError **error);

/* The ops of a push. */
bool varve_targets_add_target (VarveStoreWrite *owned, VarveManifestDisk *disk,
                               const VarveManifest *base, VarveStoreTarget *out,
                               GCancellable *cancellable, GError **error);
bool varve_targets_check_again (VarveStoreWrite *owned, GError **error);
bool varve_targets_adopt_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, bool read_back,
                               BlockTickFunc tick, gpointer tick_data, GCancellable *cancellable,
                               GError **error);
