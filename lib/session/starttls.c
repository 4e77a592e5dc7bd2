/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/starttls.h"

#include <string.h>

#define NBD_MAGIC   UINT64_C (0x4e42444d41474943) /* "NBDMAGIC" */
#define OPT_MAGIC   UINT64_C (0x49484156454f5054) /* "IHAVEOPT" */
#define REPLY_MAGIC UINT64_C (0x0003e889045565a9)

/* Handshake flags of both sides have the same bits. */
#define FLAG_FIXED_NEWSTYLE 1u
#define FLAG_NO_ZEROES      2u
#define FLAGS               (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)

#define OPT_EXPORT_NAME 1u
#define OPT_ABORT       2u
#define OPT_STARTTLS    5u

#define REP_ACK              1u
#define REP_ERR_INVALID      0x80000003u
#define REP_ERR_TLS_REQUIRED 0x80000005u

#define FLAGS_SIZE  4u
#define OPTION_SIZE 16u
/* An honest client asks for TLS first, or after an option or two. */
#define MAX_OPTIONS 16u
#define MAX_DATA    4096u

static void
append (GByteArray *out, uint64_t value, size_t size)
{
  uint64_t big = GUINT64_TO_BE (value);

  g_byte_array_append (out, (const guint8 *)&big + (sizeof big - size), (guint)size);
}

static uint64_t
get (const uint8_t *bytes, size_t size)
{
  uint64_t value = 0;

  for (size_t i = 0; i < size; i++)
    value = value << 8 | bytes[i];
  return value;
}

void
varve_starttls_init (VarveStarttls *self, GByteArray *out)
{
  *self = (VarveStarttls){ .want = FLAGS_SIZE };
  append (out, NBD_MAGIC, 8);
  append (out, OPT_MAGIC, 8);
  append (out, FLAGS, 2);
}

static void
answer (GByteArray *out, uint32_t option, uint32_t type)
{
  append (out, REPLY_MAGIC, 8);
  append (out, option, 4);
  append (out, type, 4);
  append (out, 0, 4);
}

static VarveStarttlsState
take_flags (VarveStarttls *self)
{
  self->flags = (uint32_t)get (self->head, FLAGS_SIZE);
  self->flags_known = true;
  self->have = 0;
  self->want = OPTION_SIZE;
  /* An old client has no options, and so no TLS. */
  return self->flags & FLAG_FIXED_NEWSTYLE && !(self->flags & ~FLAGS) ? VARVE_STARTTLS_GOES_ON
                                                                      : VARVE_STARTTLS_REFUSED;
}

static VarveStarttlsState
take_option (VarveStarttls *self, GByteArray *out)
{
  uint32_t option = (uint32_t)get (self->head + 8, 4);
  uint32_t length = (uint32_t)get (self->head + 12, 4);

  self->have = 0;
  if (get (self->head, 8) != OPT_MAGIC || length > MAX_DATA || ++self->options > MAX_OPTIONS)
    return VARVE_STARTTLS_REFUSED;
  self->to_skip = length;
  switch (option) {
  case OPT_STARTTLS:
    answer (out, option, length == 0 ? REP_ACK : REP_ERR_INVALID);
    return length == 0 ? VARVE_STARTTLS_READY : VARVE_STARTTLS_GOES_ON;
  case OPT_ABORT:
    answer (out, option, REP_ACK);
    return VARVE_STARTTLS_REFUSED;
  case OPT_EXPORT_NAME: /* which has no answer that says no */
    return VARVE_STARTTLS_REFUSED;
  default:
    answer (out, option, REP_ERR_TLS_REQUIRED);
    return VARVE_STARTTLS_GOES_ON;
  }
}

VarveStarttlsState
varve_starttls_feed (VarveStarttls *self, const uint8_t *data, size_t length, GByteArray *out)
{
  while (length > 0 && self->state == VARVE_STARTTLS_GOES_ON) {
    size_t part = self->to_skip > 0 ? self->to_skip : self->want - self->have;

    part = MIN (part, length);
    if (self->to_skip > 0) {
      self->to_skip -= (uint32_t)part;
    } else {
      memcpy (self->head + self->have, data, part);
      self->have += part;
      if (self->have == self->want)
        self->state = self->flags_known ? take_option (self, out) : take_flags (self);
    }
    data += part;
    length -= part;
  }
  if (length > 0 && self->state == VARVE_STARTTLS_READY)
    self->state = VARVE_STARTTLS_REFUSED;
  return self->state;
}

bool
varve_starttls_suits (const uint8_t greeting[VARVE_NBD_GREETING_SIZE], uint32_t flags)
{
  return get (greeting, 8) == NBD_MAGIC && get (greeting + 8, 8) == OPT_MAGIC &&
         ((uint32_t)get (greeting + 16, 2) & flags) == flags;
}
