/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A relay that demands TLS, before a server without: who is let in, and who is not. */
#include "config.h"
#include "session/relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "nbd-server.h"

/* Made once for all tests. */
static char *credentials;

typedef struct {
  Server server;
  char *path;
  VarveRelay *relay;
} Fixture;

static char *
directory (const char *name)
{
  return g_build_filename (credentials, name, NULL);
}

static void
set_up (Fixture *f, gconstpointer kind)
{
  g_autofree char *creds = directory (kind);
  g_autoptr (GError) error = NULL;
  VarveRelayOptions options = { 0 };

  server_set_up (&f->server, NULL);
  f->path = g_build_filename (f->server.dir, "published", NULL);
  server_start_nbdkit (&f->server, "pattern size=32M");
  options.listener = varve_listener_unix (f->path, 0600, NULL, &error);
  g_assert_no_error (error);
  options.tls = varve_tls_load (creds, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (varve_tls_kind (options.tls), ==, kind);
  options.server = f->server.socket;
  f->relay = varve_relay_start (&options, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer kind)
{
  varve_relay_free (f->relay);
  server_tear_down (&f->server, NULL);
  g_free (f->path);
}

/* The URI for a reader with these credentials; NULL: in clear text. (transfer full) */
static char *
uri_with (const Fixture *f, const char *kind, const char *name)
{
  g_autofree char *creds = name ? directory (name) : NULL;

  if (!name)
    return g_strdup_printf ("nbd+unix:///?socket=%s", f->path);
  if (g_str_equal (kind, "psk"))
    return g_strdup_printf ("nbds+unix://alice@/?socket=%s&tls-psk-file=%s/keys.psk", f->path,
                            creds);
  return g_strdup_printf ("nbds+unix://localhost/?socket=%s&tls-certificates=%s", f->path, creds);
}

/* By nbdinfo, whose word is returned. */
static bool
is_let_in (const Fixture *f, const char *kind, const char *name)
{
  g_autofree char *uri = uri_with (f, kind, name);
  const char *argv[] = { "nbdinfo", "--size", uri, NULL };
  g_autofree char *out = NULL;
  g_autofree char *err = NULL;
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status,
                &error);
  g_assert_no_error (error);
  g_test_message ("%s: %s", name ? name : "clear text", err);
  if (status == 0)
    g_assert_cmpstr (g_strchomp (out), ==, "33554432");
  return status == 0;
}

static void
test_x509 (Fixture *f, gconstpointer kind)
{
  g_assert_true (is_let_in (f, kind, "x509-client"));
  g_assert_false (is_let_in (f, kind, "x509-other"));
  g_assert_false (is_let_in (f, kind, "x509-server"));
  g_assert_false (is_let_in (f, kind, "x509-expired"));
  g_assert_false (is_let_in (f, kind, NULL));
  g_assert_false (is_let_in (f, "psk", "psk"));
  g_assert_true (is_let_in (f, kind, "x509-client"));
}

static void
test_psk (Fixture *f, gconstpointer kind)
{
  g_assert_true (is_let_in (f, kind, "psk"));
  g_assert_false (is_let_in (f, kind, "psk-other"));
  g_assert_false (is_let_in (f, "x509", "x509-client"));
  g_assert_false (is_let_in (f, kind, NULL));
}

static void
test_data (Fixture *f, gconstpointer kind)
{
  g_autofree char *uri = uri_with (f, kind, g_str_equal (kind, "psk") ? "psk" : "x509-client");
  g_autofree char *map = NULL;

  g_free (run_command ("nbdcopy nbd+unix:///?socket=%s %s", f->server.socket, f->server.image));
  g_free (run_command ("nbdcopy '%s' %s", uri, f->server.other));
  g_free (run_command ("cmp %s %s", f->server.image, f->server.other));
  map = run_command ("nbdinfo --map '%s'", uri);
  g_assert_nonnull (strstr (map, "33554432"));
}

static int
connect_to (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_cmpint (connect (fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  return fd;
}

/* Somebody who says nothing keeps others from nothing, and is sent away. */
static void
test_silent (Fixture *f, gconstpointer kind)
{
  int fd = connect_to (f->path);
  struct pollfd p = { .fd = fd, .events = POLLIN };
  char buffer[64];

  g_assert_true (is_let_in (f, kind, "x509-client"));
  g_assert_cmpint (read (fd, buffer, sizeof buffer), ==, 18);
  g_assert_cmpint (poll (&p, 1, 20000), ==, 1);
  g_assert_cmpint (read (fd, buffer, sizeof buffer), ==, 0);
  close (fd);
}

/* Rubbish in the place of TLS. */
static void
test_rubbish (Fixture *f, gconstpointer kind)
{
  int fd = connect_to (f->path);
  char buffer[512];
  ssize_t got;

  g_assert_cmpint (write (fd, "\0\0\0\3IHAVEOPT\0\0\0\5\0\0\0\0", 20), ==, 20);
  for (size_t have = 0; have < 38; have += (size_t)got) {
    got = read (fd, buffer, sizeof buffer);
    g_assert_cmpint (got, >, 0);
  }
  memset (buffer, 'x', sizeof buffer);
  g_assert_cmpint (write (fd, buffer, sizeof buffer), ==, sizeof buffer);
  do
    got = read (fd, buffer, sizeof buffer);
  while (got > 0);
  close (fd);
  g_assert_true (is_let_in (f, kind, "x509-client"));
}

static gpointer
die_greeting (gpointer data)
{
  int *listening = data;
  int fd = accept (*listening, NULL, NULL);
  char heard[64];

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, "NBDMAGICIH", 10), ==, 10);
  g_assert_cmpint (shutdown (fd, SHUT_WR), ==, 0);
  /* Else what it said would be lost with it. */
  while (read (fd, heard, sizeof heard) > 0)
    continue;
  close (fd);
  return NULL;
}

/* A server that dies in the middle of its greeting, which is held back: the reader does not wait for the rest. */
static void
test_half_greeting (Fixture *f, gconstpointer kind)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int listening = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  GThread *thread;

  /* In nbdkit's place. */
  g_assert_cmpint (unlink (f->server.socket), ==, 0);
  g_strlcpy (address.sun_path, f->server.socket, sizeof address.sun_path);
  g_assert_cmpint (bind (listening, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint (listen (listening, 1), ==, 0);
  thread = g_thread_new ("server", die_greeting, &listening);
  g_assert_false (is_let_in (f, kind, "x509-client"));
  g_thread_join (thread);
  close (listening);
}

static void
refuse (const char *path, const char *says)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_tls_load (path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_assert_nonnull (strstr (error->message, says));
}

static void
test_load (void)
{
  g_autofree char *both = directory ("both");
  g_autofree char *client = directory ("x509-client");
  g_autofree char *bad = directory ("bad");

  refuse (credentials, "no TLS credentials");
  /* It has the authority, and no key of a server. */
  refuse (client, "server-cert.pem");
  g_free (run_command ("cp -r %s/x509 %s", credentials, both));
  g_free (run_command ("cp %s/psk/keys.psk %s", credentials, both));
  refuse (both, "both keys.psk and ca-cert.pem");
  g_free (run_command ("cp -r %s/x509 %s", credentials, bad));
  g_free (run_command ("cp %s/other-key.pem %s/server-key.pem", credentials, bad));
  refuse (bad, "belong together");
  refuse ("/nowhere", "in the directory '/nowhere'");
}

static void
make_credentials (void)
{
  g_autofree char *script =
      g_test_build_filename (G_TEST_DIST, "..", "shell", "make-credentials.sh", NULL);
  g_autoptr (GError) error = NULL;

  credentials = g_dir_make_tmp ("varve-tls-XXXXXX", &error);
  g_assert_no_error (error);
  g_free (run_command ("%s %s", script, credentials));
}

int
main (int argc, char **argv)
{
  g_autofree char *certtool = g_find_program_in_path ("certtool");
  int status;

  g_test_init (&argc, &argv, NULL);
  if (!certtool) {
    g_print ("1..0 # SKIP certtool is not installed\n");
    return 0;
  }
  make_credentials ();
  g_test_add_func ("/tls/load", test_load);
  g_test_add ("/tls/x509", Fixture, "x509", set_up, test_x509, tear_down);
  g_test_add ("/tls/psk", Fixture, "psk", set_up, test_psk, tear_down);
  g_test_add ("/tls/data-x509", Fixture, "x509", set_up, test_data, tear_down);
  g_test_add ("/tls/data-psk", Fixture, "psk", set_up, test_data, tear_down);
  g_test_add ("/tls/half-greeting", Fixture, "x509", set_up, test_half_greeting, tear_down);
  g_test_add ("/tls/silent", Fixture, "x509", set_up, test_silent, tear_down);
  g_test_add ("/tls/rubbish", Fixture, "x509", set_up, test_rubbish, tear_down);
  status = g_test_run ();
  g_assert_true (varve_remove_tree (credentials, NULL));
  g_free (credentials);
  return status;
}
