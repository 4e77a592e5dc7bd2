/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A directory of qcow2 images, made by our writer or by QEMU, and QEMU's word for what they hold.
 * QEMU's tools are the independent reader. */
#pragma once

#include <string.h>
#include <sys/wait.h>

#include "block/qcow2-source.h"
#include "block/qcow2.h"
#include "util/durable.h"
#include "util/error.h"

typedef struct {
  char *dir;
  char *raw; /* where QEMU's word goes */
  GRand *rand;
} Images;

static inline void
images_set_up (Images *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("varve-qcow2-source-XXXXXX", &error);
  g_assert_no_error (error);
  f->raw = g_build_filename (f->dir, "qemu.raw", NULL);
  f->rand = g_rand_new_with_seed (20240517);
}

static inline void
images_tear_down (Images *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  varve_remove_tree (f->dir, &error);
  g_assert_no_error (error);
  g_free (f->dir);
  g_free (f->raw);
  g_rand_free (f->rand);
}

static inline char *
image_path (const Images *f, unsigned i)
{
  return g_strdup_printf ("%s/%u.qcow2", f->dir, i);
}

/* Takes @argv. Whether it ended with 0. */
static inline bool
spawn (const Images *f, GPtrArray *argv)
{
  g_autofree char *out = NULL, *err = NULL;
  g_autoptr (GError) error = NULL;
  int status;

  g_ptr_array_add (argv, NULL);
  g_spawn_sync (f->dir, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                &status, &error);
  g_assert_no_error (error);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) != 0)
    g_test_message ("%s: %s%s", (char *)argv->pdata[0], out, err);
  g_ptr_array_unref (argv);
  return WEXITSTATUS (status) == 0;
}

/* @command is split at blanks; it runs in the directory. */
static inline bool
try_run (const Images *f, const char *command)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) words = g_strsplit (command, " ", -1);

  for (char **word = words; *word != NULL; word++)
    g_ptr_array_add (argv, g_strdup (*word));
  return spawn (f, argv);
}

static inline void G_GNUC_PRINTF (2, 3) run (const Images *f, const char *format, ...)
{
  g_autofree char *command = NULL;
  va_list args;

  va_start (args, format);
  command = g_strdup_vprintf (format, args);
  va_end (args);
  if (!try_run (f, command))
    g_error ("'%s' failed", command);
}

/* One qemu-io for many commands, which are separated by ';'. */
static inline void
qemu_io (const Images *f, const char *path, const char *commands)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) each = g_strsplit (commands, ";", -1);

  g_ptr_array_add (argv, g_strdup ("qemu-io"));
  g_ptr_array_add (argv, g_strdup ("-f"));
  g_ptr_array_add (argv, g_strdup ("qcow2"));
  for (char **command = each; *command != NULL; command++) {
    g_ptr_array_add (argv, g_strdup ("-c"));
    g_ptr_array_add (argv, g_strdup (*command));
  }
  g_ptr_array_add (argv, g_strdup (path));
  g_assert_true (spawn (f, argv));
}

/* What QEMU reads; NULL where it reads nothing. */
static inline GBytes *
ask_qemu (const Images *f, const char *path)
{
  g_autofree char *command =
      g_strdup_printf ("qemu-img convert -f qcow2 -O raw %s %s", path, f->raw);
  g_autoptr (GError) error = NULL;
  char *data = NULL;
  gsize length = 0;

  if (!try_run (f, command))
    return NULL;
  g_file_get_contents (f->raw, &data, &length, &error);
  g_assert_no_error (error);
  return g_bytes_new_take (data, length);
}

static inline BlockSource *
open_source (const char *path, bool alone)
{
  BlockQcow2SourceOptions options = { .alone = alone };
  g_autoptr (GError) error = NULL;
  BlockSource *source = block_qcow2_source_open (path, &options, &error);

  g_assert_no_error (error);
  return source;
}

/* All of it, in reads of odd sizes; and what the map calls zero is zero. NULL with @error. */
static inline uint8_t *
read_all (BlockSource *source, GRand *rand, GError **error)
{
  g_autofree uint8_t *data = g_malloc (source->size + 1);
  g_autoptr (VarveExtents) map = varve_extents_new ();

  for (uint64_t at = 0, part; at < source->size; at += part) {
    part = (uint64_t)g_rand_int_range (rand, 1, 1 << 20);
    part = MIN (part, source->size - at);
    if (!block_source_read (source, at, data + at, part, error))
      return NULL;
  }
  if (!block_source_extents (source, 0, source->size, map, error))
    return NULL;
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    for (uint64_t at = extent->offset;
         extent->state != VARVE_EXTENT_DATA && at < extent->offset + extent->length; at++)
      g_assert_cmphex (data[at], ==, 0);
  }
  return g_steal_pointer (&data);
}

static inline void
assert_bytes (const uint8_t *got, const uint8_t *wanted, uint64_t length)
{
  for (uint64_t i = 0; i < length; i++)
    if (got[i] != wanted[i])
      g_error ("byte %" G_GUINT64_FORMAT " is %02x, not %02x", i, got[i], wanted[i]);
}

static inline void
assert_like_qemu (const Images *f, unsigned i)
{
  g_autofree char *path = image_path (f, i);
  g_autoptr (BlockSource) source = open_source (path, false);
  g_autoptr (GBytes) wanted = ask_qemu (f, path);
  g_autoptr (GError) error = NULL;
  g_autofree uint8_t *got = read_all (source, f->rand, &error);

  g_assert_no_error (error);
  g_assert_nonnull (wanted);
  g_assert_cmpuint (g_bytes_get_size (wanted), ==, source->size);
  assert_bytes (got, g_bytes_get_data (wanted, NULL), source->size);
}

/* --- images of our writer, with a model ------------------------------------------------------- */

typedef struct {
  uint8_t *bytes; /* of the whole chain */
  uint64_t size;
} Model;

static inline void
model_clear (Model *model)
{
  g_free (model->bytes);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Model, model_clear)

static inline void
model_resize (Model *model, uint64_t size)
{
  model->bytes = g_realloc (model->bytes, size);
  if (size > model->size)
    memset (model->bytes + model->size, 0, size - model->size);
  model->size = size;
}

static inline void
write_some (const Images *f, BlockSink *sink, Model *model)
{
  uint32_t cluster = sink->alignment;
  uint64_t at = (uint64_t)(g_rand_double (f->rand) * (double)sink->size) / cluster * cluster;
  uint64_t length = (uint64_t)cluster * (uint64_t)g_rand_int_range (f->rand, 1, 5);
  g_autoptr (GError) error = NULL;

  length = MIN (length, sink->size - at);
  if (g_rand_int_range (f->rand, 0, 3) == 0) {
    memset (model->bytes + at, 0, length);
    g_assert_true (block_sink_zero (sink, at, length, &error));
  } else {
    for (uint64_t i = 0; i < length; i++)
      model->bytes[at + i] = (uint8_t)g_rand_int (f->rand);
    g_assert_true (block_sink_write (sink, at, model->bytes + at, length, &error));
  }
  g_assert_no_error (error);
}

/* Image number @i, on number i - 1. */
static inline void
add_layer (const Images *f, unsigned i, uint64_t size, uint32_t cluster_size, unsigned writes,
           Model *model)
{
  g_autofree char *path = image_path (f, i);
  g_autofree char *base = g_strdup_printf ("../%s/%u.qcow2", strrchr (f->dir, '/') + 1, i - 1);
  BlockQcow2Options options = { .size = size,
                                .cluster_size = cluster_size,
                                .backing_file = i > 0 ? base : NULL,
                                .backing_format = i > 0 ? "qcow2" : NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockSink) sink = block_qcow2_sink_create (path, &options, &error);

  g_assert_no_error (error);
  model_resize (model, size);
  for (unsigned j = 0; j < writes; j++)
    write_some (f, sink, model);
  g_assert_true (block_sink_flush (sink, &error));
  g_assert_no_error (error);
}

static inline void
assert_like_model (const Images *f, unsigned i, const Model *model)
{
  g_autofree char *path = image_path (f, i);
  g_autoptr (BlockSource) source = open_source (path, false);
  g_autoptr (GError) error = NULL;
  g_autofree uint8_t *got = read_all (source, f->rand, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (source->size, ==, model->size);
  assert_bytes (got, model->bytes, model->size);
}
