/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include "run/context.h"

/* Runs the command of @def on a session that stands, and ends the session by its exit status. */
bool varve_export_run_command (const VarveRunContext *context, const VarveExportDef *def,
                               const char *session, GCancellable *cancellable, GError **error);
