/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The checked front door of every source. An implementation sees only ranges that lie within the
 * disk, begin and end on its block size (or at the end of the disk), and are no longer than its
 * largest read. A caller sees only maps that cover what was asked for: nothing missing, nothing
 * beyond.
 */
#include "config.h"
#include "block/source.h"

#include <string.h>

#include "util/checked.h"
#include "util/error.h"

static bool
check_range (const BlockSource *source, const char *doing, uint64_t offset, uint64_t length,
             GError **error)
{
  uint64_t end;

  if (varve_add (offset, length, &end) && end <= source->size)
    return true;
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "%s of %" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
                      " of %s was asked for, which has %" G_GUINT64_FORMAT " bytes.",
                      doing, length, offset, source->label, source->size);
}

/* Bytes of one block (or of its part before the end of the disk), of which the caller wants some.
 */
static bool
read_in_block (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  uint64_t start = varve_round_down (offset, source->block_size);
  size_t whole = MIN (source->block_size, source->size - start);
  g_autofree uint8_t *bounce = g_malloc (whole);

  if (!source->ops->read (source, start, bounce, whole, error))
    return false;
  memcpy (buffer, bounce + (offset - start), length);
  return true;
}

/* How much of [offset, offset + length) can be read without rounding: 0 where it begins inside a
 * block, or ends inside the one it begins in. */
static size_t
whole_blocks (const BlockSource *source, uint64_t offset, size_t length)
{
  size_t most = MAX (varve_round_down (source->max_read, source->block_size), source->block_size);

  if ((offset & (source->block_size - 1)) != 0)
    return 0;
  if (length > most)
    return most;
  if (offset + length == source->size)
    return length;
  return varve_round_down (length, source->block_size);
}

bool
block_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length,
                   GError **error)
{
  uint8_t *to = buffer;

  if (!check_range (source, "A read", offset, length, error))
    return false;
  while (length > 0) {
    size_t part = whole_blocks (source, offset, length);
    if (part > 0) {
      if (!source->ops->read (source, offset, to, part, error))
        return false;
    } else {
      part = MIN (length, source->block_size - (offset & (source->block_size - 1)));
      if (!read_in_block (source, offset, to, part, error))
        return false;
    }
    offset += part;
    to += part;
    length -= part;
  }
  return true;
}

static bool
check_extents (const BlockSource *source, uint64_t offset, uint64_t length,
               const VarveExtents *extents, GError **error)
{
  uint64_t at = offset;

  for (size_t i = 0; i < varve_extents_count (extents); i++) {
    const VarveExtent *extent = varve_extents_get (extents, i);
    if (extent->offset != at || extent->length == 0 || extent->state > VARVE_EXTENT_CLEAN ||
        extent->length > offset + length - at)
      return varve_throw (
          error, VARVE_ERROR_SOURCE_PROTOCOL,
          "The map of %s is not to be trusted: asked for %" G_GUINT64_FORMAT
          " bytes at offset %" G_GUINT64_FORMAT ", it gave an extent of %" G_GUINT64_FORMAT
          " bytes at offset %" G_GUINT64_FORMAT " where one at %" G_GUINT64_FORMAT " was due.",
          source->label, length, offset, extent->length, extent->offset, at);
    at += extent->length;
  }
  if (at == offset + length)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                      "The map of %s is not to be trusted: asked for %" G_GUINT64_FORMAT
                      " bytes at offset %" G_GUINT64_FORMAT ", it ends at %" G_GUINT64_FORMAT ".",
                      source->label, length, offset, at);
}

/* The answer goes into a list of its own first: appended to @out at once, its first extent could
 * melt into the last one there, and an overlap could not be told from a neighbour. */
bool
block_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                      GError **error)
{
  g_autoptr (VarveExtents) answer = NULL;

  if (!check_range (source, "The map", offset, length, error))
    return false;
  if (source->ops->extents == NULL) {
    varve_extents_append (out, offset, length, VARVE_EXTENT_DATA);
    return true;
  }

  answer = varve_extents_new ();
  if (!source->ops->extents (source, offset, length, answer, error) ||
      !check_extents (source, offset, length, answer, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (answer); i++) {
    const VarveExtent *extent = varve_extents_get (answer, i);
    varve_extents_append (out, extent->offset, extent->length, extent->state);
  }
  return true;
}

/* Whole units only: the rest of one may still be wanted, with its neighbour. */
void
block_source_release (BlockSource *source, uint64_t offset, uint64_t length)
{
  uint64_t start, end;

  if (source->ops->release == NULL || source->release_unit == 0 ||
      !varve_add (offset, length, &end) || end > source->size)
    return;
  start = varve_round_up (offset, source->release_unit);
  if (end < source->size)
    end = varve_round_down (end, source->release_unit);
  if (start < end)
    source->ops->release (source, start, end - start);
}

void
block_source_interrupt (BlockSource *source)
{
  if (source->ops->interrupt != NULL)
    source->ops->interrupt (source);
}

void
block_source_free (BlockSource *source)
{
  if (source == NULL)
    return;
  g_free (source->label);
  source->ops->free (source);
}
