/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Layers seen through each other, against the flat disk that they make up. */
#include "config.h"
#include "block/overlay.h"

#include <errno.h>

#include "block/fault.h"
#include "copy-fixture.h"
#include "effort.h"
#include "util/error.h"

/* A layer on top of @flat, which becomes what is seen through it; grows or shrinks to @size. */
static Probe *
random_layer (uint8_t **flat, uint64_t old_size, uint64_t size)
{
  g_autofree uint8_t *content = random_content (size);
  VarveExtents *map = random_map (content, size, 4096, true);
  Probe *probe;

  *flat = g_realloc (*flat, size + 1);
  if (size > old_size)
    memset (*flat + old_size, 0, size - old_size);
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    if (extent->state == VARVE_EXTENT_CLEAN) /* what the layer does not hold is anything */
      memset (content + extent->offset, 0x77, extent->length);
    else
      memcpy (*flat + extent->offset, content + extent->offset, extent->length);
  }
  probe = probe_new ("layer", content, size, map, true);
  return probe;
}

static void
check_view (BlockSource *view, const uint8_t *flat)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autofree uint8_t *back = g_malloc (view->size);
  GError *error = NULL;

  g_assert_true (block_source_read (view, 0, back, view->size, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (back, view->size, flat, view->size);
  for (unsigned i = 0; i < 20; i++) {
    uint64_t offset = (uint64_t)g_test_rand_int_range (0, (int32_t)view->size);
    uint64_t length = (uint64_t)g_test_rand_int_range (0, (int32_t)(view->size - offset) + 1);
    g_assert_true (block_source_read (view, offset, back, length, &error));
    g_assert_cmpmem (back, length, flat + offset, length);
  }
  g_assert_true (block_source_extents (view, 0, view->size, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_CLEAN), ==, 0);
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    g_assert_true (extent->state == VARVE_EXTENT_DATA ||
                   model_is_zero (flat + extent->offset, extent->length));
  }
}

/* A full layer and two increments on it, each with a size of its own. */
static void
test_random (void)
{
  for (unsigned round = 0; round < rounds_of (20); round++) {
    uint64_t sizes[3];
    for (unsigned i = 0; i < 3; i++)
      sizes[i] = (uint64_t)g_test_rand_int_range (1, 1500000);
    g_autofree uint8_t *flat = random_content (sizes[0]);
    VarveExtents *map = random_map (flat, sizes[0], 4096, false);
    Probe *full = probe_new ("full", flat, sizes[0], map, false);
    Probe *first = random_layer (&flat, sizes[0], sizes[1]);
    BlockSource *lower = block_overlay_source_new (&first->source, &full->source);
    check_view (lower, flat);
    Probe *second = random_layer (&flat, sizes[1], sizes[2]);
    BlockSource *upper = block_overlay_source_new (&second->source, lower);
    check_view (upper, flat);

    block_source_free (upper); /* owns neither */
    block_source_free (lower);
    block_source_free (&second->source);
    block_source_free (&first->source);
    block_source_free (&full->source);
  }
}

static bool
vast_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  memset (buffer, (int)source->depth, length);
  return true;
}

/* Odd MiBs are held by the layer, even ones are clean. */
static bool
vast_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
              GError **error)
{
  uint64_t end = offset + length;

  for (uint64_t at = offset, to; at < end; at = to) {
    to = MIN ((at / BLOCK_COPY_CHUNK + 1) * BLOCK_COPY_CHUNK, end);
    varve_extents_append (out, at, to - at,
                          at / BLOCK_COPY_CHUNK % 2 ? VARVE_EXTENT_DATA : VARVE_EXTENT_CLEAN);
  }
  return true;
}

static void
vast_free (BlockSource *source)
{
}

/* Reads across the windows that the map is kept in, forwards and backwards. */
static void
test_windows (void)
{
  static const BlockSourceOps top_ops = {
    .name = "top", .read = vast_read, .extents = vast_extents, .free = vast_free
  };
  static const BlockSourceOps base_ops = { .name = "base", .read = vast_read, .free = vast_free };
  uint64_t size = 2ull << 30;
  BlockSource top = {
    .ops = &top_ops, .size = size, .block_size = 1, .max_read = UINT32_MAX, .depth = 1
  };
  BlockSource base = {
    .ops = &base_ops, .size = size, .block_size = 1, .max_read = UINT32_MAX, .depth = 2
  };
  BlockSource *view = block_overlay_source_new (&top, &base);
  uint8_t back[2000];
  GError *error = NULL;

  for (unsigned i = 0; i < 3000; i++) {
    uint64_t mib = (uint64_t)g_test_rand_int_range (1, 2048);
    g_assert_true (block_source_read (view, mib * BLOCK_COPY_CHUNK - 1000, back, 2000, &error));
    g_assert_cmpuint (back[0], ==, mib % 2 ? 2 : 1);
    g_assert_cmpuint (back[999], ==, mib % 2 ? 2 : 1);
    g_assert_cmpuint (back[1000], ==, mib % 2 ? 1 : 2);
    g_assert_cmpuint (back[1999], ==, mib % 2 ? 1 : 2);
  }
  block_source_free (view);
}

static void
test_faults (void)
{
  g_autofree uint8_t *flat = g_malloc0 (4096);

  for (unsigned i = 0; i < 4; i++) {
    BlockFault fault = { .op = i % 2 ? BLOCK_FAULT_READ : BLOCK_FAULT_EXTENTS,
                         .nth = 1,
                         .errnum = EIO };
    VarveExtents *map = varve_extents_new ();
    VarveExtents *base_map = varve_extents_new ();
    varve_extents_append (map, 0, 2048, VARVE_EXTENT_DATA);
    varve_extents_append (map, 2048, 2048, VARVE_EXTENT_CLEAN);
    varve_extents_append (base_map, 0, 4096, VARVE_EXTENT_DATA);
    BlockSource *top = &probe_new ("top", flat, 4096, map, false)->source;
    BlockSource *base = &probe_new ("base", flat, 4096, base_map, false)->source;
    if (i < 2)
      top = block_fault_source_new (top, &fault);
    else
      base = block_fault_source_new (base, &fault);
    BlockSource *view = block_overlay_source_new (top, base);
    g_autoptr (VarveExtents) out = varve_extents_new ();
    g_autoptr (GError) error = NULL;
    uint8_t back[4096];

    bool done = i % 2 ? block_source_read (view, 0, back, 4096, &error)
                      : block_source_extents (view, 0, 4096, out, &error);
    g_assert_false (done);
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_READ);
    block_source_free (view);
    block_source_free (top);
    block_source_free (base);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/overlay/random", test_random);
  g_test_add_func ("/overlay/windows", test_windows);
  g_test_add_func ("/overlay/faults", test_faults);
  return g_test_run ();
}
