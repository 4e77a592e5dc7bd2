/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A qcow2 image that lies above a served backup, and the job that fills it from there (block-stream), by the monitor of a QEMU
 * or of a storage daemon.
 *
 * What a guest writes goes to the image, and to its bitmaps; what it reads comes from the server until it is in the image. What
 * the job copies is no change: no bitmap records it. Behind it the image's header names no backing file any more.
 *
 * The job stands when it meets an error (on-error=stop), and goes by itself when it is done (auto-dismiss): QEMU 7.2 dies of
 * query-named-block-nodes while a job of this kind is concluded, and for good behind one that failed beside a guest's I/O. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "qemu/qmp.h"

/* How long a read waits for a server that has gone, in seconds. QEMU can do little else meanwhile, so that it is no more than
 * a server that is started again takes. */
#define VARVE_FILL_RECONNECT_S 60

typedef struct {
  bool begun; /* there was a job: one that has gone without being ready has failed */
  bool ready; /* the image depends on nothing */
  uint64_t done, total;
} VarveFillProgress;

/* A node, without a name, that is the export @export_name at @socket, and waits for its server. (transfer full) */
JsonObject *varve_fill_server_node (const char *socket, const char *export_name);
/* The backing file of the image's header: whoever opens it reads what the disk has, or fails. (transfer full) */
char *varve_fill_backing (const char *socket, const char *export_name);

/* Opens the image as @node, of at most 26 bytes. */
bool varve_fill_open (VarveQmp *qmp, const char *node, const char *path, const char *socket,
                      const char *export_name, GCancellable *cancellable, GError **error);

/* Begins the job (its id is @node) where there is none, of @speed bytes per second at most (0: no limit), and looks how far
 * it is. One that stands for an error is one; the next step has it go on. */
bool varve_fill_step (VarveQmp *qmp, const char *node, uint64_t speed, VarveFillProgress *progress,
                      GCancellable *cancellable, GError **error);
