/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* JSON objects, one a line, over a stream socket: what lies below QMP. Nothing here blocks past its
 * deadline (g_get_monotonic_time), and no line may be longer than VARVE_QMP_MAX_LINE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* query-named-block-nodes names every layer of every chain with all its options: megabytes happen.
 */
#define VARVE_QMP_MAX_LINE (64u << 20)

typedef struct VarveQmpWire VarveQmpWire;

/* Connects to the UNIX socket @path, and tries again while its queue of waiting clients is full: at
 * the deadline that is G_IO_ERROR_WOULD_BLOCK. */
VarveQmpWire *varve_qmp_wire_connect (const char *path, int64_t deadline, GCancellable *cancellable,
                                      GError **error);
/* Takes a connected @socket (transfer full). @name stands for it in messages. */
VarveQmpWire *varve_qmp_wire_new (GSocket *socket, const char *name);
void varve_qmp_wire_free (VarveQmpWire *wire);
const char *varve_qmp_wire_name (const VarveQmpWire *wire);
int varve_qmp_wire_fd (const VarveQmpWire *wire);

/* Not to be cancelled: half a command would spoil all that follow. */
bool varve_qmp_wire_send (VarveQmpWire *wire, const char *text, int64_t deadline, GError **error);

/* The next object (transfer full); NULL without an error when the deadline passes first. What came
 * of a line by then, or before @cancellable fired, is kept for the next call. */
JsonObject *varve_qmp_wire_receive (VarveQmpWire *wire, int64_t deadline, GCancellable *cancellable,
                                    GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveQmpWire, varve_qmp_wire_free)
