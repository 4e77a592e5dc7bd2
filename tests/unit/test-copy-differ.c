/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The copy engine with a base: what is the same is dropped, and thin areas are not read on either
 * side. */
#include "config.h"

#include "copy-fixture.h"
#include "effort.h"
#include "util/error.h"

#define MIB (1ull << 20)

/* The disk as it was: @content with some patches changed, and shorter, longer or as long. */
static uint8_t *
random_past (const uint8_t *content, uint64_t size, uint64_t *out_size)
{
  int32_t by = g_test_rand_int_range (0, 300000);
  uint8_t *past;

  switch (g_test_rand_int_range (0, 3)) {
  case 0:
    *out_size = size;
    break;
  case 1:
    *out_size = size - MIN (size, (uint64_t)by);
    break;
  default:
    *out_size = size + (uint64_t)by;
    break;
  }
  past = g_malloc0 (MAX (size, *out_size) + 1);
  memcpy (past, content, size);
  for (uint64_t at = 0, length; at < *out_size; at += length) {
    length = (uint64_t)g_test_rand_int_range (1, 150000);
    length = MIN (length, *out_size - at);
    int32_t change = g_test_rand_int_range (0, 6);
    if (change < 2)
      memset (past + at, change == 0 ? 0 : 200, length);
  }
  return past;
}

/* A map without clean extents that calls zero only what is; not all of it. */
static VarveExtents *
map_of_base (uint8_t *past, uint64_t size)
{
  VarveExtents *map = varve_extents_new ();

  for (uint64_t at = 0, length; at < size; at += length) {
    length = 4096u * (uint64_t)g_test_rand_int_range (1, 17);
    length = MIN (length, size - at);
    bool thin = g_test_rand_int_range (0, 8) != 0 && model_is_zero (past + at, length);
    varve_extents_append (map, at, length, thin ? VARVE_EXTENT_ZERO : VARVE_EXTENT_DATA);
  }
  return map;
}

static void
test_random (void)
{
  static const uint64_t grains[] = { 1, 512, 4096, 65536 };
  static const uint32_t alignments[] = { 1, 512, 4096, 65536, 262144 };

  for (unsigned round = 0; round < rounds_of (80); round++) {
    uint64_t grain = grains[g_test_rand_int_range (0, G_N_ELEMENTS (grains))];
    uint32_t align = alignments[g_test_rand_int_range (0, G_N_ELEMENTS (alignments))];
    uint64_t size = (uint64_t)g_test_rand_int_range (1, 3000000);
    uint64_t past_size;
    g_autofree uint8_t *content = random_content (size);
    VarveExtents *map = random_map (content, size, grain, g_test_rand_bit ());
    g_autofree uint8_t *past = random_past (content, size, &past_size);
    bool aligned = grain % 4096 == 0 && (align == 1 || align >= 4096);
    bool poison_base =
        aligned && past_size <= size; /* else the end of the disk cuts a hole short */
    Probe *source = probe_new ("disk 'vda'", content, size, map, aligned);
    Probe *base = probe_new ("base", past, past_size, map_of_base (past, past_size), poison_base);
    Trace *trace = trace_new (size, align, g_test_rand_bit (), g_test_rand_bit ());

    g_test_message ("round %u: size %" G_GUINT64_FORMAT ", base %" G_GUINT64_FORMAT
                    ", grain %" G_GUINT64_FORMAT ", alignment %u, zero %d, base %d",
                    round, size, past_size, grain, align, trace->sink.reads_as_zero,
                    trace->sink.has_base);
    base->slow = round % 4 == 0;
    copy_and_compare (source, trace, base, content, past);
    block_source_free (&source->source);
    block_source_free (&base->source);
    block_sink_free (&trace->sink);
  }
}

typedef struct {
  VarveExtentState source, base;
  uint8_t content, past; /* what all bytes are */
  uint64_t reads, base_reads;
  Reach reach;
} Case;

/* Who is read, and what is passed on, for each pair of states. */
static void
test_thin (void)
{
  static const Case cases[] = {
    { VARVE_EXTENT_ZERO, VARVE_EXTENT_ZERO, 0, 0, 0, 0, REACH_NONE },
    { VARVE_EXTENT_ZERO, VARVE_EXTENT_DATA, 0, 0, 0, 4 * MIB, REACH_NONE },
    { VARVE_EXTENT_ZERO, VARVE_EXTENT_DATA, 0, 1, 0, 4 * MIB, REACH_ZERO },
    { VARVE_EXTENT_DATA, VARVE_EXTENT_ZERO, 0, 0, 4 * MIB, 0, REACH_NONE },
    { VARVE_EXTENT_DATA, VARVE_EXTENT_ZERO, 1, 0, 4 * MIB, 0, REACH_DATA },
    { VARVE_EXTENT_DATA, VARVE_EXTENT_DATA, 1, 1, 4 * MIB, 4 * MIB, REACH_NONE },
    { VARVE_EXTENT_DATA, VARVE_EXTENT_DATA, 1, 2, 4 * MIB, 4 * MIB, REACH_DATA },
    { VARVE_EXTENT_DATA, VARVE_EXTENT_DATA, 0, 2, 4 * MIB, 4 * MIB, REACH_ZERO },
    { VARVE_EXTENT_CLEAN, VARVE_EXTENT_DATA, 1, 2, 0, 0, REACH_NONE },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    const Case *c = &cases[i];
    uint64_t size = 4 * MIB;
    VarveExtents *map = varve_extents_new ();
    VarveExtents *base_map = varve_extents_new ();
    g_autofree uint8_t *content = g_malloc (size);
    g_autofree uint8_t *past = g_malloc (size);
    Trace *trace = trace_new (size, 65536, true, true);

    memset (content, c->content, size);
    memset (past, c->past, size);
    varve_extents_append (map, 0, size, c->source);
    varve_extents_append (base_map, 0, size, c->base);
    Probe *source = probe_new ("disk 'vda'", content, size, map, true);
    Probe *base = probe_new ("base", past, size, base_map, true);
    BlockCopyStats stats = copy_and_compare (source, trace, base, content, past);
    g_assert_cmpuint (source->read_bytes, ==, c->reads);
    g_assert_cmpuint (base->read_bytes, ==, c->base_reads);
    g_assert_cmpuint (stats.read, ==, c->reads);
    for (uint64_t at = 0; at < size; at += 4096)
      g_assert_cmpuint (trace->reach[at], ==, c->reach);
    block_source_free (&source->source);
    block_source_free (&base->source);
    block_sink_free (&trace->sink);
  }
}

/* Nothing is known of what lies behind the end of the base: zeros there are passed on, even to a
 * sink that has zeros. The unit that the end lies in differs, too. */
static void
test_grown (void)
{
  uint64_t size = 2 * MIB;
  uint64_t past_size = MIB + 100;
  VarveExtents *map = varve_extents_new ();
  g_autofree uint8_t *content = g_malloc0 (size);
  VarveExtents *base_map = varve_extents_new ();
  Trace *trace = trace_new (size, 1, true, false);

  varve_extents_append (map, 0, size, VARVE_EXTENT_ZERO);
  varve_extents_append (base_map, 0, past_size, VARVE_EXTENT_ZERO);
  Probe *source = probe_new ("disk 'vda'", content, size, map, true);
  Probe *base = probe_new ("base", content, past_size, base_map, true);
  copy_and_compare (source, trace, base, content, content);
  g_assert_cmpuint (trace->reach[MIB - 1], ==, REACH_NONE);
  g_assert_cmpuint (trace->reach[MIB], ==, REACH_ZERO);
  g_assert_cmpuint (trace->reach[size - 1], ==, REACH_ZERO);
  block_source_free (&source->source);
  block_source_free (&base->source);
  block_sink_free (&trace->sink);
}

/* That holds for bytes below the end, too, where their unit goes on behind it. */
static void
test_grown_data (void)
{
  uint64_t size = MIB;
  VarveExtents *map = varve_extents_new ();
  VarveExtents *base_map = varve_extents_new ();
  g_autofree uint8_t *content = g_malloc0 (size);
  Trace *trace = trace_new (size, 1, true, false);

  memset (content, 5, 200);
  varve_extents_append (map, 0, 100, VARVE_EXTENT_DATA);
  varve_extents_append (map, 100, size - 100, VARVE_EXTENT_CLEAN);
  varve_extents_append (base_map, 0, 200, VARVE_EXTENT_DATA);
  Probe *source = probe_new ("disk 'vda'", content, size, map, true);
  Probe *base = probe_new ("base", content, 200, base_map, true);
  copy_and_compare (source, trace, base, content, content);
  g_assert_cmpuint (trace->reach[0], ==, REACH_DATA);
  g_assert_cmpuint (trace->reach[100], ==, REACH_NONE);
  block_source_free (&source->source);
  block_source_free (&base->source);
  block_sink_free (&trace->sink);
}

static void
test_base_not_whole (void)
{
  uint64_t size = 2 * MIB;
  VarveExtents *map = varve_extents_new ();
  VarveExtents *base_map = varve_extents_new ();
  g_autofree uint8_t *content = random_content (size);
  Trace *trace = trace_new (size, 1, true, true);
  g_autoptr (GError) error = NULL;

  varve_extents_append (map, 0, size, VARVE_EXTENT_DATA);
  varve_extents_append (base_map, 0, MIB, VARVE_EXTENT_DATA);
  varve_extents_append (base_map, MIB, MIB, VARVE_EXTENT_CLEAN);
  Probe *source = probe_new ("disk 'vda'", content, size, map, false);
  Probe *base = probe_new ("backup 'b'", content, size, base_map, false);
  BlockCopy copy = { .source = &source->source, .sink = &trace->sink, .base = &base->source };
  g_assert_false (block_copy (&copy, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_PROTOCOL);
  g_assert_nonnull (strstr (error->message, "backup 'b'"));
  block_source_free (&source->source);
  block_source_free (&base->source);
  block_sink_free (&trace->sink);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy-differ/random", test_random);
  g_test_add_func ("/copy-differ/thin", test_thin);
  g_test_add_func ("/copy-differ/grown", test_grown);
  g_test_add_func ("/copy-differ/grown-data", test_grown_data);
  g_test_add_func ("/copy-differ/base-not-whole", test_base_not_whole);
  return g_test_run ();
}
