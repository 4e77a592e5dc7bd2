/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ending what killed runs left behind. */
#pragma once

#include "run/context.h"
#include "session/session.h"

/* Ends one session, whose domain's lock the caller holds. @domain NULL: it is gone for good. */
bool varve_recover_record (const VarveStateDir *state, VarveDomain *domain,
                           const VarveRecord *record, const VarveEventSink *events,
                           GCancellable *cancellable, GError **error);

void varve_recover_warn (const VarveEventSink *events, const char *text);
