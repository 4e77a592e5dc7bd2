/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Lists of extents. Invariant after every call: items are sorted, do not overlap, have a length,
 * and no two that touch have the same state. Offsets come in order from whoever asks a source, so
 * appending is the only way in. */
#include "config.h"
#include "util/extents.h"

#include "util/checked.h"

VarveExtents *
varve_extents_new (void)
{
  VarveExtents *extents = g_new0 (VarveExtents, 1);

  extents->items = g_array_new (FALSE, FALSE, sizeof (VarveExtent));
  return extents;
}

void
varve_extents_free (VarveExtents *extents)
{
  if (!extents)
    return;
  g_array_unref (extents->items);
  g_free (extents);
}

void
varve_extents_clear (VarveExtents *extents)
{
  g_array_set_size (extents->items, 0);
}

void
varve_extents_append (VarveExtents *extents, uint64_t offset, uint64_t length,
                      VarveExtentState state)
{
  uint64_t end;

  if (length == 0)
    return;
  g_return_if_fail (varve_add (offset, length, &end));

  if (extents->items->len > 0) {
    VarveExtent *last = &g_array_index (extents->items, VarveExtent, extents->items->len - 1);
    uint64_t last_end = last->offset + last->length;

    g_return_if_fail (offset >= last_end);
    if (offset == last_end && state == last->state) {
      last->length += length;
      return;
    }
  }

  VarveExtent extent = { .offset = offset, .length = length, .state = state };
  g_array_append_val (extents->items, extent);
}

size_t
varve_extents_count (const VarveExtents *extents)
{
  return extents->items->len;
}

const VarveExtent *
varve_extents_get (const VarveExtents *extents, size_t i)
{
  g_return_val_if_fail (i < extents->items->len, NULL);
  return &g_array_index (extents->items, VarveExtent, i);
}

uint64_t
varve_extents_bytes (const VarveExtents *extents, VarveExtentState state)
{
  /* Extents do not overlap and end below 2^64, so the sum cannot overflow. */
  uint64_t bytes = 0;

  for (guint i = 0; i < extents->items->len; i++) {
    const VarveExtent *extent = &g_array_index (extents->items, VarveExtent, i);
    if (extent->state == state)
      bytes += extent->length;
  }
  return bytes;
}
