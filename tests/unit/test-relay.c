/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The relay between readers that hang, vanish and behave, and a server that is either played here, so
 * that it can be seen what it is told, or nbdkit. */
#include "config.h"
#include "session/relay.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "effort.h"
#include "nbd-server.h"
#include "session/relay-connection.h"

#define LONG_MS 60000 /* what lasts as long never comes; a slow machine is slow */

typedef struct {
  Server server; /* its directory, and nbdkit where that is used */
  char *path;    /* published */
  int listening; /* where the played server takes connections */
  VarveRelay *relay;
  size_t memory;

  GMutex mutex;
  bool sound;      /* what the proof says */
  unsigned proofs; /* how often it was asked */
  bool waits;      /* the proof waits for interrupt */
  bool interrupted;
  GCond cond;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  server_set_up (&f->server, NULL);
  f->path = g_build_filename (f->server.dir, "published", NULL);
  f->listening = -1;
  f->sound = true;
  g_mutex_init (&f->mutex);
  g_cond_init (&f->cond);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_relay_free (f->relay);
  if (f->listening >= 0)
    close (f->listening);
  server_tear_down (&f->server, NULL);
  g_mutex_clear (&f->mutex);
  g_cond_clear (&f->cond);
  g_free (f->path);
}

static int
unix_socket (const char *path, bool serve)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  if (serve) {
    g_assert_cmpint (bind (fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint (listen (fd, 16), ==, 0);
  } else {
    g_assert_cmpint (connect (fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  }
  return fd;
}

static bool
proof (gpointer data, GError **error)
{
  Fixture *f = data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&f->mutex);

  f->proofs++;
  while (f->waits && !f->interrupted)
    g_cond_wait (&f->cond, &f->mutex);
  if (f->sound && !f->interrupted)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST, "It is broken.");
}

static void
interrupt (gpointer data)
{
  Fixture *f = data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&f->mutex);

  f->interrupted = true;
  g_cond_broadcast (&f->cond);
}

static void
start_relay (Fixture *f, VarveRelayProofFunc func)
{
  g_autoptr (GError) error = NULL;
  VarveRelayOptions options = {
    .listener = varve_listener_unix (f->path, 0600, NULL, &error),
    .server = f->server.socket,
    .memory = f->memory,
    .proof = func,
    .interrupt = func ? interrupt : NULL,
    .proof_data = f,
  };

  g_assert_no_error (error);
  f->relay = varve_relay_start (&options, &error);
  g_assert_no_error (error);
}

static void
play_server (Fixture *f)
{
  f->listening = unix_socket (f->server.socket, true);
}

/* A reader that is connected, and the played server's end. */
static void
connect_both (Fixture *f, int *out_reader, int *out_server)
{
  *out_reader = unix_socket (f->path, false);
  *out_server = accept (f->listening, NULL, NULL);
  g_assert_cmpint (*out_server, >=, 0);
}

static bool
is_readable (int fd, int timeout_ms)
{
  struct pollfd p = { .fd = fd, .events = POLLIN };

  return poll (&p, 1, timeout_ms) == 1;
}

/* Bytes until the end; the end must come soon, and be a clean one. */
static size_t
read_to_end (int fd)
{
  static char buffer[64 << 10];
  size_t sum = 0;

  for (;;) {
    g_assert_true (is_readable (fd, LONG_MS));
    ssize_t got = read (fd, buffer, sizeof buffer);

    g_assert_cmpint (got, >=, 0);
    if (got == 0)
      return sum;
    sum += (size_t)got;
  }
}

static void
read_exactly (int fd, const char *expected)
{
  char buffer[64] = "";
  size_t length = strlen (expected), have = 0;

  while (have < length) {
    ssize_t got;

    g_assert_true (is_readable (fd, LONG_MS));
    got = read (fd, buffer + have, length - have);
    g_assert_cmpint (got, >, 0);
    have += (size_t)got;
  }
  g_assert_cmpstr (buffer, ==, expected);
}

/* Until nobody listens, or, behind @least bytes, it would have to wait for more than @timeout_ms; gives what was taken. */
static size_t
flood (int fd, size_t least, int timeout_ms)
{
  static const char buffer[64 << 10];
  size_t sum = 0;

  for (;;) {
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    ssize_t sent;

    if (poll (&p, 1, sum < least ? LONG_MS : timeout_ms) == 0)
      return sum;
    sent = send (fd, buffer, sizeof buffer, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EPIPE)
      return sum;
    g_assert_true (sent > 0 || errno == EAGAIN);
    sum += sent > 0 ? (size_t)sent : 0;
  }
}

static void
wait_for_readers (Fixture *f, unsigned readers)
{
  for (int i = 0; i < LONG_MS / 10 && varve_relay_readers (f->relay) != readers; i++)
    g_usleep (10000);
  g_assert_cmpuint (varve_relay_readers (f->relay), ==, readers);
}

static double
stop_seconds (Fixture *f)
{
  gint64 begun = g_get_monotonic_time ();

  varve_relay_stop (f->relay);
  return (double)(g_get_monotonic_time () - begun) / G_USEC_PER_SEC;
}

/* --- with a played server --------------------------------------------------------------------- */

static void
test_both_ways (Fixture *f, gconstpointer data)
{
  int reader, server;

  play_server (f);
  start_relay (f, NULL);
  connect_both (f, &reader, &server);
  g_assert_cmpint (write (reader, "ask", 3), ==, 3);
  read_exactly (server, "ask");
  g_assert_cmpint (write (server, "answer", 6), ==, 6);
  read_exactly (reader, "answer");

  /* The server ends: so does the reader's connection, behind the last byte. */
  g_assert_cmpint (write (server, "last", 4), ==, 4);
  close (server);
  read_exactly (reader, "last");
  g_assert_cmpuint (read_to_end (reader), ==, 0);
  close (reader);
}

/* One that asks no more may still wait for answers. */
static void
test_half_closed (Fixture *f, gconstpointer data)
{
  int reader, server;

  play_server (f);
  start_relay (f, NULL);
  connect_both (f, &reader, &server);
  g_assert_cmpint (write (reader, "ask", 3), ==, 3);
  g_assert_cmpint (shutdown (reader, SHUT_WR), ==, 0);
  g_assert_cmpuint (read_to_end (server), ==, 3);
  g_assert_cmpint (write (server, "answer", 6), ==, 6);
  read_exactly (reader, "answer");
  close (server);
  g_assert_cmpuint (read_to_end (reader), ==, 0);
  close (reader);
}

/* It holds up itself, and nobody else: not the server, which has still much to say, and not the end of the relay. */
static void
test_hung_reader (Fixture *f, gconstpointer data)
{
  /* What a connection takes by itself; less where that takes two minutes. */
  const size_t most = (size_t)rounds_of (64) << 20;
  int reader, server, other, other_server;
  size_t taken;

  if (most < 64 << 20)
    f->memory = most;
  play_server (f);
  start_relay (f, NULL);
  connect_both (f, &reader, &server);
  /* Of what may wait, a slow relay takes but 15/16 before it has lost its patience. */
  taken = flood (server, most / 16 * 15, 300);
  g_assert_cmpuint (taken, >=, most / 16 * 15);
  g_assert_cmpuint (taken, <=, most + (2 << 20));

  connect_both (f, &other, &other_server);
  g_assert_cmpint (write (other_server, "alive", 5), ==, 5);
  read_exactly (other, "alive");
  /* Who lets so much wait, and takes nothing, is dropped. */
  flood (server, G_MAXSIZE, 0);
  wait_for_readers (f, 1);
  g_assert_cmpint (send (server, "x", 1, MSG_NOSIGNAL), ==, -1);

  g_assert_cmpuint (flood (other_server, 2 << 20, 300), >=, 2 << 20);
  g_assert_cmpfloat (stop_seconds (f), <, 5.0);
  g_assert_cmpint (send (other_server, "x", 1, MSG_NOSIGNAL), ==, -1);
  g_assert_cmpint (errno, ==, EPIPE);
  g_assert_false (g_file_test (f->path, G_FILE_TEST_EXISTS));
  close (reader);
  close (server);
  close (other);
  close (other_server);
}

/* Readers that hang share what there is for them: many are no worse than one. */
static void
test_hung_readers (Fixture *f, gconstpointer data)
{
  int readers[4], servers[4];
  size_t taken = 0;

  f->memory = 8 << 20;
  play_server (f);
  start_relay (f, NULL);
  for (int i = 0; i < 4; i++)
    connect_both (f, &readers[i], &servers[i]);
  for (int i = 0; i < 4; i++)
    taken += flood (servers[i], 1 << 20, 100);
  /* Where all are still there: who was dropped leaves his share to the others. */
  if (varve_relay_readers (f->relay) == 4)
    g_assert_cmpuint (taken, <=, 4 * (4 << 20));
  for (int i = 0; i < LONG_MS / 10 && varve_relay_readers (f->relay) > 0; i++)
    flood (servers[i % 4], 0, 10);
  g_assert_cmpuint (varve_relay_readers (f->relay), ==, 0);
  for (int i = 0; i < 4; i++) {
    close (readers[i]);
    close (servers[i]);
  }
}

/* The server can say all that it has to say, and learns by a plain end that nobody asks any more. */
static void
test_killed_reader (Fixture *f, gconstpointer data)
{
  struct pollfd gone;
  int reader, server;

  play_server (f);
  start_relay (f, NULL);
  connect_both (f, &reader, &server);
  g_assert_cmpint (write (reader, "ask", 3), ==, 3);
  read_exactly (server, "ask");
  flood (server, 1 << 20, 100);
  close (reader); /* with much unread: as the kernel does for a process that is killed */

  g_assert_cmpuint (read_to_end (server), ==, 0);
  for (int i = 0; i < 200; i++)
    g_assert_cmpint (send (server, (char[4096]){ 0 }, 4096, MSG_NOSIGNAL), ==, 4096);
  gone = (struct pollfd){ .fd = server, .events = 0 };
  g_assert_cmpint (poll (&gone, 1, 100), ==, 0);
  close (server);
  wait_for_readers (f, 0);
}

/* He has asked so much that he is not listened to: so he is seen to be gone by what cannot be passed on, when the server has
 * said all. */
static void
test_killed_reader_in_silence (Fixture *f, gconstpointer data)
{
  static const char answer[1 << 20];
  int reader, server, left = 1;

  play_server (f);
  start_relay (f, NULL);
  connect_both (f, &reader, &server);
  flood (reader, 64 << 10, 300);
  g_assert_cmpint (write (server, answer, sizeof answer), ==, sizeof answer);
  for (int i = 0; i < LONG_MS / 10 && left > 0; i++) {
    g_assert_cmpint (ioctl (server, TIOCOUTQ, &left), ==, 0);
    g_usleep (10000);
  }
  g_assert_cmpint (left, ==, 0);
  close (reader);
  g_assert_cmpuint (read_to_end (server), >, 0);
  close (server);
  wait_for_readers (f, 0);
}

static void
test_no_server (Fixture *f, gconstpointer data)
{
  int reader;

  start_relay (f, NULL);
  reader = unix_socket (f->path, false);
  g_assert_cmpuint (read_to_end (reader), ==, 0);
  close (reader);
}

/* Nothing gets out before the proof, and nothing at all behind one that failed. */
static void
test_broken (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int reader, server, idle, idle_server;

  play_server (f);
  start_relay (f, proof);
  connect_both (f, &reader, &server);
  connect_both (f, &idle, &idle_server);
  g_assert_cmpint (write (reader, "ask", 3), ==, 3);
  read_exactly (server, "ask");
  g_assert_cmpuint (f->proofs, ==, 0);
  g_assert_cmpint (write (server, "good", 4), ==, 4);
  read_exactly (reader, "good");
  g_assert_cmpuint (f->proofs, ==, 1);
  g_assert_true (varve_relay_check (f->relay, &error));

  g_mutex_lock (&f->mutex);
  f->sound = false;
  g_mutex_unlock (&f->mutex);
  g_assert_cmpint (write (server, "bad", 3), ==, 3);
  g_assert_cmpuint (read_to_end (reader), ==, 0);
  g_assert_cmpuint (read_to_end (idle), ==, 0);
  g_assert_cmpuint (read_to_end (idle_server), ==, 0);
  g_assert_false (varve_relay_check (f->relay, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  for (int i = 0; i < LONG_MS / 10 && g_file_test (f->path, G_FILE_TEST_EXISTS); i++)
    g_usleep (10000);
  g_assert_false (g_file_test (f->path, G_FILE_TEST_EXISTS));
  close (reader);
  close (server);
  close (idle);
  close (idle_server);
}

static void
test_proof_hangs (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int reader, server;

  f->waits = true;
  play_server (f);
  start_relay (f, proof);
  connect_both (f, &reader, &server);
  g_assert_cmpint (write (server, "late", 4), ==, 4);
  g_assert_false (is_readable (reader, 200));
  g_assert_cmpfloat (stop_seconds (f), <, 5.0);
  g_assert_cmpuint (read_to_end (reader), ==, 0);
  /* That was the end, and not a finding. */
  g_assert_true (varve_relay_check (f->relay, &error));
  close (reader);
  close (server);
}

/* --- one connection --------------------------------------------------------------------------- */

static void
test_server_first (Fixture *f, gconstpointer data)
{
  VarveRelayConnection *connection;
  int ends[2], server;
  struct pollfd p;

  play_server (f);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), ==, 0);
  connection = varve_relay_connection_new (ends[0], f->server.socket, NULL);
  server = accept (f->listening, NULL, NULL);
  varve_relay_connection_close_server (connection);
  g_assert_cmpuint (read_to_end (server), ==, 0);
  p = (struct pollfd){ .fd = ends[1], .events = POLLIN };
  g_assert_cmpint (poll (&p, 1, 0), ==, 0);
  varve_relay_connection_free (connection);
  g_assert_cmpuint (read_to_end (ends[1]), ==, 0);
  close (ends[1]);
  close (server);
}

/* --- with nbdkit ------------------------------------------------------------------------------ */

static void
test_nbdcopy (Fixture *f, gconstpointer data)
{
  g_autofree char *direct = NULL;
  g_autofree char *relayed = NULL;

  server_start_nbdkit (&f->server, "pattern size=64M");
  start_relay (f, proof);
  g_free (run_command ("nbdcopy nbd+unix:///?socket=%s %s", f->server.socket, f->server.image));
  g_free (run_command ("nbdcopy nbd+unix:///?socket=%s %s", f->path, f->server.other));
  g_free (run_command ("cmp %s %s", f->server.image, f->server.other));
  g_assert_cmpuint (f->proofs, >, 0);

  direct = run_command ("nbdinfo --map nbd+unix:///?socket=%s", f->server.socket);
  relayed = run_command ("nbdinfo --map nbd+unix:///?socket=%s", f->path);
  g_assert_cmpstr (direct, ==, relayed);
}

static GPid
spawn (const char *command)
{
  g_auto (GStrv) argv = g_strsplit (command, " ", -1);
  g_autoptr (GError) error = NULL;
  GPid pid;

  g_spawn_async (NULL, argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &pid, &error);
  g_assert_no_error (error);
  return pid;
}

/* Stopped in the middle, another reader goes on; killed, nothing of it is left. */
static void
test_nbdcopy_killed (Fixture *f, gconstpointer data)
{
  g_autofree char *command = NULL;
  GPid pid;

  server_start_nbdkit (&f->server, "--filter=delay memory 64M rdelay=20ms");
  start_relay (f, NULL);
  command = g_strdup_printf ("nbdcopy nbd+unix:///?socket=%s null:", f->path);
  pid = spawn (command);
  for (int i = 0; i < LONG_MS / 10 && varve_relay_readers (f->relay) == 0; i++)
    g_usleep (10000);
  g_usleep (100000);
  g_assert_cmpint (kill (pid, SIGSTOP), ==, 0);
  g_free (run_command ("nbdinfo --size nbd+unix:///?socket=%s", f->path));
  g_assert_cmpint (kill (pid, SIGKILL), ==, 0);
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  wait_for_readers (f, 0);
  g_free (run_command ("nbdinfo --size nbd+unix:///?socket=%s", f->path));
}

static void
test_tcp (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveRelayOptions options = {
    .listener = varve_listener_tcp ("127.0.0.1", 0, true, &error),
    .server = f->server.socket,
  };
  unsigned port;
  g_autofree char *size = NULL;

  g_assert_no_error (error);
  port = varve_listener_port (options.listener);
  server_start_nbdkit (&f->server, "pattern size=1M");
  f->relay = varve_relay_start (&options, &error);
  g_assert_no_error (error);
  size = run_command ("nbdinfo --size nbd://127.0.0.1:%u", port);
  g_assert_cmpstr (g_strchomp (size), ==, "1048576");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/relay/both-ways", Fixture, NULL, set_up, test_both_ways, tear_down);
  g_test_add ("/relay/half-closed", Fixture, NULL, set_up, test_half_closed, tear_down);
  g_test_add ("/relay/hung-reader", Fixture, NULL, set_up, test_hung_reader, tear_down);
  g_test_add ("/relay/hung-readers", Fixture, NULL, set_up, test_hung_readers, tear_down);
  g_test_add ("/relay/killed-reader", Fixture, NULL, set_up, test_killed_reader, tear_down);
  g_test_add ("/relay/killed-reader-in-silence", Fixture, NULL, set_up,
              test_killed_reader_in_silence, tear_down);
  g_test_add ("/relay/no-server", Fixture, NULL, set_up, test_no_server, tear_down);
  g_test_add ("/relay/broken", Fixture, NULL, set_up, test_broken, tear_down);
  g_test_add ("/relay/proof-hangs", Fixture, NULL, set_up, test_proof_hangs, tear_down);
  g_test_add ("/relay/server-first", Fixture, NULL, set_up, test_server_first, tear_down);
  g_test_add ("/relay/nbdcopy", Fixture, NULL, set_up, test_nbdcopy, tear_down);
  g_test_add ("/relay/nbdcopy-killed", Fixture, NULL, set_up, test_nbdcopy_killed, tear_down);
  g_test_add ("/relay/tcp", Fixture, NULL, set_up, test_tcp, tear_down);
  return g_test_run ();
}
