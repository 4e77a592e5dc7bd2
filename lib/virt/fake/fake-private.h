/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the files of the scripted driver share. */
#pragma once

#include "virt/fake/fake.h"

typedef struct {
  VarveDomain base;
  GPtrArray *disks;     /* of VarveDisk */
  GPtrArray *bitmaps;   /* of VarveBitmap */
  GPtrArray *metadata;  /* of VarveCheckpointMetadata */
  GMutex mutex;         /* of the calls, which may come from several threads */
  GPtrArray *calls;     /* of char *, NULL-terminated */
  GHashTable *failures; /* op → Failure */
  GHashTable *uris;     /* disk → URI */
  GPtrArray *sessions;  /* of char *: started, not ended */
  VarveDomainState state;
  VarveSnapshotState snapshot_state;
  uint64_t scratch_used;
  VarvePushProgress progress;
  bool keeps_metadata;
} VarveFake;

/* Every op begins with it: writes down the call, and fails where the script says so. */
bool varve_fake_enter (VarveDomain *base, const char *op, const char *argument,
                       GCancellable *cancellable, GError **error);
/* Puts @disk into the record of checkpoint @name, which is made where there is none. Belongs to
 * the domain. */
VarveCheckpointMetadata *varve_fake_note (VarveFake *fake, const char *name,
                                          const char *description, const char *disk);

bool varve_fake_checkpoint_remove (VarveDomain *, const char *name, GCancellable *, GError **);
bool varve_fake_checkpoint_add (VarveDomain *, const char *name, const char *description,
                                GPtrArray *disks, GCancellable *, GError **);
bool varve_fake_checkpoint_merge (VarveDomain *, const char *into, GPtrArray *from, GCancellable *,
                                  GError **);
bool varve_fake_checkpoint_redefine (VarveDomain *, const char *name, const char *description,
                                     int64_t created, GPtrArray *disks, GCancellable *, GError **);
bool varve_fake_checkpoint_forget (VarveDomain *, const char *name, GCancellable *, GError **);
bool varve_fake_checkpoint_metadata (VarveDomain *, GPtrArray **out, GCancellable *, GError **);
