/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files as both ends, and block devices by way of loop devices where this machine lets us have
 * them. */
#include "config.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/copy.h"
#include "block/file.h"
#include "block/memory.h"
#include "util/error.h"

#define MIB (1ull << 20)

typedef struct {
  char *dir;
  char *path;
} Place;

static void
place_set_up (Place *place, gconstpointer data)
{
  GError *error = NULL;

  place->dir = g_dir_make_tmp ("varve-file-XXXXXX", &error);
  g_assert_no_error (error);
  place->path = g_build_filename (place->dir, "disk.raw", NULL);
}

static void
place_tear_down (Place *place, gconstpointer data)
{
  g_unlink (place->path);
  g_assert_cmpint (g_rmdir (place->dir), ==, 0);
  g_free (place->dir);
  g_free (place->path);
}

static BlockSink *
open_sink (const char *path, uint64_t size, BlockFileMode mode)
{
  GError *error = NULL;
  BlockSink *sink = block_file_sink_open (path, size, mode, &error);

  g_assert_no_error (error);
  return sink;
}

static void
finish (BlockSink *sink)
{
  GError *error = NULL;

  block_sink_flush (sink, &error);
  g_assert_no_error (error);
  block_sink_free (sink);
}

static void
fill_file (const char *path, uint8_t byte, uint64_t size)
{
  g_autofree char *bytes = g_malloc (size + 1);
  GError *error = NULL;

  memset (bytes, byte, size);
  g_file_set_contents (path, bytes, (gssize)size, &error);
  g_assert_no_error (error);
}

static void
assert_bytes (const char *path, uint64_t offset, uint64_t length, uint8_t byte)
{
  g_autofree uint8_t *bytes = g_malloc (length);
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (pread (fd, bytes, length, (off_t)offset), ==, (ssize_t)length);
  for (uint64_t i = 0; i < length; i++)
    if (bytes[i] != byte)
      g_error ("%s has %d, not %d, at %" G_GUINT64_FORMAT, path, bytes[i], byte, offset + i);
  close (fd);
}

static struct stat
look_at (const char *path)
{
  struct stat st;

  g_assert_cmpint (stat (path, &st), ==, 0);
  return st;
}

static void
test_create (Place *place, gconstpointer data)
{
  BlockSink *sink = open_sink (place->path, 5 * MIB + 3, BLOCK_FILE_CREATE);
  g_autofree uint8_t *bytes = g_malloc (MIB);
  g_autoptr (GError) error = NULL;

  memset (bytes, 9, MIB);
  g_assert_true (sink->reads_as_zero);
  g_assert_false (sink->has_base);
  g_assert_cmpuint (sink->alignment, ==, 1);
  g_assert_true (block_sink_write (sink, MIB + 1, bytes, MIB, &error));
  g_assert_true (block_sink_zero (sink, 4 * MIB, MIB + 3, &error)); /* a hole already */
  g_assert_true (block_sink_zero (sink, MIB + 5, MIB / 2, &error)); /* no longer one */
  finish (sink);

  struct stat st = look_at (place->path);
  g_assert_cmpint (st.st_size, ==, 5 * MIB + 3);
  g_assert_cmpint (st.st_mode & 07777, ==, 0600);
  g_assert_cmpint (st.st_blocks * 512, <, 2 * MIB);
  assert_bytes (place->path, MIB + 1, 4, 9);
  assert_bytes (place->path, MIB + 5, MIB / 2, 0);
  assert_bytes (place->path, MIB + 5 + MIB / 2, MIB / 2 - 4, 9);
  assert_bytes (place->path, 2 * MIB + 1, 3 * MIB + 2, 0);

  g_assert_null (block_file_sink_open (place->path, 1, BLOCK_FILE_CREATE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  g_assert_cmpint (look_at (place->path).st_size, ==, 5 * MIB + 3);
}

static void
test_replace (Place *place, gconstpointer data)
{
  fill_file (place->path, 0xff, 2 * MIB);
  finish (open_sink (place->path, MIB, BLOCK_FILE_REPLACE));
  g_assert_cmpint (look_at (place->path).st_size, ==, MIB);
  assert_bytes (place->path, 0, MIB, 0);
  g_unlink (place->path);
  finish (open_sink (place->path, MIB, BLOCK_FILE_REPLACE)); /* need not be there */
  g_assert_cmpint (look_at (place->path).st_size, ==, MIB);
}

/* What is written over keeps what it is not told of, zeros are zeros, and the size is the disk's.
 */
static void
test_overwrite (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (block_file_sink_open (place->path, MIB, BLOCK_FILE_OVERWRITE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_clear_error (&error);

  fill_file (place->path, 0xff, 3 * MIB);
  BlockSink *sink = open_sink (place->path, 2 * MIB, BLOCK_FILE_OVERWRITE);
  g_assert_false (sink->reads_as_zero);
  g_assert_true (block_sink_zero (sink, 100, MIB, &error));
  g_assert_true (block_sink_write (sink, 2 * MIB - 3, "abc", 3, &error));
  finish (sink);
  assert_bytes (place->path, 0, 100, 0xff);
  assert_bytes (place->path, 100, MIB, 0);
  assert_bytes (place->path, MIB + 100, MIB - 103, 0xff);
  assert_bytes (place->path, 2 * MIB - 1, 1, 'c');
  g_assert_cmpint (look_at (place->path).st_size, ==, 2 * MIB);

  finish (open_sink (place->path, 4 * MIB, BLOCK_FILE_OVERWRITE));
  g_assert_cmpint (look_at (place->path).st_size, ==, 4 * MIB);
  assert_bytes (place->path, 2 * MIB, 2 * MIB, 0);
}

static void
test_map (Place *place, gconstpointer data)
{
  BlockSink *sink = open_sink (place->path, 8 * MIB, BLOCK_FILE_CREATE);
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autofree uint8_t *bytes = g_malloc (MIB);
  g_autofree uint8_t *back = g_malloc (MIB);
  g_autoptr (GError) error = NULL;

  memset (bytes, 3, MIB);
  g_assert_true (block_sink_write (sink, 2 * MIB, bytes, MIB, &error));
  finish (sink);
  BlockSource *source = block_file_source_open (place->path, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (source->size, ==, 8 * MIB);
  g_assert_true (block_source_extents (source, MIB, 7 * MIB, map, &error));
  g_assert_cmpuint (varve_extents_count (map), ==, 3);
  g_assert_cmpuint (varve_extents_get (map, 1)->offset, ==, 2 * MIB);
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_DATA), ==, MIB);
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_ZERO), ==, 6 * MIB);

  varve_extents_clear (map); /* inside data, inside a hole */
  g_assert_true (block_source_extents (source, 2 * MIB + 5, 7, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_DATA), ==, 7);
  g_assert_true (block_source_extents (source, 6 * MIB + 5, 7, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_ZERO), ==, 7);

  g_assert_true (block_source_read (source, 2 * MIB, back, MIB, &error));
  g_assert_cmpmem (back, MIB, bytes, MIB);
  g_assert_cmpint (truncate (place->path, 2 * MIB), ==, 0); /* behind our back */
  g_assert_false (block_source_read (source, 2 * MIB, back, MIB, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  block_source_free (source);
}

static void
test_wrong_kinds (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (block_file_source_open (place->path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
  g_assert_nonnull (strstr (error->message, place->path));
  g_clear_error (&error);
  g_assert_null (block_file_source_open (place->dir, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
  g_clear_error (&error);
  g_assert_null (block_file_sink_open (place->dir, 1, BLOCK_FILE_OVERWRITE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);

  g_assert_cmpint (mkfifo (place->path, 0600), ==, 0); /* nobody is to wait for the other end */
  g_assert_null (block_file_source_open (place->path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
  g_clear_error (&error);
  g_assert_null (block_file_sink_open (place->path, 1, BLOCK_FILE_REPLACE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
}

/* A file whose size cannot be had is not left behind. */
static void
test_too_large (Place *place, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (block_file_sink_open (place->path, G_MAXINT64, BLOCK_FILE_CREATE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_UNREACHABLE);
  g_assert_false (g_file_test (place->path, G_FILE_TEST_EXISTS));
}

/* A full disk, which is a small tmpfs where we may mount one. */
static void
test_no_space (Place *place, gconstpointer data)
{
  g_autofree char *mount = g_strdup_printf ("mount -t tmpfs -o size=1m varve-test %s", place->dir);
  g_autofree char *umount = g_strdup_printf ("umount %s", place->dir);
  g_autofree uint8_t *bytes = g_malloc0 (2 * MIB);
  g_autoptr (GError) error = NULL;
  int status = 0;

  if (geteuid () != 0 || !g_spawn_command_line_sync (mount, NULL, NULL, &status, NULL) ||
      status != 0) {
    g_test_skip ("cannot mount a tmpfs here");
    return;
  }
  BlockSink *sink = open_sink (place->path, 8 * MIB, BLOCK_FILE_CREATE);
  g_assert_false (block_sink_write (sink, 0, bytes, 2 * MIB, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  g_assert_nonnull (strstr (error->message, place->path));
  block_sink_free (sink);
  g_assert_true (g_spawn_command_line_sync (umount, NULL, NULL, &status, NULL));
  g_assert_cmpint (status, ==, 0);
}

/* A sparse file through the engine and back: same bytes, and as sparse. */
static void
test_copy (Place *place, gconstpointer data)
{
  g_autofree char *other = g_build_filename (place->dir, "copy.raw", NULL);
  BlockSink *sink = open_sink (place->path, 16 * MIB + 700, BLOCK_FILE_CREATE);
  g_autofree uint8_t *bytes = g_malloc (3 * MIB);
  g_autofree char *before = NULL, *after = NULL;
  gsize length_before, length_after;
  GError *error = NULL;

  for (uint64_t i = 0; i < 3 * MIB; i++)
    bytes[i] = (uint8_t)(i * 2654435761u >> 13);
  g_assert_true (block_sink_write (sink, MIB + 777, bytes, 3 * MIB, &error));
  g_assert_true (block_sink_write (sink, 16 * MIB, bytes, 700, &error));
  finish (sink);

  BlockSource *source = block_file_source_open (place->path, &error);
  g_assert_no_error (error);
  sink = open_sink (other, source->size, BLOCK_FILE_CREATE);
  BlockCopy copy = { .source = source, .sink = sink };
  g_assert_true (block_copy (&copy, NULL, NULL, &error));
  g_assert_no_error (error);
  finish (sink);
  block_source_free (source);
  g_assert_true (g_file_get_contents (place->path, &before, &length_before, NULL));
  g_assert_true (g_file_get_contents (other, &after, &length_after, NULL));
  g_assert_cmpmem (before, length_before, after, length_after);
  g_assert_cmpint (look_at (other).st_blocks * 512, <, 5 * MIB);
  g_unlink (other);
}

/* A loop device on @path, or NULL where there are none. (transfer full) */
static char *
loop_new (const char *path)
{
  g_autofree char *command = g_strdup_printf ("losetup --find --show %s", path);
  g_autofree char *out = NULL;
  int status = 0;

  if (geteuid () != 0 || !g_spawn_command_line_sync (command, &out, NULL, &status, NULL) ||
      status != 0)
    return NULL;
  return g_strdup (g_strstrip (out));
}

static void
loop_free (char *device)
{
  g_autofree char *command = g_strdup_printf ("losetup --detach %s", device);
  int status = 0;

  g_assert_true (g_spawn_command_line_sync (command, NULL, NULL, &status, NULL));
  g_assert_cmpint (status, ==, 0);
  g_free (device);
}

/* A used device, larger than the disk: zeros are written, whatever they are next to, and nothing
 * behind the disk's end is touched. */
static void
test_device (Place *place, gconstpointer data)
{
  g_autofree uint8_t *content = g_malloc0 (3 * MIB);
  g_autoptr (VarveExtents) map = varve_extents_new ();
  uint64_t size = 2 * MIB + 700;
  GError *error = NULL;

  fill_file (place->path, 0xff, 4 * MIB);
  char *device = loop_new (place->path);
  if (device == NULL) {
    g_test_skip ("no loop devices here");
    return;
  }
  g_assert_null (block_file_sink_open (device, MIB, BLOCK_FILE_REPLACE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);
  g_assert_null (block_file_sink_open (device, 4 * MIB + 1, BLOCK_FILE_OVERWRITE, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);

  memset (content + 1000, 1, 500);
  varve_extents_append (map, 0, 1000, VARVE_EXTENT_ZERO);
  varve_extents_append (map, 1000, 500, VARVE_EXTENT_DATA);
  varve_extents_append (map, 1500, size - 1500, VARVE_EXTENT_ZERO);
  BlockSource *source = block_memory_source_new (content, size, map);
  BlockSink *sink = open_sink (device, size, BLOCK_FILE_OVERWRITE);
  g_assert_false (sink->reads_as_zero);
  BlockCopy copy = { .source = source, .sink = sink };
  g_assert_true (block_copy (&copy, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_null (block_file_sink_open (device, size, BLOCK_FILE_OVERWRITE, &error)); /* O_EXCL */
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_clear_error (&error);
  finish (sink);
  block_source_free (source);
  assert_bytes (device, 0, 1000, 0);
  assert_bytes (device, 1000, 500, 1);
  assert_bytes (device, 1500, size - 1500, 0);
  assert_bytes (device, size, 4 * MIB - size, 0xff);

  source = block_file_source_open (device, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (source->size, ==, 4 * MIB);
  varve_extents_clear (map);
  g_assert_true (block_source_extents (source, 0, 4 * MIB, map, &error));
  g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_CLEAN), ==, 0);
  block_source_free (source);
  loop_free (device);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add ("/file/" name, Place, NULL, place_set_up, func, place_tear_down)
  ADD ("create", test_create);
  ADD ("replace", test_replace);
  ADD ("overwrite", test_overwrite);
  ADD ("map", test_map);
  ADD ("wrong-kinds", test_wrong_kinds);
  ADD ("too-large", test_too_large);
  ADD ("no-space", test_no_space);
  ADD ("copy", test_copy);
  ADD ("device", test_device);
  return g_test_run ();
}
