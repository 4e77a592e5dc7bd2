/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/error.h"

typedef struct {
  char *dir;
  char *path;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("varve-listener-XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->dir, "s", NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_true (varve_remove_tree (f->dir, NULL));
  g_free (f->dir);
  g_free (f->path);
}

/* 0, or errno. */
static int
connect_unix (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int failed = 0;

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0)
    failed = errno;
  close (fd);
  return failed;
}

static void
test_unix (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) listener = varve_listener_unix (f->path, 0660, NULL, &error);
  struct stat st;

  g_assert_no_error (error);
  g_assert_cmpint (lstat (f->path, &st), ==, 0);
  g_assert_true (S_ISSOCK (st.st_mode));
  g_assert_cmpuint (st.st_mode & 07777, ==, 0660);
  g_assert_cmpint (connect_unix (f->path), ==, 0);
  g_clear_pointer (&listener, varve_listener_free);
  g_assert_cmpint (lstat (f->path, &st), ==, -1);
}

/* "daemon" is on every host; only root may give a file to a group that he is not in. */
static void
test_group (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) listener = NULL;
  struct stat st;

  if (geteuid () != 0) {
    g_test_skip ("this needs root");
    return;
  }
  listener = varve_listener_unix (f->path, 0620, "daemon", &error);
  g_assert_no_error (error);
  g_assert_cmpint (lstat (f->path, &st), ==, 0);
  g_assert_cmpuint (st.st_gid, !=, getegid ());
  g_assert_cmpuint (st.st_mode & 07777, ==, 0620);
}

static void
test_no_group (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_listener_unix (f->path, 0660, "no-such-group-here", &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_assert_nonnull (strstr (error->message, "no-such-group-here"));
  g_assert_false (g_file_test (f->path, G_FILE_TEST_EXISTS));
}

/* A socket that was bound and whose process has gone. */
static void
leave_dead (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_cmpint (bind (fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint (listen (fd, 1), ==, 0);
  close (fd);
}

static void
test_dead (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) listener = NULL;

  leave_dead (f->path);
  g_assert_cmpint (connect_unix (f->path), ==, ECONNREFUSED);
  listener = varve_listener_unix (f->path, 0600, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (connect_unix (f->path), ==, 0);
}

static void
test_remove_dead (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) alive = NULL;

  g_assert_true (varve_listener_remove_dead (f->path, &error));
  leave_dead (f->path);
  g_assert_true (varve_listener_remove_dead (f->path, &error));
  g_assert_false (g_file_test (f->path, G_FILE_TEST_EXISTS));

  alive = varve_listener_unix (f->path, 0600, NULL, &error);
  g_assert_true (varve_listener_remove_dead (f->path, &error));
  g_assert_cmpint (connect_unix (f->path), ==, 0);
  g_clear_pointer (&alive, varve_listener_free);

  g_assert_true (g_file_set_contents (f->path, "mine", -1, NULL));
  g_assert_true (varve_listener_remove_dead (f->path, &error));
  g_assert_no_error (error);
  g_assert_true (g_file_test (f->path, G_FILE_TEST_IS_REGULAR));
}

static void
test_exists (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) first = NULL;
  g_autofree char *text = NULL;

  g_assert_true (g_file_set_contents (f->path, "mine", -1, NULL));
  g_assert_null (varve_listener_unix (f->path, 0600, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  g_assert_true (g_file_get_contents (f->path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "mine");
  g_clear_error (&error);

  g_assert_cmpint (g_unlink (f->path), ==, 0);
  first = varve_listener_unix (f->path, 0600, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (varve_listener_unix (f->path, 0600, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  g_assert_cmpint (connect_unix (f->path), ==, 0);
}

/* What has taken the place of the socket is not removed with it. */
static void
test_replaced (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveListener *listener = varve_listener_unix (f->path, 0600, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpint (g_unlink (f->path), ==, 0);
  g_assert_true (g_file_set_contents (f->path, "another's", -1, NULL));
  varve_listener_free (listener);
  g_assert_true (g_file_test (f->path, G_FILE_TEST_EXISTS));
}

static void
test_path (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *name = g_strnfill (120, 'x');
  g_autofree char *path = g_build_filename (f->dir, name, NULL);

  g_assert_null (varve_listener_unix (path, 0600, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (varve_listener_unix ("relative", 0600, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
}

static void
test_tcp (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) listener = varve_listener_tcp ("127.0.0.1", 0, true, &error);
  struct sockaddr_in address = { .sin_family = AF_INET };
  unsigned port;
  int fd;

  g_assert_no_error (error);
  port = varve_listener_port (listener);
  g_assert_cmpuint (port, >, 0);
  address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  address.sin_port = htons ((uint16_t)port);
  fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint (connect (fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  close (fd);

  g_assert_null (varve_listener_tcp ("127.0.0.1", port, true, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
}

static void
test_loopback (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveListener) open = NULL;

  g_assert_null (varve_listener_tcp ("0.0.0.0", 0, true, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);
  open = varve_listener_tcp ("0.0.0.0", 0, false, &error);
  g_assert_no_error (error);
  g_assert_null (varve_listener_tcp ("no.such.host.invalid", 0, true, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/listener/unix", Fixture, NULL, set_up, test_unix, tear_down);
  g_test_add ("/listener/group", Fixture, NULL, set_up, test_group, tear_down);
  g_test_add ("/listener/no-group", Fixture, NULL, set_up, test_no_group, tear_down);
  g_test_add ("/listener/dead", Fixture, NULL, set_up, test_dead, tear_down);
  g_test_add ("/listener/remove-dead", Fixture, NULL, set_up, test_remove_dead, tear_down);
  g_test_add ("/listener/exists", Fixture, NULL, set_up, test_exists, tear_down);
  g_test_add ("/listener/replaced", Fixture, NULL, set_up, test_replaced, tear_down);
  g_test_add ("/listener/path", Fixture, NULL, set_up, test_path, tear_down);
  g_test_add_func ("/listener/tcp", test_tcp);
  g_test_add_func ("/listener/loopback", test_loopback);
  return g_test_run ();
}
