/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Ends that watch the copy engine, and a model of what it should do.
 *
 * Probe  a source in memory that counts what is under way, may be slow at random (so that steps end
 * out of order) and holds poison where its map says zero: whoever reads there copies it. Trace  a
 * sink in memory that notes for each byte how it was reached, and that nothing is reached twice.
 * Model  the same result the slow and simple way, byte by byte.
 */
#pragma once

#include <string.h>
#include <xxhash.h>

#include "block/copy.h"
#include "block/copy-plan.h"
#include "util/checked.h"

#define POISON 0xa5

typedef struct {
  BlockSource source;
  uint8_t *stored;
  VarveExtents *map;
  bool slow;
  uint64_t clean_limit; /* for the copy */
  GMutex lock;
  uint64_t read_bytes;
  uint64_t in_flight;
  uint64_t most_in_flight;
  uint64_t longest_map; /* longest range that a map was asked for */
  uint8_t *released;    /* 1 for each byte; NULL: nobody looks */
} Probe;

typedef enum {
  REACH_NONE,
  REACH_ZERO,
  REACH_DATA,
} Reach;

typedef struct {
  BlockSink sink;
  uint8_t *data;
  uint8_t *reach; /* of Reach, for each byte */
  GMutex lock;
} Trace;

/* Nothing that was released is wanted again. */
static void
probe_assert_kept (Probe *self, uint64_t offset, uint64_t length)
{
  g_mutex_lock (&self->lock);
  g_assert_true (self->released == NULL || memchr (self->released + offset, 1, length) == NULL);
  g_mutex_unlock (&self->lock);
}

static void
probe_release (BlockSource *source, uint64_t offset, uint64_t length)
{
  Probe *self = (Probe *)source;
  uint64_t unit = source->release_unit;

  g_assert_cmpuint (offset % unit, ==, 0);
  g_assert_true (length % unit == 0 || offset + length == source->size);
  probe_assert_kept (self, offset, length);
  g_mutex_lock (&self->lock);
  if (self->released != NULL)
    memset (self->released + offset, 1, length);
  g_mutex_unlock (&self->lock);
}

static bool
probe_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  Probe *self = (Probe *)source;

  g_assert_cmpuint (length, >, 0);
  g_assert_cmpuint (length, <=, source->max_read);
  g_assert_cmpuint (offset % source->block_size, ==, 0);
  g_assert_true (length % source->block_size == 0 || offset + length == source->size);
  g_mutex_lock (&self->lock);
  self->read_bytes += length;
  self->in_flight += length;
  self->most_in_flight = MAX (self->most_in_flight, self->in_flight);
  g_mutex_unlock (&self->lock);
  if (self->slow)
    g_usleep ((offset / 4096 * 2654435761u >> 4) % 1500);
  probe_assert_kept (self, offset, length);
  memcpy (buffer, self->stored + offset, length);
  g_mutex_lock (&self->lock);
  self->in_flight -= length;
  g_mutex_unlock (&self->lock);
  return true;
}

static bool
probe_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
               GError **error)
{
  Probe *self = (Probe *)source;
  uint64_t end = offset + length;

  self->longest_map = MAX (self->longest_map, length);
  probe_assert_kept (self, offset, length);
  for (size_t i = 0; i < varve_extents_count (self->map); i++) {
    const VarveExtent *extent = varve_extents_get (self->map, i);
    uint64_t from = CLAMP (extent->offset, offset, end);
    uint64_t to = CLAMP (extent->offset + extent->length, from, end);
    varve_extents_append (out, from, to - from, extent->state);
  }
  return true;
}

static void
probe_free (BlockSource *source)
{
  Probe *self = (Probe *)source;

  g_free (self->stored);
  g_free (self->released);
  varve_extents_free (self->map);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static const BlockSourceOps probe_ops = {
  .name = "probe",
  .read = probe_read,
  .extents = probe_extents,
  .release = probe_release,
  .free = probe_free,
};

/* Takes @map, which covers the disk. With @poison its zero extents hold anything but zeros, save
 * for what is behind the last whole 4 KiB: holes as small as that may be read. */
static inline Probe *
probe_new (const char *label, const uint8_t *content, uint64_t size, VarveExtents *map, bool poison)
{
  Probe *self = g_new0 (Probe, 1);

  self->source.ops = &probe_ops;
  self->source.label = g_strdup (label);
  self->source.size = size;
  self->source.block_size = 1;
  self->source.release_unit = 1;
  self->source.max_read = 1u << 30;
  self->source.depth = 8;
  self->stored = g_memdup2 (content, size);
  self->map = map;
  g_mutex_init (&self->lock);
  for (size_t i = 0; poison && i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    if (extent->state == VARVE_EXTENT_ZERO)
      memset (self->stored + extent->offset, POISON, varve_round_down (extent->length, 4096));
  }
  return self;
}

static void
trace_reach (Trace *self, uint64_t offset, uint64_t length, Reach reach)
{
  g_mutex_lock (&self->lock);
  for (uint64_t i = offset; i < offset + length; i++) {
    g_assert_cmpuint (self->reach[i], ==, REACH_NONE);
    self->reach[i] = reach;
  }
  g_mutex_unlock (&self->lock);
}

static bool
trace_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length, GError **error)
{
  Trace *self = (Trace *)sink;

  trace_reach (self, offset, length, REACH_DATA);
  memcpy (self->data + offset, buffer, length);
  return true;
}

static bool
trace_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  Trace *self = (Trace *)sink;

  trace_reach (self, offset, length, REACH_ZERO);
  memset (self->data + offset, 0, length);
  return true;
}

static bool
trace_flush (BlockSink *sink, GError **error)
{
  g_assert_not_reached (); /* that is the caller's commit */
}

static void
trace_free (BlockSink *sink)
{
  Trace *self = (Trace *)sink;

  g_free (self->data);
  g_free (self->reach);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static const BlockSinkOps trace_ops = {
  .name = "trace",
  .write = trace_write,
  .zero = trace_zero,
  .flush = trace_flush,
  .free = trace_free,
};

static inline Trace *
trace_new (uint64_t size, uint32_t alignment, bool reads_as_zero, bool has_base)
{
  Trace *self = g_new0 (Trace, 1);

  self->sink.ops = &trace_ops;
  self->sink.label = g_strdup ("target");
  self->sink.size = size;
  self->sink.alignment = alignment;
  self->sink.reads_as_zero = reads_as_zero;
  self->sink.has_base = has_base;
  self->data = g_malloc0 (size + 1);
  self->reach = g_malloc0 (size + 1);
  g_mutex_init (&self->lock);
  return self;
}

/* Random content: patches of zeros and of bytes, some of them aligned to what the engine looks at.
 */
static inline uint8_t *
random_content (uint64_t size)
{
  uint8_t *content = g_malloc0 (size + 1);

  for (uint64_t at = 0, length; at < size; at += length) {
    static const uint64_t lengths[] = { 700, 4096, 65536, 200000 };
    length = lengths[g_test_rand_int_range (0, G_N_ELEMENTS (lengths))];
    length = MIN (length, size - at);
    if (g_test_rand_bit ())
      memset (content + at, g_test_rand_int_range (1, 255), length);
  }
  return content;
}

/* Random extents on multiples of @grain over all of the disk; what becomes a zero extent is cleared
 * in
 * @content, which is what the disk has. */
static inline VarveExtents *
random_map (uint8_t *content, uint64_t size, uint64_t grain, bool with_clean)
{
  VarveExtents *map = varve_extents_new ();
  int32_t longest = (int32_t)MAX (1, 400000 / grain);

  for (uint64_t at = 0, length; at < size; at += length) {
    VarveExtentState state = (VarveExtentState)g_test_rand_int_range (0, with_clean ? 3 : 2);
    int32_t grains =
        g_test_rand_int_range (1, g_test_rand_bit () ? 1 + MIN (longest, 20) : longest + 1);
    length = MIN ((uint64_t)grains * grain, size - at);
    varve_extents_append (map, at, length, state);
    if (state == VARVE_EXTENT_ZERO)
      memset (content + at, 0, length);
  }
  return map;
}

typedef struct {
  const uint8_t *content;
  const VarveExtents *map;
  uint64_t size;
  const BlockSink *sink;
  const uint8_t *base; /* or NULL */
  uint64_t base_size;
  uint8_t *reach; /* the result */
} Model;

static inline bool
model_is_zero (const uint8_t *bytes, uint64_t length)
{
  for (uint64_t i = 0; i < length; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

/* What becomes of [from, to), which lies in one unit and whose clusters are all written. */
static inline Reach
model_unit (const Model *model, uint64_t from, uint64_t to)
{
  uint64_t unit = MAX (65536, model->sink->alignment);
  uint64_t unit_end = MIN ((from / unit + 1) * unit, model->size);
  bool needed = model->sink->has_base || !model->sink->reads_as_zero || model->base != NULL;

  if (model->base != NULL && unit_end <= model->base_size &&
      memcmp (model->content + from, model->base + from, to - from) == 0)
    return REACH_NONE;
  if (!model_is_zero (model->content + from, to - from))
    return REACH_DATA;
  return needed ? REACH_ZERO : REACH_NONE;
}

/* For each cluster: is it clean, zeros by the map, or to be read? For each run of clusters of one
 * kind in a unit: what becomes of it? */
static inline void
model_run (Model *model)
{
  uint64_t align = model->sink->alignment;
  uint64_t unit = MAX (65536, align);
  uint64_t clusters = (model->size + align - 1) / align;
  g_autofree uint8_t *seen = g_malloc0 (clusters + 1); /* bit mask of states */

  for (size_t i = 0; i < varve_extents_count (model->map); i++) {
    const VarveExtent *extent = varve_extents_get (model->map, i);
    uint64_t last = (extent->offset + extent->length - 1) / align;
    for (uint64_t c = extent->offset / align; c <= last; c++)
      seen[c] |= 1u << extent->state;
  }
  for (uint64_t c = 0; c < clusters; c++)
    if (seen[c] != 1u << VARVE_EXTENT_CLEAN && seen[c] != 1u << VARVE_EXTENT_ZERO)
      seen[c] = 1u << VARVE_EXTENT_DATA;

  model->reach = g_malloc0 (model->size + 1);
  for (uint64_t c = 0, next; c < clusters; c = next) {
    for (next = c + 1; next < clusters && seen[next] == seen[c] && next * align % unit != 0;)
      next++;
    uint64_t to = MIN (next * align, model->size);
    if (seen[c] != 1u << VARVE_EXTENT_CLEAN)
      memset (model->reach + c * align, model_unit (model, c * align, to), to - c * align);
  }
}

/* The sums that belong to what was reached. */
static inline GArray *
model_sums (const Model *model)
{
  GArray *sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));

  for (uint64_t at = 0, next; at < model->size; at = next) {
    uint64_t cut = model->reach[at] == REACH_DATA ? BLOCK_COPY_CHUNK : BLOCK_ZERO_CHUNK;
    for (next = at + 1;
         next < model->size && model->reach[next] == model->reach[at] && next % cut != 0;)
      next++;
    if (model->reach[at] == REACH_NONE)
      continue;
    BlockSum sum = { .offset = at, .length = (uint32_t)(next - at), .state = VARVE_EXTENT_ZERO };
    if (model->reach[at] == REACH_DATA) {
      XXH128_hash_t hash = XXH3_128bits (model->content + at, next - at);
      sum.state = VARVE_EXTENT_DATA;
      for (unsigned i = 0; i < 8; i++) {
        sum.hash[i] = (uint8_t)(hash.high64 >> (56 - 8 * i));
        sum.hash[8 + i] = (uint8_t)(hash.low64 >> (56 - 8 * i));
      }
    }
    g_array_append_val (sums, sum);
  }
  return sums;
}

static inline bool
collect_sum (const BlockSum *sum, gpointer data, GError **error)
{
  g_array_append_val ((GArray *)data, *sum);
  return true;
}

static inline void
assert_same_sums (const GArray *got, const GArray *want)
{
  for (guint i = 0; i < MIN (got->len, want->len); i++) {
    const BlockSum *a = &g_array_index (got, BlockSum, i);
    const BlockSum *b = &g_array_index (want, BlockSum, i);
    g_assert_cmpuint (a->offset, ==, b->offset);
    g_assert_cmpuint (a->length, ==, b->length);
    g_assert_cmpint (a->state, ==, b->state);
    g_assert_cmpmem (a->hash, sizeof a->hash, b->hash, sizeof b->hash);
  }
  g_assert_cmpuint (got->len, ==, want->len);
}

/* The map as the engine is to see it: no clean bytes behind the limit. */
static inline VarveExtents *
model_map (const Probe *source)
{
  VarveExtents *map = varve_extents_new ();

  for (size_t i = 0; i < varve_extents_count (source->map); i++) {
    VarveExtent extent = *varve_extents_get (source->map, i);
    bool limited = source->clean_limit > 0 && extent.state == VARVE_EXTENT_CLEAN;
    for (uint64_t at = extent.offset; limited && at < extent.offset + extent.length; at++)
      varve_extents_append (map, at, 1,
                            at < source->clean_limit ? VARVE_EXTENT_CLEAN : VARVE_EXTENT_DATA);
    if (!limited)
      varve_extents_append (map, extent.offset, extent.length, extent.state);
  }
  return map;
}

/* Copies from @source to @trace and compares all that can be seen with the model. */
static inline BlockCopyStats
copy_and_compare (Probe *source, Trace *trace, Probe *base, const uint8_t *content,
                  const uint8_t *base_content)
{
  g_autoptr (GArray) sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));
  g_autoptr (VarveExtents) map = model_map (source);
  BlockCopy copy = { .source = &source->source,
                     .sink = &trace->sink,
                     .base = base != NULL ? &base->source : NULL,
                     .clean_limit = source->clean_limit,
                     .release = true,
                     .sum = collect_sum,
                     .sum_data = sums };
  Model model = { .content = content,
                  .map = map,
                  .size = source->source.size,
                  .sink = &trace->sink,
                  .base = base_content,
                  .base_size = base != NULL ? base->source.size : 0 };
  BlockCopyStats stats;
  GError *error = NULL;

  source->released = g_malloc0 (source->source.size + 1);
  block_copy (&copy, &stats, NULL, &error);
  g_assert_no_error (error);
  model_run (&model);
  for (uint64_t i = 0; i < model.size; i++) {
    if (trace->reach[i] != model.reach[i])
      g_error ("offset %" G_GUINT64_FORMAT ": reached as %d, not %d", i, trace->reach[i],
               model.reach[i]);
    if (model.reach[i] != REACH_NONE && !source->released[i])
      g_error ("offset %" G_GUINT64_FORMAT ": passed on, and not given back", i);
    if (model.reach[i] != REACH_NONE && trace->data[i] != content[i])
      g_error ("offset %" G_GUINT64_FORMAT ": has %d, not %d", i, trace->data[i], content[i]);
  }
  g_autoptr (GArray) want = model_sums (&model);
  assert_same_sums (sums, want);
  g_assert_cmpuint (stats.written + stats.zeroed + stats.clean + stats.same, ==, model.size);
  g_free (model.reach);
  return stats;
}
