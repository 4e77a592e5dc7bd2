/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What this QEMU can do, from one pass over query-qmp-schema: probe, do not compare versions. */
#pragma once

#include "qemu/qmp.h"

typedef struct VarveQmpSchema VarveQmpSchema;

VarveQmpSchema *varve_qmp_schema_query (VarveQmp *qmp, GCancellable *cancellable, GError **error);
void varve_qmp_schema_free (VarveQmpSchema *schema);

bool varve_qmp_schema_has_command (const VarveQmpSchema *schema, const char *command);
/* A member of a command's arguments, also of one branch of a variant: ("blockdev-backup", NULL,
 * "on-cbw-error"), ("blockdev-add", "copy-before-write", "on-cbw-error"). */
bool varve_qmp_schema_has_argument (const VarveQmpSchema *schema, const char *command,
                                    const char *variant, const char *member);
/* A branch of a command's arguments: ("blockdev-add", "snapshot-access"). */
bool varve_qmp_schema_has_variant (const VarveQmpSchema *schema, const char *command,
                                   const char *variant);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveQmpSchema, varve_qmp_schema_free)
