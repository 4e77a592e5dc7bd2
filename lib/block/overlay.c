/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One layer seen through the next. Which of the two a byte comes from is in the map of the upper
 * one; reads come in order of offset, more or less, so that two windows of it are kept: the one
 * that most readers are in, and its neighbour. The lock covers the windows and is held while one is
 * fetched; interrupt does not take it.
 */
#include "config.h"
#include "block/overlay.h"

#include <string.h>

#include "util/checked.h"

#define WINDOW_BYTES (256ull << 20)
#define WINDOWS      2u

typedef struct {
  uint64_t offset;
  VarveExtents *map; /* NULL: empty slot */
} Window;

typedef struct {
  BlockSource base;
  BlockSource *top;
  BlockSource *below;
  GMutex lock;
  Window windows[WINDOWS]; /* by lock */
  unsigned victim;         /* the window that is replaced next; by lock */
} Overlay;

/* The window that @offset lies in, fetched if need be. */
static const VarveExtents *
overlay_window_locked (Overlay *self, uint64_t offset, GError **error)
{
  uint64_t start = varve_round_down (offset, WINDOW_BYTES);
  uint64_t length = MIN (WINDOW_BYTES, self->base.size - start);
  g_autoptr (VarveExtents) map = NULL;

  for (unsigned i = 0; i < WINDOWS; i++)
    if (self->windows[i].map != NULL && self->windows[i].offset == start)
      return self->windows[i].map;

  map = varve_extents_new ();
  if (!block_source_extents (self->top, start, length, map, error))
    return NULL;
  Window *window = &self->windows[self->victim];
  self->victim = (self->victim + 1) % WINDOWS;
  g_clear_pointer (&window->map, varve_extents_free);
  window->offset = start;
  window->map = g_steal_pointer (&map);
  return window->map;
}

/* The first extent that ends behind @offset. */
static size_t
first_behind (const VarveExtents *map, uint64_t offset)
{
  size_t low = 0;
  size_t high = varve_extents_count (map);

  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const VarveExtent *extent = varve_extents_get (map, middle);
    if (extent->offset + extent->length > offset)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/* The part of the top's map that lies in [offset, end), from the windows. */
static bool
overlay_top_map (Overlay *self, uint64_t offset, uint64_t end, VarveExtents *out, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  while (offset < end) {
    const VarveExtents *map = overlay_window_locked (self, offset, error);
    if (map == NULL)
      return false;
    for (size_t i = first_behind (map, offset); i < varve_extents_count (map) && offset < end;
         i++) {
      const VarveExtent *extent = varve_extents_get (map, i);
      uint64_t to = MIN (extent->offset + extent->length, end);
      varve_extents_append (out, offset, to - offset, extent->state);
      offset = to;
    }
  }
  return true;
}

static bool
read_below (Overlay *self, uint64_t offset, uint8_t *buffer, size_t length, GError **error)
{
  uint64_t size = self->below->size;
  size_t held = offset < size ? MIN (length, size - offset) : 0;

  memset (buffer + held, 0, length - held);
  return held == 0 || block_source_read (self->below, offset, buffer, held, error);
}

static bool
overlay_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  Overlay *self = (Overlay *)source;
  g_autoptr (VarveExtents) map = varve_extents_new ();

  if (!overlay_top_map (self, offset, offset + length, map, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    uint8_t *to = (uint8_t *)buffer + (extent->offset - offset);
    if (extent->state == VARVE_EXTENT_ZERO)
      memset (to, 0, extent->length);
    else if (extent->state == VARVE_EXTENT_DATA) {
      if (!block_source_read (self->top, extent->offset, to, extent->length, error))
        return false;
    } else if (!read_below (self, extent->offset, to, extent->length, error))
      return false;
  }
  return true;
}

static bool
extents_below (Overlay *self, uint64_t offset, uint64_t length, VarveExtents *out, GError **error)
{
  uint64_t size = self->below->size;
  uint64_t held = offset < size ? MIN (length, size - offset) : 0;

  if (held > 0 && !block_source_extents (self->below, offset, held, out, error))
    return false;
  varve_extents_append (out, offset + held, length - held, VARVE_EXTENT_ZERO);
  return true;
}

static bool
overlay_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                 GError **error)
{
  Overlay *self = (Overlay *)source;
  g_autoptr (VarveExtents) map = varve_extents_new ();

  if (!overlay_top_map (self, offset, offset + length, map, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    if (extent->state != VARVE_EXTENT_CLEAN)
      varve_extents_append (out, extent->offset, extent->length, extent->state);
    else if (!extents_below (self, extent->offset, extent->length, out, error))
      return false;
  }
  return true;
}

static void
overlay_interrupt (BlockSource *source)
{
  Overlay *self = (Overlay *)source;

  block_source_interrupt (self->top);
  block_source_interrupt (self->below);
}

static void
overlay_free (BlockSource *source)
{
  Overlay *self = (Overlay *)source;

  for (unsigned i = 0; i < WINDOWS; i++)
    g_clear_pointer (&self->windows[i].map, varve_extents_free);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static const BlockSourceOps overlay_ops = {
  .name = "overlay",
  .read = overlay_read,
  .extents = overlay_extents,
  .interrupt = overlay_interrupt,
  .free = overlay_free,
};

BlockSource *
block_overlay_source_new (BlockSource *top, BlockSource *base)
{
  Overlay *self = g_new0 (Overlay, 1);

  self->base.ops = &overlay_ops;
  self->base.label = g_strdup (top->label);
  self->base.size = top->size;
  self->base.block_size = 1;
  self->base.max_read = UINT32_MAX;
  self->base.depth = MAX (top->depth, base->depth);
  self->top = top;
  self->below = base;
  g_mutex_init (&self->lock);
  return &self->base;
}
