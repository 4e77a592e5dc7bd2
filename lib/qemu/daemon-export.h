/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One export of a storage daemon: its chain of images as nodes, its bitmaps, the export itself. */
#pragma once

#include "qemu/storage-daemon.h"

/* The name of its node: see varve_storage_daemon_node. @index makes it unique where the name of the
 * export does not fit. (transfer full) */
char *varve_daemon_export_node (const char *export_name, size_t index);

/* Its images, with the bitmaps looked for. */
bool varve_daemon_export_open (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
                               GCancellable *cancellable, GError **error);
/* The export, of what has been opened. */
bool varve_daemon_export_publish (VarveQmp *qmp, const VarveDaemonExport *export, const char *node,
                                  GCancellable *cancellable, GError **error);
