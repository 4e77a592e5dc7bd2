/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The relay between readers that are not varve and QEMU's NBD server.
 *
 *   reader ◀──▶ published socket ─ relay ─ QEMU's private UNIX socket ◀──▶ QEMU
 *
 * A reader of this kind may hang, be stopped or be killed at any moment. On a socket of QEMU's own it could then
 * hold up the removal of its export, and with that QEMU's main loop and the guest. So it never has one: each of its
 * connections ends here, and has a partner to QEMU that is ours to close. What is under way is kept in
 * buffers of bounded size: a reader that does not read holds up its own connection only. What QEMU has been asked for is taken
 * from it all the same, as it waits for that when it drains a disk (a pause, a reset of the guest). The more readers
 * there are, the less may wait for each.
 *
 * - When the relay stops, QEMU's side of every connection is closed first, the reader's after it.
 * - When a reader goes, QEMU is told so by an end of its requests; what it still has to say is read, and thrown
 *   away, until it closes: it never writes to somebody who has gone.
 * - Where there is a proof, no byte from QEMU is passed on before the proof has been given behind its arrival. So what a
 *   reader gets was read from a snapshot that was whole at that time, and once a snapshot has broken no more of
 *   it gets out.
 */
#pragma once

#include "session/listener.h"
#include "session/tls.h"

typedef struct VarveRelay VarveRelay;

/* Whether what came from QEMU until now was read from a whole snapshot. Called in a thread of its own, some thousand
 * times a second when much is read; the relay goes on taking what QEMU says meanwhile. */
typedef bool (*VarveRelayProofFunc) (gpointer data, GError **error);

typedef struct {
  VarveListener *listener;           /* owned by the relay, also when it does not start, */
  VarveTls *tls;                     /* and so is this; NULL: clear text */
  const char *server;                /* path of QEMU's socket */
  size_t memory;                     /* for answers that wait for all readers; 0: 512 MiB */
  VarveRelayProofFunc proof;         /* may be NULL */
  void (*interrupt) (gpointer data); /* makes a proof that waits end at once; any thread */
  gpointer proof_data;
} VarveRelayOptions;

VarveRelay *varve_relay_start (const VarveRelayOptions *options, GError **error);

/* False, with the reason, once a proof has failed: all connections are closed then, and none is taken any more. */
bool varve_relay_check (VarveRelay *relay, GError **error);

/* Closes all of it. Idempotent; any thread. Takes no longer than an interrupted proof does. */
void varve_relay_stop (VarveRelay *relay);
void varve_relay_free (VarveRelay *relay);

/* Readers that are connected now. */
unsigned varve_relay_readers (VarveRelay *relay);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRelay, varve_relay_free)
