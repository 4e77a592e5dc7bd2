/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The QMP client: against a fake server that plays each kind of misbehaviour over a socket pair,
 * and against real monitors. Times are kept short; each test that waits says for what. */
#include "config.h"
#include "qemu/qmp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qemu-fixture.h"

#define GREETING                                                                                   \
  "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7},"                \
  " \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"

/* The server's part of a test, run in a thread with its end of the pair. */
typedef void (*Serve) (int fd);

typedef struct {
  Serve serve;
  int fd;
} Server;

static void
say (int fd, const char *text)
{
  size_t left = strlen (text);

  while (left > 0) {
    ssize_t sent = send (fd, text, left, MSG_NOSIGNAL);

    if (sent <= 0)
      return; /* the client has had enough */
    text += sent;
    left -= (size_t)sent;
  }
}

/* Reads one command; the id in it, or -1 at the end. */
static int64_t
hear (int fd)
{
  char line[8192];
  size_t length = 0;

  while (length < sizeof line - 1 && read (fd, line + length, 1) == 1 && line[length] != '\n')
    length++;
  line[length] = '\0';

  const char *id = strstr (line, "\"id\":");
  return id ? g_ascii_strtoll (id + 5, NULL, 10) : -1;
}

static void
answer (int fd, int64_t id, const char *rest)
{
  g_autofree char *text = g_strdup_printf ("{%s, \"id\": %" G_GINT64_FORMAT "}\r\n", rest, id);

  say (fd, text);
}

static void
greet (int fd)
{
  say (fd, GREETING);
  answer (fd, hear (fd), "\"return\": {}");
}

/* Waits until the client has hung up. */
static void
drain (int fd)
{
  while (hear (fd) != -1)
    continue;
}

static gpointer
run_server (gpointer data)
{
  Server *server = data;

  server->serve (server->fd);
  close (server->fd);
  g_free (server);
  return NULL;
}

/* Starts @serve and connects to it. */
static VarveQmp *
meet (Serve serve, unsigned timeout_s, GThread **out_thread, GError **error)
{
  int ends[2];
  Server *server = g_new0 (Server, 1);

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  server->serve = serve;
  server->fd = ends[1];
  *out_thread = g_thread_new ("server", run_server, server);

  GSocket *socket = g_socket_new_from_fd (ends[0], NULL);
  g_assert_nonnull (socket);
  return varve_qmp_connect_socket (socket, "fake", timeout_s, NULL, error);
}

static VarveQmp *
meet_well (Serve serve, GThread **out_thread)
{
  g_autoptr (GError) error = NULL;
  VarveQmp *qmp = meet (serve, 60, out_thread, &error);

  g_assert_no_error (error);
  return qmp;
}

static void
part (VarveQmp *qmp, GThread *thread)
{
  varve_qmp_free (qmp);
  g_thread_join (thread);
}

/* Nothing but the first error may come of a connection that broke. */
static void
assert_unusable (VarveQmp *qmp)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) event_error = NULL;

  g_assert_false (varve_qmp_run (qmp, "next", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, "of no more use");
  g_assert_null (varve_qmp_wait_event (qmp, NULL, NULL, 0, NULL, &event_error));
  assert_varve_error (event_error, VARVE_ERROR_SOURCE_UNREACHABLE, "of no more use");
}

/* Connects well, runs one command that must break the connection with @words. */
static void
assert_breaks (Serve serve, const char *words)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve, &thread);

  varve_qmp_set_timeout (qmp, 60);
  g_assert_false (varve_qmp_run (qmp, "command", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, words);
  g_assert_null (varve_qmp_error_class (error));
  assert_unusable (qmp);
  part (qmp, thread);
}

static void
serve_one_reply (int fd)
{
  greet (fd);
  answer (fd, hear (fd), "\"return\": {\"a\": [1, \"x\"]}");
  drain (fd);
}

static void
test_reply (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_one_reply, &thread);
  g_autoptr (JsonNode) reply =
      varve_qmp_execute (qmp, "command", varve_qmp_args ("{'k':%s}", "v"), NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (varve_qmp_version (qmp), ==, 70222);
  g_autofree char *text = json_to_string (reply, FALSE);
  g_assert_cmpstr (text, ==, "{\"a\":[1,\"x\"]}");
  part (qmp, thread);
}

static void
serve_drops (int fd)
{
  greet (fd);
  int64_t id = hear (fd);
  g_autofree char *text = g_strdup_printf (
      "{\"event\": \"E\"}\n{\"return\": \"slow\", \"id\": %" G_GINT64_FORMAT "}\n", id);

  for (const char *c = text; *c; c++) {
    char one[2] = { *c, '\0' };

    say (fd, one);
    g_usleep (500);
  }
  drain (fd);
}

static void
test_byte_by_byte (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_drops, &thread);
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, "command", NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json_node_get_string (reply), ==, "slow");
  part (qmp, thread);
}

static void
serve_refusals (int fd)
{
  static const char *const errors[] = { "\"class\": \"DeviceNotFound\", \"desc\": \"no 'x' (y)\"",
                                        "\"class\": \"NewClass\", \"desc\": \"words\"", "" };

  greet (fd);
  for (size_t i = 0; i < G_N_ELEMENTS (errors); i++) {
    g_autofree char *text = g_strdup_printf ("\"error\": {%s}", errors[i]);

    answer (fd, hear (fd), text);
  }
  drain (fd);
}

static void
test_refusals (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_refusals, &thread);

  g_assert_false (varve_qmp_run (qmp, "eject", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_HYPERVISOR, "'eject' (DeviceNotFound): no 'x' (y)");
  g_assert_cmpstr (varve_qmp_error_class (error), ==, "DeviceNotFound");
  varve_prefix (&error, "Domain '%s' (a)", "web");
  g_assert_cmpstr (varve_qmp_error_class (error), ==, "DeviceNotFound");

  g_clear_error (&error);
  g_assert_false (varve_qmp_run (qmp, "eject", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_HYPERVISOR, "(NewClass): words");
  g_assert_null (varve_qmp_error_class (error));

  g_clear_error (&error);
  g_assert_false (varve_qmp_run (qmp, "eject", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_HYPERVISOR, "(GenericError)");
  g_assert_null (varve_qmp_error_class (NULL));
  part (qmp, thread);
}

/* --- greetings that are none --- */

static void
greet_as_human (int fd)
{
  say (fd, "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ");
  drain (fd);
}

static void
greet_without_version (int fd)
{
  say (fd, "{\"QMP\": {}}\n");
  drain (fd);
}

static void
greet_with_absurd_version (int fd)
{
  say (fd, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": -1, \"minor\": 2, \"major\": 7}}}}\n");
  drain (fd);
}

static void
greet_with_garbage (int fd)
{
  say (fd, "{\"QMP\": [}\n");
  drain (fd);
}

static void
greet_with_end (int fd)
{
}

static void
greet_and_refuse (int fd)
{
  say (fd, GREETING);
  answer (fd, hear (fd), "\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}");
  drain (fd);
}

static void
test_bad_greetings (void)
{
  static const struct {
    Serve serve;
    unsigned timeout_s;
    VarveError code;
    const char *words;
  } cases[] = {
    { greet_as_human, 60, VARVE_ERROR_SOURCE_UNREACHABLE, "is not QMP" },
    { greet_without_version, 60, VARVE_ERROR_SOURCE_UNREACHABLE, "version of QEMU" },
    { greet_with_absurd_version, 60, VARVE_ERROR_SOURCE_UNREACHABLE, "version of QEMU" },
    { greet_with_garbage, 60, VARVE_ERROR_SOURCE_UNREACHABLE, "is not QMP" },
    { greet_with_end, 60, VARVE_ERROR_SOURCE_UNREACHABLE, "hung up" },
    { greet_and_refuse, 60, VARVE_ERROR_HYPERVISOR, "qmp_capabilities" },
    { drain, 1, VARVE_ERROR_BUSY,
      "The monitor 'fake' is in use by another client, as it did not greet within 1 s; give varve "
      "a -qmp socket of its own." },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    GThread *thread;

    g_assert_null (meet (cases[i].serve, cases[i].timeout_s, &thread, &error));
    assert_varve_error (error, cases[i].code, cases[i].words);
    g_thread_join (thread);
  }
}

/* --- breaches of the protocol --- */

static void
serve_unknown_id (int fd)
{
  greet (fd);
  answer (fd, hear (fd) + 1, "\"return\": {}");
  drain (fd);
}

static void
serve_no_id (int fd)
{
  greet (fd);
  hear (fd);
  say (fd, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n");
  drain (fd);
}

static void
serve_neither (int fd)
{
  greet (fd);
  answer (fd, hear (fd), "\"result\": {}");
  drain (fd);
}

static void
serve_garbage (int fd)
{
  greet (fd);
  hear (fd);
  say (fd, "{\"return\": {}, \"id\": \n");
  drain (fd);
}

static void
serve_array (int fd)
{
  greet (fd);
  hear (fd);
  say (fd, "[1]\n");
  drain (fd);
}

static void
serve_end (int fd)
{
  greet (fd);
  hear (fd);
  say (fd, "{\"return\": ");
}

static void
serve_oversize (int fd)
{
  g_autofree char *much = g_malloc (1 << 20);

  memset (much, 'x', 1 << 20);
  much[(1 << 20) - 1] = '\0';
  greet (fd);
  hear (fd);
  say (fd, "{\"return\": \"");
  for (int i = 0; i < 65; i++)
    say (fd, much);
  drain (fd);
}

static void
serve_nested (int fd)
{
  g_autofree char *much = g_malloc (1 << 20);

  memset (much, '[', 1 << 20);
  much[(1 << 20) - 1] = '\0';
  greet (fd);
  hear (fd);
  say (fd, "{\"return\": ");
  say (fd, much);
  say (fd, "\n");
  drain (fd);
}

static void
test_breaches (void)
{
  assert_breaks (serve_unknown_id, "not given");
  assert_breaks (serve_no_id, "not given: JSON parse error");
  assert_breaks (serve_neither, "not given");
  assert_breaks (serve_garbage, "is not QMP");
  assert_breaks (serve_array, "is not QMP");
  assert_breaks (serve_end, "hung up");
  assert_breaks (serve_oversize, "longer than 64 MiB");
  assert_breaks (serve_nested, "nested too deeply");
}

/* What QEMU was at when its last client died is answered to the next one. */
static void
serve_strays (int fd)
{
  answer (fd, 7, "\"return\": {}");
  say (fd, "{\"event\": \"STOP\", \"data\": {}}\n{\"error\": {\"class\": \"GenericError\"}}\n");
  say (fd, GREETING);
  int64_t id = hear (fd);
  g_assert_cmpint (id, >, 1);
  answer (fd, id - 1, "\"return\": {}");
  answer (fd, 1, "\"error\": {\"class\": \"GenericError\", \"desc\": \"not yours\"}");
  say (fd, "{\"return\": {}, \"id\": \"libvirt-7\"}\n{\"return\": {}}\n");
  answer (fd, id, "\"return\": {}");
  answer (fd, hear (fd), "\"return\": \"ours\"");
  drain (fd);
}

static void
test_strays (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_strays, &thread);
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, "command", NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json_node_get_string (reply), ==, "ours");
  part (qmp, thread);
}

/* A megabyte is no breach: query-named-block-nodes of long chains is that long. */
static void
serve_large (int fd)
{
  g_autofree char *much = g_strnfill (8 << 20, 'x');

  greet (fd);
  int64_t id = hear (fd);
  say (fd, "{\"return\": \"");
  say (fd, much);
  g_autofree char *rest = g_strdup_printf ("\", \"id\": %" G_GINT64_FORMAT "}\n", id);
  say (fd, rest);
  drain (fd);
}

static void
test_large (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_large, &thread);
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, "command", NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (strlen (json_node_get_string (reply)), ==, 8 << 20);
  part (qmp, thread);
}

/* --- time --- */

static void
serve_silence (int fd)
{
  greet (fd);
  drain (fd);
}

/* One event every few milliseconds, for longer than the client waits. */
static void
serve_events_without_end (int fd)
{
  greet (fd);
  hear (fd);
  for (int i = 0; i < 1000; i++) {
    say (fd, "{\"event\": \"TICK\"}\n");
    g_usleep (2000);
  }
}

static void
test_time_out (void)
{
  static const Serve serves[] = { serve_silence, serve_events_without_end };

  for (size_t i = 0; i < G_N_ELEMENTS (serves); i++) {
    g_autoptr (GError) error = NULL;
    GThread *thread;
    VarveQmp *qmp = meet_well (serves[i], &thread);
    int64_t start = g_get_monotonic_time ();

    varve_qmp_set_timeout (qmp, 1);
    g_assert_false (varve_qmp_run (qmp, "command", NULL, NULL, &error));
    assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "did not answer 'command' within 1 s");
    g_assert_cmpint (g_get_monotonic_time () - start, >=, G_USEC_PER_SEC - 10000);
    varve_qmp_forget_events (qmp);
    assert_unusable (qmp);
    part (qmp, thread);
  }
}

static GCancellable *cancelled_by_server;

/* Answers a command only when the next one is here; whoever waits for the first one is told to stop. */
static void
serve_late (int fd)
{
  greet (fd);
  int64_t first = hear (fd);
  g_cancellable_cancel (cancelled_by_server);
  int64_t second = hear (fd);
  answer (fd, first, "\"return\": \"first\"");
  answer (fd, second, "\"return\": \"second\"");
  drain (fd);
}

static void
test_cancel (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  GThread *thread;

  cancelled_by_server = cancellable;
  VarveQmp *qmp = meet_well (serve_late, &thread);
  g_assert_false (varve_qmp_run (qmp, "first", NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  /* Already cancelled: nothing is sent, so "second" below is what the server hears next. */
  g_clear_error (&error);
  g_assert_false (varve_qmp_run (qmp, "unsent", NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  g_clear_error (&error);
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, "second", NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_node_get_string (reply), ==, "second");
  part (qmp, thread);
}

/* --- events --- */

static void
serve_events (int fd)
{
  greet (fd);
  int64_t id = hear (fd);
  for (int i = 0; i < VARVE_QMP_MAX_EVENTS + 10; i++) {
    g_autofree char *text =
        g_strdup_printf ("{\"event\": \"%s\", \"data\": {\"n\": %d}}\n", i % 2 ? "ODD" : "EVEN", i);

    say (fd, text);
  }
  answer (fd, id, "\"return\": {}");
  g_usleep (100000);
  say (fd, "{\"event\": \"LAST\"}\n");
  drain (fd);
}

static bool
is_named (const char *event, JsonObject *data, gpointer name)
{
  return g_str_equal (event, name);
}

static int64_t
number_of (JsonObject *event)
{
  return json_object_get_int_member (json_object_get_object_member (event, "data"), "n");
}

static void
test_events (void)
{
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_events, &thread);

  g_assert_true (varve_qmp_run (qmp, "command", NULL, NULL, &error));

  /* Ten too many came: the oldest ten, 0 to 9, were dropped. */
  g_autoptr (JsonObject) odd = varve_qmp_wait_event (qmp, is_named, (char *)"ODD", 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (number_of (odd), ==, 11);
  g_autoptr (JsonObject) any = varve_qmp_wait_event (qmp, NULL, NULL, 0, NULL, &error);
  g_assert_cmpint (number_of (any), ==, 10);

  g_autoptr (JsonObject) last =
      varve_qmp_wait_event (qmp, is_named, (char *)"LAST", 60000, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (last);

  varve_qmp_forget_events (qmp);
  g_assert_null (varve_qmp_wait_event (qmp, NULL, NULL, 50, NULL, &error));
  g_assert_no_error (error);
  part (qmp, thread);
}

static gpointer
cancel_soon (gpointer cancellable)
{
  g_usleep (50000);
  g_cancellable_cancel (cancellable);
  return NULL;
}

static void
test_wait_is_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  GThread *thread;
  VarveQmp *qmp = meet_well (serve_one_reply, &thread);
  GThread *canceller = g_thread_new ("canceller", cancel_soon, cancellable);

  g_assert_null (varve_qmp_wait_event (qmp, NULL, NULL, 60000, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (canceller);

  g_clear_error (&error);
  g_assert_true (varve_qmp_run (qmp, "command", NULL, NULL, &error));
  g_assert_no_error (error);
  part (qmp, thread);
}

/* --- real monitors --- */

static void
test_unreachable (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = fixture_path (fixture, "none.sock");
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_qmp_connect (path, 1, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, path);

  /* A socket that nobody listens on any more. */
  GSubprocess *qemu = start_qemu (path);
  stop_child (qemu);
  g_clear_error (&error);
  g_assert_null (varve_qmp_connect (path, 1, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, path);

  g_autofree char *name = g_strnfill (120, 'x');
  g_autofree char *long_path = fixture_path (fixture, name);
  g_clear_error (&error);
  g_assert_null (varve_qmp_connect (long_path, 1, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_USAGE, "107 bytes");
}

static void
test_one_client (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = fixture_path (fixture, "qmp.sock");
  g_autoptr (GError) error = NULL;
  GSubprocess *qemu = start_qemu (path);
  VarveQmp *first = varve_qmp_connect (path, 30, NULL, &error);
  g_assert_no_error (error);

  /* More than QEMU's backlog holds: those behind it do not even connect. */
  for (int i = 0; i < 4; i++) {
    g_assert_null (varve_qmp_connect (path, 1, NULL, &error));
    assert_varve_error (error, VARVE_ERROR_BUSY,
                        "is in use by another client, as it did not greet within 1 s; give varve a "
                        "-qmp socket of its own.");
    g_clear_error (&error);
  }
  g_assert_true (varve_qmp_run (first, "query-status", NULL, NULL, &error));
  g_assert_no_error (error);
  varve_qmp_free (first);

  g_autoptr (VarveQmp) second = varve_qmp_connect (path, 10, NULL, &error);
  g_assert_no_error (error);
  stop_child (qemu);
  g_assert_false (varve_qmp_run (second, "query-status", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, "hung up");
}

static void
exercise (VarveQmp *qmp)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) version = varve_qmp_execute (qmp, "query-version", NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (JSON_NODE_HOLDS_OBJECT (version));
  g_assert_cmpuint (varve_qmp_version (qmp), >=, 50000);

  g_assert_true (varve_qmp_run (
      qmp, "blockdev-add",
      varve_qmp_args ("{'driver':'null-co','node-name':%s,'size':%llu}", "n", (guint64)1 << 40),
      NULL, &error));
  g_assert_no_error (error);
  g_assert_false (
      varve_qmp_run (qmp, "blockdev-del", varve_qmp_args ("{'node-name':'\\\\'}"), NULL, &error));
  g_assert_cmpstr (varve_qmp_error_class (error), ==, "GenericError");
  g_clear_error (&error);
  g_assert_false (varve_qmp_run (qmp, "no-such", NULL, NULL, &error));
  g_assert_cmpstr (varve_qmp_error_class (error), ==, "CommandNotFound");
}

static void
test_real (Fixture *fixture, gconstpointer data)
{
  g_autofree char *qemu_path = fixture_path (fixture, "qemu.sock");
  g_autofree char *daemon_path = fixture_path (fixture, "daemon.sock");
  g_autofree char *chardev =
      g_strdup_printf ("socket,id=m,path=%s,server=on,wait=off", daemon_path);
  const char *argv[] = {
    "qemu-storage-daemon", "--chardev", chardev, "--monitor", "chardev=m", NULL
  };
  g_autoptr (GError) error = NULL;
  GSubprocess *qemu = start_qemu (qemu_path);
  GSubprocess *storage = start_child (argv);

  wait_until (is_listening (daemon_path));
  g_autoptr (VarveQmp) to_qemu = varve_qmp_connect (qemu_path, 30, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (VarveQmp) to_storage = varve_qmp_connect (daemon_path, 30, NULL, &error);
  g_assert_no_error (error);
  exercise (to_qemu);
  exercise (to_storage);

  /* QEMU tells of its end before it hangs up. */
  g_assert_true (varve_qmp_run (to_qemu, "quit", NULL, NULL, &error));
  g_autoptr (JsonObject) event =
      varve_qmp_wait_event (to_qemu, is_named, (char *)"SHUTDOWN", 10000, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (event);
  stop_child (qemu);
  stop_child (storage);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp/reply", test_reply);
  g_test_add_func ("/qmp/byte-by-byte", test_byte_by_byte);
  g_test_add_func ("/qmp/refusals", test_refusals);
  g_test_add_func ("/qmp/bad-greetings", test_bad_greetings);
  g_test_add_func ("/qmp/breaches", test_breaches);
  g_test_add_func ("/qmp/strays", test_strays);
  g_test_add_func ("/qmp/large", test_large);
  g_test_add_func ("/qmp/time-out", test_time_out);
  g_test_add_func ("/qmp/cancel", test_cancel);
  g_test_add_func ("/qmp/events", test_events);
  g_test_add_func ("/qmp/wait-is-cancelled", test_wait_is_cancelled);
  g_test_add ("/qmp/unreachable", Fixture, NULL, fixture_set_up, test_unreachable,
              fixture_tear_down);
  g_test_add ("/qmp/one-client", Fixture, NULL, fixture_set_up, test_one_client, fixture_tear_down);
  g_test_add ("/qmp/real", Fixture, NULL, fixture_set_up, test_real, fixture_tear_down);
  return g_test_run ();
}
