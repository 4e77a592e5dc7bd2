/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Backups of the world, compared with the model: the property itself. A reader of its own, by libnbd,
 * so that nothing of varve's copying is needed to believe it. */
#pragma once

#include "world.h"

typedef struct {
  const char *since;      /* name of the checkpoint to read by; NULL: everything */
  bool also;              /* and by all foreign ones besides */
  const char *checkpoint; /* the new one, or NULL */
  bool never_pause;       /* which chooses between strategies of bare QEMU */
} BackupPlan;

/* *out_mask: the disks that get the new checkpoint; *out_since: those that are read by a bitmap. */
VarveSession *backup_begin (World *world, const BackupPlan *plan, unsigned *out_mask,
                            unsigned *out_since);
/* The disk is @image, and what differs from @base (NULL: none) is called dirty. Counts. */
void backup_check (VarveSession *session, unsigned disk, GBytes *image, GBytes *base);
/* Reads all disks, whatever they hold. */
void backup_read (VarveSession *session);
/* Finishes, closes, keeps where @keep, and ends. */
void backup_end (VarveSession *session, bool keep);
/* Ends what workers left: every record. */
void backup_recover (World *world);

/* What has been compared by this process: so a test that compares nothing is seen. */
typedef struct {
  unsigned backups;
  unsigned changed; /* blocks that differed, and were dirty */
  unsigned clean;   /* blocks that were called clean, and were */
  unsigned spare;   /* blocks that were called dirty, and did not differ */
} BackupCounts;

extern BackupCounts backup_counts;
