/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Two maps as one, byte by byte against both. */
#include "config.h"
#include "block/either.h"

#include "block/memory.h"
#include "copy-fixture.h"

static VarveExtentState
state_at (const VarveExtents *map, uint64_t at)
{
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);

    if (at < extent->offset + extent->length)
      return extent->state;
  }
  g_assert_not_reached ();
}

static void
check (BlockSource *either, const VarveExtents *mine, const VarveExtents *theirs, uint64_t other)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  g_assert_true (block_source_extents (either, 0, either->size, map, &error));
  g_assert_no_error (error);
  for (uint64_t at = 0; at < either->size; at += 512) {
    VarveExtentState a = state_at (mine, at);
    VarveExtentState b = at < other ? state_at (theirs, at) : VARVE_EXTENT_DATA;
    VarveExtentState wanted =
        a != VARVE_EXTENT_CLEAN || b == VARVE_EXTENT_CLEAN ? a : VARVE_EXTENT_DATA;

    g_assert_cmpint (state_at (map, at), ==, wanted);
  }
}

static void
test_random (void)
{
  for (unsigned round = 0; round < 20; round++) {
    uint64_t size = 512 * (uint64_t)g_test_rand_int_range (1, 3000);
    uint64_t other_size = round % 2 ? size : 512 * (uint64_t)g_test_rand_int_range (1, 3000);
    g_autofree uint8_t *content = random_content (size),
                       *other_content = random_content (other_size);
    g_autofree uint8_t *back = g_malloc (size);
    g_autoptr (VarveExtents) mine = random_map (content, size, 4096, true);
    g_autoptr (VarveExtents) theirs = random_map (other_content, other_size, 4096, true);
    g_autoptr (BlockSource) source = block_memory_source_new (content, size, mine);
    g_autoptr (BlockSource) other = block_memory_source_new (other_content, other_size, theirs);
    g_autoptr (BlockSource) either = block_either_source_new (source, other);
    g_autoptr (GError) error = NULL;

    check (either, mine, theirs, other_size);
    g_assert_true (block_source_read (either, 0, back, size, &error));
    g_assert_no_error (error);
    g_assert_cmpmem (back, size, content, size);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/either/random", test_random);
  return g_test_run ();
}
