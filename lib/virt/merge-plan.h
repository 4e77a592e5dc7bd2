/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What merging checkpoints means for each disk, by its bitmaps alone. Every driver acts on this, so
 * that none loses a change which another keeps; the rule is told with checkpoint_merge. */
#pragma once

#include "virt/inventory.h"

typedef struct {
  char *disk;
  bool enable;        /* the target does not record yet */
  GPtrArray *content; /* of char *: what is merged into the target, in this order */
  GPtrArray *remove;  /* of char *: what goes afterwards */
} VarveMergeDisk;

/* *out: of VarveMergeDisk, one for each disk that has @into, in the order of @bitmaps. Fails, with
 * nothing to be done, where a change would be lost. */
bool varve_merge_plan (GPtrArray *bitmaps, const char *into, GPtrArray *from, GPtrArray **out,
                       GError **error);
