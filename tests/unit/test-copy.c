/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The copy engine without a base: random disks against a model, and the bounds that it promises. */
#include "config.h"

#include <sys/resource.h>

#include "block/copy.h"
#include "block/memory.h"
#include "copy-fixture.h"
#include "effort.h"
#include "util/error.h"
#include "wait.h"

#define TIB (1ull << 40)

static void
test_random (void)
{
  static const uint64_t grains[] = { 1, 512, 4096, 65536 };
  static const uint32_t alignments[] = { 1, 512, 4096, 65536, 262144, 2097152 };

  for (unsigned round = 0; round < rounds_of (80); round++) {
    uint64_t grain = grains[g_test_rand_int_range (0, G_N_ELEMENTS (grains))];
    uint32_t align = alignments[g_test_rand_int_range (0, G_N_ELEMENTS (alignments))];
    uint64_t size = (uint64_t)g_test_rand_int_range (1, 3500000);
    g_autofree uint8_t *content = random_content (size);
    bool poison = grain % 4096 == 0 && (align == 1 || align >= 4096);
    VarveExtents *map = random_map (content, size, grain, true);
    Probe *source = probe_new ("disk 'vda'", content, size, map, poison);
    Trace *trace = trace_new (size, align, g_test_rand_bit (), g_test_rand_bit ());

    g_test_message ("round %u: size %" G_GUINT64_FORMAT ", grain %" G_GUINT64_FORMAT
                    ", alignment %u, zero %d, base %d",
                    round, size, grain, align, trace->sink.reads_as_zero, trace->sink.has_base);
    source->slow = round % 4 == 0;
    source->clean_limit = round % 3 == 0 ? (uint64_t)g_test_rand_int_range (1, 3500000) : 0;
    BlockCopyStats stats = copy_and_compare (source, trace, NULL, content, NULL);
    g_assert_cmpuint (stats.read, ==, source->read_bytes);
    g_assert_cmpuint (stats.same, ==, 0);
    block_source_free (&source->source);
    block_sink_free (&trace->sink);
  }
}

/* Disks that are no multiple of anything, from a server whose blocks are larger than that. */
static void
test_block_sizes (void)
{
  static const uint64_t sizes[] = { 1, 511, 512, 65535, 65537, 1048576, 1048577, 2097152 + 700 };

  for (size_t i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (uint32_t block_size = 512; block_size <= 65536; block_size *= 8) {
      g_autofree uint8_t *content = random_content (sizes[i]);
      VarveExtents *map = random_map (content, sizes[i], 512, true);
      Probe *source = probe_new ("disk 'vda'", content, sizes[i], map, false);
      Trace *trace = trace_new (sizes[i], 65536, false, true);
      source->source.block_size = block_size;
      source->source.max_read = 2 * block_size;
      copy_and_compare (source, trace, NULL, content, NULL);
      block_source_free (&source->source);
      block_sink_free (&trace->sink);
    }
}

static bool
count_tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  uint64_t *seen = data; /* calls, done, total */

  g_assert_cmpuint (done, <=, total);
  g_assert_cmpuint (done, >=, seen[1]);
  g_assert_true (seen[0] == 0 || total <= seen[2]);
  seen[0]++;
  seen[1] = done;
  seen[2] = total;
  return true;
}

static void
test_empty (void)
{
  BlockSource *source = block_memory_source_new ("", 0, NULL);
  BlockSink *sink = block_null_sink_new (0);
  uint64_t seen[3] = { 0 };
  BlockCopy copy = { .source = source, .sink = sink, .tick = count_tick, .tick_data = seen };
  BlockCopyStats stats;
  GError *error = NULL;

  g_assert_true (block_copy (&copy, &stats, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (stats.read + stats.written + stats.zeroed + stats.clean, ==, 0);
  g_assert_cmpuint (seen[0], ==, 1);
  block_source_free (source);
  block_sink_free (sink);
}

static void
test_misuse (void)
{
  BlockSource *source = block_memory_source_new ("abc", 3, NULL);
  BlockSink *longer = block_null_sink_new (4);
  BlockSink *odd = block_memory_sink_new (3, 3, 0, false);
  BlockCopy copy = { .source = source, .sink = longer };
  g_autoptr (GError) error = NULL;

  g_assert_false (block_copy (&copy, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  copy.sink = odd;
  g_assert_false (block_copy (&copy, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  block_source_free (source);
  block_sink_free (longer);
  block_sink_free (odd);
}

/* What is under way, and what is held in buffers, has the bound that copy.h states. */
static void
check_bound (unsigned depth, uint32_t align, bool with_base)
{
  uint64_t size = 40u << 20;
  uint64_t piece = MAX (BLOCK_COPY_CHUNK, align);
  unsigned workers = MIN (depth, MIN (2 * g_get_num_processors (), BLOCK_COPY_WORKERS));
  g_autofree uint8_t *content = g_malloc (size);
  VarveExtents *map = varve_extents_new ();
  VarveExtents *base_map = varve_extents_new ();
  Trace *trace = trace_new (size, align, true, false);

  memset (content, 7, size);
  varve_extents_append (map, 0, size, VARVE_EXTENT_DATA);
  varve_extents_append (base_map, 0, size, VARVE_EXTENT_DATA);
  Probe *source = probe_new ("disk 'vda'", content, size, map, false);
  Probe *base = probe_new ("base", content, size, base_map, false);
  source->source.depth = depth;
  source->slow = true;
  BlockCopyStats stats = copy_and_compare (source, trace, with_base ? base : NULL, content,
                                           with_base ? content : NULL);
  g_assert_cmpuint (source->most_in_flight, <=, workers * piece);
  g_assert_cmpuint (stats.buffered, <=, workers * piece * (with_base ? 2 : 1));
  g_assert_cmpuint (stats.buffered, >=, piece);
  if (workers > 1) /* and it is made use of */
    g_assert_cmpuint (source->most_in_flight, >, piece);
  block_source_free (&source->source);
  block_source_free (&base->source);
  block_sink_free (&trace->sink);
}

static void
test_bound (void)
{
  check_bound (1, 1, false);
  check_bound (3, 65536, false);
  check_bound (64, 65536, true);
  check_bound (8, 2u << 20, false);
}

/* A disk that is not in memory: bytes are made of their offset. */
static bool
vast_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  memset (buffer, (int)(1 + offset % 251), length);
  return true;
}

/* One MiB of data in each of eight places, zeros (or nothing) between them. */
static bool
vast_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
              GError **error)
{
  uint64_t end = offset + length;
  VarveExtentState rest = source->depth == 1 ? VARVE_EXTENT_CLEAN : VARVE_EXTENT_ZERO;
  uint64_t stride = source->size / 8;

  g_assert_cmpuint (length, <=, BLOCK_COPY_WINDOW);
  for (uint64_t at = offset; at < end;) {
    uint64_t in = at % stride;
    uint64_t to = MIN (in < BLOCK_COPY_CHUNK ? at - in + BLOCK_COPY_CHUNK : at - in + stride, end);
    varve_extents_append (out, at, to - at, in < BLOCK_COPY_CHUNK ? VARVE_EXTENT_DATA : rest);
    at = to;
  }
  return true;
}

static void
vast_free (BlockSource *source)
{
}

static const BlockSourceOps vast_ops = {
  .name = "vast",
  .read = vast_read,
  .extents = vast_extents,
  .free = vast_free,
};

static uint64_t
peak_kib (void)
{
  struct rusage usage;

  g_assert_cmpint (getrusage (RUSAGE_SELF, &usage), ==, 0);
  return (uint64_t)usage.ru_maxrss;
}

/* A thin disk costs what is in it, in time and in memory: here 8 MiB in a TiB. */
static void
check_vast (unsigned depth, bool needs_zeros)
{
  BlockSource source = { .ops = &vast_ops, .size = TIB, .block_size = 1, .max_read = 1u << 30 };
  BlockSink *sink = block_null_sink_new (TIB);
  g_autoptr (GArray) sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));
  BlockCopy copy = { .source = &source, .sink = sink, .sum = collect_sum, .sum_data = sums };
  uint64_t before = peak_kib ();
  gint64 began = g_get_monotonic_time ();
  BlockCopyStats stats;
  GError *error = NULL;

  source.depth = depth;
  source.label = g_strdup ("disk 'vda'");
  sink->reads_as_zero = !needs_zeros;
  g_assert_true (block_copy (&copy, &stats, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (stats.read, ==, 8 * BLOCK_COPY_CHUNK);
  g_assert_cmpuint (stats.read + stats.zeroed + stats.clean, ==, TIB);
  g_assert_cmpuint (sums->len, ==, needs_zeros ? 8 + 1024 : 8);
  g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
  g_assert_cmpuint (peak_kib () - before, <, 64u << 10);
  block_source_free (&source);
  block_sink_free (sink);
}

static void
test_vast (void)
{
  check_vast (8, false);
  check_vast (8, true);
  check_vast (1, false); /* the rest is clean */
}

static void
test_speed_and_ticks (void)
{
  g_autofree uint8_t *content = random_content (8u << 20);
  BlockSource *source = block_memory_source_new (content, 8u << 20, NULL);
  BlockSink *sink = block_null_sink_new (8u << 20);
  uint64_t seen[3] = { 0 };
  BlockCopy copy = { .source = source,
                     .sink = sink,
                     .tick = count_tick,
                     .tick_data = seen,
                     .speed = 4u << 20,
                     .total_hint = 1u << 20 };
  gint64 began = g_get_monotonic_time ();
  GError *error = NULL;

  g_assert_true (block_copy (&copy, NULL, NULL, &error));
  g_assert_no_error (error);
  /* The first MiB goes at once, and seven more at 4 MiB a second. */
  gint64 took = g_get_monotonic_time () - began;
  g_assert_cmpint (took, >=, 1700 * G_TIME_SPAN_MILLISECOND);
  g_assert_cmpint (took, <, AT_ONCE);
  g_assert_cmpuint (seen[0], >=, 4);
  g_assert_cmpuint (seen[0], <=, (uint64_t)(took / (200 * G_TIME_SPAN_MILLISECOND)) + 1);
  g_assert_cmpuint (seen[1], ==, 8u << 20);
  g_assert_cmpuint (seen[2], ==, 8u << 20);
  block_source_free (source);
  block_sink_free (sink);
}

/* *@data: the copy. */
static bool
lift_limit (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  ((BlockCopy *)data)->speed = 0;
  return true;
}

/* At the first speed it would take two hours. */
static void
test_changed_speed (void)
{
  g_autofree uint8_t *content = random_content (8u << 20);
  BlockSource *source = block_memory_source_new (content, 8u << 20, NULL);
  BlockSink *sink = block_null_sink_new (8u << 20);
  BlockCopy copy = {
    .source = source, .sink = sink, .tick = lift_limit, .tick_data = &copy, .speed = 1024
  };
  gint64 began = g_get_monotonic_time ();
  GError *error = NULL;

  g_assert_true (block_copy (&copy, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_get_monotonic_time () - began, <, 60 * G_TIME_SPAN_SECOND);
  block_source_free (source);
  block_sink_free (sink);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy/random", test_random);
  g_test_add_func ("/copy/block-sizes", test_block_sizes);
  g_test_add_func ("/copy/empty", test_empty);
  g_test_add_func ("/copy/misuse", test_misuse);
  g_test_add_func ("/copy/bound", test_bound);
  g_test_add_func ("/copy/vast", test_vast);
  g_test_add_func ("/copy/speed-and-ticks", test_speed_and_ticks);
  g_test_add_func ("/copy/changed-speed", test_changed_speed);
  return g_test_run ();
}
