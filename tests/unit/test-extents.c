/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Lists of extents, against a map of single bytes as the model. */
#include "config.h"
#include "util/extents.h"

#include <string.h>

#define GAP (-1)

static void
assert_extent (const VarveExtents *extents, size_t i, uint64_t offset, uint64_t length,
               VarveExtentState state)
{
  const VarveExtent *extent = varve_extents_get (extents, i);

  g_assert_cmpuint (extent->offset, ==, offset);
  g_assert_cmpuint (extent->length, ==, length);
  g_assert_cmpint (extent->state, ==, state);
}

static void
test_coalesce (void)
{
  g_autoptr (VarveExtents) extents = varve_extents_new ();

  varve_extents_append (extents, 0, 10, VARVE_EXTENT_DATA);
  varve_extents_append (extents, 10, 5, VARVE_EXTENT_DATA);
  varve_extents_append (extents, 15, 0, VARVE_EXTENT_ZERO);
  varve_extents_append (extents, 15, 5, VARVE_EXTENT_ZERO);
  varve_extents_append (extents, 30, 1, VARVE_EXTENT_ZERO);
  g_assert_cmpuint (varve_extents_count (extents), ==, 3);
  assert_extent (extents, 0, 0, 15, VARVE_EXTENT_DATA);
  assert_extent (extents, 1, 15, 5, VARVE_EXTENT_ZERO);
  assert_extent (extents, 2, 30, 1, VARVE_EXTENT_ZERO);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_DATA), ==, 15);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), ==, 6);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_CLEAN), ==, 0);

  varve_extents_clear (extents);
  g_assert_cmpuint (varve_extents_count (extents), ==, 0);
  varve_extents_append (extents, 0, 1, VARVE_EXTENT_CLEAN);
  assert_extent (extents, 0, 0, 1, VARVE_EXTENT_CLEAN);
}

static void
test_up_to_the_end (void)
{
  g_autoptr (VarveExtents) extents = varve_extents_new ();

  varve_extents_append (extents, 0, UINT64_MAX - 1, VARVE_EXTENT_ZERO);
  varve_extents_append (extents, UINT64_MAX - 1, 1, VARVE_EXTENT_ZERO);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), ==, UINT64_MAX);
}

static void
provoke_critical (const char *which)
{
  g_autoptr (VarveExtents) extents = varve_extents_new ();

  varve_extents_append (extents, 10, 10, VARVE_EXTENT_DATA);
  if (g_str_equal (which, "back"))
    varve_extents_append (extents, 19, 5, VARVE_EXTENT_DATA);
  else
    varve_extents_append (extents, 20, UINT64_MAX, VARVE_EXTENT_DATA);
}

static void
test_programming_errors (gconstpointer which)
{
  if (g_test_subprocess ()) {
    provoke_critical (which);
    return;
  }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*varve_extents_append*assertion*");
}

/* Appends random extents and marks the same in @map; returns after @size bytes are passed. */
static void
fill_random (VarveExtents *extents, int8_t *map, uint64_t size)
{
  for (uint64_t at = 0; at < size;) {
    uint64_t drawn = (uint64_t)g_test_rand_int_range (0, 9);
    uint64_t length = MIN (drawn, size - at);
    int state = g_test_rand_int_range (GAP, VARVE_EXTENT_CLEAN + 1);

    if (state != GAP)
      varve_extents_append (extents, at, length, (VarveExtentState)state);
    memset (map + at, state, length);
    at += length;
  }
}

static void
test_against_model (void)
{
  for (int round = 0; round < 300; round++) {
    int8_t map[256];
    g_autoptr (VarveExtents) extents = varve_extents_new ();
    uint64_t at = 0;

    fill_random (extents, map, sizeof map);
    for (size_t i = 0; i < varve_extents_count (extents); i++) {
      const VarveExtent *extent = varve_extents_get (extents, i);
      for (; at < extent->offset; at++)
        g_assert_cmpint (map[at], ==, GAP);
      for (; at < extent->offset + extent->length; at++)
        g_assert_cmpint (map[at], ==, (int)extent->state);
      /* Coalesced: what follows differs. */
      if (at < sizeof map)
        g_assert_cmpint (map[at], !=, (int)extent->state);
    }
    for (; at < sizeof map; at++)
      g_assert_cmpint (map[at], ==, GAP);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/extents/coalesce", test_coalesce);
  g_test_add_func ("/extents/end", test_up_to_the_end);
  g_test_add_data_func ("/extents/error/back", "back", test_programming_errors);
  g_test_add_data_func ("/extents/error/overflow", "overflow", test_programming_errors);
  g_test_add_func ("/extents/model", test_against_model);
  return g_test_run ();
}
