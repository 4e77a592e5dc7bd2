/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Arithmetic on values that come from outside: each says whether the result fits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline bool
varve_add (uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_add_overflow (a, b, out);
}

static inline bool
varve_sub (uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_sub_overflow (a, b, out);
}

static inline bool
varve_mul (uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_mul_overflow (a, b, out);
}

static inline bool
varve_is_power_of_two (uint64_t n)
{
  return n != 0 && (n & (n - 1)) == 0;
}

/* @align is a power of two. */
static inline uint64_t
varve_round_down (uint64_t n, uint64_t align)
{
  return n & ~(align - 1);
}

/* @align is a power of two; n ≤ UINT64_MAX - align. Sizes of disks are below 2^63, so this holds.
 */
static inline uint64_t
varve_round_up (uint64_t n, uint64_t align)
{
  return (n + align - 1) & ~(align - 1);
}
