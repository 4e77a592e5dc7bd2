/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Numbers in files, at any address: big-endian in qcow2, little-endian in what is varve's own. */
#pragma once

#include <stdint.h>
#include <string.h>
#include <glib.h>

static inline uint32_t
varve_get_be32 (const uint8_t *from)
{
  uint32_t value;

  memcpy (&value, from, sizeof value);
  return GUINT32_FROM_BE (value);
}

static inline uint64_t
varve_get_be64 (const uint8_t *from)
{
  uint64_t value;

  memcpy (&value, from, sizeof value);
  return GUINT64_FROM_BE (value);
}

static inline uint32_t
varve_get_le32 (const uint8_t *from)
{
  return GUINT32_SWAP_LE_BE (varve_get_be32 (from));
}

static inline uint64_t
varve_get_le64 (const uint8_t *from)
{
  return GUINT64_SWAP_LE_BE (varve_get_be64 (from));
}

static inline void
varve_put_be32 (uint8_t *to, uint32_t value)
{
  value = GUINT32_TO_BE (value);
  memcpy (to, &value, sizeof value);
}

static inline void
varve_put_be64 (uint8_t *to, uint64_t value)
{
  value = GUINT64_TO_BE (value);
  memcpy (to, &value, sizeof value);
}

static inline void
varve_put_le32 (uint8_t *to, uint32_t value)
{
  varve_put_be32 (to, GUINT32_SWAP_LE_BE (value));
}

static inline void
varve_put_le64 (uint8_t *to, uint64_t value)
{
  varve_put_be64 (to, GUINT64_SWAP_LE_BE (value));
}
