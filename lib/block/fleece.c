/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "block/fleece.h"

#include "util/checked.h"
#include "util/error.h"

typedef struct {
  BlockSource base;
  BlockSource *snapshot;
  BlockSource *copied;
} Fleece;

/* The parts of [offset, offset + length) that have been copied, in whole granules. */
static bool
ask_copied (Fleece *fleece, uint64_t offset, uint64_t length, VarveExtents *out, GError **error)
{
  uint64_t start = varve_round_down (offset, BLOCK_FLEECE_GRANULE);
  uint64_t end = MIN (varve_round_up (offset + length, BLOCK_FLEECE_GRANULE), fleece->base.size);

  return block_source_extents (fleece->copied, start, end - start, out, error);
}

/* Each piece lies within one granule. */
static bool
read_granules (Fleece *fleece, uint64_t start, uint64_t end, uint8_t *to, GError **error)
{
  while (start < end) {
    uint64_t next =
        MIN (varve_round_down (start, BLOCK_FLEECE_GRANULE) + BLOCK_FLEECE_GRANULE, end);

    if (!block_source_read (fleece->snapshot, start, to, next - start, error))
      return false;
    to += next - start;
    start = next;
  }
  return true;
}

static bool
is_within_granule (uint64_t offset, size_t length)
{
  return offset / BLOCK_FLEECE_GRANULE == (offset + length - 1) / BLOCK_FLEECE_GRANULE;
}

static bool
fleece_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  Fleece *fleece = (Fleece *)source;
  g_autoptr (VarveExtents) copied = NULL;
  uint64_t end = offset + length;

  if (!block_source_read (fleece->snapshot, offset, buffer, length, error))
    return false;
  if (is_within_granule (offset, length))
    return true;
  copied = varve_extents_new ();
  if (!ask_copied (fleece, offset, length, copied, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (copied); i++) {
    const VarveExtent *extent = varve_extents_get (copied, i);
    uint64_t from = MAX (extent->offset, offset), to = MIN (extent->offset + extent->length, end);

    if (extent->state != VARVE_EXTENT_CLEAN && from < to &&
        !read_granules (fleece, from, to, (uint8_t *)buffer + (from - offset), error))
      return false;
  }
  return true;
}

/* Appends [start, end), which the snapshot calls zero: what was copied of it is data. */
static bool
append_zero (Fleece *fleece, uint64_t start, uint64_t end, VarveExtents *out, GError **error)
{
  g_autoptr (VarveExtents) copied = varve_extents_new ();

  if (!ask_copied (fleece, start, end - start, copied, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (copied); i++) {
    const VarveExtent *extent = varve_extents_get (copied, i);
    uint64_t from = MAX (extent->offset, start), to = MIN (extent->offset + extent->length, end);

    if (from < to)
      varve_extents_append (out, from, to - from,
                            extent->state == VARVE_EXTENT_CLEAN ? VARVE_EXTENT_ZERO
                                                                : VARVE_EXTENT_DATA);
  }
  return true;
}

static bool
fleece_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                GError **error)
{
  Fleece *fleece = (Fleece *)source;
  g_autoptr (VarveExtents) map = varve_extents_new ();

  if (!block_source_extents (fleece->snapshot, offset, length, map, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);

    if (extent->state != VARVE_EXTENT_ZERO)
      varve_extents_append (out, extent->offset, extent->length, extent->state);
    else if (!append_zero (fleece, extent->offset, extent->offset + extent->length, out, error))
      return false;
  }
  return true;
}

/* The frozen view gives it back; that frees the scratch image, too. */
static void
fleece_release (BlockSource *source, uint64_t offset, uint64_t length)
{
  block_source_release (((Fleece *)source)->snapshot, offset, length);
}

static void
fleece_interrupt (BlockSource *source)
{
  Fleece *fleece = (Fleece *)source;

  block_source_interrupt (fleece->snapshot);
  block_source_interrupt (fleece->copied);
}

static void
fleece_free (BlockSource *source)
{
  Fleece *fleece = (Fleece *)source;

  block_source_free (fleece->snapshot);
  block_source_free (fleece->copied);
  g_free (fleece);
}

static const BlockSourceOps fleece_ops = {
  .name = "fleece",
  .read = fleece_read,
  .extents = fleece_extents,
  .release = fleece_release,
  .interrupt = fleece_interrupt,
  .free = fleece_free,
};

BlockSource *
block_fleece_source_new (BlockSource *snapshot, BlockSource *copied, GError **error)
{
  Fleece *fleece;

  if (copied->size != snapshot->size) {
    varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                 "The scratch image has %" G_GUINT64_FORMAT
                 " bytes, and the frozen view that it belongs to %" G_GUINT64_FORMAT ".",
                 copied->size, snapshot->size);
    block_source_free (snapshot);
    block_source_free (copied);
    return NULL;
  }
  fleece = g_new0 (Fleece, 1);
  fleece->base = *snapshot;
  fleece->base.ops = &fleece_ops;
  fleece->base.label = g_strdup (snapshot->label);
  fleece->snapshot = snapshot;
  fleece->copied = copied;
  return &fleece->base;
}
