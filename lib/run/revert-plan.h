/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What putting back the disks of a domain comes to: which disks, how much at most, and why. Nothing is
 * read of the disks for it, and nothing is written. */
#pragma once

#include "run/look.h"

typedef struct {
  const VarvePlanDisk *plan; /* what a backup would do now: its bitmap, its base, its reason */
  uint64_t changed;          /* bytes since the base, by the bitmap */
  uint64_t differing;        /* bytes between the base and the wanted backup, by the store */
  bool compare;              /* one of the two cannot be had: all is read and compared */
  char *text;                /* part of a sentence */
} VarveRevertPlanDisk;

typedef struct {
  const VarveManifest *wanted; /* borrowed, as all that the disks point to */
  GPtrArray *plans;            /* of VarvePlanDisk */
  GPtrArray *disks;            /* of VarveRevertPlanDisk: those that are put back */
  GPtrArray *left; /* of char*, sentences: disks that stay as they are though nobody said so */
} VarveRevertPlan;

/* The wanted backup of @look's domain by id, DOMAIN@latest or DOMAIN@TIME; another domain's is refused. NULL with an error. */
const VarveManifest *varve_revert_wanted (const VarveLook *look, const char *backup,
                                          GError **error);

/* @include, @exclude (char *): as for a backup. Refuses a domain that is not off, disks that the one of
 * both does not have, and disks that have another size now. */
bool varve_revert_plan (const VarveLook *look, const VarveManifest *wanted, GPtrArray *include,
                        GPtrArray *exclude, VarveRevertPlan *out, GCancellable *cancellable,
                        GError **error);
/* Nothing differs, and that is known without reading. */
bool varve_revert_plan_is_empty (const VarveRevertPlan *plan);
void varve_revert_plan_clear (VarveRevertPlan *plan);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveRevertPlan, varve_revert_plan_clear)
