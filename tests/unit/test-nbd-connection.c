/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Servers that lie, break off and break the protocol: every answer ends in an error or in the
 * truth, and none in a hang. */
#include "config.h"
#include "block/nbd-connection.h"

#include "block/nbd.h"
#include "phony-nbd.h"
#include "util/error.h"

#define SIZE (UINT64_C (1) << 20)

static BlockNbdOptions
options_for (const Phony *phony)
{
  return (BlockNbdOptions){ .uri = phony->uri,
                            .label = "disk 'vda'",
                            .dirty_context = "qemu:dirty-bitmap:since",
                            .allocation_context = "base:allocation" };
}

static BlockSource *
open_source (const Phony *phony)
{
  BlockNbdOptions options = options_for (phony);
  g_autoptr (GError) error = NULL;
  BlockSource *source = block_nbd_source_open (&options, NULL, &error);

  g_assert_no_error (error);
  return source;
}

static void
assert_code (const GError *error, VarveError code)
{
  g_assert_error (error, VARVE_ERROR, (int)code);
  g_assert_nonnull (strstr (error->message, "disk 'vda'"));
}

/* --- Reads --- */

static bool
read_well (const PhonyRequest *request)
{
  return phony_data (request, PHONY_DONE, request->offset, request->length);
}

/* Says it is done, and has sent half of it. */
static bool
read_half (const PhonyRequest *request)
{
  return phony_data (request, PHONY_DONE, request->offset, request->length / 2);
}

static bool
read_nothing (const PhonyRequest *request)
{
  return phony_chunk (request, PHONY_DONE, PHONY_NONE, 0);
}

/* Would write in front of the buffer. */
static bool
read_before (const PhonyRequest *request)
{
  return phony_data (request, PHONY_DONE, request->offset - 512, request->length);
}

static bool
read_too_much (const PhonyRequest *request)
{
  return phony_data (request, PHONY_DONE, request->offset, request->length + 1);
}

static bool
read_garbage (const PhonyRequest *request)
{
  return phony_send (request->fd, "this is no reply at all, and long enough", 40);
}

/* Data first, then an error: the data is not to be had. */
static bool
read_then_error (const PhonyRequest *request)
{
  return phony_data (request, 0, request->offset, request->length) && phony_error (request, EIO);
}

static bool
read_extents (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 512, 0 };

  return phony_extents (request, PHONY_DONE, PHONY_ALLOCATION, numbers, 2);
}

static bool
read_break_off (const PhonyRequest *request)
{
  uint8_t half[100] = { 0 };

  if (phony_chunk (request, PHONY_DONE, PHONY_DATA, 8 + request->length) &&
      phony_send64 (request->fd, request->offset))
    phony_send (request->fd, half, sizeof half);
  return false;
}

static bool
read_hang_up (const PhonyRequest *request)
{
  return false;
}

typedef struct {
  const char *name;
  PhonyFunc answer;
  VarveError code;
} ReadCase;

static const ReadCase reads[] = {
  { "half", read_half, VARVE_ERROR_SOURCE_READ },
  { "nothing", read_nothing, VARVE_ERROR_SOURCE_READ },
  { "before", read_before, VARVE_ERROR_SOURCE_PROTOCOL },
  { "too-much", read_too_much, VARVE_ERROR_SOURCE_PROTOCOL },
  { "garbage", read_garbage, VARVE_ERROR_SOURCE_PROTOCOL },
  { "then-error", read_then_error, VARVE_ERROR_SOURCE_READ },
  { "extents", read_extents, VARVE_ERROR_SOURCE_PROTOCOL },
  { "break-off", read_break_off, VARVE_ERROR_SOURCE_LOST },
  { "hang-up", read_hang_up, VARVE_ERROR_SOURCE_LOST },
};

static void
test_read (gconstpointer data)
{
  const ReadCase *one = data;
  Phony *phony = phony_start (SIZE, one->answer);
  BlockSource *source = open_source (phony);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[8192];

  g_assert_false (block_source_read (source, 8192, buffer, sizeof buffer, &error));
  assert_code (error, one->code);
  block_source_free (source);
  phony_stop (phony);
}

static void
test_read_well (void)
{
  Phony *phony = phony_start (SIZE, read_well);
  BlockSource *source = open_source (phony);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[8192];

  g_assert_true (block_source_read (source, 8192, buffer, sizeof buffer, &error));
  g_assert_no_error (error);
  for (size_t i = 0; i < sizeof buffer; i++)
    g_assert_cmpint (buffer[i], ==, 0x5a);
  block_source_free (source);
  phony_stop (phony);
}

/* --- Maps. Where a case is about one context, the other one is answered well. --- */

static bool
all_set (const PhonyRequest *request, uint32_t context)
{
  const uint32_t numbers[] = { request->length, 1 };

  return phony_extents (request, PHONY_DONE, context, numbers, 2);
}

/* Which context a connection has is known by the order in which they are opened: the test has each
 * connection answer for one, and lets libnbd drop what it did not ask for. */
static bool
answer_with (const PhonyRequest *request, const uint32_t *numbers, size_t count)
{
  return phony_extents (request, 0, PHONY_DIRTY, numbers, count) &&
         phony_extents (request, 0, PHONY_ALLOCATION, numbers, count) &&
         phony_chunk (request, PHONY_DONE, PHONY_NONE, 0);
}

static bool
map_zero_length (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 4096, 1, 0, 0, request->length, 1 };

  return answer_with (request, numbers, 6);
}

static bool
map_overrun (const PhonyRequest *request)
{
  const uint32_t numbers[] = { request->length, 1, 4096, 0 };

  return answer_with (request, numbers, 4);
}

static bool
map_no_chunk (const PhonyRequest *request)
{
  return phony_chunk (request, PHONY_DONE, PHONY_NONE, 0);
}

static bool
map_wrong_context (const PhonyRequest *request)
{
  return all_set (request, 77);
}

static bool
map_twice (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 4096, 1 };

  return phony_extents (request, 0, PHONY_DIRTY, numbers, 2) &&
         phony_extents (request, 0, PHONY_DIRTY, numbers, 2) &&
         phony_extents (request, 0, PHONY_ALLOCATION, numbers, 2) &&
         phony_extents (request, 0, PHONY_ALLOCATION, numbers, 2) &&
         phony_chunk (request, PHONY_DONE, PHONY_NONE, 0);
}

static bool
map_ragged (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 4096, 1, 4096 };

  return answer_with (request, numbers, 3);
}

static bool
map_no_extents (const PhonyRequest *request)
{
  return answer_with (request, NULL, 0);
}

static bool
map_error (const PhonyRequest *request)
{
  return phony_error (request, EIO);
}

static bool
map_lost (const PhonyRequest *request)
{
  return phony_error (request, EINVAL);
}

static const ReadCase maps[] = {
  { "zero-length", map_zero_length, VARVE_ERROR_SOURCE_PROTOCOL },
  { "overrun", map_overrun, VARVE_ERROR_SOURCE_PROTOCOL },
  { "no-chunk", map_no_chunk, VARVE_ERROR_SOURCE_PROTOCOL },
  { "wrong-context", map_wrong_context, VARVE_ERROR_SOURCE_PROTOCOL },
  { "twice", map_twice, VARVE_ERROR_SOURCE_PROTOCOL },
  { "ragged", map_ragged, VARVE_ERROR_SOURCE_PROTOCOL },
  { "no-extents", map_no_extents, VARVE_ERROR_SOURCE_PROTOCOL },
  { "error", map_error, VARVE_ERROR_SOURCE_READ },
  { "lost", map_lost, VARVE_ERROR_SOURCE_LOST },
  { "hang-up", read_hang_up, VARVE_ERROR_SOURCE_LOST },
};

static void
test_map (gconstpointer data)
{
  const ReadCase *one = data;
  Phony *phony = phony_start (SIZE, one->answer);
  BlockSource *source = open_source (phony);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  g_assert_false (block_source_extents (source, 0, SIZE, extents, &error));
  assert_code (error, one->code);
  block_source_free (source);
  phony_stop (phony);
}

/* As above, but only the allocation is answered badly: that is no better, unless it is an error. */
static void
test_map_allocation (gconstpointer data)
{
  const ReadCase *one = data;
  Phony *phony = phony_start (SIZE, one->answer);
  BlockNbdOptions options = options_for (phony);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  options.dirty_context = NULL;
  BlockSource *source = block_nbd_source_open (&options, NULL, &error);
  g_assert_no_error (error);
  bool ok = block_source_extents (source, 0, SIZE, extents, &error);
  if (one->answer == map_error || one->answer == map_lost) {
    g_assert_no_error (error);
    g_assert_true (ok);
    g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_DATA), ==, SIZE);
  } else
    assert_code (error, one->code);
  block_source_free (source);
  phony_stop (phony);
}

/* The last extent may go beyond what was asked for, and beyond the disk. */
static bool
map_long_last (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 4096, 1, UINT32_MAX, 0 };

  return answer_with (request, numbers, request->length > 4096 ? 4 : 2);
}

static void
assert_extent (const VarveExtents *extents, size_t i, uint64_t offset, uint64_t length,
               VarveExtentState state)
{
  const VarveExtent *extent = varve_extents_get (extents, i);

  g_assert_cmpuint (extent->offset, ==, offset);
  g_assert_cmpuint (extent->length, ==, length);
  g_assert_cmpint (extent->state, ==, state);
}

static void
test_long_last (void)
{
  Phony *phony = phony_start (SIZE, map_long_last);
  BlockSource *source = open_source (phony);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  /* The second window is covered by the first answer. */
  block_source_extents (source, 0, SIZE / 2, extents, &error);
  g_assert_no_error (error);
  block_source_extents (source, SIZE / 2, SIZE / 2, extents, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (varve_extents_count (extents), ==, 2);
  assert_extent (extents, 0, 0, 4096, VARVE_EXTENT_DATA);
  assert_extent (extents, 1, 4096, SIZE - 4096, VARVE_EXTENT_CLEAN);
  block_source_free (source);
  phony_stop (phony);
}

/* One small extent an answer: asked until all is covered. */
static bool
map_stingy (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 4096, request->offset >= SIZE / 2 ? 3 : 0 };

  return answer_with (request, numbers, 2);
}

static void
test_stingy (void)
{
  Phony *phony = phony_start (SIZE, map_stingy);
  BlockSource *source = open_source (phony);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  block_source_extents (source, 0, SIZE, extents, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (varve_extents_count (extents), ==, 2);
  assert_extent (extents, 0, 0, SIZE / 2, VARVE_EXTENT_CLEAN);
  assert_extent (extents, 1, SIZE / 2, SIZE / 2, VARVE_EXTENT_ZERO);
  block_source_free (source);
  phony_stop (phony);
}

/* Extents too small to be true are changed data, so that they cannot fill the memory. */
static bool
map_dust (const PhonyRequest *request)
{
  g_autofree uint32_t *numbers = g_new (uint32_t, request->length * 2);

  for (uint32_t i = 0; i < request->length; i++) {
    numbers[2 * i] = 1;
    numbers[2 * i + 1] = i % 2 * 3;
  }
  return answer_with (request, numbers, request->length * 2);
}

static void
test_dust (void)
{
  Phony *phony = phony_start (SIZE, map_dust);
  BlockSource *source = open_source (phony);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  block_source_extents (source, 0, SIZE, extents, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_CLEAN), ==, 0);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), <=, 1); /* the last byte */
  block_source_free (source);
  phony_stop (phony);
}

/* An answer that ends within the smallest block, which is asked for again and again. */
static bool
map_less_than_a_block (const PhonyRequest *request)
{
  const uint32_t numbers[] = { 1000, 1 };

  return answer_with (request, numbers, 2);
}

static void
test_less_than_a_block (void)
{
  Phony *phony = phony_start (SIZE, map_less_than_a_block);
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  phony->block_sizes[0] = phony->block_sizes[1] = 4096;
  phony->block_sizes[2] = 1 << 20;
  BlockSource *source = open_source (phony);
  g_assert_false (block_source_extents (source, 0, SIZE, extents, &error));
  assert_code (error, VARVE_ERROR_SOURCE_PROTOCOL);
  block_source_free (source);
  phony_stop (phony);
}

/* --- Handshake --- */

static void
test_two_sizes (void)
{
  Phony *phony = phony_start (SIZE, read_well);
  BlockNbdOptions options = options_for (phony);
  g_autoptr (GError) error = NULL;

  phony->grow = 512;
  g_assert_null (block_nbd_source_open (&options, NULL, &error));
  assert_code (error, VARVE_ERROR_SOURCE_PROTOCOL);
  phony_stop (phony);
}

/* Largest transfer: as the server says, but no more than 32 MiB. */
static void
test_block_sizes (void)
{
  Phony *phony = phony_start (SIZE, read_well);

  phony->block_sizes[0] = 512;
  phony->block_sizes[1] = 4096;
  phony->block_sizes[2] = UINT32_MAX;
  BlockSource *source = open_source (phony);
  g_assert_cmpuint (source->block_size, ==, 512);
  g_assert_cmpuint (source->max_read, ==, 32 << 20);
  block_source_free (source);
  phony->block_sizes[2] = 64 << 10;
  source = open_source (phony);
  g_assert_cmpuint (source->max_read, ==, 64 << 10);
  block_source_free (source);
  phony->block_sizes[0] = 0;
  source = open_source (phony);
  g_assert_cmpuint (source->block_size, ==, 1);
  g_assert_cmpuint (source->max_read, ==, 32 << 20);
  block_source_free (source);
  phony_stop (phony);
}

static void
add_cases (const char *where, const ReadCase *cases, size_t count, GTestDataFunc func)
{
  for (size_t i = 0; i < count; i++) {
    g_autofree char *path = g_strdup_printf ("/nbd-connection/%s/%s", where, cases[i].name);
    g_test_add_data_func (path, &cases[i], func);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_cases ("read", reads, G_N_ELEMENTS (reads), test_read);
  add_cases ("map", maps, G_N_ELEMENTS (maps), test_map);
  add_cases ("map-allocation", maps, G_N_ELEMENTS (maps), test_map_allocation);
  g_test_add_func ("/nbd-connection/read-well", test_read_well);
  g_test_add_func ("/nbd-connection/long-last", test_long_last);
  g_test_add_func ("/nbd-connection/stingy", test_stingy);
  g_test_add_func ("/nbd-connection/dust", test_dust);
  g_test_add_func ("/nbd-connection/less-than-a-block", test_less_than_a_block);
  g_test_add_func ("/nbd-connection/two-sizes", test_two_sizes);
  g_test_add_func ("/nbd-connection/block-sizes", test_block_sizes);
  return g_test_run ();
}
