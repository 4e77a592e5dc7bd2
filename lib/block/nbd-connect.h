/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* From a URI to a libnbd handle that is ready for commands, within a time limit. */
#pragma once

#include <libnbd.h>

#include "block/nbd-connection.h"

/* NULL with *@error set; else the caller closes it. */
struct nbd_handle *block_nbd_connect (const BlockNbdConnect *options, BlockNbdExport *out_export,
                                      GCancellable *cancellable, GError **error);

/* What libnbd wants to be woken for, as poll events; and telling it what happened. */
short block_nbd_poll_events (struct nbd_handle *nbd);
/* False when the handle is dead, with libnbd's error for this thread set. */
bool block_nbd_notify (struct nbd_handle *nbd, short revents);
