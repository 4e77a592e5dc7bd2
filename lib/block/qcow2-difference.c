/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A layer of a store is never written again, so that a place in a file stands for its bytes. */
#include "config.h"
#include "block/qcow2-difference.h"

#include "block/qcow2-walk.h"

typedef struct {
  BlockSource base;
  BlockSource *source;
  BlockSource *other;
} Difference;

static const BlockQcow2Link *
link_of (const BlockSource *source, const BlockQcow2Piece *piece)
{
  return g_ptr_array_index (block_qcow2_source_chain (source)->links, piece->link);
}

static bool
same_file (const BlockQcow2Link *a, const BlockQcow2Link *b)
{
  return a->device == b->device && a->inode == b->inode;
}

bool
block_qcow2_related (const BlockSource *a, const BlockSource *b)
{
  const BlockQcow2Chain *x = block_qcow2_source_chain (a), *y = block_qcow2_source_chain (b);

  for (guint i = 0; x != NULL && y != NULL && i < x->links->len; i++)
    for (guint j = 0; j < y->links->len; j++)
      if (same_file (g_ptr_array_index (x->links, i), g_ptr_array_index (y->links, j)))
        return true;
  return false;
}

static bool
is_data (const BlockQcow2Piece *piece)
{
  return piece->kind == BLOCK_QCOW2_DATA || piece->kind == BLOCK_QCOW2_PACKED;
}

/* Both pieces have the byte at @at. */
static bool
same_place (const Difference *self, const BlockQcow2Piece *mine, const BlockQcow2Piece *theirs,
            uint64_t at)
{
  if (!is_data (mine) || !is_data (theirs))
    return !is_data (mine) && !is_data (theirs);
  if (mine->kind != theirs->kind)
    return false;
  if (mine->kind == BLOCK_QCOW2_PACKED)
    return mine->host == theirs->host &&
           same_file (link_of (self->source, mine), link_of (self->other, theirs));
  return mine->host + (at - mine->guest) == theirs->host + (at - theirs->guest) &&
         same_file (link_of (self->source, mine), link_of (self->other, theirs));
}

static VarveExtentState
state_of (const BlockQcow2Piece *piece)
{
  return is_data (piece) ? VARVE_EXTENT_DATA : VARVE_EXTENT_ZERO;
}

/* Two lists of pieces that cover the same range, side by side. */
static void
compare (const Difference *self, const GArray *mine, const GArray *theirs, VarveExtents *out)
{
  guint i = 0, j = 0;

  while (i < mine->len && j < theirs->len) {
    const BlockQcow2Piece *a = &g_array_index (mine, BlockQcow2Piece, i);
    const BlockQcow2Piece *b = &g_array_index (theirs, BlockQcow2Piece, j);
    uint64_t from = MAX (a->guest, b->guest);
    uint64_t end_a = a->guest + a->length, end_b = b->guest + b->length;
    VarveExtentState state = same_place (self, a, b, from) ? VARVE_EXTENT_CLEAN : state_of (a);

    varve_extents_append (out, from, MIN (end_a, end_b) - from, state);
    i += end_a <= end_b;
    j += end_b <= end_a;
  }
}

static bool
both_have (const Difference *self, uint64_t offset, uint64_t length, VarveExtents *out,
           GError **error)
{
  g_autoptr (GArray) mine = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));
  g_autoptr (GArray) theirs = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));

  if (!block_qcow2_walk (block_qcow2_source_chain (self->source), offset, length, true, mine,
                         error) ||
      !block_qcow2_walk (block_qcow2_source_chain (self->other), offset, length, true, theirs,
                         error))
    return false;
  compare (self, mine, theirs, out);
  return true;
}

static bool
difference_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                    GError **error)
{
  const Difference *self = (const Difference *)source;
  uint64_t end = self->other->size;
  uint64_t common = offset < end ? MIN (length, end - offset) : 0;

  if (common > 0 && !both_have (self, offset, common, out, error))
    return false;
  return common == length ||
         block_source_extents (self->source, offset + common, length - common, out, error);
}

static bool
difference_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  return block_source_read (((Difference *)source)->source, offset, buffer, length, error);
}

static void
difference_free (BlockSource *source)
{
  Difference *self = (Difference *)source;

  block_source_free (self->source);
  block_source_free (self->other);
  g_free (self);
}

static const BlockSourceOps difference_ops = {
  .name = "difference",
  .read = difference_read,
  .extents = difference_extents,
  .free = difference_free,
};

BlockSource *
block_qcow2_difference_new (BlockSource *source, BlockSource *base)
{
  Difference *self = g_new0 (Difference, 1);

  self->base = *source;
  self->base.ops = &difference_ops;
  self->base.label = g_strdup (source->label);
  self->source = source;
  self->other = base;
  return &self->base;
}
