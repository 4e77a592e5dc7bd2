/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Arithmetic on untrusted values, at the edges. */
#include "config.h"
#include "util/checked.h"

#include <glib.h>

static void
test_fits (void)
{
  uint64_t out;

  g_assert_true (varve_add (UINT64_MAX - 1, 1, &out));
  g_assert_cmpuint (out, ==, UINT64_MAX);
  g_assert_false (varve_add (UINT64_MAX, 1, &out));
  g_assert_true (varve_sub (5, 5, &out));
  g_assert_cmpuint (out, ==, 0);
  g_assert_false (varve_sub (5, 6, &out));
  g_assert_true (varve_mul (UINT64_C (1) << 32, (UINT64_C (1) << 32) - 1, &out));
  g_assert_cmpuint (out, ==, UINT64_MAX - UINT32_MAX);
  g_assert_false (varve_mul (UINT64_C (1) << 32, UINT64_C (1) << 32, &out));
}

static void
test_power_of_two (void)
{
  g_assert_false (varve_is_power_of_two (0));
  g_assert_true (varve_is_power_of_two (1));
  g_assert_false (varve_is_power_of_two (65537));
  g_assert_true (varve_is_power_of_two (65536));
  g_assert_true (varve_is_power_of_two (UINT64_C (1) << 63));
  g_assert_false (varve_is_power_of_two (UINT64_MAX));
}

static void
test_round (void)
{
  g_assert_cmpuint (varve_round_down (0, 512), ==, 0);
  g_assert_cmpuint (varve_round_down (511, 512), ==, 0);
  g_assert_cmpuint (varve_round_down (512, 512), ==, 512);
  g_assert_cmpuint (varve_round_up (0, 512), ==, 0);
  g_assert_cmpuint (varve_round_up (1, 512), ==, 512);
  g_assert_cmpuint (varve_round_up (512, 512), ==, 512);
  g_assert_cmpuint (varve_round_up (UINT64_MAX - 512, 512), ==, UINT64_MAX - 511);
  g_assert_cmpuint (varve_round_up (7, 1), ==, 7);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/checked/fits", test_fits);
  g_test_add_func ("/checked/power-of-two", test_power_of_two);
  g_test_add_func ("/checked/round", test_round);
  return g_test_run ();
}
