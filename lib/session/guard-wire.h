/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What worker and guard say to each other, over a SOCK_SEQPACKET pair: one VarveGuardMessage a packet.
 *
 *   guard  ─▶ worker  READY   the guard stands: the session may begin
 *   worker ─▶ guard   BEAT    "the guest is watched; hear from me again within @seconds" (0: nothing is owed,
 *                             as nothing of the session can harm the guest any more)
 *   worker ─▶ guard   ENDED   the session is no more, its record is gone
 *
 * A worker that closes his end without ENDED, or dies, leaves the session to the guard.
 */
#pragma once

#include <stdint.h>

/* Descriptors that the guard inherits. */
#define VARVE_GUARD_SOCKET_FD 3
#define VARVE_GUARD_WORKER_FD 4 /* pidfd of the worker */

typedef enum {
  VARVE_GUARD_READY = 'r',
  VARVE_GUARD_BEAT = 'b',
  VARVE_GUARD_ENDED = 'e'
} VarveGuardKind;

typedef struct {
  uint32_t kind;
  uint32_t seconds;
} VarveGuardMessage;
