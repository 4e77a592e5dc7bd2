/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The walk over the maps; see copy-plan.h for what comes out of it.
 *
 * A run is what the plan knows at once about the clusters at its position: either as many as one
 * extent covers whole, or a single one that several extents share. Runs are looked at without being
 * consumed; steps are made of them.
 */
#include "config.h"
#include "block/copy-plan.h"

#include "util/checked.h"
#include "util/error.h"

/* One window of the map of one end. */
typedef struct {
  BlockSource *source;
  bool whole;           /* a base: it has no clean extents */
  uint64_t clean_limit; /* clean extents end here */
  VarveExtents *extents;
  uint64_t start; /* what extents covers; nothing when start == end */
  uint64_t end;
  VarveExtents *ahead; /* what covers [0, ahead_end), asked for before the first step; or NULL */
  uint64_t ahead_end;
} Map;

struct BlockPlan {
  Map map;
  Map base; /* base.source is NULL when there is no base */
  uint64_t size;
  uint64_t position; /* aligned, or the size */
  uint64_t align;
  uint64_t unit;
  uint64_t piece;
  bool zeros_needed; /* by the sink */
};

typedef struct {
  uint64_t end;
  VarveExtentState state; /* data: something in it is to be read */
  bool mixed;             /* one cluster of several extents */
} Run;

void
block_step_init (BlockStep *step)
{
  step->holes = g_array_new (FALSE, FALSE, sizeof (BlockRange));
  step->base_holes = g_array_new (FALSE, FALSE, sizeof (BlockRange));
}

void
block_step_clear (BlockStep *step)
{
  g_clear_pointer (&step->holes, g_array_unref);
  g_clear_pointer (&step->base_holes, g_array_unref);
}

uint64_t
block_step_read_bytes (const BlockStep *step)
{
  uint64_t bytes = step->length;

  for (guint i = 0; i < step->holes->len; i++)
    bytes -= g_array_index (step->holes, BlockRange, i).length;
  return bytes;
}

uint64_t
block_plan_unit (const BlockSink *sink)
{
  return MAX (BLOCK_COPY_UNIT, sink->alignment);
}

uint64_t
block_plan_piece (const BlockSink *sink)
{
  return MAX (BLOCK_COPY_CHUNK, sink->alignment);
}

BlockPlan *
block_plan_new (BlockSource *source, const BlockSink *sink, BlockSource *base, uint64_t clean_limit)
{
  BlockPlan *plan = g_new0 (BlockPlan, 1);

  plan->map.source = source;
  plan->map.clean_limit = clean_limit ? clean_limit : source->size;
  plan->map.extents = varve_extents_new ();
  plan->base.source = base;
  plan->base.whole = true;
  plan->base.clean_limit = UINT64_MAX;
  plan->base.extents = varve_extents_new ();
  plan->size = source->size;
  plan->align = sink->alignment;
  plan->unit = block_plan_unit (sink);
  plan->piece = block_plan_piece (sink);
  plan->zeros_needed = sink->has_base || !sink->reads_as_zero;
  return plan;
}

void
block_plan_free (BlockPlan *plan)
{
  if (plan == NULL)
    return;
  varve_extents_free (plan->map.extents);
  varve_extents_free (plan->base.extents);
  g_clear_pointer (&plan->map.ahead, varve_extents_free);
  g_free (plan);
}

/* A base shows a whole disk: where it holds nothing there are zeros, not somebody else's bytes. */
static bool
check_whole (const Map *map, GError **error)
{
  if (varve_extents_bytes (map->extents, VARVE_EXTENT_CLEAN) == 0)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                      "It leaves %" G_GUINT64_FORMAT
                      " bytes to a layer below, but what is compared with must be whole.",
                      varve_extents_bytes (map->extents, VARVE_EXTENT_CLEAN));
}

/* Appends @extent; what of it is clean behind the limit as data. */
static void
append_limited (VarveExtents *extents, const VarveExtent *extent, uint64_t limit)
{
  uint64_t end = extent->offset + extent->length;
  uint64_t split = CLAMP (limit, extent->offset, end);

  if (extent->state != VARVE_EXTENT_CLEAN)
    split = end;
  varve_extents_append (extents, extent->offset, split - extent->offset, extent->state);
  varve_extents_append (extents, split, end - split, VARVE_EXTENT_DATA);
}

static void
limit_clean (Map *map, uint64_t end)
{
  g_autoptr (VarveExtents) limited = NULL;

  if (end <= map->clean_limit)
    return;
  limited = varve_extents_new ();
  for (size_t i = 0; i < varve_extents_count (map->extents); i++)
    append_limited (limited, varve_extents_get (map->extents, i), map->clean_limit);
  varve_extents_free (map->extents);
  map->extents = g_steal_pointer (&limited);
}

static uint64_t
extent_end (const VarveExtent *extent)
{
  return extent->offset + extent->length;
}

static bool
map_load (Map *map, uint64_t offset, GError **error)
{
  uint64_t end =
      MIN (varve_round_down (offset, BLOCK_COPY_WINDOW) + BLOCK_COPY_WINDOW, map->source->size);

  varve_extents_clear (map->extents);
  map->start = map->end = 0;
  if (!block_source_extents (map->source, offset, end - offset, map->extents, error) ||
      (map->whole && !check_whole (map, error)))
    return varve_prefix (error, "Asking for the map of %s at offset %" G_GUINT64_FORMAT,
                         map->source->label, offset);
  limit_clean (map, end);
  map->start = offset;
  map->end = end;
  return true;
}

/* The extent at @offset, which lies within the size; it may begin before it. It is valid until the
 * next call for the same map. */
static bool
map_at (Map *map, uint64_t offset, const VarveExtent **out_extent, GError **error)
{
  bool is_ahead = offset < map->ahead_end;
  const VarveExtents *extents;
  size_t low = 0;

  if (!is_ahead && (offset < map->start || offset >= map->end) && !map_load (map, offset, error))
    return false;
  /* The load may have made a new list. */
  extents = is_ahead ? map->ahead : map->extents;
  size_t high = varve_extents_count (extents) - 1;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const VarveExtent *extent = varve_extents_get (extents, middle);
    if (extent->offset + extent->length > offset)
      high = middle;
    else
      low = middle + 1;
  }
  *out_extent = varve_extents_get (extents, low);
  return true;
}

static bool
plan_look (BlockPlan *plan, Run *run, GError **error)
{
  uint64_t cluster_end = MIN (plan->position + plan->align, plan->size);
  const VarveExtent *extent;

  if (!map_at (&plan->map, plan->position, &extent, error))
    return false;
  run->mixed = extent_end (extent) < cluster_end;
  if (run->mixed) {
    run->end = cluster_end;
    run->state = VARVE_EXTENT_DATA;
    return true;
  }
  run->state = extent->state;
  run->end = extent_end (extent) == plan->size
                 ? plan->size
                 : varve_round_down (extent_end (extent), plan->align);
  return true;
}

/* Appends the zero extents of [from, to) to @holes. */
static bool
collect_holes (Map *map, uint64_t from, uint64_t to, GArray *holes, GError **error)
{
  while (from < to) {
    const VarveExtent *extent;
    if (!map_at (map, from, &extent, error))
      return false;
    uint64_t end = MIN (extent_end (extent), to);
    BlockRange hole = { from, end - from };
    if (extent->state == VARVE_EXTENT_ZERO && hole.length >= BLOCK_COPY_HOLE)
      g_array_append_val (holes, hole);
    from = end;
  }
  return true;
}

static bool
collect_base_holes (BlockPlan *plan, BlockStep *step, GError **error)
{
  uint64_t to;

  g_array_set_size (step->base_holes, 0);
  if (plan->base.source == NULL)
    return true;
  to = MIN (step->offset + step->length, plan->base.source->size);
  return collect_holes (&plan->base, step->offset, to, step->base_holes, error);
}

static void
plan_advance (BlockPlan *plan, BlockStep *step, BlockStepKind kind, uint64_t end)
{
  step->kind = kind;
  step->offset = plan->position;
  step->length = end - plan->position;
  plan->position = end;
}

/* Takes runs that are to be read, up to the end of the piece. */
static bool
plan_read (BlockPlan *plan, Run run, BlockStep *step, GError **error)
{
  uint64_t start = plan->position;
  uint64_t piece_end = MIN (varve_round_down (start, plan->piece) + plan->piece, plan->size);

  g_array_set_size (step->holes, 0);
  while (run.state == VARVE_EXTENT_DATA) {
    uint64_t end = MIN (run.end, piece_end);
    if (run.mixed && !collect_holes (&plan->map, plan->position, end, step->holes, error))
      return false;
    plan->position = end;
    if (end == piece_end)
      break;
    if (!plan_look (plan, &run, error))
      return false;
  }
  step->kind = BLOCK_STEP_READ;
  step->offset = start;
  step->length = plan->position - start;
  return collect_base_holes (plan, step, error);
}

/* How far, from @from on, the base has whole units of zeros; @from when it has not. */
static bool
base_zeros_end (BlockPlan *plan, uint64_t from, uint64_t to, uint64_t *out_end, GError **error)
{
  const VarveExtent *extent;
  uint64_t unit_end = MIN (varve_round_down (from, plan->unit) + plan->unit, to);

  if (!map_at (&plan->base, from, &extent, error))
    return false;
  *out_end = from;
  if (extent->state == VARVE_EXTENT_ZERO && extent_end (extent) >= unit_end)
    *out_end = extent_end (extent) >= to ? to : varve_round_down (extent_end (extent), plan->unit);
  return true;
}

/* Zeros of the source that end at @end, with a base. Units behind the base's end, or across it,
 * differ. Of the others, those that are zeros in the base's map are the same; the rest has to be
 * compared, as a step whose whole source is a hole. */
static bool
plan_zero_with_base (BlockPlan *plan, uint64_t end, BlockStep *step, GError **error)
{
  uint64_t start = plan->position;
  uint64_t base_end = plan->base.source->size >= plan->size
                          ? plan->size
                          : varve_round_down (plan->base.source->size, plan->unit);
  uint64_t same_end;

  if (start >= base_end) {
    plan_advance (plan, step, BLOCK_STEP_ZERO, end);
    return true;
  }
  end = MIN (end, base_end);
  if (!base_zeros_end (plan, start, end, &same_end, error))
    return false;
  if (same_end > start) {
    plan_advance (plan, step, BLOCK_STEP_SAME, same_end);
    return true;
  }

  end = MIN (end, varve_round_down (start, plan->piece) + plan->piece);
  uint64_t stop = start;
  while (stop < end && same_end == stop) {
    stop = MIN (varve_round_down (stop, plan->unit) + plan->unit, end);
    if (stop < end && !base_zeros_end (plan, stop, end, &same_end, error))
      return false;
  }
  plan_advance (plan, step, BLOCK_STEP_READ, stop);
  BlockRange hole = { start, stop - start };
  g_array_set_size (step->holes, 0);
  g_array_append_val (step->holes, hole);
  return collect_base_holes (plan, step, error);
}

static bool
plan_zero (BlockPlan *plan, uint64_t end, BlockStep *step, GError **error)
{
  end = MIN (end, varve_round_down (plan->position, BLOCK_ZERO_CHUNK) + BLOCK_ZERO_CHUNK);
  if (plan->base.source != NULL)
    return plan_zero_with_base (plan, end, step, error);
  plan_advance (plan, step, plan->zeros_needed ? BLOCK_STEP_ZERO : BLOCK_STEP_SPARSE, end);
  return true;
}

/* With a base zeros are compared, and may be read as such. */
static bool
is_never_read (const BlockPlan *plan, const Run *run)
{
  return !run->mixed && (run->state == VARVE_EXTENT_CLEAN ||
                         (run->state == VARVE_EXTENT_ZERO && plan->base.source == NULL));
}

/* Of the window at the position; limit_clean may have made a new map->extents. */
static void
keep_window (Map *map)
{
  for (size_t i = 0; i < varve_extents_count (map->extents); i++) {
    const VarveExtent *extent = varve_extents_get (map->extents, i);

    varve_extents_append (map->ahead, extent->offset, extent->length, extent->state);
  }
}

/* What no step will read, not even for the sake of a neighbour in its cluster. */
static bool
release_window (BlockPlan *plan, GError **error)
{
  Run run;

  while (plan->position < plan->map.end) {
    uint64_t start = plan->position;

    if (!plan_look (plan, &run, error))
      return false;
    plan->position = run.end;
    if (is_never_read (plan, &run) && run.end - start >= BLOCK_RELEASE_MIN)
      block_source_release (plan->map.source, start, run.end - start);
  }
  return true;
}

bool
block_plan_release (BlockPlan *plan, uint64_t *out_end, GError **error)
{
  Map *map = &plan->map;
  uint64_t end = 0;

  map->ahead = varve_extents_new ();
  while (end < plan->size) {
    if (!map_load (map, end, error))
      return false;
    if (varve_extents_count (map->ahead) + varve_extents_count (map->extents) > BLOCK_PLAN_AHEAD)
      break;
    keep_window (map);
    if (!release_window (plan, error))
      return false;
    end = map->end;
  }
  plan->position = 0;
  *out_end = map->ahead_end = end;
  return true;
}

bool
block_plan_next (BlockPlan *plan, BlockStep *step, bool *out_end, GError **error)
{
  Run run;

  *out_end = plan->position == plan->size;
  if (*out_end)
    return true;
  if (!plan_look (plan, &run, error))
    return false;
  switch (run.state) {
  case VARVE_EXTENT_CLEAN:
    plan_advance (plan, step, BLOCK_STEP_CLEAN, run.end);
    return true;
  case VARVE_EXTENT_ZERO:
    return plan_zero (plan, run.end, step, error);
  case VARVE_EXTENT_DATA:
    break;
  }
  return plan_read (plan, run, step, error);
}
