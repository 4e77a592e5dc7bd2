/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reading from real servers, and what happens when they fail, hang or go away. */
#include "config.h"
#include "block/nbd.h"

#include "block/memory.h"
#include "block/qcow2.h"
#include "block/copy.h"
#include "nbd-server.h"

#define READERS 8u

static BlockNbdOptions
options_for (const Server *s)
{
  return (BlockNbdOptions){ .uri = s->uri,
                            .label = "disk 'vda'",
                            .allocation_context = "base:allocation" };
}

/* nbdkit's pattern plugin: each 8 bytes are their own offset, big-endian. */
static void
assert_pattern (const uint8_t *buffer, uint64_t offset, size_t length)
{
  for (size_t i = 0; i < length; i++) {
    uint64_t at = offset + i;
    uint8_t want = (uint8_t)((at & ~UINT64_C (7)) >> (8 * (7 - (at & 7))));
    if (buffer[i] != want)
      g_error ("offset %" G_GUINT64_FORMAT " has %02x, not %02x.", at, buffer[i], want);
  }
}

typedef struct {
  BlockSource *source;
  unsigned seed;
  unsigned reads;
} Reader;

static gpointer
read_at_random (gpointer data)
{
  Reader *reader = data;
  GRand *rand = g_rand_new_with_seed (reader->seed);
  g_autofree uint8_t *buffer = g_malloc (512 * KIB);

  for (unsigned i = 0; i < reader->reads; i++) {
    g_autoptr (GError) error = NULL;
    uint64_t offset = g_rand_int (rand) % (reader->source->size - 1);
    size_t length = 1 + g_rand_int (rand) % (512 * KIB);
    length = MIN (length, reader->source->size - offset);
    bool ok = block_source_read (reader->source, offset, buffer, length, &error);
    g_assert_no_error (error);
    g_assert_true (ok);
    assert_pattern (buffer, offset, length);
  }
  g_rand_free (rand);
  return NULL;
}

static void
read_by_many (BlockSource *source, unsigned reads)
{
  Reader readers[READERS];
  GThread *threads[READERS];

  for (unsigned i = 0; i < READERS; i++) {
    readers[i] = (Reader){ source, i, reads };
    threads[i] = g_thread_new ("reader", read_at_random, &readers[i]);
  }
  for (unsigned i = 0; i < READERS; i++)
    g_thread_join (threads[i]);
}

static void
test_read (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "pattern 256M");
  for (options.connections = 0; options.connections <= 4; options.connections += 2) {
    g_autoptr (BlockSource) source = open_source (&options);
    g_assert_cmpuint (source->size, ==, 256 * MIB);
    g_assert_cmpuint (source->block_size, ==, 1);
    g_assert_cmpuint (source->depth, ==, 16 * MAX (options.connections, 1));
    read_by_many (source, 40);
  }
}

/* Without several connections as one there are no more of them, whatever is asked for. */
static void
test_no_multi_conn (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  options.connections = 4;
  server_start_nbdkit (s, "--filter=multi-conn pattern 4M multi-conn-mode=disable");
  g_autoptr (BlockSource) source = open_source (&options);
  g_assert_cmpuint (source->depth, ==, 16);
  read_by_many (source, 5);
}

/* A server that takes fewer connections than are wanted is read by those that it takes. */
static void
test_fewer_connections (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  options.connections = 4;
  options.connect_timeout = 10;
  server_start_nbdkit (s, "--filter=limit pattern 4M limit=2");
  g_autoptr (BlockSource) source = open_source (&options);
  g_assert_cmpuint (source->depth, ==, 2 * 16);
  read_by_many (source, 5);
}

static void
test_block_sizes (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "--filter=blocksize-policy pattern 16M blocksize-error-policy=error "
                          "blocksize-minimum=4096 blocksize-preferred=64K blocksize-maximum=128K");
  g_autoptr (BlockSource) source = open_source (&options);
  g_assert_cmpuint (source->block_size, ==, 4096);
  g_assert_cmpuint (source->max_read, ==, 128 * KIB);
  read_by_many (source, 10);
}

/* An end that is inside a block: what the server gives of it is had. */
static void
test_odd_size (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;
  uint8_t buffer[5000];

  server_start_nbdkit (s, "pattern 1000003");
  g_autoptr (BlockSource) source = open_source (&options);
  g_assert_cmpuint (source->size, ==, 1000003);
  g_assert_true (
      block_source_read (source, 1000003 - sizeof buffer, buffer, sizeof buffer, &error));
  g_assert_no_error (error);
  assert_pattern (buffer, 1000003 - sizeof buffer, sizeof buffer);
}

typedef struct {
  const char *errnum;
  VarveError code;
} Answer;

static const Answer answers[] = {
  { "EIO", VARVE_ERROR_SOURCE_READ },       { "ENOMEM", VARVE_ERROR_SOURCE_READ },
  { "EPERM", VARVE_ERROR_SOURCE_READ },     { "EINVAL", VARVE_ERROR_SOURCE_LOST },
  { "ESHUTDOWN", VARVE_ERROR_SOURCE_LOST },
};

/* The errors of a server, one by one; the connection outlives them. */
static void
test_errors (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  uint8_t buffer[4096];

  for (size_t i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *what =
        g_strdup_printf ("--filter=error pattern 1M error-pread=%s error-pread-rate=100%% "
                         "error-pread-file=%s",
                         answers[i].errnum, s->other);
    server_start_nbdkit (s, what);
    g_autoptr (BlockSource) source = open_source (&options);
    g_assert_true (g_file_set_contents (s->other, "x", 1, NULL));
    g_assert_false (block_source_read (source, 4096, buffer, sizeof buffer, &error));
    assert_code (error, answers[i].code);
    g_assert_nonnull (strstr (error->message, "read of 4096 bytes at offset 4096"));
    g_assert_cmpint (g_unlink (s->other), ==, 0);
    g_clear_error (&error);
    g_assert_true (block_source_read (source, 4096, buffer, sizeof buffer, &error));
    g_assert_no_error (error);
    assert_pattern (buffer, 4096, sizeof buffer);
    server_stop (s, SIGKILL); /* SIGTERM would wait for the client */
  }
}

/* Some fail, the others are right: a failed read is never taken for another's. */
static gpointer
read_with_errors (gpointer data)
{
  Reader *reader = data;
  g_autofree uint8_t *buffer = g_malloc (64 * KIB);

  for (unsigned i = 0; i < 200; i++) {
    g_autoptr (GError) error = NULL;
    uint64_t offset = (i * READERS + reader->seed) * KIB;
    if (block_source_read (reader->source, offset, buffer, 64 * KIB, &error))
      assert_pattern (buffer, offset, 64 * KIB);
    else {
      assert_code (error, VARVE_ERROR_SOURCE_READ);
      reader->reads++;
    }
  }
  return NULL;
}

static void
test_some_errors (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  Reader readers[READERS];
  GThread *threads[READERS];
  unsigned failed = 0;

  options.connections = 2;
  server_start_nbdkit (s, "--filter=error pattern 16M error-pread=EIO error-pread-rate=30%");
  g_autoptr (BlockSource) source = open_source (&options);
  for (unsigned i = 0; i < READERS; i++) {
    readers[i] = (Reader){ source, i, 0 };
    threads[i] = g_thread_new ("reader", read_with_errors, &readers[i]);
  }
  for (unsigned i = 0; i < READERS; i++) {
    g_thread_join (threads[i]);
    failed += readers[i].reads;
  }
  g_assert_cmpuint (failed, >, 200);
  g_assert_cmpuint (failed, <, 1400);
}

/* --- Servers that go away or hang --- */

static gpointer
read_until_failure (gpointer data)
{
  BlockSource *source = data;
  g_autofree uint8_t *buffer = g_malloc (256 * KIB);
  GError *error = NULL;

  while (block_source_read (source, 0, buffer, 256 * KIB, &error))
    ;
  return error;
}

static void
assert_all_fail (GThread **threads, GQuark domain, int code)
{
  for (unsigned i = 0; i < READERS; i++) {
    g_autoptr (GError) error = g_thread_join (threads[i]);
    g_assert_error (error, domain, code);
  }
}

static void
start_readers (BlockSource *source, GThread **threads)
{
  for (unsigned i = 0; i < READERS; i++)
    threads[i] = g_thread_new ("reader", read_until_failure, source);
  g_usleep (200000);
}

static void
assert_stays_failed (BlockSource *source, GQuark domain, int code)
{
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  g_autoptr (GError) error = NULL;
  uint8_t buffer[512];

  g_assert_false (block_source_read (source, 0, buffer, sizeof buffer, &error));
  g_assert_error (error, domain, code);
  g_clear_error (&error);
  g_assert_false (block_source_extents (source, 0, MIB, extents, &error));
  g_assert_error (error, domain, code);
}

static void
test_killed (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  GThread *threads[READERS];

  server_start_nbdkit (s, "--filter=delay pattern 16M rdelay=20ms");
  g_autoptr (BlockSource) source = open_source (&options);
  start_readers (source, threads);
  server_stop (s, SIGKILL);
  assert_all_fail (threads, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  assert_stays_failed (source, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
}

/* Nobody was reading when it went. */
static void
test_killed_idle (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "pattern 16M");
  g_autoptr (BlockSource) source = open_source (&options);
  server_stop (s, SIGKILL);
  assert_stays_failed (source, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
}

static void
test_stalled (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  GThread *threads[READERS];
  gint64 start;

  options.stall_timeout = 1;
  server_start_nbdkit (s, "--filter=delay pattern 16M rdelay=5ms");
  g_autoptr (BlockSource) source = open_source (&options);
  start_readers (source, threads);
  server_hang (s);
  start = g_get_monotonic_time ();
  assert_all_fail (threads, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_assert_cmpint (g_get_monotonic_time () - start, <, AT_ONCE);
  assert_stays_failed (source, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
}

/* A server that is slow but moves is not one that hangs, nor is one of which nothing is asked. */
static void
test_not_stalled (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree uint8_t *buffer = g_malloc (3 * MIB);
  g_autoptr (GError) error = NULL;

  options.stall_timeout = 2;
  server_start_nbdkit (s, "--filter=rate pattern 16M rate=8M");
  g_autoptr (BlockSource) source = open_source (&options);
  g_usleep (2200000);
  g_assert_true (block_source_read (source, 0, buffer, 3 * MIB, &error)); /* 24 Mbit */
  g_assert_no_error (error);
  assert_pattern (buffer, 0, 3 * MIB);
}

static void
test_interrupt (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  GThread *threads[READERS];
  gint64 start;

  options.connections = 2;
  server_start_nbdkit (s, "--filter=delay pattern 16M rdelay=60");
  g_autoptr (BlockSource) source = open_source (&options);
  start_readers (source, threads);
  start = g_get_monotonic_time ();
  block_source_interrupt (source);
  block_source_interrupt (source);
  assert_all_fail (threads, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (g_get_monotonic_time () - start, <, AT_ONCE);
  assert_stays_failed (source, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  block_source_interrupt (source);
}

static gpointer
ask_map (gpointer data)
{
  BlockSource *source = data;
  g_autoptr (VarveExtents) extents = varve_extents_new ();
  GError *error = NULL;

  g_assert_false (block_source_extents (source, 0, source->size, extents, &error));
  return error;
}

static void
test_interrupt_map (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  server_start_nbdkit (s, "--filter=delay memory 16M delay-extents=60");
  g_autoptr (BlockSource) source = open_source (&options);
  GThread *thread = g_thread_new ("map", ask_map, source);
  g_usleep (100000);
  block_source_interrupt (source);
  g_autoptr (GError) error = g_thread_join (thread);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* --- Giving back what was read --- */

#define UNIT (64 * KIB)

/* A frozen view of an empty disk, as a bare QEMU exports it. */
static void
start_frozen_view (Server *s, uint64_t size)
{
  g_free (run_command ("qemu-img create -q -f raw %s %" G_GUINT64_FORMAT, s->image, size));
  g_free (run_command ("qemu-img create -q -f qcow2 %s %" G_GUINT64_FORMAT, s->other, size));
  server_start (
      s,
      "qemu-storage-daemon --pidfile %s"
      " --blockdev driver=file,node-name=f,filename=%s --blockdev driver=raw,node-name=a,file=f"
      " --blockdev driver=file,node-name=t,filename=%s,discard=unmap"
      " --blockdev driver=qcow2,node-name=s,file=t,discard=unmap"
      " --blockdev driver=copy-before-write,node-name=c,file=a,target=s"
      " --blockdev driver=snapshot-access,node-name=v,file=c,discard=unmap"
      " --nbd-server addr.type=unix,addr.path=%s,max-connections=0"
      " --export type=nbd,id=e,node-name=v,name=,writable=on",
      s->pidfile, s->image, s->other, s->socket);
}

/* Which units can no longer be read. */
static void
assert_released (BlockSource *source, const bool *released)
{
  uint8_t byte;

  for (uint64_t i = 0; i * UNIT < source->size; i++) {
    g_autoptr (GError) error = NULL;
    bool ok = block_source_read (source, i * UNIT, &byte, 1, &error);

    g_assert_true (ok || g_error_matches (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST));
    if (ok == released[i])
      g_error ("unit %" G_GUINT64_FORMAT " can%s be read", i, ok ? "" : "not");
  }
}

typedef struct {
  BlockSource *source;
  unsigned index;
} Releaser;

/* Of each group of units the one with its index, given back with parts of its neighbours; the next one is read. */
static gpointer
release_own (gpointer data)
{
  const Releaser *self = data;
  g_autofree uint8_t *buffer = g_malloc (UNIT);

  for (uint64_t at = self->index * UNIT; at < self->source->size; at += 2 * READERS * UNIT) {
    uint64_t start = at > 0 ? at - 513 : 0;
    uint64_t end = MIN (at + UNIT + 4097, self->source->size);
    g_autoptr (GError) error = NULL;

    block_source_release (self->source, start, end - start);
    if (end < self->source->size)
      block_source_read (self->source, at + UNIT, buffer,
                         MIN (UNIT, self->source->size - at - UNIT), &error);
    g_assert_no_error (error);
  }
  return NULL;
}

/* QEMU 7.2 aborts when it is given back anything but whole units; the last one is as short as the disk. */
static void
test_release (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  uint64_t size = 48 * UNIT + 512;
  bool released[49] = { false };
  Releaser releasers[READERS];
  GThread *threads[READERS];

  options.connections = 2;
  start_frozen_view (s, size);
  {
    g_autoptr (BlockSource) source = open_source (&options);
    block_source_release (source, 0, size);
    assert_released (source, released);
  }
  options.trim_unit = UNIT;
  g_autoptr (BlockSource) source = open_source (&options);
  block_source_release (source, 1, 2 * UNIT - 2);
  assert_released (source, released);
  for (unsigned i = 0; i < READERS; i++) {
    releasers[i] = (Releaser){ source, 2 * i };
    threads[i] = g_thread_new ("release", release_own, &releasers[i]);
  }
  for (unsigned i = 0; i < READERS; i++)
    g_thread_join (threads[i]);
  for (unsigned i = 0; i < G_N_ELEMENTS (released); i += 2)
    released[i] = true;
  assert_released (source, released);
  g_assert_cmpint (waitpid (s->pid, NULL, WNOHANG), ==, 0);
}

/* --- Connecting --- */

static void
assert_unreachable (const BlockNbdOptions *options, GCancellable *cancellable, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (block_nbd_source_open (options, cancellable, &error));
  assert_code (error, VARVE_ERROR_SOURCE_UNREACHABLE);
  if (strstr (error->message, text) == NULL)
    g_error ("'%s' lacks '%s'.", error->message, text);
}

static void
test_no_server (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);

  assert_unreachable (&options, NULL, "No such file or directory");
  options.uri = "gopher://nowhere";
  assert_unreachable (&options, NULL, "gopher");
}

static void
test_no_export (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree char *uri = g_strdup_printf ("nbd+unix:///nothing?socket=%s", s->socket);

  g_free (run_command ("qemu-img create -q -f raw %s 1M", s->image));
  g_autofree char *what = g_strdup_printf ("-x vda -f raw %s", s->image);
  server_start_qemu (s, what);
  options.uri = uri;
  assert_unreachable (&options, NULL, "nothing");
}

static gpointer
cancel_soon (gpointer data)
{
  g_usleep (300000);
  g_cancellable_cancel (data);
  return NULL;
}

/* A qemu-nbd that has its clients takes the next connection and says nothing. */
static void
test_too_many_clients (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  gint64 start;

  g_free (run_command ("qemu-img create -q -f raw %s 1M", s->image));
  g_autofree char *what = g_strdup_printf ("--shared=1 -f raw %s", s->image);
  server_start_qemu (s, what);
  g_autoptr (BlockSource) first = open_source (&options);

  options.connect_timeout = 1;
  start = g_get_monotonic_time ();
  for (unsigned i = 0; i < 3; i++)
    assert_unreachable (&options, NULL, "did not finish the handshake within 1 seconds");
  g_assert_cmpint (g_get_monotonic_time () - start, <, AT_ONCE);

  options.connect_timeout = 60;
  start = g_get_monotonic_time ();
  GThread *thread = g_thread_new ("cancel", cancel_soon, cancellable);
  g_assert_null (block_nbd_source_open (&options, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (g_get_monotonic_time () - start, <, AT_ONCE);
  g_thread_join (thread);
}

/* nbds:// is TLS or nothing. */
static void
test_tls (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autofree char *uri =
      g_strdup_printf ("nbds+unix://alice@/?socket=%s&tls-psk-file=%s", s->socket, s->other);
  g_autofree char *what = g_strdup_printf ("--tls=require --tls-psk=%s pattern 16M", s->other);

  g_assert_true (g_file_set_contents (
      s->other, "alice:8dc5e2ab7bc0e0ec0b1a4bbaf3c9f3d2a9c5b1ad7bc0e0ec0b1a4bbaf3c9f3d2\n", -1,
      NULL));
  server_start_nbdkit (s, what);
  assert_unreachable (&options, NULL, "TLS");
  options.uri = uri;
  options.connections = 2;
  {
    g_autoptr (BlockSource) source = open_source (&options);
    read_by_many (source, 10);
  }
  server_stop (s, SIGTERM);
  server_start_nbdkit (s, "pattern 16M");
  assert_unreachable (&options, NULL, "TLS");
}

/* --- All together --- */

static void
test_copy (Server *s, gconstpointer data)
{
  BlockNbdOptions options = options_for (s);
  g_autoptr (GError) error = NULL;
  BlockCopyStats stats;

  options.connections = 2;
  server_start_nbdkit (s, "sparse-random 200M seed=1 percent=20 runlength=300000");
  g_autoptr (BlockSource) source = open_source (&options);
  BlockQcow2Options qcow2 = { .size = source->size };
  g_autoptr (BlockSink) sink = block_qcow2_sink_create (s->image, &qcow2, &error);
  g_assert_no_error (error);
  BlockCopy copy = { .source = source, .sink = sink };
  g_assert_true (block_copy (&copy, &stats, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (block_sink_flush (sink, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (stats.read, <, 150 * MIB);
  g_free (run_command ("qemu-img check -f qcow2 %s", s->image));
  g_free (run_command ("qemu-img compare -f qcow2 -F raw %s '%s'", s->image, s->uri));
}

#define ADD(path, func) g_test_add (path, Server, NULL, server_set_up, func, server_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/nbd/read", test_read);
  ADD ("/nbd/no-multi-conn", test_no_multi_conn);
  ADD ("/nbd/fewer-connections", test_fewer_connections);
  ADD ("/nbd/block-sizes", test_block_sizes);
  ADD ("/nbd/odd-size", test_odd_size);
  ADD ("/nbd/errors", test_errors);
  ADD ("/nbd/some-errors", test_some_errors);
  ADD ("/nbd/killed", test_killed);
  ADD ("/nbd/killed-idle", test_killed_idle);
  ADD ("/nbd/stalled", test_stalled);
  ADD ("/nbd/not-stalled", test_not_stalled);
  ADD ("/nbd/interrupt", test_interrupt);
  ADD ("/nbd/interrupt-map", test_interrupt_map);
  ADD ("/nbd/release", test_release);
  ADD ("/nbd/no-server", test_no_server);
  ADD ("/nbd/no-export", test_no_export);
  ADD ("/nbd/too-many-clients", test_too_many_clients);
  ADD ("/nbd/tls", test_tls);
  ADD ("/nbd/copy", test_copy);
  return g_test_run ();
}
