/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The last steps of ending a session, the same for whoever ends it. */
#pragma once

#include "state/record.h"
#include "virt/domain.h"

/* How old a session must be before a guest agent that does not answer a thaw is given up. */
#define VARVE_THAW_PATIENCE_S (15 * 60)

/* A guest that ran before and was paused by an I/O error goes on; any other is left as it is. */
bool varve_teardown_resume (VarveDomain *domain, const VarveRecord *record,
                            GCancellable *cancellable, GError **error);

/* After the snapshot has been taken down: thaws a guest that we froze, resumes one that ran before
 * and was paused by an I/O error, drops the tentative checkpoint unless @keep. */
bool varve_teardown (VarveDomain *domain, const VarveRecord *record, bool keep,
                     GCancellable *cancellable, GError **error);
