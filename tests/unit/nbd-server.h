/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Real NBD servers for tests: nbdkit, qemu-nbd, qemu-storage-daemon. Each test has a directory, and
 * at most one server, which is ended by its pid. */
#pragma once

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/nbd.h"
#include "util/durable.h"
#include "util/error.h"
#include "wait.h"

#define KIB (UINT64_C (1) << 10)
#define MIB (UINT64_C (1) << 20)

typedef struct {
  char *dir;
  char *socket;
  char *pidfile;
  char *uri;   /* of the default export */
  char *image; /* a path for the test's use */
  char *other; /* another one */
  GPid pid;
} Server;

static inline void
server_set_up (Server *s, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  s->dir = g_dir_make_tmp ("varve-nbd-XXXXXX", &error);
  g_assert_no_error (error);
  s->socket = g_build_filename (s->dir, "s", NULL);
  s->pidfile = g_build_filename (s->dir, "pid", NULL);
  s->image = g_build_filename (s->dir, "image", NULL);
  s->other = g_build_filename (s->dir, "other", NULL);
  s->uri = g_strdup_printf ("nbd+unix:///?socket=%s", s->socket);
}

static inline void
server_stop (Server *s, int signal)
{
  if (s->pid == 0)
    return;
  g_assert_cmpint (kill (s->pid, signal), ==, 0);
  g_assert_cmpint (waitpid (s->pid, NULL, 0), ==, s->pid);
  s->pid = 0;
  g_unlink (s->pidfile);
  g_unlink (s->socket);
}

/* It hangs. A signal alone has not arrived when kill returns: the server may still answer what comes next. */
static inline void
server_hang (Server *s)
{
  int status;

  g_assert_cmpint (kill (s->pid, SIGSTOP), ==, 0);
  g_assert_cmpint (waitpid (s->pid, &status, WUNTRACED), ==, s->pid);
  g_assert_true (WIFSTOPPED (status));
}

static inline void
server_tear_down (Server *s, gconstpointer data)
{
  server_stop (s, SIGKILL);
  g_assert_true (varve_remove_tree (s->dir, NULL));
  g_free (s->dir);
  g_free (s->socket);
  g_free (s->pidfile);
  g_free (s->image);
  g_free (s->other);
  g_free (s->uri);
}

static inline bool
server_is_up (Server *s)
{
  g_autofree char *text = NULL;

  g_assert_cmpint (waitpid (s->pid, NULL, WNOHANG), ==, 0);
  return g_file_get_contents (s->pidfile, &text, NULL, NULL) && strchr (text, '\n') != NULL;
}

/* One command, its words separated by blanks; waits until it has written its pid file. */
static inline void server_start (Server *s, const char *format, ...) G_GNUC_PRINTF (2, 3);

static inline void
server_start (Server *s, const char *format, ...)
{
  g_autofree char *command = NULL;
  g_auto (GStrv) argv = NULL;
  g_autoptr (GError) error = NULL;
  va_list args;

  va_start (args, format);
  command = g_strdup_vprintf (format, args);
  va_end (args);
  g_assert_true (g_shell_parse_argv (command, NULL, &argv, &error));
  g_spawn_async (NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                 &s->pid, &error);
  g_assert_no_error (error);
  wait_until (server_is_up (s));
}

/* @what: filters, plugin and parameters. */
static inline void
server_start_nbdkit (Server *s, const char *what)
{
  server_start (s, "nbdkit -f -P %s -U %s %s", s->pidfile, s->socket, what);
}

/* @what: options and the image. */
static inline void
server_start_qemu (Server *s, const char *what)
{
  server_start (s, "qemu-nbd --persistent --pid-file=%s --socket=%s %s", s->pidfile, s->socket,
                what);
}

/* Runs to its end, which must be a good one; gives what it said. */
static inline char *run_command (const char *format, ...) G_GNUC_PRINTF (1, 2);

static inline char *
run_command (const char *format, ...)
{
  g_autofree char *command = NULL;
  g_autofree char *err = NULL;
  g_autoptr (GError) error = NULL;
  char *out = NULL;
  int status;
  va_list args;

  va_start (args, format);
  command = g_strdup_vprintf (format, args);
  va_end (args);
  g_spawn_command_line_sync (command, &out, &err, &status, &error);
  g_assert_no_error (error);
  if (!g_spawn_check_wait_status (status, &error))
    g_error ("'%s': %s: %s%s", command, error->message, out, err);
  return out;
}

static inline BlockSource *
open_source (const BlockNbdOptions *options)
{
  g_autoptr (GError) error = NULL;
  BlockSource *source = block_nbd_source_open (options, NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (source);
  return source;
}

static inline void
assert_code (const GError *error, VarveError code)
{
  g_assert_error (error, VARVE_ERROR, (int)code);
  /* A full sentence that names the disk. */
  g_assert_nonnull (strstr (error->message, "disk 'vda'"));
}
