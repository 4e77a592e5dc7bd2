/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the programs do about signals: the command, and the host of an export session. The library has no part in it; it
 * sets no handler in anybody's process. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

/* From now on SIGINT and SIGTERM cancel @cancellable, which must live as long as the process, and SIGPIPE is ignored. */
bool varve_signals_catch (GCancellable *cancellable, GError **error);
/* The last of them that came, or 0. */
int varve_signals_last (void);
