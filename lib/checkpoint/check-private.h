/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the files of the comparison share: check.c says what there is to find, check-sessions.c looks
 * at sessions, check-bitmaps.c at checkpoints, check-records.c at the hypervisor's records of them. */
#pragma once

#include "checkpoint/check.h"
#include "checkpoint/name.h"

typedef struct {
  const VarveCheckFacts *facts;
  GPtrArray *findings;
} VarveCheck;

/* A new finding at the end of the list, which owns it. @name NULL: of no checkpoint. */
VarveFindingFacts *varve_check_add (VarveCheck *check, VarveCheckKind kind, const char *checkpoint,
                                    const char *disk);
/* One that the caller's owner may have mended gets @repair; else @cure gives way to the reason. */
void varve_check_offer (VarveCheck *check, VarveFindingFacts *finding, VarveRepair repair,
                        char *cure);
/* There is no safe way, for the reason in @cure. */
void varve_check_refuse (VarveFindingFacts *finding, char *cure);

/* Whether the next backup of the checkpoint's owner can be taken since @bitmap. */
bool varve_check_is_usable (const VarveCheckFacts *facts, const VarveBitmap *bitmap);
/* How @owner's next backup takes @disk, as a sentence. (transfer full) */
char *varve_check_next_backup (const VarveCheckFacts *facts, const char *owner, const char *disk);

void varve_check_sessions (VarveCheck *check);
void varve_check_bitmaps (VarveCheck *check);
void varve_check_records (VarveCheck *check);
