/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The nbdkit that serves the backup as long as its files are read: at a UNIX socket in a directory of its own, which
 * only we can enter. It ends with us, however we end. */
#pragma once

#include "cli.h"

typedef struct Server Server;

/* Readers can connect when this returns. @store is absolute; @disk may be NULL: all disks are exports, by name. */
Server *server_start (const char *store, VarveBackup *backup, const char *disk,
                      GCancellable *cancellable, GError **error);
const char *server_socket (const Server *server);
/* What it could not read so far, or NULL. (transfer full) */
char *server_complaint (const Server *server);
void server_stop (Server *server);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Server, server_stop)
