/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What an NBD client and a server that demands TLS say to each other in clear text: the beginning of the fixed
 * newstyle handshake, up to STARTTLS. Bytes in, bytes out, nothing else; the bytes in come from anybody.
 *
 *   server  "NBDMAGIC" "IHAVEOPT" flags(16)
 *   client  flags(32)
 *   client  "IHAVEOPT" option(32) length(32) data …     STARTTLS: acknowledged, and TLS begins
 *   server  magic(64) option(32) type(32) length(32) data
 *
 * Any other option is answered with "TLS is required"; what a client gives away by it is its own choice.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>

#define VARVE_NBD_GREETING_SIZE 18u

typedef enum {
  VARVE_STARTTLS_GOES_ON,
  VARVE_STARTTLS_READY,   /* when what is to be sent has been sent, TLS begins */
  VARVE_STARTTLS_REFUSED, /* … the connection is closed */
} VarveStarttlsState;

typedef struct {
  VarveStarttlsState state;
  uint8_t head[16]; /* of what is being received */
  size_t have, want;
  uint32_t to_skip; /* data of an option that nobody reads */
  unsigned options;
  bool flags_known;
  uint32_t flags; /* of the client */
} VarveStarttls;

/* Appends the greeting to @out. */
void varve_starttls_init (VarveStarttls *self, GByteArray *out);
/* Takes @data; appends what is to be answered. Data behind a STARTTLS that was not sent under TLS is refused. */
VarveStarttlsState varve_starttls_feed (VarveStarttls *self, const uint8_t *data, size_t length,
                                        GByteArray *out);

/* Whether @greeting is that of a server which understands the client that was admitted with @flags. */
bool varve_starttls_suits (const uint8_t greeting[VARVE_NBD_GREETING_SIZE], uint32_t flags);
