/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A backup proved by starting it: its disks served from the store, a machine that is thrown away, and a sign that is waited
 * for. The store is only read. */
#pragma once

#include "job/def.h"
#include "run/context.h"
#include "store/store.h"

/* @out_sign: what it was and when it came, a part of a sentence. (transfer full) VARVE_ERROR_NOT_PROVED: it did not come. */
bool varve_run_boot (const VarveRunContext *context, const VarveVerifyDef *def, VarveStore *store,
                     VarveBackup *backup, char **out_sign, GCancellable *cancellable,
                     GError **error);
