/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A snapshot that lies as QEMU 7.2's does, and the witness that sets it right. */
#include "config.h"

#include "block/fleece.h"

#include <string.h>

#include "block/memory.h"
#include "util/error.h"

#define GRANULE BLOCK_FLEECE_GRANULE
#define SIZE    (16 * GRANULE + 1000)

/* Says zero for the granules of `zeroed`, in its map and in reads that go beyond one granule. */
typedef struct {
  BlockSource base;
  uint8_t data[SIZE];
  bool zeroed[17];
} Liar;

static bool
liar_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  Liar *liar = (Liar *)source;
  bool beyond = offset / GRANULE != (offset + length - 1) / GRANULE;

  memcpy (buffer, liar->data + offset, length);
  for (size_t i = 0; beyond && i < length; i++)
    if (liar->zeroed[(offset + i) / GRANULE])
      ((uint8_t *)buffer)[i] = 0;
  return true;
}

static bool
liar_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
              GError **error)
{
  Liar *liar = (Liar *)source;

  for (uint64_t end = offset + length; offset < end;) {
    uint64_t next = MIN ((offset / GRANULE + 1) * GRANULE, end);

    varve_extents_append (out, offset, next - offset,
                          liar->zeroed[offset / GRANULE] ? VARVE_EXTENT_ZERO : VARVE_EXTENT_DATA);
    offset = next;
  }
  return true;
}

static void
liar_free (BlockSource *source)
{
  g_free (source);
}

static const BlockSourceOps liar_ops = {
  .name = "liar",
  .read = liar_read,
  .extents = liar_extents,
  .free = liar_free,
};

/* @zeroed was copied before it was zeroed; @copied was copied, too, and is told truly. */
static BlockSource *
make_fleece (unsigned zeroed, unsigned copied, uint8_t **out_data)
{
  Liar *liar = g_new0 (Liar, 1);
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autofree uint8_t *nothing = g_malloc0 (SIZE);
  g_autoptr (GError) error = NULL;
  BlockSource *fleece;

  liar->base = (BlockSource){ .ops = &liar_ops,
                              .label = g_strdup ("liar"),
                              .size = SIZE,
                              .block_size = 1,
                              .max_read = 1 << 20,
                              .depth = 4 };
  for (size_t i = 0; i < SIZE; i++)
    liar->data[i] = (uint8_t)(i / 251 + 1) | 1;
  *out_data = liar->data;
  liar->zeroed[zeroed] = true;
  for (unsigned i = 0; i < 17; i++)
    varve_extents_append (map, i * GRANULE, MIN (GRANULE, SIZE - i * GRANULE),
                          i == zeroed || i == copied ? VARVE_EXTENT_DATA : VARVE_EXTENT_CLEAN);
  fleece =
      block_fleece_source_new (&liar->base, block_memory_source_new (nothing, SIZE, map), &error);
  g_assert_no_error (error);
  return fleece;
}

static void
test_reads (void)
{
  uint8_t *data;
  g_autoptr (BlockSource) fleece = make_fleece (3, 7, &data);
  g_autofree uint8_t *buffer = g_malloc (SIZE);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  g_autoptr (GError) error = NULL;

  for (unsigned i = 0; i < 500; i++) {
    uint64_t offset = (uint64_t)g_rand_int_range (random, 0, SIZE - 1);
    size_t length = (size_t)g_rand_int_range (random, 1, (gint32)(SIZE - offset) + 1);

    g_assert_true (block_source_read (fleece, offset, buffer, length, &error));
    g_assert_cmpmem (buffer, length, data + offset, length);
  }
}

static void
test_map (void)
{
  uint8_t *data;
  g_autoptr (BlockSource) fleece = make_fleece (3, 7, &data);
  g_autoptr (BlockSource) last = make_fleece (16, 2, &data);
  g_autoptr (VarveExtents) map = varve_extents_new (), tail = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  g_assert_true (block_source_extents (fleece, 0, SIZE, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_DATA), ==, SIZE);
  g_assert_true (block_source_extents (last, 15 * GRANULE + 5, GRANULE, tail, &error));
  g_assert_cmpuint (varve_extents_bytes (tail, VARVE_EXTENT_DATA), ==, GRANULE);
}

/* Zeros that were not copied stay zeros: they are not read. */
static void
test_honest_zeros (void)
{
  uint8_t *data;
  g_autoptr (BlockSource) fleece = make_fleece (3, 7, &data);
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autoptr (GError) error = NULL;
  Liar *liar = (Liar *)((uint8_t *)data - G_STRUCT_OFFSET (Liar, data));

  liar->zeroed[5] = true;
  g_assert_true (block_source_extents (fleece, 0, SIZE, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_ZERO), ==, GRANULE);
}

static void
test_sizes (void)
{
  uint8_t bytes[10] = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_null (block_fleece_source_new (block_memory_source_new (bytes, 10, NULL),
                                          block_memory_source_new (bytes, 9, NULL), &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_PROTOCOL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fleece/reads", test_reads);
  g_test_add_func ("/fleece/map", test_map);
  g_test_add_func ("/fleece/honest-zeros", test_honest_zeros);
  g_test_add_func ("/fleece/sizes", test_sizes);
  return g_test_run ();
}
