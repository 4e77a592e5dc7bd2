/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a backup and an export have in common: a domain that is opened by what the job says of it, and a start that
 * its driver agrees with. */
#pragma once

#include "run/context.h"

/* Waits as long as the job says for one that is busy. */
VarveDomain *varve_run_open_source (const VarveRunContext *context, const VarveBackupDef *def,
                                    GCancellable *cancellable, GError **error);

/* The names of the disks that the job takes in, and of those that it leaves out. They belong to @def. */
void varve_run_source_disks (const VarveBackupDef *def, GPtrArray *include, GPtrArray *exclude);

/* With directory and policy, without disks. */
VarveStart *varve_run_source_start (const VarveRunContext *context, const VarveBackupDef *def,
                                    const char *session);

/* The directory of scratch images, as the hypervisor sees it. (transfer full) */
char *varve_run_source_scratch (const VarveRunContext *context, const VarveBackupDef *def);

/* The snapshot columns, and the driver's word on the whole: what is refused is VARVE_ERROR_REFUSED, what is weaker is in
 * @out_report, and scratch is there if it is needed at all. */
bool varve_run_source_check (const VarveRunContext *context, const VarveBackupDef *def,
                             VarveDomain *domain, VarveStart *start, VarveStartReport **out_report,
                             GCancellable *cancellable, GError **error);

/* The record of @start, as far as the domain and the job tell. */
VarveRecord *varve_run_source_record (const VarveBackupDef *def, const VarveDomain *domain,
                                      const VarveStart *start);
