/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Is it all zeros? memcmp of the buffer with itself, moved by a few bytes: libc has the vector
 * code, and data that is not zero mostly shows it in the first bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool
block_is_zero (const void *buffer, size_t length)
{
  const uint8_t *bytes = buffer;
  const size_t head = 16;

  for (size_t i = 0; i < head && i < length; i++)
    if (bytes[i] != 0)
      return false;
  return length <= head || memcmp (bytes, bytes + head, length - head) == 0;
}
