/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A qemu-storage-daemon of our own, with images opened read-only (or read-write) and exported over
 * NBD on a UNIX socket in a private directory. A read-only daemon may be killed at any time; one
 * that has an image open read-write and is killed costs that image all its bitmaps.
 *
 * It dies with us: it gets SIGTERM, which ends it cleanly, when the THREAD that started it ends
 * (that is how Linux defines it). So start it in a thread that outlives its use. Its monitor is one
 * end of a socket pair: nobody else can reach it, and it has no path.
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
  VarveImageInfo *info;       /* of it, as it is now; NULL: it is read */
  const char *export_name;    /* "vda" */
  const char *const *bitmaps; /* NULL-terminated bitmap names to export, or NULL */
  /* One more to export: a temporary one of this name, with what all of @merged (as @bitmaps) have.
   * NULL: none. */
  const char *merged_name;
  const char *const *merged;
  bool writable;
  bool without_backing;  /* open with backing: null, so that only this layer is seen */
  bool allocation_depth; /* offer qemu:allocation-depth */
  /* Take no lock and respect none: only for reading, and only where the caller knows that nobody
   * changes the image (whoever does makes this daemon serve nonsense). Two read-only daemons need
   * it not. */
  bool shared;
  uint64_t l2_cache_size; /* bytes per layer of a qcow2 chain; 0: QEMU's default */
} VarveDaemonExport;

/* @exports is an array of VarveDaemonExport; each becomes node "n-<export_name>" (see _node),
 * images below it "b1-n-<export_name>" and on. Every backing file needs a recorded format
 * (VARVE_ERROR_REFUSED). An image that a running QEMU holds is VARVE_ERROR_BUSY; a bitmap that is
 * not there or is inconsistent is VARVE_ERROR_CHECKPOINT.
 * @directory (private, existing) gets the NBD socket, which is removed at the end; NULL: nothing is
 * served, and the monitor is all that there is to the nodes. */
VarveStorageDaemon *varve_storage_daemon_start (const char *directory,
                                                const VarveDaemonExport *exports, size_t n_exports,
                                                GCancellable *cancellable, GError **error);

/* The caller opens images for writing by its monitor: it gets the time for that when it quits, and its complaints count. */
void varve_storage_daemon_will_write (VarveStorageDaemon *daemon);
/* Its monitor, for what the caller wants to ask. Owned by the daemon. */
VarveQmp *varve_storage_daemon_qmp (VarveStorageDaemon *daemon);
/* The path of its NBD socket. Owned by the daemon. */
const char *varve_storage_daemon_socket (const VarveStorageDaemon *daemon);
/* nbd+unix:///NAME?socket=PATH (transfer full); NULL where nothing is served */
char *varve_storage_daemon_uri (VarveStorageDaemon *daemon, const char *export_name);
/* The node behind an export: "n-<export_name>" where that is a name that QEMU takes for a node (31
 * bytes of letters, digits, - . _), else another. Owned by the daemon; NULL for an unknown export.
 */
const char *varve_storage_daemon_node (const VarveStorageDaemon *daemon, const char *export_name);
pid_t varve_storage_daemon_pid (const VarveStorageDaemon *daemon);
bool varve_storage_daemon_alive (VarveStorageDaemon *daemon);

/* Quits it cleanly (which stores the bitmaps of images opened read-write) and waits: some seconds,
 * a minute where it writes, then it is ended by force. False where that was needed, where it had
 * gone before, or where it complained about what it should have stored. Once is enough; later calls
 * do nothing. */
bool varve_storage_daemon_quit (VarveStorageDaemon *daemon, GError **error);
/* As quit, without an answer to failure. */
void varve_storage_daemon_free (VarveStorageDaemon *daemon);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStorageDaemon, varve_storage_daemon_free)
