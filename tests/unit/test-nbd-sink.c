/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Writing to real servers. What they have at the end is judged by qemu-img. */
#include "config.h"
#include "block/nbd.h"

#include <string.h>

#include "nbd-server.h"

#define SIZE (8 * MIB)

static BlockNbdOptions
options_for (const Server *s)
{
  return (BlockNbdOptions){ .uri = s->uri, .label = "disk 'vda'" };
}

static BlockSink *
open_sink (const BlockNbdOptions *options)
{
  g_autoptr (GError) error = NULL;
  BlockSink *sink = block_nbd_sink_open (options, NULL, &error);

  g_assert_no_error (error);
  return sink;
}

static void
fill (uint8_t *buffer, uint8_t seed, size_t length)
{
  for (size_t i = 0; i < length; i++)
    buffer[i] = (uint8_t)(seed + i / 511);
}

typedef struct {
  BlockSink *sink;
  uint8_t *model;
  unsigned number;
} Writer;

/* Every 4th MiB is the writer's: data, and zeros in the middle of it. */
static gpointer
write_share (gpointer data)
{
  Writer *writer = data;

  for (uint64_t at = writer->number * MIB; at < SIZE; at += 4 * MIB) {
    g_autoptr (GError) error = NULL;
    fill (writer->model + at, (uint8_t)writer->number, MIB);
    g_assert_true (block_sink_write (writer->sink, at, writer->model + at, MIB, &error));
    memset (writer->model + at + 256 * KIB, 0, 512 * KIB);
    g_assert_true (block_sink_zero (writer->sink, at + 256 * KIB, 512 * KIB, &error));
    g_assert_no_error (error);
  }
  return NULL;
}

static void
write_by_many (BlockSink *sink, uint8_t *model)
{
  Writer writers[4];
  GThread *threads[4];
  g_autoptr (GError) error = NULL;

  for (unsigned i = 0; i < 4; i++) {
    writers[i] = (Writer){ sink, model, i };
    threads[i] = g_thread_new ("writer", write_share, &writers[i]);
  }
  for (unsigned i = 0; i < 4; i++)
    g_thread_join (threads[i]);
  g_assert_true (block_sink_flush (sink, &error));
  g_assert_no_error (error);
}

static void
assert_image (const Server *s, const char *image, const char *format, const uint8_t *model)
{
  g_autoptr (GError) error = NULL;

  g_file_set_contents (s->other, (const char *)model, SIZE, &error);
  g_assert_no_error (error);
  g_free (run_command ("qemu-img compare -f %s -F raw '%s' %s", format, image, s->other));
}

static void
test_nbdkit (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree uint8_t *model = g_malloc0 (SIZE);
  g_autofree char *what = g_strdup_printf ("%s memory 8M", (const char *)data);

  options.connections = 4;
  server_start_nbdkit (s, what);
  g_autoptr (BlockSink) sink = open_sink (&options);
  g_assert_cmpuint (sink->size, ==, SIZE);
  g_assert_false (sink->reads_as_zero);
  write_by_many (sink, model);
  assert_image (s, s->uri, "raw", model);
}

/* Zeros in an increment hide what the base has. */
static void
test_backing (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree uint8_t *model = g_malloc0 (SIZE);
  g_autofree char *base = g_build_filename (s->dir, "base", NULL);
  g_autofree char *what = g_strdup_printf ("-f qcow2 --discard=unmap --shared=8 %s", s->image);
  g_autoptr (GError) error = NULL;

  memset (model, 0xee, SIZE);
  g_assert_true (g_file_set_contents (base, (const char *)model, SIZE, &error));
  g_free (run_command ("qemu-img create -q -f qcow2 -F raw -b %s %s", base, s->image));
  server_start_qemu (s, what);
  options.connections = 2;
  {
    g_autoptr (BlockSink) sink = open_sink (&options);
    g_assert_true (block_sink_zero (sink, 0, SIZE, &error));
    memset (model, 0, SIZE);
    write_by_many (sink, model);
  }
  server_stop (s, SIGTERM);
  assert_image (s, s->image, "qcow2", model);
}

static void
test_block_size (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree uint8_t *model = g_malloc0 (SIZE);
  g_autoptr (GError) error = NULL;

  server_start_nbdkit (s, "--filter=blocksize-policy memory 8M blocksize-error-policy=error "
                          "blocksize-minimum=4096 blocksize-preferred=64K blocksize-maximum=128K");
  g_autoptr (BlockSink) sink = open_sink (&options);
  g_assert_cmpuint (sink->alignment, ==, 4096);
  g_assert_false (block_sink_write (sink, 512, model, 4096, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  write_by_many (sink, model);
  server_stop (s, SIGKILL);
}

static void
test_read_only (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;

  server_start_nbdkit (s, "-r memory 8M");
  g_assert_null (block_nbd_sink_open (&options, NULL, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
  g_assert_nonnull (strstr (error->message, "read-only"));
}

static void
test_no_server (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;

  g_assert_null (block_nbd_sink_open (&options, NULL, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
}

typedef struct {
  const char *filter;
  VarveError code;
} Answer;

static const Answer answers[] = {
  { "ENOSPC", VARVE_ERROR_NO_SPACE },
  { "EIO", VARVE_ERROR_STORE_UNREACHABLE },
  { "EINVAL", VARVE_ERROR_STORE_UNREACHABLE },
};

static void
test_errors (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  uint8_t buffer[4096] = { 1 };

  for (size_t i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *what =
        g_strdup_printf ("--filter=error memory 8M error=%s error-rate=100%% error-file=%s",
                         answers[i].filter, s->other);
    server_start_nbdkit (s, what);
    g_autoptr (BlockSink) sink = open_sink (&options);
    g_assert_true (g_file_set_contents (s->other, "x", 1, NULL));
    g_assert_false (block_sink_write (sink, 0, buffer, sizeof buffer, &error));
    assert_code (error, answers[i].code);
    g_clear_error (&error);
    g_assert_false (block_sink_zero (sink, 0, sizeof buffer, &error));
    assert_code (error, answers[i].code);
    g_clear_error (&error);
    g_assert_cmpint (g_unlink (s->other), ==, 0);
    g_assert_true (block_sink_write (sink, 0, buffer, sizeof buffer, &error));
    g_assert_no_error (error);
    server_stop (s, SIGKILL);
  }
}

/* A failed flush is a failed flush, not a detail of a cache. */
static void
test_flush_fails (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[4096] = { 1 };

  server_start_nbdkit (s, "eval get_size='echo 8M' pread='exit 1' pwrite='cat >/dev/null' "
                          "can_write='exit 0' can_flush='exit 0' flush='echo EIO >&2; exit 1'");
  g_autoptr (BlockSink) sink = open_sink (&options);
  g_assert_true (block_sink_write (sink, 0, buffer, sizeof buffer, &error));
  g_assert_no_error (error);
  g_assert_false (block_sink_flush (sink, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
}

static void
test_killed (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[4096] = { 1 };

  server_start_nbdkit (s, "memory 8M");
  g_autoptr (BlockSink) sink = open_sink (&options);
  server_stop (s, SIGKILL);
  g_assert_false (block_sink_write (sink, 0, buffer, sizeof buffer, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
  g_clear_error (&error);
  g_assert_false (block_sink_flush (sink, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
}

/* Nobody need come to kill a server that hangs. */
static void
test_stalled (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[4096] = { 1 };

  options.stall_timeout = 1;
  server_start_nbdkit (s, "memory 8M");
  g_autoptr (BlockSink) sink = open_sink (&options);
  server_hang (s);
  g_assert_false (block_sink_write (sink, 0, buffer, sizeof buffer, &error));
  assert_code (error, VARVE_ERROR_STORE_UNREACHABLE);
}

static gpointer
write_once (gpointer data)
{
  uint8_t buffer[4096] = { 1 };
  GError *error = NULL;

  g_assert_false (block_sink_write (data, 0, buffer, sizeof buffer, &error));
  return error;
}

static void
test_interrupt (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "--filter=delay memory 8M wdelay=60");
  g_autoptr (BlockSink) sink = open_sink (&options);
  GThread *thread = g_thread_new ("writer", write_once, sink);
  g_usleep (100000);
  block_sink_interrupt (sink);
  g_autoptr (GError) error = g_thread_join (thread);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

#define ADD(path, data, func) g_test_add (path, Server, data, server_set_up, func, server_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/nbd-sink/nbdkit", "", test_nbdkit);
  ADD ("/nbd-sink/no-zero", "--filter=nozero", test_nbdkit);
  ADD ("/nbd-sink/backing", NULL, test_backing);
  ADD ("/nbd-sink/block-size", NULL, test_block_size);
  ADD ("/nbd-sink/read-only", NULL, test_read_only);
  ADD ("/nbd-sink/no-server", NULL, test_no_server);
  ADD ("/nbd-sink/errors", NULL, test_errors);
  ADD ("/nbd-sink/flush-fails", NULL, test_flush_fails);
  ADD ("/nbd-sink/killed", NULL, test_killed);
  ADD ("/nbd-sink/stalled", NULL, test_stalled);
  ADD ("/nbd-sink/interrupt", NULL, test_interrupt);
  return g_test_run ();
}
