/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A qemu-storage-daemon of our own, with images opened read-only (or read-write) and exported over
 * NBD on a UNIX socket in a private directory. It dies with us: a read-only daemon may be killed at
 * any time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <gio/gio.h>

#include "qemu/qemu-img.h"
#include "qemu/qmp.h"

typedef struct VarveStorageDaemon VarveStorageDaemon;

typedef struct {
  const VarveImage *image;
  const char *export_name;    /* "vda" */
  const char *const *bitmaps; /* NULL-terminated bitmap names to export, or NULL */
  bool writable;
  bool without_backing;   /* open with backing: null, so that only this layer is seen */
  bool allocation_depth;  /* offer qemu:allocation-depth */
  bool shared;            /* do not lock (another of our daemons has it open, read-only) */
  uint64_t l2_cache_size; /* bytes per layer of a qcow2 chain; 0: QEMU's default */
} VarveDaemonExport;

/* @exports is an array of VarveDaemonExport; each becomes node "n-<export_name>". Every backing
 * file needs a recorded format, else refused. An image that a running QEMU holds is
 * VARVE_ERROR_BUSY. @directory (private, existing) gets the sockets; they are removed at the end.
 */
VarveStorageDaemon *varve_storage_daemon_start (const char *directory,
                                                const VarveDaemonExport *exports, size_t n_exports,
                                                GCancellable *cancellable, GError **error);

/* Its monitor, for what the caller wants to ask. Owned by the daemon. */
VarveQmp *varve_storage_daemon_qmp (VarveStorageDaemon *daemon);
/* nbd+unix:///NAME?socket=PATH (transfer full) */
char *varve_storage_daemon_uri (VarveStorageDaemon *daemon, const char *export_name);
pid_t varve_storage_daemon_pid (const VarveStorageDaemon *daemon);
bool varve_storage_daemon_alive (VarveStorageDaemon *daemon);

/* Quits it cleanly (which stores the bitmaps of images opened read-write) and waits. */
bool varve_storage_daemon_quit (VarveStorageDaemon *daemon, GError **error);
/* As quit, without an answer to failure. */
void varve_storage_daemon_free (VarveStorageDaemon *daemon);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStorageDaemon, varve_storage_daemon_free)
