/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Maps of real exports, compared with what nbdinfo says of them. */
#include "config.h"
#include "block/nbd-map.h"

#include <json-glib/json-glib.h>

#include "effort.h"
#include "nbd-server.h"

#define BITMAP "qemu:dirty-bitmap:since"

static BlockNbdOptions
options_for (const Server *s)
{
  return (BlockNbdOptions){ .uri = s->uri,
                            .label = "disk 'vda'",
                            .dirty_context = BITMAP,
                            .allocation_context = "base:allocation" };
}

/* The flags of one context for each @unit bytes, by another client. */
static uint8_t *
other_map (const char *uri, const char *context, uint64_t size, uint64_t unit)
{
  g_autofree char *text = run_command ("nbdinfo --map=%s --json '%s'", context, uri);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  uint8_t *flags = g_malloc0 (size / unit);

  json_parser_load_from_data (parser, text, -1, &error);
  g_assert_no_error (error);
  JsonArray *extents = json_node_get_array (json_parser_get_root (parser));
  for (guint i = 0; i < json_array_get_length (extents); i++) {
    JsonObject *extent = json_array_get_object_element (extents, i);
    uint64_t offset = (uint64_t)json_object_get_int_member (extent, "offset");
    uint64_t length = (uint64_t)json_object_get_int_member (extent, "length");
    for (uint64_t at = offset; at < offset + length; at += unit)
      flags[at / unit] = (uint8_t)json_object_get_int_member (extent, "type");
  }
  return flags;
}

/* Asks in windows; each answer must cover its window (the front door sees to that). */
static VarveExtents *
map_all (BlockSource *source, uint64_t window)
{
  VarveExtents *extents = varve_extents_new ();

  for (uint64_t at = 0; at < source->size; at += window) {
    g_autoptr (GError) error = NULL;
    block_source_extents (source, at, MIN (window, source->size - at), extents, &error);
    g_assert_no_error (error);
  }
  return extents;
}

static void
assert_map (const VarveExtents *extents, const uint8_t *dirty, const uint8_t *allocation,
            uint64_t unit)
{
  for (size_t i = 0; i < varve_extents_count (extents); i++) {
    const VarveExtent *extent = varve_extents_get (extents, i);
    for (uint64_t at = extent->offset; at < extent->offset + extent->length; at += unit) {
      VarveExtentState want =
          (allocation[at / unit] & 2) != 0 ? VARVE_EXTENT_ZERO : VARVE_EXTENT_DATA;
      if (dirty != NULL && dirty[at / unit] == 0)
        want = VARVE_EXTENT_CLEAN;
      if (extent->state != want)
        g_error ("offset %" G_GUINT64_FORMAT " is %d, not %d.", at, extent->state, want);
    }
  }
}

/* 64 MiB, old data in the first half; then the bitmap; then scattered data and zeros. */
static void
make_image (const Server *s)
{
  g_autoptr (GString) commands = g_string_new (NULL);
  GRand *rand = g_rand_new_with_seed (5);

  g_free (run_command ("qemu-img create -q -f qcow2 %s 64M", s->image));
  g_free (run_command ("qemu-io -f qcow2 -c 'write -q -P 1 0 32M' %s", s->image));
  g_free (run_command ("qemu-img bitmap --add %s since", s->image));
  for (unsigned i = 0; i < 150; i++) {
    unsigned kind = g_rand_int (rand) % 3;
    g_string_append_printf (commands, " -c '%s %u %u'",
                            kind == 0   ? "write -q -z"
                            : kind == 1 ? "write -q -z -u"
                                        : "write -q -P 2",
                            g_rand_int (rand) % 1000 * 65536,
                            (1 + g_rand_int (rand) % 5) * (kind == 2 ? 4096 : 65536));
  }
  g_free (run_command ("qemu-io -f qcow2 %s %s", commands->str, s->image));
  g_rand_free (rand);
}

static void
serve_image (Server *s)
{
  g_autofree char *what = g_strdup_printf ("-B since -f qcow2 -r --shared=10 %s", s->image);

  server_start_qemu (s, what);
}

static void
test_dirty_and_allocated (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  const uint64_t windows[] = { 64 * MIB, 3 * MIB, 65536, 100 * KIB };

  make_image (s);
  serve_image (s);
  g_autofree uint8_t *dirty = other_map (s->uri, BITMAP, 64 * MIB, 4096);
  g_autofree uint8_t *allocation = other_map (s->uri, "base:allocation", 64 * MIB, 4096);
  options.contexts_may_share = GPOINTER_TO_INT (data) != 0;
  for (size_t i = 0; i < G_N_ELEMENTS (windows); i++) {
    g_autoptr (BlockSource) source = open_source (&options);
    g_autoptr (VarveExtents) extents = map_all (source, windows[i]);
    assert_map (extents, dirty, allocation, 4096);
    g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_DATA), >, 0);
    g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), >, 0);
    g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_CLEAN), >, 0);
  }
}

/* The same window again is answered again, and so is one before it. */
static void
test_any_order (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  make_image (s);
  serve_image (s);
  g_autofree uint8_t *dirty = other_map (s->uri, BITMAP, 64 * MIB, 4096);
  g_autofree uint8_t *allocation = other_map (s->uri, "base:allocation", 64 * MIB, 4096);
  g_autoptr (BlockSource) source = open_source (&options);
  for (unsigned i = 0; i < rounds_of (50); i++) {
    g_autoptr (VarveExtents) extents = varve_extents_new ();
    g_autoptr (GError) error = NULL;
    block_source_extents (source, (i * 37 % 60) * MIB, 4 * MIB, extents, &error);
    g_assert_no_error (error);
    assert_map (extents, dirty, allocation, 4096);
  }
}

static void
test_dirty_only (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  make_image (s);
  serve_image (s);
  g_autofree uint8_t *dirty = other_map (s->uri, BITMAP, 64 * MIB, 4096);
  g_autofree uint8_t *nothing = g_malloc0 (64 * MIB / 4096);
  options.allocation_context = NULL;
  g_autoptr (BlockSource) source = open_source (&options);
  g_autoptr (VarveExtents) extents = map_all (source, 5 * MIB);
  assert_map (extents, dirty, nothing, 4096);
}

static void
test_allocation_only (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "sparse-random 2G seed=3 percent=10 runlength=200000");
  g_autofree uint8_t *allocation = other_map (s->uri, "base:allocation", 2048 * MIB, 4096);
  options.dirty_context = NULL;
  g_autoptr (BlockSource) source = open_source (&options);
  g_autoptr (VarveExtents) extents = map_all (source, 1024 * MIB);
  assert_map (extents, NULL, allocation, 4096);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), >, 1024 * MIB);
}

/* Larger than what one question can ask about. */
static void
test_large_window (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "memory 3000G");
  options.dirty_context = NULL;
  g_autoptr (BlockSource) source = open_source (&options);
  g_autoptr (VarveExtents) extents = map_all (source, source->size);
  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_ZERO), ==, source->size);
}

static void
test_block_size (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "--filter=blocksize-policy sparse-random 64M percent=30 "
                          "blocksize-minimum=65536 blocksize-preferred=65536 "
                          "blocksize-maximum=1M blocksize-error-policy=error");
  options.dirty_context = NULL;
  g_autoptr (BlockSource) source = open_source (&options);
  g_assert_cmpuint (source->block_size, ==, 65536);
  g_autoptr (VarveExtents) whole = map_all (source, source->size);
  g_autoptr (VarveExtents) odd = map_all (source, 100001);
  g_assert_cmpuint (varve_extents_bytes (odd, VARVE_EXTENT_ZERO), ==,
                    varve_extents_bytes (whole, VARVE_EXTENT_ZERO));
}

/* --- What cannot be had --- */

static void
test_no_bitmap (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  make_image (s);
  serve_image (s);
  options.dirty_context = "qemu:dirty-bitmap:another";
  for (unsigned share = 0; share < 2; share++) {
    g_autoptr (GError) error = NULL;
    options.contexts_may_share = share != 0;
    g_assert_null (block_nbd_source_open (&options, NULL, &error));
    assert_code (error, VARVE_ERROR_CHECKPOINT);
    g_assert_nonnull (strstr (error->message, "qemu:dirty-bitmap:another"));
  }
}

static void
assert_all_data (const BlockNbdOptions *options)
{
  g_autoptr (BlockSource) source = open_source (options);
  g_autoptr (VarveExtents) extents = map_all (source, 3 * MIB);

  g_assert_cmpuint (varve_extents_bytes (extents, VARVE_EXTENT_DATA), ==, source->size);
}

/* Allocation is a help: without it everything is read. */
static void
test_no_allocation (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  options.dirty_context = NULL;
  server_start_nbdkit (s, "--filter=error memory 16M error-extents=EIO error-extents-rate=100%");
  assert_all_data (&options);
  server_stop (s, SIGKILL);
  server_start_nbdkit (s, "--no-sr memory 16M"); /* structured replies: without them no context */
  assert_all_data (&options);
  options.allocation_context = NULL;
  assert_all_data (&options);
}

/* A copy-before-write filter with a bitmap: only what is dirty can be read, or asked about. */
static void
start_snapshot (Server *s)
{
  server_start (s,
                "qemu-storage-daemon --pidfile %s "
                "--blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=%s "
                "--blockdev driver=qcow2,node-name=scratch,discard=unmap,"
                "file.driver=file,file.filename=%s,file.discard=unmap "
                "--blockdev driver=copy-before-write,node-name=cbw,file=d,target=scratch,"
                "bitmap.node=d,bitmap.name=since "
                "--blockdev driver=snapshot-access,node-name=view,file=cbw,discard=unmap "
                "--nbd-server addr.type=unix,addr.path=%s,max-connections=0 "
                "--export type=nbd,id=e,node-name=view,name=vda,"
                "bitmaps.0.node=d,bitmaps.0.name=since,writable=on",
                s->pidfile, s->image, s->other, s->socket);
  g_free (s->uri);
  s->uri = g_strdup_printf ("nbd+unix:///vda?socket=%s", s->socket);
}

static void
read_dirty (BlockSource *source, const VarveExtents *extents)
{
  g_autofree uint8_t *buffer = g_malloc (64 * MIB);

  for (size_t i = 0; i < varve_extents_count (extents); i++) {
    const VarveExtent *extent = varve_extents_get (extents, i);
    g_autoptr (GError) error = NULL;
    bool ok = block_source_read (source, extent->offset, buffer, extent->length, &error);
    if (extent->state == VARVE_EXTENT_CLEAN)
      assert_code (error, VARVE_ERROR_SOURCE_LOST);
    else
      g_assert_no_error (error);
    g_assert_cmpint (ok, ==, extent->state != VARVE_EXTENT_CLEAN);
  }
}

static void
test_snapshot (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  make_image (s);
  serve_image (s);
  g_autofree uint8_t *dirty = other_map (s->uri, BITMAP, 64 * MIB, 4096);
  g_autofree uint8_t *allocation = other_map (s->uri, "base:allocation", 64 * MIB, 4096);
  server_stop (s, SIGTERM);

  g_free (run_command ("qemu-img create -q -f qcow2 %s 64M", s->other));
  start_snapshot (s);
  options.uri = s->uri;
  options.connections = 3;
  g_autoptr (BlockSource) source = open_source (&options);
  g_autoptr (VarveExtents) extents = map_all (source, 16 * MIB);
  assert_map (extents, dirty, allocation, 4096);
  read_dirty (source, extents);
}

#define ADD(path, data, func) g_test_add (path, Server, data, server_set_up, func, server_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/nbd-map/dirty-and-allocated", GINT_TO_POINTER (0), test_dirty_and_allocated);
  ADD ("/nbd-map/dirty-and-allocated-shared", GINT_TO_POINTER (1), test_dirty_and_allocated);
  ADD ("/nbd-map/any-order", NULL, test_any_order);
  ADD ("/nbd-map/dirty-only", NULL, test_dirty_only);
  ADD ("/nbd-map/allocation-only", NULL, test_allocation_only);
  ADD ("/nbd-map/large-window", NULL, test_large_window);
  ADD ("/nbd-map/block-size", NULL, test_block_size);
  ADD ("/nbd-map/no-bitmap", NULL, test_no_bitmap);
  ADD ("/nbd-map/no-allocation", NULL, test_no_allocation);
  ADD ("/nbd-map/snapshot", NULL, test_snapshot);
  return g_test_run ();
}
