/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Images are written next to a model in memory or in a sparse raw file, and then judged by qemu-img
 * alone: check must find nothing, and compare must find no difference. */
#include "config.h"
#include "block/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/qcow2-map.h"
#include "util/checked.h"
#include "util/error.h"

#define KIB (UINT64_C (1) << 10)
#define MIB (UINT64_C (1) << 20)
#define TIB (UINT64_C (1) << 40)

typedef struct {
  char *dir;
  char *image;
  char *raw;
  char *base;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("varve-qcow2-XXXXXX", &error);
  g_assert_no_error (error);
  f->image = g_build_filename (f->dir, "disk.qcow2", NULL);
  f->raw = g_build_filename (f->dir, "model.raw", NULL);
  f->base = g_build_filename (f->dir, "base.raw", NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_unlink (f->image);
  g_unlink (f->raw);
  g_unlink (f->base);
  g_assert_cmpint (g_rmdir (f->dir), ==, 0);
  g_free (f->dir);
  g_free (f->image);
  g_free (f->raw);
  g_free (f->base);
}

/* Arguments end with NULL. Gives what the command said. */
static char *
run (int expected, const char *first, ...)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  g_autofree char *err = NULL;
  char *out = NULL;
  int status;
  va_list args;

  va_start (args, first);
  for (const char *arg = first; arg != NULL; arg = va_arg (args, const char *))
    g_ptr_array_add (argv, (char *)arg);
  va_end (args);
  g_ptr_array_add (argv, NULL);
  g_spawn_sync (NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                &status, &error);
  g_assert_no_error (error);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) != expected)
    g_error ("'%s %s' gave %d: %s%s", first, (char *)argv->pdata[1], WEXITSTATUS (status), out,
             err);
  return out;
}

static void
judge (const Fixture *f, const char *model)
{
  g_autofree char *check = run (0, "qemu-img", "check", "-f", "qcow2", f->image, NULL);
  g_autofree char *compare =
      run (0, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", f->image, model, NULL);

  g_assert_nonnull (strstr (check, "No errors were found"));
  g_assert_nonnull (strstr (compare, "identical"));
}

static BlockSink *
create (const Fixture *f, uint64_t size, uint32_t cluster_size, const char *backing_file)
{
  BlockQcow2Options options = { .size = size,
                                .cluster_size = cluster_size,
                                .backing_file = backing_file,
                                .backing_format = backing_file != NULL ? "raw" : NULL };
  g_autoptr (GError) error = NULL;
  BlockSink *sink = block_qcow2_sink_create (f->image, &options, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (sink->size, ==, size);
  g_assert_cmpuint (sink->alignment, ==, cluster_size);
  g_assert_cmpint (sink->has_base, ==, backing_file != NULL);
  g_assert_cmpint (sink->reads_as_zero, ==, backing_file == NULL);
  return sink;
}

static void
put (BlockSink *sink, uint64_t offset, const void *buffer, size_t length)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (block_sink_write (sink, offset, buffer, length, &error));
  g_assert_no_error (error);
}

static void
put_zeros (BlockSink *sink, uint64_t offset, uint64_t length)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (block_sink_zero (sink, offset, length, &error));
  g_assert_no_error (error);
}

static void
flush (BlockSink *sink)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (block_sink_flush (sink, &error));
  g_assert_no_error (error);
}

static void
fill_random (GRand *rand, uint8_t *buffer, size_t length)
{
  for (size_t i = 0; i < length; i++)
    buffer[i] = (uint8_t)g_rand_int (rand);
}

static void
save (const char *path, const uint8_t *data, size_t length)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (path, (const char *)data, (gssize)length, &error));
  g_assert_no_error (error);
}

/* Ranges of whole clusters, some of them up to the end of the disk. */
static void
scribble (BlockSink *sink, GRand *rand, uint8_t *model, unsigned times)
{
  uint64_t clusters = varve_round_up (sink->size, sink->alignment) / sink->alignment;

  for (unsigned i = 0; i < times; i++) {
    uint64_t first = (uint64_t)g_rand_int_range (rand, 0, (gint32)clusters);
    uint64_t count = 1 + g_rand_int (rand) % MIN (clusters - first, 9);
    uint64_t offset = first * sink->alignment;
    uint64_t length = MIN (count * sink->alignment, sink->size - offset);

    if (g_rand_int (rand) % 3 == 0) {
      memset (model + offset, 0, length);
      put_zeros (sink, offset, length);
    } else {
      fill_random (rand, model + offset, MIN (length, 5000));
      put (sink, offset, model + offset, length);
    }
  }
}

typedef struct {
  uint32_t cluster_size;
  uint64_t size;
  bool backing;
} Shape;

static const Shape shapes[] = {
  { 512, 300 * 512, false },          { 512, 5 * MIB, true },
  { 4 * KIB, 16 * MIB, false },       { 4 * KIB, 9 * MIB + 1536, true },
  { 64 * KIB, 16 * MIB, true },       { 64 * KIB, 16 * MIB - 512, false },
  { 64 * KIB, 7 * MIB + 512, true },  { 2 * MIB, 32 * MIB, true },
  { 2 * MIB, 21 * MIB + 512, false }, { 2 * MIB, 512, true },
};

static void
test_random (Fixture *f, gconstpointer data)
{
  for (size_t i = 0; i < G_N_ELEMENTS (shapes); i++) {
    const Shape *shape = &shapes[i];
    GRand *rand = g_rand_new_with_seed ((guint32)i + 1);
    g_autofree uint8_t *model = g_malloc0 (shape->size);

    if (shape->backing) {
      memset (model, 0xba, shape->size);
      save (f->base, model, shape->size);
    }
    BlockSink *sink = create (f, shape->size, shape->cluster_size, shape->backing ? f->base : NULL);
    scribble (sink, rand, model, 60);
    flush (sink);
    block_sink_free (sink);
    save (f->raw, model, shape->size);
    judge (f, f->raw);
    g_unlink (f->image);
    g_rand_free (rand);
  }
}

/* As judged by another way of reading: the whole of it, converted. */
static void
test_convert (Fixture *f, gconstpointer data)
{
  const uint64_t size = 3 * MIB + 512;
  GRand *rand = g_rand_new_with_seed (77);
  g_autofree uint8_t *model = g_malloc0 (size);
  g_autofree char *got = NULL;
  gsize length;
  BlockSink *sink = create (f, size, 64 * KIB, NULL);

  scribble (sink, rand, model, 20);
  flush (sink);
  block_sink_free (sink);
  g_free (run (0, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", f->image, f->raw, NULL));
  g_assert_true (g_file_get_contents (f->raw, &got, &length, NULL));
  g_assert_cmpmem (got, length, model, size);
  g_rand_free (rand);
}

static void
test_empty (Fixture *f, gconstpointer data)
{
  BlockSink *sink = create (f, 1 * MIB, 64 * KIB, NULL);
  struct stat st;

  put_zeros (sink, 0, 1 * MIB);
  flush (sink);
  block_sink_free (sink);
  g_autofree uint8_t *model = g_malloc0 (1 * MIB);
  save (f->raw, model, 1 * MIB);
  judge (f, f->raw);
  g_assert_cmpint (g_stat (f->image, &st), ==, 0);
  g_assert_cmpuint (st.st_size, ==, 4 * 64 * KIB); /* header, L1, refcount table and block */
  g_assert_cmpuint (st.st_mode & 07777, ==, 0600);
}

static void
test_no_size (Fixture *f, gconstpointer data)
{
  BlockSink *sink = create (f, 0, 64 * KIB, NULL);

  flush (sink);
  block_sink_free (sink);
  save (f->raw, NULL, 0);
  judge (f, f->raw);
}

/* Same cluster again: data over data, zeros over data, data over zeros; it stays where it was. */
static void
test_rewrite (Fixture *f, gconstpointer data)
{
  const uint64_t size = 4 * 64 * KIB;
  g_autofree uint8_t *model = g_malloc (size);
  BlockSink *sink = create (f, size, 64 * KIB, NULL);
  struct stat st;

  memset (model, 1, size);
  put (sink, 0, model, size);
  memset (model, 2, size);
  put (sink, 0, model, size);
  memset (model, 0, size);
  put_zeros (sink, 0, size);
  memset (model, 3, 64 * KIB);
  put (sink, 0, model, 64 * KIB);
  flush (sink);
  block_sink_free (sink);
  save (f->raw, model, size);
  judge (f, f->raw);
  g_assert_cmpint (g_stat (f->image, &st), ==, 0);
  g_assert_cmpuint (st.st_size, ==, (1 + 4 + 1 + 3) * 64 * KIB);
}

/* What is in the increment is known by itself: zeros are there as zeros, not as "not held". */
static void
test_increment_map (Fixture *f, gconstpointer data)
{
  const uint64_t size = 8 * 64 * KIB;
  g_autofree uint8_t *model = g_malloc (size);
  g_autofree char *map = NULL;
  BlockSink *sink;

  memset (model, 5, size);
  save (f->base, model, size);
  sink = create (f, size, 64 * KIB, f->base);
  put_zeros (sink, 64 * KIB, 2 * 64 * KIB);
  put (sink, 4 * 64 * KIB, model, 64 * KIB);
  flush (sink);
  block_sink_free (sink);

  map = run (0, "qemu-img", "map", "--output=json", f->image, NULL);
  g_assert_nonnull (strstr (map, "\"start\": 0, \"length\": 65536, \"depth\": 1"));
  g_assert_nonnull (strstr (map, "\"start\": 65536, \"length\": 131072, \"depth\": 0, "
                                 "\"present\": true, \"zero\": true"));
  g_assert_nonnull (strstr (map, "\"start\": 262144, \"length\": 65536, \"depth\": 0"));
  g_autofree char *info = run (0, "qemu-img", "info", "--output=json", f->image, NULL);
  g_assert_nonnull (strstr (info, "\"backing-filename-format\": \"raw\""));
  g_assert_nonnull (strstr (info, f->base));
}

static void
raw_put (int fd, uint64_t offset, const void *buffer, size_t length)
{
  g_assert_cmpint (pwrite (fd, buffer, length, (off_t)offset), ==, (ssize_t)length);
}

/* Far more L2 tables than are kept, in an order that makes them come and go. */
static void
test_scattered (Fixture *f, gconstpointer data)
{
  const uint32_t cluster = GPOINTER_TO_UINT (data);
  const uint64_t size = TIB;
  uint64_t covered = (uint64_t)cluster * cluster / 8;
  uint64_t tables = MIN (size / covered, 150);
  g_autofree uint8_t *buffer = g_malloc (2 * cluster);
  GRand *rand = g_rand_new_with_seed (cluster);
  int fd = open (f->raw, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  BlockSink *sink = create (f, size, cluster, NULL);

  g_assert_cmpint (ftruncate (fd, (off_t)size), ==, 0);
  for (unsigned pass = 0; pass < 3; pass++)
    for (uint64_t i = 0; i < tables; i++) {
      /* Two clusters, often on both sides of the boundary of two tables. */
      uint64_t at = (i * (size / covered / tables) + 1) * covered - cluster;
      uint64_t offset = at + (g_rand_int (rand) % 2) * cluster;
      offset = MIN (offset, size - 2 * cluster);
      fill_random (rand, buffer, 64);
      memset (buffer + 64, (int)pass + 1, 2 * cluster - 64);
      put (sink, offset, buffer, 2 * cluster);
      raw_put (fd, offset, buffer, 2 * cluster);
    }
  flush (sink);
  block_sink_free (sink);
  judge (f, f->raw);
  close (fd);
  g_rand_free (rand);
}

static void
claim (BlockQcow2Map *map, uint64_t offset, GArray *runs)
{
  g_autoptr (GError) error = NULL;

  g_array_set_size (runs, 0);
  g_assert_true (block_qcow2_map_claim (map, offset, 4096, runs, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (runs->len, ==, 1);
}

/* A table that was put out comes back as it was, and to the place that it had. */
static void
test_reload (Fixture *f, gconstpointer data)
{
  const unsigned tables = 100;
  g_autofree uint64_t *hosts = g_new (uint64_t, tables);
  g_autoptr (GArray) runs = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Run));
  BlockQcow2Map map = { 0 };
  int fd = open (f->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

  block_qcow2_map_init (&map, fd, "map", tables * 2 * MIB, 12);
  g_assert_cmpuint (map.tables_length, ==, BLOCK_QCOW2_CACHE_MAX_TABLES);
  for (unsigned i = 0; i < tables; i++) {
    claim (&map, i * 2 * MIB, runs);
    hosts[i] = g_array_index (runs, BlockQcow2Run, 0).host;
  }
  g_assert_cmpuint (map.reloads, ==, 0);
  uint64_t end = map.end;
  for (unsigned i = 0; i < tables; i++) {
    claim (&map, i * 2 * MIB, runs);
    g_assert_cmpuint (g_array_index (runs, BlockQcow2Run, 0).host, ==, hosts[i]);
  }
  g_assert_cmpuint (map.reloads, ==, tables);
  /* Only the tables that had not been put out before were given a place meanwhile. */
  g_assert_cmpuint (map.end, ==, end + BLOCK_QCOW2_CACHE_MAX_TABLES * 4096);
  block_qcow2_map_clear (&map);
  close (fd);

  BlockQcow2Map large = { 0 };
  block_qcow2_map_init (&large, -1, "map", TIB, 21);
  g_assert_cmpuint (large.tables_length, ==, BLOCK_QCOW2_CACHE_MIN_TABLES);
  block_qcow2_map_clear (&large);
}

typedef struct {
  BlockSink *sink;
  uint8_t *model;
  unsigned number;
} Writer;

#define WRITERS 8u

static gpointer
write_share (gpointer data)
{
  Writer *writer = data;
  GRand *rand = g_rand_new_with_seed (writer->number);
  uint64_t step = 192 * KIB; /* three clusters */

  for (uint64_t at = writer->number * step; at < writer->sink->size; at += WRITERS * step) {
    size_t length = MIN (step, writer->sink->size - at);
    switch (g_rand_int (rand) % 4) {
    case 0:
      put_zeros (writer->sink, at, length);
      break;
    case 1:
      break;
    default:
      fill_random (rand, writer->model + at, 1000);
      put (writer->sink, at, writer->model + at, length);
    }
  }
  g_rand_free (rand);
  return NULL;
}

static void
test_parallel (Fixture *f, gconstpointer data)
{
  const uint64_t size = 64 * MIB;
  g_autofree uint8_t *model = g_malloc0 (size);
  BlockSink *sink = create (f, size, 64 * KIB, NULL);
  Writer writers[WRITERS];
  GThread *threads[WRITERS];

  for (unsigned i = 0; i < WRITERS; i++) {
    writers[i] = (Writer){ sink, model, i };
    threads[i] = g_thread_new ("writer", write_share, &writers[i]);
  }
  for (unsigned i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
  flush (sink);
  block_sink_free (sink);
  save (f->raw, model, size);
  judge (f, f->raw);
}

/* Until it is flushed it is no image; what is not written stays unwritten. */
static void
test_unfinished (Fixture *f, gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc0 (64 * KIB);
  BlockSink *sink = create (f, 1 * MIB, 64 * KIB, NULL);

  buffer[0] = 1;
  put (sink, 0, buffer, 64 * KIB);
  block_sink_free (sink);
  g_free (run (1, "qemu-img", "info", "-f", "qcow2", f->image, NULL));
}

static void
test_after_flush (Fixture *f, gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc0 (64 * KIB);
  g_autoptr (GError) error = NULL;
  BlockSink *sink = create (f, 1 * MIB, 64 * KIB, NULL);

  flush (sink);
  g_assert_false (block_sink_write (sink, 0, buffer, 64 * KIB, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_UNREACHABLE);
  block_sink_free (sink);
}

static void
test_partial_cluster (Fixture *f, gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc0 (64 * KIB);
  BlockSink *sink = create (f, 1 * MIB + 512, 64 * KIB, NULL);
  const struct {
    uint64_t offset;
    size_t length;
  } wrong[] = { { 512, 64 * KIB }, { 0, 512 }, { 1 * MIB, 511 }, { 1 * MIB, 64 * KIB } };

  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (sink->ops->write (sink, wrong[i].offset, buffer, wrong[i].length, &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
    g_clear_error (&error);
    g_assert_false (sink->ops->zero (sink, wrong[i].offset, wrong[i].length, &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  }
  put (sink, 1 * MIB, buffer, 512);
  flush (sink); /* a refusal is not a failed write */
  block_sink_free (sink);
}

static void
assert_refused (const Fixture *f, const BlockQcow2Options *options, VarveError code)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockSink) sink = block_qcow2_sink_create (f->image, options, &error);

  g_assert_null (sink);
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
test_refused (Fixture *f, gconstpointer data)
{
  g_autofree char *name = g_strnfill (1024, 'n');
  g_autofree char *shorter = g_strnfill (500, 'n');
  const BlockQcow2Options usage[] = {
    { .size = MIB, .cluster_size = 3000 },
    { .size = MIB, .cluster_size = 256 },
    { .size = MIB, .cluster_size = 4 << 20 },
    { .size = MIB, .backing_file = "b" },
    { .size = MIB, .backing_file = name, .backing_format = "raw" },
    { .size = MIB, .cluster_size = 512, .backing_file = shorter, .backing_format = "raw" },
  };
  const BlockQcow2Options unsupported[] = {
    { .size = MIB + 1 },
    { .size = 16 * TIB, .cluster_size = 4 * KIB },
    { .size = UINT64_MAX - 511 },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (usage); i++)
    assert_refused (f, &usage[i], VARVE_ERROR_USAGE);
  for (size_t i = 0; i < G_N_ELEMENTS (unsupported); i++)
    assert_refused (f, &unsupported[i], VARVE_ERROR_UNSUPPORTED);
  g_assert_false (g_file_test (f->image, G_FILE_TEST_EXISTS));
}

/* At the edge of QEMU's limits: QEMU itself must still open it. */
static void
test_largest (Fixture *f, gconstpointer data)
{
  BlockSink *sink = create (f, 7 * TIB + 512, 4 * KIB, NULL);

  flush (sink);
  block_sink_free (sink);
  g_free (run (0, "qemu-img", "check", "-f", "qcow2", f->image, NULL));
}

static void
test_exists (Fixture *f, gconstpointer data)
{
  BlockQcow2Options options = { .size = MIB, .mode = 0640 };
  g_autofree uint8_t *model = g_malloc0 (MIB);
  g_autofree char *old = NULL;
  g_autoptr (GError) error = NULL;

  memset (model, 0xff, MIB);
  save (f->image, model, MIB);
  assert_refused (f, &options, VARVE_ERROR_EXISTS);
  g_assert_true (g_file_get_contents (f->image, &old, NULL, NULL));
  g_assert_cmpmem (old, MIB, model, MIB);

  options.replace = true;
  BlockSink *sink = block_qcow2_sink_create (f->image, &options, &error);
  g_assert_no_error (error);
  flush (sink);
  block_sink_free (sink);
  memset (model, 0, MIB);
  save (f->raw, model, MIB);
  judge (f, f->raw);

  g_autofree char *image = g_steal_pointer (&f->image);
  f->image = g_strdup ("/dev/null");
  assert_refused (f, &options, VARVE_ERROR_REFUSED);
  g_free (f->image);
  f->image = g_steal_pointer (&image);
}

/* A full file system: the first write that does not fit says so, and the file stays no image. */
static void
test_no_space (Fixture *f, gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc0 (MIB);
  g_autoptr (GError) error = NULL;

  if (mount ("none", f->dir, "tmpfs", 0, "size=2m") != 0) {
    g_test_skip ("a file system cannot be mounted here");
    return;
  }
  BlockSink *sink = create (f, 16 * MIB, 64 * KIB, NULL);
  memset (buffer, 7, MIB);
  bool ok = true;
  for (uint64_t at = 0; ok && at < 16 * MIB; at += MIB)
    ok = block_sink_write (sink, at, buffer, MIB, &error);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  g_clear_error (&error);
  g_assert_false (block_sink_flush (sink, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  block_sink_free (sink);
  g_free (run (1, "qemu-img", "info", "-f", "qcow2", f->image, NULL));
  g_assert_cmpint (umount2 (f->dir, MNT_DETACH), ==, 0);
}

/* Metadata that does not fit is a failure of flush, again without a header. */
static void
test_no_space_at_flush (Fixture *f, gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc0 (MIB);
  g_autoptr (GError) error = NULL;

  if (mount ("none", f->dir, "tmpfs", 0, "size=2m") != 0) {
    g_test_skip ("a file system cannot be mounted here");
    return;
  }
  BlockSink *sink = create (f, 16 * MIB, 64 * KIB, NULL);
  memset (buffer, 7, MIB);
  put (sink, 0, buffer, MIB);
  put (sink, MIB, buffer, MIB - 64 * KIB);
  g_assert_false (block_sink_flush (sink, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  block_sink_free (sink);
  g_free (run (1, "qemu-img", "info", "-f", "qcow2", f->image, NULL));
  g_assert_cmpint (umount2 (f->dir, MNT_DETACH), ==, 0);
}

#define ADD(path, data, func) g_test_add (path, Fixture, data, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/qcow2/random", NULL, test_random);
  ADD ("/qcow2/convert", NULL, test_convert);
  ADD ("/qcow2/empty", NULL, test_empty);
  ADD ("/qcow2/no-size", NULL, test_no_size);
  ADD ("/qcow2/rewrite", NULL, test_rewrite);
  ADD ("/qcow2/increment-map", NULL, test_increment_map);
  ADD ("/qcow2/scattered-4k", GUINT_TO_POINTER (4096), test_scattered);
  ADD ("/qcow2/scattered-64k", GUINT_TO_POINTER (65536), test_scattered);
  ADD ("/qcow2/reload", NULL, test_reload);
  ADD ("/qcow2/parallel", NULL, test_parallel);
  ADD ("/qcow2/unfinished", NULL, test_unfinished);
  ADD ("/qcow2/after-flush", NULL, test_after_flush);
  ADD ("/qcow2/partial-cluster", NULL, test_partial_cluster);
  ADD ("/qcow2/refused", NULL, test_refused);
  ADD ("/qcow2/largest", NULL, test_largest);
  ADD ("/qcow2/exists", NULL, test_exists);
  ADD ("/qcow2/no-space", NULL, test_no_space);
  ADD ("/qcow2/no-space-at-flush", NULL, test_no_space_at_flush);
  return g_test_run ();
}
