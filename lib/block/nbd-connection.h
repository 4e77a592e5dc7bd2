/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One connection to an NBD server.
 *
 *   any thread ── submit ──▶ queue ──▶ I/O thread ──▶ libnbd (at most BLOCK_NBD_DEPTH commands)
 *        ▲                                 │
 *        └────────── wait (own condition) ─┘
 *
 * Invariants:
 * - Once it is open, the I/O thread alone calls libnbd: so its errors are its thread's, and nothing
 *   is called from inside a callback on the same handle.
 * - A request, its buffer included, must stay until wait has returned. Wait returns only when
 *   libnbd is done with it: the command was retired, or the handle closed.
 * - A connection ends once, for one reason: the server closed it, broke the protocol, did not
 *   answer in time, or block_nbd_connection_interrupt. All requests, also later ones, then fail
 * with it.
 * - The socket is drained as long as the connection lives, whether anybody waits or not: a QEMU
 *   that cannot send to its client can hang with its guest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gio/gio.h>

#define BLOCK_NBD_DEPTH 16u /* QEMU works on no more requests of one connection at once */

typedef struct BlockNbdConnection BlockNbdConnection;

typedef struct {
  const char *uri;
  const char *label;        /* for messages: "disk 'vda' at nbd+unix://…" */
  const char *contexts[2];  /* asked for; NULL: none */
  bool target;              /* errors are those of a store, not of a source */
  unsigned connect_timeout; /* seconds */
  unsigned stall_timeout;   /* seconds */
} BlockNbdConnect;

/* What the server said when the connection was opened. */
typedef struct {
  uint64_t size;
  uint32_t block_size;   /* power of two */
  uint32_t max_transfer; /* multiple of block_size */
  bool multi_conn;
  bool read_only;
  bool can_flush;
  bool can_zero;
  bool can_trim;
  bool granted[2]; /* of the contexts asked for */
} BlockNbdExport;

typedef enum {
  BLOCK_NBD_READ,
  BLOCK_NBD_WRITE,
  BLOCK_NBD_ZERO,
  BLOCK_NBD_TRIM,
  BLOCK_NBD_FLUSH,
  BLOCK_NBD_STATUS,
} BlockNbdCommand;

typedef struct BlockNbdRequest BlockNbdRequest;

/* In the I/O thread, while the caller waits: the extents of one context from the request's offset
 * on,
 * @count pairs of length and flags, checked by nobody. False fails the request with EPROTO. */
typedef bool (*BlockNbdStatusFunc) (BlockNbdRequest *request, const char *context,
                                    const uint32_t *entries, size_t count);

struct BlockNbdRequest {
  BlockNbdCommand command;
  uint64_t offset;
  uint64_t length;
  void *buffer;              /* read, write; not changed by a write */
  BlockNbdStatusFunc status; /* status */

  /* Valid behind wait. */
  int errnum;    /* the server's answer; 0: done */
  bool aborted;  /* the connection ended first */
  char *refusal; /* libnbd did not even send it, and says why; wait frees it */

  /* The connection's own. */
  bool done;
  int64_t cookie;
  BlockNbdConnection *connection;
  GCond cond;
};

BlockNbdConnection *block_nbd_connection_open (const BlockNbdConnect *options,
                                               GCancellable *cancellable, GError **error);
const BlockNbdExport *block_nbd_connection_export (const BlockNbdConnection *connection);
/* Requests that are queued or under way. */
unsigned block_nbd_connection_load (BlockNbdConnection *connection);

void block_nbd_connection_submit (BlockNbdConnection *connection, BlockNbdRequest *request);
/* False with an error made of errnum, aborted or refusal. Once for each submit. */
bool block_nbd_connection_wait (BlockNbdConnection *connection, BlockNbdRequest *request,
                                GError **error);

/* Any thread, any number of times; does not wait. */
void block_nbd_connection_interrupt (BlockNbdConnection *connection);
/* No request may be under way. */
void block_nbd_connection_free (BlockNbdConnection *connection);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockNbdConnection, block_nbd_connection_free)
