/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A QMP client on one UNIX socket: synchronous, used by one thread at a time.
 *
 * A QMP socket of QEMU serves one client: a second connects, and gets no greeting until the first
 * has gone. So the greeting has a time-out, with its own message (VARVE_ERROR_BUSY). Events that
 * arrive while a reply is awaited are queued, at most VARVE_QMP_MAX_EVENTS, oldest dropped first.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>

#define VARVE_QMP_MAX_EVENTS 1024

typedef struct VarveQmp VarveQmp;

/* No such socket, or nobody behind it: VARVE_ERROR_SOURCE_UNREACHABLE. @timeout_s for connect and
 * greeting; 0: 5 s. */
VarveQmp *varve_qmp_connect (const char *path, unsigned timeout_s, GCancellable *cancellable,
                             GError **error);
/* The same over a connected @socket (transfer full). @name stands for its path in messages. */
VarveQmp *varve_qmp_connect_socket (GSocket *socket, const char *name, unsigned timeout_s,
                                    GCancellable *cancellable, GError **error);
void varve_qmp_free (VarveQmp *qmp);

/* The longest that a reply may take (0: 30 s). After a time-out the connection is of no more use
 * and every later call fails. */
void varve_qmp_set_timeout (VarveQmp *qmp, unsigned seconds);

/* Runs @command. @arguments (transfer full, may be NULL) is an object. Returns the "return" member
 * (transfer full; NULL only on error). QEMU's own error is VARVE_ERROR_HYPERVISOR, its text names
 * the command, QEMU's class and its words. A connection that broke is
 * VARVE_ERROR_SOURCE_UNREACHABLE. A cancelled call may have taken effect all the same; the
 * connection stays good, also to undo what it may have done. */
JsonNode *varve_qmp_execute (VarveQmp *qmp, const char *command, JsonObject *arguments,
                             GCancellable *cancellable, GError **error);

/* As above when the reply does not matter. */
bool varve_qmp_run (VarveQmp *qmp, const char *command, JsonObject *arguments,
                    GCancellable *cancellable, GError **error);

/* As above, of a command that returns an array; any other answer is VARVE_ERROR_HYPERVISOR. (transfer full) */
JsonArray *varve_qmp_execute_list (VarveQmp *qmp, const char *command, JsonObject *arguments,
                                   GCancellable *cancellable, GError **error);

/* Arguments from a literal with ' for " and %-escapes that are JSON-quoted: %s string, %"
 * G_GINT64_FORMAT style is not needed: %d int, %u unsigned, %llu uint64, %b bool, %o JsonObject*
 * (transfer full), %a JsonArray* (transfer full). E.g. varve_qmp_args
 * ("{'node':%s,'granularity':%u}", node, 65536u). A malformed literal is a programming error and
 * aborts in tests. */
JsonObject *varve_qmp_args (const char *format, ...);

/* An error that QEMU answered with: its class, else NULL ("GenericError", "CommandNotFound" …). */
const char *varve_qmp_error_class (const GError *error);

/* Takes the oldest queued event for which @match is true (NULL: any), waiting up to @timeout_ms for
 * it. The event's data is NULL to @match where it has none. Returns the whole event object
 * (transfer full) or NULL with no error when time ran out. */
typedef bool (*VarveQmpMatch) (const char *event, JsonObject *data, gpointer user_data);
JsonObject *varve_qmp_wait_event (VarveQmp *qmp, VarveQmpMatch match, gpointer user_data,
                                  unsigned timeout_ms, GCancellable *cancellable, GError **error);

/* Forgets the queued events. */
void varve_qmp_forget_events (VarveQmp *qmp);

/* MAJOR * 10000 + MINOR * 100 + MICRO, from the greeting. */
unsigned varve_qmp_version (const VarveQmp *qmp);

/* The process that listens, as it was when it began to. *@out_pid is 0 where it is in a process
 * name space that is not seen from here. */
bool varve_qmp_peer (const VarveQmp *qmp, pid_t *out_pid, uid_t *out_uid, gid_t *out_gid,
                     GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveQmp, varve_qmp_free)
