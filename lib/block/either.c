/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* For what is put back: what the store says has changed between two backups, and what a bitmap says
 * has changed since, are both to be written. */
#include "config.h"
#include "block/either.h"

typedef struct {
  BlockSource base;
  BlockSource *source;
  BlockSource *other;
} Either;

static bool
either_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  return block_source_read (((Either *)source)->source, offset, buffer, length, error);
}

static VarveExtentState
either_state (VarveExtentState mine, VarveExtentState theirs)
{
  if (mine != VARVE_EXTENT_CLEAN || theirs == VARVE_EXTENT_CLEAN)
    return mine;
  return VARVE_EXTENT_DATA;
}

/* Both cover the same range. */
static void
merge (const VarveExtents *mine, const VarveExtents *theirs, VarveExtents *out)
{
  size_t i = 0, j = 0;

  while (i < varve_extents_count (mine) && j < varve_extents_count (theirs)) {
    const VarveExtent *a = varve_extents_get (mine, i), *b = varve_extents_get (theirs, j);
    uint64_t from = MAX (a->offset, b->offset);
    uint64_t end_a = a->offset + a->length, end_b = b->offset + b->length;

    varve_extents_append (out, from, MIN (end_a, end_b) - from, either_state (a->state, b->state));
    i += end_a <= end_b;
    j += end_b <= end_a;
  }
}

static bool
either_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                GError **error)
{
  Either *self = (Either *)source;
  g_autoptr (VarveExtents) mine = varve_extents_new ();
  g_autoptr (VarveExtents) theirs = varve_extents_new ();
  uint64_t end = self->other->size;
  uint64_t common = offset < end ? MIN (length, end - offset) : 0;

  if (!block_source_extents (self->source, offset, length, mine, error))
    return false;
  if (common > 0 && !block_source_extents (self->other, offset, common, theirs, error))
    return false;
  varve_extents_append (theirs, offset + common, length - common, VARVE_EXTENT_DATA);
  merge (mine, theirs, out);
  return true;
}

static void
either_interrupt (BlockSource *source)
{
  Either *self = (Either *)source;

  block_source_interrupt (self->source);
  block_source_interrupt (self->other);
}

static void
either_free (BlockSource *source)
{
  g_free (source);
}

static const BlockSourceOps either_ops = {
  .name = "either",
  .read = either_read,
  .extents = either_extents,
  .interrupt = either_interrupt,
  .free = either_free,
};

BlockSource *
block_either_source_new (BlockSource *source, BlockSource *other)
{
  Either *self = g_new0 (Either, 1);

  self->base = *source;
  self->base.ops = &either_ops;
  self->base.label = g_strdup (source->label);
  self->source = source;
  self->other = other;
  return &self->base;
}
