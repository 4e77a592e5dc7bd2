/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A backup, served read-only by nbdkit with our plugin on a UNIX socket: for a QEMU whose disks lie above it.
 *
 *   DIRECTORY/backup.sock    an export for each disk, by its name
 *   DIRECTORY/backup.log     what nbdkit says
 *   DIRECTORY/front.sock     the same exports by a storage daemon, if wanted: it waits for nbdkit when that has gone, for a QEMU that
 *                            would not (libvirt cannot tell it to before 9.2, and a block job of QEMU 7.2 that fails takes its QEMU
 *                            with it)
 *
 * nbdkit may die, be killed, or have been left behind by a varve that was. So whoever has one looks after it (alive, restart):
 * it comes back on the same socket, and a QEMU that connects with a reconnect-delay has only waited. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <gio/gio.h>

#include "qemu/child.h"

typedef struct VarveBackupServer VarveBackupServer;

typedef struct {
  const char *store;     /* STORE argument: images:DIR */
  const char *backup;    /* its id */
  const char *directory; /* private, existing: it alone keeps others from the socket */
  VarveChildKind kind;   /* DIES_WITH_US, or KEPT: the guest needs it longer; the backup is held */
  GPtrArray
      *fronted; /* of char *: the exports that the storage daemon has, too; NULL: there is none */
} VarveBackupServerOptions;

/* Returns when readers can connect. One that still listens in that directory, of a varve that is gone, is taken over.
 * NULL: with what nbdkit said; VARVE_ERROR_UNSUPPORTED where there is no nbdkit, or no plugin. */
VarveBackupServer *varve_backup_server_begin (const VarveBackupServerOptions *options,
                                              GCancellable *cancellable, GError **error);
bool varve_backup_server_alive (const VarveBackupServer *server);
/* Starts it again where it is not alive. */
bool varve_backup_server_restart (VarveBackupServer *server, GCancellable *cancellable,
                                  GError **error);
/* Ends the process, and removes what is in the directory. */
void varve_backup_server_end (VarveBackupServer *server);
/* Frees it, and leaves the process to whoever takes it over. */
void varve_backup_server_leave (VarveBackupServer *server);
/* As end, of one that a varve that is gone may have left in @directory. */
void varve_backup_server_end_left (const char *directory);

/* The last that it said, "" where it had nothing to complain of: what it could not read. (transfer full) */
char *varve_backup_server_words (const VarveBackupServer *server);
/* Where QEMU connects: of the storage daemon, if there is one. */
const char *varve_backup_server_socket (const VarveBackupServer *server);
pid_t varve_backup_server_pid (const VarveBackupServer *server);
/* The same of the server of that directory, which need not be there yet. (transfer full) */
char *varve_backup_server_socket_in (const char *directory, bool fronted);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveBackupServer, varve_backup_server_end)
