/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a sound chain reads as: next to a model where our writer made it, and always next to what
 * QEMU reads. Images that are not sound are in test-qcow2-damage.c. */
#include "config.h"
#include "block/qcow2-source.h"

#include <fcntl.h>
#include <stdio.h>

#include "block/qcow2-cache.h"
#include "effort.h"
#include "qcow2-fixture.h"

#define KIB (UINT64_C (1) << 10)
#define MIB (UINT64_C (1) << 20)
#define GIB (UINT64_C (1) << 30)

static const uint32_t cluster_sizes[] = { 512, 4096, 65536, 2097152 };

static void
forget (const Images *f, unsigned i)
{
  g_autofree char *path = image_path (f, i);

  g_assert_cmpint (remove (path), ==, 0);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void
test_own (Images *f, gconstpointer data)
{
  for (size_t i = 0; i < G_N_ELEMENTS (cluster_sizes); i++) {
    uint64_t size = MIN (cluster_sizes[i] * UINT64_C (301), 21 * MIB) + 512;
    g_auto (Model) model = { 0 };

    for (unsigned layer = 0; layer < 3; layer++)
      add_layer (f, layer, size, cluster_sizes[i], 12, &model);
    assert_like_model (f, 2, &model);
    assert_like_qemu (f, 2);
    for (unsigned layer = 0; layer < 3; layer++)
      forget (f, layer);
  }
}

static void
test_qemu (Images *f, gconstpointer data)
{
  for (size_t i = 0; i < G_N_ELEMENTS (cluster_sizes); i++) {
    uint32_t other = cluster_sizes[(i + 1) % G_N_ELEMENTS (cluster_sizes)];

    run (f, "qemu-img create -q -f qcow2 -o cluster_size=%u 0.qcow2 11M", cluster_sizes[i]);
    qemu_io (f, "0.qcow2",
             "write -P 1 0 3M;write -P 2 5000000 70000;write -z 1M 512k;write -z -u 2M 512k;"
             "discard 2700000 200000;write -P 3 11533824 512");
    assert_like_qemu (f, 0);
    run (f, "qemu-img create -q -f qcow2 -F qcow2 -b 0.qcow2 -o cluster_size=%u 1.qcow2 13M",
         other);
    qemu_io (f, "1.qcow2", "write -P 4 100k 10k;write -z 2M 2M;write -P 5 12M 100k;discard 0 64k");
    assert_like_qemu (f, 1);
  }
}

/* Clusters that have a place before they are written, some of them then made zeros; a size that
 * ends in a cluster, of which the file has only the part that the guest sees. */
/* Of what compresses well, somewhat, and not at all (which QEMU then stores as it is); alone and below others. */
static void
test_compressed (Images *f, gconstpointer data)
{
  g_autofree char *plain = g_build_filename (f->dir, "plain.raw", NULL);
  g_autofree uint8_t *bytes = g_malloc0 (3 * MIB);
  g_autoptr (GError) error = NULL;

  for (size_t i = 0; i < MIB; i++) {
    bytes[i] = (uint8_t)g_rand_int (f->rand);
    bytes[MIB + i] = bytes[i] & 0x13;
    bytes[2 * MIB + i] = (uint8_t)(i >> 15);
  }
  g_assert_true (g_file_set_contents (plain, (char *)bytes, 3 * MIB, &error));
  for (size_t i = 0; i < G_N_ELEMENTS (cluster_sizes); i++) {
    run (f, "qemu-img convert -c -f raw -O qcow2 -o cluster_size=%u plain.raw 0.qcow2",
         cluster_sizes[i]);
    assert_like_qemu (f, 0);
    run (f, "qemu-img create -q -f qcow2 -F qcow2 -b 0.qcow2 1.qcow2 5M");
    qemu_io (f, "1.qcow2", "write -c -P 7 2M 64k;write -P 8 1M 512;write -c -P 9 4128768 64k");
    assert_like_qemu (f, 1);
  }
}

static void
test_preallocated (Images *f, gconstpointer data)
{
  static const char *const ways[] = { "metadata", "falloc", "full" };

  for (size_t i = 0; i < G_N_ELEMENTS (ways); i++) {
    run (f, "qemu-img create -q -f qcow2 -o preallocation=%s 0.qcow2 4195840", ways[i]);
    assert_like_qemu (f, 0);
    qemu_io (f, "0.qcow2", "write -P 7 0 1M;write -z 512k 1M;write -P 8 4195328 512");
    assert_like_qemu (f, 0);
  }
  run (f, "qemu-img create -q -f qcow2 -o lazy_refcounts=on,refcount_bits=1 0.qcow2 1M");
  qemu_io (f, "0.qcow2", "write -P 9 0 64k");
  assert_like_qemu (f, 0);
}

/* A base that ends where the disk goes on: what lies behind is zeros, also where a third image below
 * had bytes there. */
static void
test_sizes (Images *f, gconstpointer data)
{
  static const uint64_t sizes[] = { 2 * MIB, 700 * KIB + 512, 3 * MIB, 3 * MIB + 512 };
  g_auto (Model) model = { 0 };

  for (unsigned i = 0; i < G_N_ELEMENTS (sizes); i++) {
    add_layer (f, i, sizes[i], 65536, i == 0 ? 40 : 2, &model);
    assert_like_model (f, i, &model);
    assert_like_qemu (f, i);
  }
}

static void
test_empty (Images *f, gconstpointer data)
{
  g_autoptr (BlockSource) source = NULL;
  g_autofree char *path = image_path (f, 0);

  run (f, "qemu-img create -q -f qcow2 0.qcow2 0");
  source = open_source (path, false);
  g_assert_cmpuint (source->size, ==, 0);
  g_clear_pointer (&source, block_source_free);
  run (f, "qemu-img create -q -f qcow2 -o cluster_size=2M 0.qcow2 1T");
  source = open_source (path, false);

  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_assert_true (block_source_extents (source, 0, source->size, map, NULL));
  g_assert_cmpuint (varve_extents_count (map), ==, 1);
  g_assert_cmpint (varve_extents_get (map, 0)->state, ==, VARVE_EXTENT_ZERO);
}

static void
test_alone (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 1);
  g_autoptr (BlockSource) source = NULL;
  g_autoptr (VarveExtents) map = varve_extents_new ();
  static const VarveExtent wanted[] = {
    { 0, 65536, VARVE_EXTENT_CLEAN },      { 65536, 131072, VARVE_EXTENT_DATA },
    { 196608, 65536, VARVE_EXTENT_ZERO },  { 262144, 786432, VARVE_EXTENT_CLEAN },
    { 1048576, 65536, VARVE_EXTENT_DATA }, { 1114112, 983040, VARVE_EXTENT_CLEAN },
  };
  uint8_t buffer[512];

  run (f, "qemu-img create -q -f qcow2 0.qcow2 2M");
  qemu_io (f, "0.qcow2", "write -P 1 0 2M");
  run (f, "qemu-img create -q -f qcow2 -F qcow2 -b 0.qcow2 1.qcow2 2M");
  qemu_io (f, "1.qcow2", "write -P 2 64k 128k;write -z 192k 64k;write -P 3 1M 64k");
  forget (f, 0); /* it is not even opened */
  source = open_source (path, true);
  g_assert_true (block_source_extents (source, 0, source->size, map, NULL));
  g_assert_cmpuint (varve_extents_count (map), ==, G_N_ELEMENTS (wanted));
  for (size_t i = 0; i < G_N_ELEMENTS (wanted); i++) {
    g_assert_cmpuint (varve_extents_get (map, i)->offset, ==, wanted[i].offset);
    g_assert_cmpuint (varve_extents_get (map, i)->length, ==, wanted[i].length);
    g_assert_cmpint (varve_extents_get (map, i)->state, ==, wanted[i].state);
  }
  g_assert_true (block_source_read (source, 65536, buffer, sizeof buffer, NULL));
  g_assert_cmpint (buffer[0], ==, 2);
  g_assert_true (block_source_read (source, 0, buffer, sizeof buffer, NULL));
  g_assert_cmpint (buffer[0], ==, 0);
}

/* Layers of either maker, of any cluster size, of any size. */
static void
add_random (const Images *f, unsigned i)
{
  unsigned size = (unsigned)g_rand_int_range (f->rand, 1, 6000) * 512;
  g_autoptr (GString) commands = g_string_new (NULL);
  g_autofree char *path = image_path (f, i);
  g_autofree char *base = i > 0 ? g_strdup_printf ("-F qcow2 -b %u.qcow2 ", i - 1) : g_strdup ("");

  run (f, "qemu-img create -q -f qcow2 -o cluster_size=%u %s%u.qcow2 %u",
       512u << g_rand_int_range (f->rand, 0, 13), base, i, size);
  for (int j = g_rand_int_range (f->rand, 1, 8); j > 0; j--) {
    static const char *const verbs[] = { "write -P", "write -z", "write -z -u", "discard" };
    unsigned verb = (unsigned)g_rand_int_range (f->rand, 0, 6) % G_N_ELEMENTS (verbs);
    unsigned at = (unsigned)g_rand_int_range (f->rand, 0, (gint32)size / 512) * 512;
    unsigned length = (unsigned)g_rand_int_range (f->rand, 1, 600) * 512;

    g_string_append_printf (commands, "%s%s", commands->len > 0 ? ";" : "", verbs[verb]);
    length = MIN (length, size - at);
    if (verb == 0)
      g_string_append_printf (commands, " %d", g_rand_int_range (f->rand, 1, 256));
    g_string_append_printf (commands, " %u %u", at, length);
  }
  qemu_io (f, path, commands->str);
}

static void
test_random (Images *f, gconstpointer data)
{
  for (unsigned round = 0; round < 4; round++)
    for (unsigned i = 0; i < 5; i++) {
      add_random (f, i);
      if (i % 2 == 0)
        assert_like_qemu (f, i);
    }
}

/* --- many links ------------------------------------------------------------------------------- */

static void
test_long (Images *f, gconstpointer data)
{
  g_auto (Model) model = { 0 };

  for (unsigned i = 0; i < 60; i++)
    add_layer (f, i, 4 * MIB + i * 64 * KIB, 4096u << (i % 5), 4, &model);
  assert_like_model (f, 59, &model);
  assert_like_qemu (f, 59);
}

typedef struct {
  BlockSource *source;
  const Model *model;
  guint32 seed;
} Reader;

static gpointer
read_at_random (gpointer data)
{
  Reader *reader = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (reader->seed);
  g_autofree uint8_t *buffer = g_malloc (256 * KIB);

  for (unsigned i = 0; i < rounds_of (200); i++) {
    uint64_t at = (uint64_t)g_rand_int_range (rand, 0, (gint32)reader->model->size);
    uint64_t length = (uint64_t)g_rand_int_range (rand, 1, 256 * KIB);
    g_autoptr (GError) error = NULL;
    g_autoptr (VarveExtents) map = varve_extents_new ();

    length = MIN (length, reader->model->size - at);
    g_assert_true (block_source_read (reader->source, at, buffer, length, &error));
    g_assert_cmpint (memcmp (buffer, reader->model->bytes + at, length), ==, 0);
    g_assert_true (block_source_extents (reader->source, at, length, map, &error));
  }
  return NULL;
}

static void
test_threads (Images *f, gconstpointer data)
{
  g_auto (Model) model = { 0 };
  g_autofree char *path = image_path (f, 19);
  g_autoptr (BlockSource) source = NULL;
  GThread *threads[8];
  Reader readers[8];

  for (unsigned i = 0; i < 20; i++)
    add_layer (f, i, 3 * MIB, 512u << (i % 8), 10, &model);
  source = open_source (path, false);
  for (unsigned i = 0; i < G_N_ELEMENTS (threads); i++) {
    readers[i] = (Reader){ source, &model, i };
    threads[i] = g_thread_new ("reader", read_at_random, &readers[i]);
  }
  for (unsigned i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

/* The worst of maps: 60 links, each of which has every 60th cluster. A lookup of its own for each
 * cluster would be half a million; the bound is generous, as the machine may be busy. */
static void
test_fast_map (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 59);
  g_autoptr (BlockSource) source = NULL;
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autoptr (GTimer) timer = NULL;

  for (unsigned i = 0; i < 60; i++) {
    g_autofree char *layer = image_path (f, i);
    g_autofree char *base = g_strdup_printf ("%u.qcow2", i - 1);
    BlockQcow2Options options = { .size = GIB,
                                  .backing_file = i > 0 ? base : NULL,
                                  .backing_format = i > 0 ? "qcow2" : NULL };
    g_autoptr (BlockSink) sink = block_qcow2_sink_create (layer, &options, NULL);

    for (uint64_t cluster = i; i > 0 && cluster < GIB / 65536; cluster += 60)
      g_assert_true (block_sink_zero (sink, cluster * 65536, 65536, NULL));
    g_assert_true (block_sink_flush (sink, NULL));
  }
  source = open_source (path, false);
  timer = g_timer_new ();
  g_assert_true (block_source_extents (source, 0, GIB, map, NULL));
  g_test_message ("the map of 1 GiB over 60 links took %.1f ms",
                  g_timer_elapsed (timer, NULL) * 1e3);
  g_assert_cmpfloat (g_timer_elapsed (timer, NULL), <, 10);
  g_assert_cmpuint (varve_extents_count (map), ==, 1);
}

/* --- the cache -------------------------------------------------------------------------------- */

static void
test_cache (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 0);
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockQcow2Link) link = NULL;
  g_autoptr (BlockQcow2Slice) held = NULL;
  BlockQcow2Cache *cache = block_qcow2_cache_new (3 * 512);
  uint64_t first;

  run (f, "qemu-img create -q -f qcow2 -o cluster_size=512 0.qcow2 1M");
  qemu_io (f, "0.qcow2", "write -P 1 0 1M");
  link = block_qcow2_link_open (AT_FDCWD, path, path, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (block_qcow2_link_slice_span (link), ==, 32768);
  held = block_qcow2_cache_get (cache, link, 0, 0, &error);
  first = held->entries[0];
  for (uint64_t at = 0; at < MIB; at += 32768) {
    g_autoptr (BlockQcow2Slice) slice = block_qcow2_cache_get (cache, link, 0, at, &error);
    g_autoptr (BlockQcow2Slice) again = block_qcow2_cache_get (cache, link, 0, at + 512, &error);

    g_assert_no_error (error);
    g_assert_true (slice == again);
    g_assert_cmpuint (block_qcow2_cache_bytes (cache), <=, 3 * 512);
  }
  g_autoptr (BlockQcow2Slice) anew = block_qcow2_cache_get (cache, link, 0, 0, &error);
  g_assert_true (anew != held);
  g_assert_cmphex (held->entries[0], ==, first);
  g_assert_cmphex (anew->entries[0], ==, first);
  block_qcow2_cache_free (cache);
}

/* --- locks ------------------------------------------------------------------------------------ */

static void
test_locks (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 0);
  g_autoptr (BlockSource) source = NULL;
  g_autoptr (GSubprocess) writer = NULL;
  char prompt;
  g_autoptr (GError) error = NULL;

  run (f, "qemu-img create -q -f qcow2 0.qcow2 1M");
  source = open_source (path, false);
  run (f, "qemu-io -r -f qcow2 -c quit 0.qcow2");
  g_assert_false (try_run (f, "qemu-io -f qcow2 -c quit 0.qcow2"));
  g_clear_pointer (&source, block_source_free);

  writer = g_subprocess_new (G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error,
                             "qemu-io", "-f", "qcow2", path, NULL);
  g_assert_no_error (error);
  /* Its prompt: the image is open. */
  g_assert_cmpint (
      g_input_stream_read (g_subprocess_get_stdout_pipe (writer), &prompt, 1, NULL, NULL), ==, 1);
  source = block_qcow2_source_open (path, NULL, &error);
  g_assert_null (source);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_output_stream_close (g_subprocess_get_stdin_pipe (writer), NULL, NULL);
  g_subprocess_wait (writer, NULL, NULL);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*test) (Images *, gconstpointer);
  } tests[] = {
    { "/qcow2-source/own", test_own },
    { "/qcow2-source/qemu", test_qemu },
    { "/qcow2-source/compressed", test_compressed },
    { "/qcow2-source/preallocated", test_preallocated },
    { "/qcow2-source/sizes", test_sizes },
    { "/qcow2-source/empty", test_empty },
    { "/qcow2-source/alone", test_alone },
    { "/qcow2-source/random", test_random },
    { "/qcow2-source/long", test_long },
    { "/qcow2-source/threads", test_threads },
    { "/qcow2-source/fast-map", test_fast_map },
    { "/qcow2-source/cache", test_cache },
    { "/qcow2-source/locks", test_locks },
  };

  g_test_init (&argc, &argv, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Images, NULL, images_set_up, tests[i].test, images_tear_down);
  return g_test_run ();
}
