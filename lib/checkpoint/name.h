/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The name of a checkpoint carries its owner, its meaning and its proof:
 *
 *   varve . OWNER . BACKUP . NONCE
 *
 *   OWNER   label '-' first 8 hex of the store's uuid; "x-" label where there is no store
 *   BACKUP  id of the backup that it was made with
 *   NONCE   8 random hex, so that two bitmaps may name the same backup
 *
 * It means: "every change since the disk equalled BACKUP in OWNER's store". So the name alone, with
 * the store at hand, says what a bitmap is good for; no other record is needed for safety.
 *
 * An owner without a store keeps his own books; there BACKUP is the instant alone.
 */
#pragma once

#include <stdbool.h>
#include <glib.h>

#define VARVE_CHECKPOINT_NAME_MAX 120
#define VARVE_OWNER_LABEL_MAX     39
#define VARVE_OWNER_NO_STORE      "x-"

typedef struct {
  char *owner;
  char *backup;
  char *nonce;
} VarveCheckpointName;

/* (transfer full) */
char *varve_checkpoint_name_new (const char *owner, const char *backup);

/* False when @name is not one of ours: foreign, never touched, never a reason to fail. */
bool varve_checkpoint_name_parse (const char *name, VarveCheckpointName *out);
void varve_checkpoint_name_clear (VarveCheckpointName *name);

/* Whether it is the name of what a session froze for reading: "varve-SESSION-t-N", on bare QEMU. */
bool varve_checkpoint_is_frozen (const char *name);

/* OWNER from a label (a job's name serves: what does not fit [a-z0-9-] becomes '-') and the uuid of
 * the store. (transfer full) */
char *varve_checkpoint_owner (const char *label, const char *store_uuid);
/* OWNER of who has no store. (transfer full) */
char *varve_checkpoint_owner_without_store (const char *label);
bool varve_checkpoint_owner_has_store (const char *owner);
/* Whether @owner is meant by @label: the label with any store, the label without one, or the whole
 * owner spelt out. */
bool varve_checkpoint_owner_matches (const char *owner, const char *label);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveCheckpointName, varve_checkpoint_name_clear)
