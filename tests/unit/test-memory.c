/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ends in memory, and the one that keeps nothing. */
#include "config.h"
#include "block/memory.h"

#include <string.h>

#include "util/error.h"

static void
test_source (void)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autoptr (VarveExtents) got = varve_extents_new ();
  GError *error = NULL;
  char data[] = "0123456789";
  char back[4];

  varve_extents_append (map, 2, 3, VARVE_EXTENT_ZERO);
  varve_extents_append (map, 6, 2, VARVE_EXTENT_CLEAN);
  BlockSource *source = block_memory_source_new (data, 10, map);
  varve_extents_clear (map); /* it has its own copies */
  memset (data, 'x', 10);
  g_assert_true (block_source_read (source, 3, back, 4, &error));
  g_assert_cmpmem (back, 4, "3456", 4);

  g_assert_true (block_source_extents (source, 1, 9, got, &error));
  static const VarveExtent want[] = { { 1, 1, VARVE_EXTENT_DATA },
                                      { 2, 3, VARVE_EXTENT_ZERO },
                                      { 5, 1, VARVE_EXTENT_DATA },
                                      { 6, 2, VARVE_EXTENT_CLEAN },
                                      { 8, 2, VARVE_EXTENT_DATA } };
  g_assert_cmpuint (varve_extents_count (got), ==, G_N_ELEMENTS (want));
  for (size_t i = 0; i < G_N_ELEMENTS (want); i++) {
    g_assert_cmpuint (varve_extents_get (got, i)->offset, ==, want[i].offset);
    g_assert_cmpuint (varve_extents_get (got, i)->length, ==, want[i].length);
    g_assert_cmpint (varve_extents_get (got, i)->state, ==, want[i].state);
  }
  block_source_free (source);
}

static void
test_sink (void)
{
  GError *error = NULL;
  BlockSink *sink = block_memory_sink_new (10, 4, 'f', true);

  g_assert_false (sink->reads_as_zero);
  g_assert_true (sink->has_base);
  g_assert_cmpmem (block_memory_sink_data (sink), 10, "ffffffffff", 10);
  g_assert_true (block_sink_write (sink, 8, "ab", 2, &error));
  g_assert_true (block_sink_zero (sink, 0, 4, &error));
  g_assert_true (block_sink_flush (sink, &error));
  g_assert_cmpmem (block_memory_sink_data (sink), 10, "\0\0\0\0ffffab", 10);
  block_sink_free (sink);

  sink = block_memory_sink_new (0, 1, 0, false);
  g_assert_true (sink->reads_as_zero);
  g_assert_true (block_sink_zero (sink, 0, 0, &error));
  block_sink_free (sink);
}

static void
test_null (void)
{
  GError *error = NULL;
  BlockSink *sink = block_null_sink_new (10);

  g_assert_true (block_sink_write (sink, 8, "ab", 2, &error));
  g_assert_true (block_sink_zero (sink, 0, 8, &error));
  g_assert_true (block_sink_flush (sink, &error));
  g_assert_false (block_sink_write (sink, 9, "ab", 2, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  block_sink_free (sink);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/memory/source", test_source);
  g_test_add_func ("/memory/sink", test_sink);
  g_test_add_func ("/memory/null", test_null);
  return g_test_run ();
}
