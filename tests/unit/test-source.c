/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The front doors: what reaches an implementation is aligned, in range and of bounded length; what
 * comes back from it as a map is what was asked for, or an error. */
#include "config.h"
#include "block/source.h"

#include "block/sink.h"
#include "copy-fixture.h"
#include "util/error.h"

static void
test_rounding (void)
{
  for (unsigned round = 0; round < 300; round++) {
    uint64_t size = (uint64_t)g_test_rand_int_range (1, 40000);
    g_autofree uint8_t *content = g_malloc (size);
    for (uint64_t i = 0; i < size; i++)
      content[i] = (uint8_t)(i * 2654435761u >> 11);
    Probe *probe = probe_new ("disk 'vda'", content, size, varve_extents_new (), false);
    probe->source.block_size = 1u << g_test_rand_int_range (0, 13);
    /* As servers have it, and not even a multiple of the block. The probe asserts both. */
    probe->source.max_read = probe->source.block_size + (uint32_t)g_test_rand_int_range (0, 9000);
    uint64_t offset = (uint64_t)g_test_rand_int_range (0, (int32_t)size);
    uint64_t length = (uint64_t)g_test_rand_int_range (0, (int32_t)(size - offset) + 1);
    g_autofree uint8_t *back = g_malloc0 (length + 1);
    GError *error = NULL;

    g_assert_true (block_source_read (&probe->source, offset, back, length, &error));
    g_assert_cmpmem (back, length, content + offset, length);
    g_assert_cmpuint (back[length], ==, 0);
    block_source_free (&probe->source);
  }
}

static void
test_range (void)
{
  Probe *probe = probe_new ("disk 'vda'", (const uint8_t *)"abcd", 4, varve_extents_new (), false);
  g_autoptr (VarveExtents) out = varve_extents_new ();
  uint8_t back[8];
  GError *error = NULL;

  static const uint64_t bad[][2] = { { 0, 5 }, { 4, 1 }, { 5, 0 }, { UINT64_MAX, 2 }, { 3, 2 } };
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_assert_false (block_source_read (&probe->source, bad[i][0], back, bad[i][1], &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
    g_clear_error (&error);
    g_assert_false (block_source_extents (&probe->source, bad[i][0], bad[i][1], out, &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
    g_clear_error (&error);
  }
  g_assert_cmpuint (probe->read_bytes, ==, 0);
  block_source_free (&probe->source);
}

/* What is released is as much as can be of what was asked for, in whole units, and no byte beside it. */
static void
test_release (void)
{
  for (unsigned round = 0; round < 300; round++) {
    uint64_t size = (uint64_t)g_test_rand_int_range (1, 40000);
    g_autofree uint8_t *content = g_malloc0 (size);
    Probe *probe = probe_new ("disk 'vda'", content, size, varve_extents_new (), false);
    uint64_t unit = 1u << g_test_rand_int_range (0, 14);
    uint64_t offset = (uint64_t)g_test_rand_int_range (0, (int32_t)size);
    uint64_t length = (uint64_t)g_test_rand_int_range (0, (int32_t)(size - offset) + 1);

    probe->source.release_unit = (uint32_t)unit;
    probe->released = g_malloc0 (size + 1);
    block_source_release (&probe->source, offset, length);
    for (uint64_t i = 0; i < size; i++) {
      uint64_t start = i / unit * unit;
      bool is_inside = start >= offset && MIN (start + unit, size) <= offset + length;
      g_assert_cmpint (probe->released[i], ==, is_inside);
    }
    block_source_release (&probe->source, offset, size - offset + 1);
    block_source_release (&probe->source, 1, UINT64_MAX);
    block_source_free (&probe->source);
  }
}

/* A source that answers every question for a map with the same words. */
typedef struct {
  BlockSource source;
  VarveExtent answer[3];
} Liar;

static bool
liar_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
              GError **error)
{
  const Liar *self = (const Liar *)source;

  /* Not by varve_extents_append, which keeps order: a list can be wrong in any way. */
  for (size_t i = 0; i < G_N_ELEMENTS (self->answer); i++)
    if (self->answer[i].length > 0 || self->answer[i].offset > 0)
      g_array_append_val (out->items, self->answer[i]);
  return true;
}

static void
liar_free (BlockSource *source)
{
}

static void
test_lies (void)
{
  static const BlockSourceOps ops = { .name = "liar", .extents = liar_extents, .free = liar_free };
  static const struct {
    bool good;
    VarveExtent answer[3];
  } cases[] = {
    { true, { { 100, 50, VARVE_EXTENT_DATA }, { 150, 50, VARVE_EXTENT_ZERO } } },
    { true, { { 100, 100, VARVE_EXTENT_CLEAN } } },
    { false, { { 0, 0, VARVE_EXTENT_DATA } } },            /* nothing */
    { false, { { 100, 50, VARVE_EXTENT_DATA } } },         /* too short */
    { false, { { 100, 101, VARVE_EXTENT_DATA } } },        /* too long */
    { false, { { 100, UINT64_MAX, VARVE_EXTENT_DATA } } }, /* wraps */
    { false, { { 100, UINT64_MAX - 99, VARVE_EXTENT_DATA }, { 0, 200, VARVE_EXTENT_ZERO } } },
    { false, { { 100, 100, VARVE_EXTENT_DATA }, { 200, 1, VARVE_EXTENT_ZERO } } }, /* one more */
    { false, { { 99, 101, VARVE_EXTENT_DATA } } },                                 /* too early */
    { false, { { 101, 99, VARVE_EXTENT_DATA } } },                                 /* too late */
    { false, { { 100, 50, VARVE_EXTENT_DATA }, { 151, 49, VARVE_EXTENT_ZERO } } }, /* gap */
    { false, { { 100, 60, VARVE_EXTENT_DATA }, { 150, 50, VARVE_EXTENT_ZERO } } }, /* overlap */
    { false, { { 150, 50, VARVE_EXTENT_DATA }, { 100, 50, VARVE_EXTENT_ZERO } } }, /* order */
    { false, { { 100, 50, VARVE_EXTENT_DATA }, { 150, 0, VARVE_EXTENT_ZERO } } },  /* empty one */
    { false, { { 100, 100, (VarveExtentState)7 } } },                              /* what? */
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    Liar liar = { .source = { .ops = &ops, .size = 1000, .block_size = 1 } };
    g_autoptr (VarveExtents) out = varve_extents_new ();
    g_autoptr (GError) error = NULL;

    liar.source.label = g_strdup ("disk 'vda'");
    memcpy (liar.answer, cases[i].answer, sizeof liar.answer);
    varve_extents_append (out, 0, 100, VARVE_EXTENT_DATA); /* from an earlier call */
    bool good = block_source_extents (&liar.source, 100, 100, out, &error);
    if (good != cases[i].good)
      g_error ("case %zu was %s", i, good ? "accepted" : "refused");
    if (!good) {
      g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_PROTOCOL);
      g_assert_nonnull (strstr (error->message, "disk 'vda'"));
      g_assert_cmpuint (varve_extents_count (out), ==, 1);
    }
    block_source_free (&liar.source);
  }
}

static void
test_no_map (void)
{
  static const BlockSourceOps ops = { .name = "mapless", .free = liar_free };
  BlockSource source = { .ops = &ops, .size = 1000, .block_size = 1 };
  g_autoptr (VarveExtents) out = varve_extents_new ();
  GError *error = NULL;

  g_assert_true (block_source_extents (&source, 10, 500, out, &error));
  g_assert_cmpuint (varve_extents_bytes (out, VARVE_EXTENT_DATA), ==, 500);
  block_source_interrupt (&source); /* has none: nothing to do */
}

static void
test_sink (void)
{
  Trace *trace = trace_new (1000, 64, false, false);
  uint8_t bytes[1000] = { 0 };
  GError *error = NULL;

  static const uint64_t bad[][2] = { { 1, 63 },   { 0, 63 },   { 64, 65 },         { 960, 41 },
                                     { 1000, 1 }, { 1024, 0 }, { UINT64_MAX, 64 }, { 32, 968 } };
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_assert_false (block_sink_write (&trace->sink, bad[i][0], bytes, bad[i][1], &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
    g_clear_error (&error);
    g_assert_false (block_sink_zero (&trace->sink, bad[i][0], bad[i][1], &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
    g_clear_error (&error);
  }
  for (size_t i = 0; i < 1000; i++)
    g_assert_cmpuint (trace->reach[i], ==, REACH_NONE);
  g_assert_true (block_sink_write (&trace->sink, 960, bytes, 40, &error));
  g_assert_true (block_sink_zero (&trace->sink, 0, 64, &error));
  g_assert_true (block_sink_zero (&trace->sink, 128, 0, &error));
  g_assert_cmpuint (trace->reach[999], ==, REACH_DATA);
  g_assert_cmpuint (trace->reach[63], ==, REACH_ZERO);
  block_sink_free (&trace->sink);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/source/rounding", test_rounding);
  g_test_add_func ("/source/range", test_range);
  g_test_add_func ("/source/release", test_release);
  g_test_add_func ("/source/lies", test_lies);
  g_test_add_func ("/source/no-map", test_no_map);
  g_test_add_func ("/source/sink", test_sink);
  return g_test_run ();
}
