/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One reader of a relay and its partner to QEMU. Never blocks; driven by the relay's thread:
 *
 *   (admission ─▶) prepare ─▶ poll ─▶ receive ─▶ ask … prove ─▶ send ─▶ finished?
 *
 * Where readers must use TLS, QEMU is connected to when one has been admitted; QEMU is told what he said in his
 * part of the handshake, and its own part, which he has had from us, is held back.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "session/tls.h"

typedef struct VarveRelayConnection VarveRelayConnection;

/* Owns @reader, a socket that does not block. @tls NULL: clear text. Both others outlive it. */
VarveRelayConnection *varve_relay_connection_new (int reader, const char *server, VarveTls *tls);

/* What is waited for: @fds[0] is of the reader, @fds[1] of QEMU. True: not at all, there is something to do now. About
 * @share bytes of answers may wait for the reader, within bounds. */
bool varve_relay_connection_prepare (VarveRelayConnection *connection, size_t share,
                                     struct pollfd fds[2]);
/* Takes what there is. *@out_fresh becomes true where something came from QEMU; else it is left alone. */
void varve_relay_connection_receive (VarveRelayConnection *connection, const struct pollfd fds[2],
                                     bool *out_fresh);
/* A proof is begun for all that has come from QEMU until now. */
void varve_relay_connection_ask (VarveRelayConnection *connection);
/* It was given: that may be passed on. */
void varve_relay_connection_prove (VarveRelayConnection *connection);
void varve_relay_connection_send (VarveRelayConnection *connection);
/* So much waits for the reader that it is dropped if that goes on. */
bool varve_relay_connection_is_full (const VarveRelayConnection *connection);
/* It waits for somebody who has not proved himself. */
bool varve_relay_connection_is_admitting (const VarveRelayConnection *connection);
/* Neither side has anything to say to the other any more. */
bool varve_relay_connection_finished (const VarveRelayConnection *connection);

/* QEMU's side; nothing is sent or received behind it. */
void varve_relay_connection_close_server (VarveRelayConnection *connection);
void varve_relay_connection_free (VarveRelayConnection *connection);
