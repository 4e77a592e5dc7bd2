/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The domain that a restore defines for the disks that it restores. */
#pragma once

#include "job/def.h"
#include "run/context.h"
#include "store/store.h"
#include "virt/define.h"

typedef struct {
  VarveDefinition *definition;
  GBytes *nvram; /* of the backup, or NULL */
  GBytes *tpm;   /* the same */
} VarveRestoreDefine;

/* What a backup keeps of its domain; that it does, the manifest says. (transfer full) */
char *varve_run_read_definition (VarveStoreImpl *store, const VarveManifest *manifest,
                                 GError **error);
GBytes *varve_run_read_variables (VarveStoreImpl *store, const VarveManifest *manifest,
                                  GError **error);

/* Everything that can be known before a disk is written; @targets: of VarveRestoreDisk. */
bool varve_restore_define_prepare (const VarveRestoreDef *def, VarveStoreImpl *store,
                                   const VarveManifest *manifest, GPtrArray *targets,
                                   VarveRestoreDefine *out, GCancellable *cancellable,
                                   GError **error);
/* Behind the last disk. */
bool varve_restore_define_finish (const VarveRestoreDefine *define, GCancellable *cancellable,
                                  GError **error);
void varve_restore_define_clear (VarveRestoreDefine *define);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveRestoreDefine, varve_restore_define_clear)
