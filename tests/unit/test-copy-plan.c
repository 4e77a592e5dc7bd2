/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The steps that come of a map: their kinds, where they are cut, and what is not read in them. That
 * they are right for any map is for test-copy.c and test-copy-differ.c. */
#include "config.h"
#include "block/copy-plan.h"

#include "block/zero.h"
#include "copy-fixture.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A source that is a map only. */
typedef struct {
  BlockSource source;
  const VarveExtent *extents; /* the last one reaches to the end */
  const VarveExtent *latest;  /* that was asked about */
  uint64_t longest;
  GArray *released; /* of BlockRange, in order */
  bool forgets;     /* what it gave back: to look through it would take too long */
} Paper;

/* Bytes of [offset, end) that have been given back. */
static uint64_t
paper_released (const Paper *self, uint64_t offset, uint64_t end)
{
  uint64_t bytes = 0;

  for (guint i = 0; i < self->released->len; i++) {
    const BlockRange *range = &g_array_index (self->released, BlockRange, i);
    uint64_t from = CLAMP (range->offset, offset, end);
    bytes += CLAMP (range->offset + range->length, from, end) - from;
  }
  return bytes;
}

static bool
paper_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
               GError **error)
{
  Paper *self = (Paper *)source;
  uint64_t end = offset + length;

  self->longest = MAX (self->longest, length);
  /* Questions come in order; or all over again. */
  if (self->latest == NULL || self->latest->offset > offset)
    self->latest = self->extents;
  while (self->latest->offset + self->latest->length <= offset)
    self->latest++;
  for (const VarveExtent *extent = self->latest; extent->length > 0 && extent->offset < end;
       extent++) {
    uint64_t from = CLAMP (extent->offset, offset, end);
    uint64_t to = CLAMP (extent->offset + extent->length, from, end);
    varve_extents_append (out, from, to - from, extent->state);
    if (!self->forgets)
      g_assert_cmpuint (paper_released (self, from, to), ==, 0);
  }
  return true;
}

static void
paper_release (BlockSource *source, uint64_t offset, uint64_t length)
{
  BlockRange range = { offset, length };

  g_array_append_val (((Paper *)source)->released, range);
}

static void
paper_free (BlockSource *source)
{
}

static const BlockSourceOps paper_ops = {
  .name = "paper", .extents = paper_extents, .release = paper_release, .free = paper_free
};

static uint64_t
map_size (const VarveExtent *extents)
{
  uint64_t size = 0;

  for (; extents->length > 0; extents++)
    size = extents->offset + extents->length;
  return size;
}

typedef struct {
  BlockStepKind kind;
  uint64_t length;
  uint64_t reads; /* of the source, READ only */
} Want;

/* What is given back ahead is of steps that read nothing, and all of those that are worth it. */
static void
check_step_released (const Paper *source, const Paper *base, const BlockStep *step)
{
  bool is_compared = base->extents != NULL && step->kind != BLOCK_STEP_CLEAN;
  uint64_t end = step->offset + step->length, released;

  released = paper_released (source, step->offset, end);
  if (step->kind == BLOCK_STEP_READ || is_compared || step->length < BLOCK_RELEASE_MIN)
    g_assert_cmpuint (released, ==, 0);
  else
    g_assert_cmpuint (released, >, step->length - 2 * source->source.release_unit);
}

/* @want ends with a length of 0. */
static void
check_steps (Paper *source, Paper *base, const BlockSink *sink, bool release, const Want *want)
{
  GError *error = NULL;
  BlockStep step;
  uint64_t at = 0, released;
  bool end;

  g_autoptr (BlockPlan) plan =
      block_plan_new (&source->source, sink, base->extents != NULL ? &base->source : NULL, 0);
  if (release) {
    g_assert_true (block_plan_release (plan, &released, &error));
    g_assert_cmpuint (released, ==, source->source.size);
  }
  block_step_init (&step);
  for (; want->length > 0; want++) {
    uint64_t length = want->length;

    /* A map that is kept is not cut into windows. */
    for (; release && want->kind == BLOCK_STEP_CLEAN && want[1].kind == want->kind &&
           want[1].length > 0;
         want++)
      length += want[1].length;
    g_assert_true (block_plan_next (plan, &step, &end, &error));
    g_assert_false (end);
    g_assert_cmpuint (step.offset, ==, at);
    g_assert_cmpint (step.kind, ==, want->kind);
    g_assert_cmpuint (step.length, ==, length);
    if (step.kind == BLOCK_STEP_READ)
      g_assert_cmpuint (block_step_read_bytes (&step), ==, want->reads);
    if (release)
      check_step_released (source, base, &step);
    at += step.length;
  }
  g_assert_true (block_plan_next (plan, &step, &end, &error));
  g_assert_true (end);
  g_assert_cmpuint (source->longest, <=, BLOCK_COPY_WINDOW);
  block_step_clear (&step);
}

static void
check_plan (const VarveExtent *map, const VarveExtent *base_map, const BlockSink *sink,
            const Want *want)
{
  g_autoptr (GArray) released = g_array_new (FALSE, FALSE, sizeof (BlockRange));
  Paper source = { .source = { .ops = &paper_ops, .size = map_size (map), .release_unit = 65536 },
                   .extents = map,
                   .released = released };
  Paper base = { .source = { .ops = &paper_ops }, .extents = base_map, .released = released };

  if (base_map != NULL)
    base.source.size = map_size (base_map);
  check_steps (&source, &base, sink, false, want);
  g_assert_cmpuint (released->len, ==, 0);
  check_steps (&source, &base, sink, true, want);
}

/* With more than is kept in mind the walk stops, and the steps are the same. */
static void
test_many_extents (void)
{
  enum { PAIRS = BLOCK_PLAN_AHEAD / 2 + 513 };
  static const BlockSink sink = { .alignment = 65536, .reads_as_zero = true };
  g_autofree VarveExtent *map = g_new0 (VarveExtent, 2 * PAIRS + 1);
  g_autoptr (GArray) released = g_array_new (FALSE, FALSE, sizeof (BlockRange));
  Paper source = { .source = { .ops = &paper_ops, .release_unit = 65536 },
                   .released = released,
                   .forgets = true };
  uint64_t end, total = 0;
  bool over = false;
  BlockStep step;

  for (unsigned i = 0; i < PAIRS; i++) {
    map[2 * i] = (VarveExtent){ i * 2 * MIB, MIB, VARVE_EXTENT_ZERO };
    map[2 * i + 1] = (VarveExtent){ (i * 2 + 1) * MIB, MIB, VARVE_EXTENT_DATA };
  }
  source.extents = map;
  source.source.size = map_size (map);
  g_autoptr (BlockPlan) plan = block_plan_new (&source.source, &sink, NULL, 0);
  g_assert_true (block_plan_release (plan, &end, NULL));
  g_assert_cmpuint (released->len, ==, BLOCK_PLAN_AHEAD / 2);
  g_assert_cmpuint (end, ==, BLOCK_PLAN_AHEAD * MIB);

  block_step_init (&step);
  while (block_plan_next (plan, &step, &over, NULL) && !over) {
    g_assert_cmpint (step.kind, ==, step.offset / MIB % 2 ? BLOCK_STEP_READ : BLOCK_STEP_SPARSE);
    total += step.length;
  }
  g_assert_cmpuint (total, ==, source.source.size);
  block_step_clear (&step);
}

static const BlockSink file = { .alignment = 1, .reads_as_zero = true };
static const BlockSink used = { .alignment = 1 };
static const BlockSink increment = { .alignment = 65536, .reads_as_zero = true, .has_base = true };

static void
test_kinds (void)
{
  static const VarveExtent map[] = { { 0, 3 * MIB, VARVE_EXTENT_DATA },
                                     { 3 * MIB, 2 * GIB, VARVE_EXTENT_ZERO },
                                     { 3 * MIB + 2 * GIB, GIB, VARVE_EXTENT_CLEAN },
                                     { 3 * MIB + 3 * GIB, 700, VARVE_EXTENT_DATA },
                                     { 0, 0, 0 } };
  static const Want thin[] = {
    { BLOCK_STEP_READ, MIB, MIB },          { BLOCK_STEP_READ, MIB, MIB },
    { BLOCK_STEP_READ, MIB, MIB },          { BLOCK_STEP_SPARSE, GIB - 3 * MIB, 0 },
    { BLOCK_STEP_SPARSE, GIB, 0 },          { BLOCK_STEP_SPARSE, 3 * MIB, 0 },
    { BLOCK_STEP_CLEAN, GIB - 3 * MIB, 0 }, { BLOCK_STEP_CLEAN, 3 * MIB, 0 },
    { BLOCK_STEP_READ, 700, 700 },          { 0, 0, 0 }
  };
  Want thick[G_N_ELEMENTS (thin)];

  check_plan (map, NULL, &file, thin);
  memcpy (thick, thin, sizeof thin);
  for (size_t i = 0; i < G_N_ELEMENTS (thick); i++)
    if (thick[i].kind == BLOCK_STEP_SPARSE)
      thick[i].kind = BLOCK_STEP_ZERO;
  check_plan (map, NULL, &used, thick);
}

/* Clusters that extents share are read, save for holes worth leaving out; their neighbours join
 * them. */
static void
test_clusters (void)
{
  static const VarveExtent map[] = { { 0, 70 * KIB, VARVE_EXTENT_DATA },
                                     { 70 * KIB, 100 * KIB, VARVE_EXTENT_ZERO },
                                     { 170 * KIB, 86 * KIB, VARVE_EXTENT_CLEAN },
                                     { 256 * KIB, 1 * KIB, VARVE_EXTENT_DATA },
                                     { 257 * KIB, 3 * KIB, VARVE_EXTENT_ZERO },
                                     { 260 * KIB, 1 * KIB, VARVE_EXTENT_DATA },
                                     { 261 * KIB, 100 * KIB, VARVE_EXTENT_CLEAN },
                                     { 361 * KIB, 100, VARVE_EXTENT_ZERO },
                                     { 0, 0, 0 } };
  static const Want want[] = { /* 0-64 data; 64-128 data, 58 zero; 128-192 42 zero, clean */
                               { BLOCK_STEP_READ, 192 * KIB, 92 * KIB },
                               { BLOCK_STEP_CLEAN, 64 * KIB, 0 },
                               /* the hole of 3 KiB is read, and so is the one of 100 bytes */
                               { BLOCK_STEP_READ, 64 * KIB, 64 * KIB },
                               { BLOCK_STEP_READ, 0, 0 }
  };
  g_autofree Want *all = g_memdup2 (want, sizeof want);

  /* 320-361 clean and a tail of zeros: one cluster, next to the one before. */
  all[2].length = all[2].reads = 105 * KIB + 100;
  check_plan (map, NULL, &increment, all);
}

static void
test_base (void)
{
  static const VarveExtent map[] = { { 0, 4 * MIB, VARVE_EXTENT_ZERO }, { 0, 0, 0 } };
  static const VarveExtent base[] = { { 0, MIB + 5, VARVE_EXTENT_ZERO },
                                      { MIB + 5, 100, VARVE_EXTENT_DATA },
                                      { MIB + 105, 2 * MIB, VARVE_EXTENT_ZERO },
                                      { 0, 0, 0 } };
  static const Want want[] = { { BLOCK_STEP_SAME, MIB, 0 },
                               { BLOCK_STEP_READ, 64 * KIB, 0 },
                               { BLOCK_STEP_SAME, 2 * MIB - 64 * KIB, 0 },
                               { BLOCK_STEP_ZERO, MIB, 0 },
                               { 0, 0, 0 } };

  check_plan (map, base, &increment, want);
}

static void
test_large_clusters (void)
{
  static const BlockSink sink = { .alignment = 2u << 20, .has_base = true };
  static const VarveExtent map[] = { { 0, 5 * MIB, VARVE_EXTENT_CLEAN },
                                     { 5 * MIB, 512, VARVE_EXTENT_DATA },
                                     { 5 * MIB + 512, 4 * MIB, VARVE_EXTENT_CLEAN },
                                     { 0, 0, 0 } };
  static const Want want[] = { { BLOCK_STEP_CLEAN, 4 * MIB, 0 },
                               { BLOCK_STEP_READ, 2 * MIB, 2 * MIB },
                               { BLOCK_STEP_CLEAN, 3 * MIB + 512, 0 },
                               { 0, 0, 0 } };

  check_plan (map, NULL, &sink, want);
}

/* One byte that is not zero is found wherever it is. */
static void
test_is_zero (void)
{
  uint8_t bytes[100] = { 0 };

  for (size_t length = 0; length <= sizeof bytes; length++) {
    g_assert_true (block_is_zero (bytes, length));
    for (size_t i = 0; i < sizeof bytes; i++) {
      bytes[i] = 1;
      g_assert_cmpint (block_is_zero (bytes, length), ==, i >= length);
      bytes[i] = 0;
    }
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy-plan/kinds", test_kinds);
  g_test_add_func ("/copy-plan/clusters", test_clusters);
  g_test_add_func ("/copy-plan/base", test_base);
  g_test_add_func ("/copy-plan/large-clusters", test_large_clusters);
  g_test_add_func ("/copy-plan/many-extents", test_many_extents);
  g_test_add_func ("/copy-plan/is-zero", test_is_zero);
  return g_test_run ();
}
