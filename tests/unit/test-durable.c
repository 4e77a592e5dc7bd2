/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Durable files: what is there after each call, and above all after one that failed. That data
 * reaches the disk cannot be seen from here; that a name never has half its content can. */
#include "config.h"
#include "util/durable.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "util/error.h"

typedef struct {
  char *dir;
  char *file; /* in dir, not made */
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->dir = g_dir_make_tmp ("varve-durable-XXXXXX", NULL);
  g_assert_nonnull (f->dir);
  f->file = g_build_filename (f->dir, "file", NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_true (varve_remove_tree (f->dir, NULL));
  g_free (f->dir);
  g_free (f->file);
}

static void
assert_content (const char *path, const char *expected)
{
  g_autofree char *data = NULL;
  size_t length;
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_read_file (path, 1000, &data, &length, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (data, length, expected, strlen (expected));
  g_assert_cmpint (data[length], ==, '\0');
}

static int
mode_of (const char *path)
{
  struct stat st;

  g_assert_cmpint (lstat (path, &st), ==, 0);
  return st.st_mode & 07777;
}

static size_t
count_entries (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  size_t count = 0;

  g_assert_nonnull (dir);
  while (g_dir_read_name (dir))
    count++;
  return count;
}

static void
test_replace (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  mode_t mask = umask (077);

  g_assert_true (varve_durable_replace (f->file, "one", 3, 0600, &error));
  assert_content (f->file, "one");
  g_assert_true (varve_durable_replace (f->file, "second", 6, 0644, &error));
  assert_content (f->file, "second");
  umask (mask);
  g_assert_cmpint (mode_of (f->file), ==, 0644);
  g_assert_true (varve_durable_replace (f->file, "", 0, 0644, &error));
  assert_content (f->file, "");
  g_assert_no_error (error);
  g_assert_cmpuint (count_entries (f->dir), ==, 1);
}

static void
test_create (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_durable_create (f->file, "one", 3, 0400, &error));
  g_assert_no_error (error);
  g_assert_cmpint (mode_of (f->file), ==, 0400);

  g_assert_false (varve_durable_create (f->file, "two", 3, 0400, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  assert_content (f->file, "one");
  g_assert_cmpuint (count_entries (f->dir), ==, 1);
}

static void
test_no_directory (Fixture *f, gconstpointer data)
{
  g_autofree char *lost = g_build_filename (f->dir, "lost", "file", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_durable_replace (lost, "x", 1, 0600, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "lost"));
}

/* A write that breaks off in the middle: the limit on file size stands in for a full disk. */
static void
test_broken_write (Fixture *f, gconstpointer data)
{
  g_autofree char *large = g_strnfill (8192, 'x');
  g_autoptr (GError) error = NULL;
  struct rlimit before;

  g_assert_true (varve_durable_replace (f->file, "old", 3, 0600, NULL));
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  struct rlimit small = { .rlim_cur = 4096, .rlim_max = before.rlim_max };
  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &small), ==, 0);
  bool replaced = varve_durable_replace (f->file, large, 8192, 0600, &error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  signal (SIGXFSZ, SIG_DFL);

  g_assert_false (replaced);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  assert_content (f->file, "old");
  g_assert_cmpuint (count_entries (f->dir), ==, 1);
}

static void
test_unlink (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *nowhere = g_build_filename (f->dir, "no-such-directory", "file", NULL);

  g_assert_true (varve_durable_unlink (f->file, &error));
  g_assert_true (varve_durable_unlink (nowhere, &error));
  g_assert_true (varve_durable_replace (f->file, "x", 1, 0600, &error));
  g_assert_true (varve_durable_unlink (f->file, &error));
  g_assert_no_error (error);
  g_assert_cmpint (access (f->file, F_OK), ==, -1);
  g_assert_false (varve_durable_unlink (f->dir, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

static void
test_rename (Fixture *f, gconstpointer data)
{
  g_autofree char *to = g_build_filename (f->dir, "to", NULL);
  g_autofree char *dir_a = g_build_filename (f->dir, "a", NULL);
  g_autofree char *dir_b = g_build_filename (f->dir, "b", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_rename_noreplace (f->file, to, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);

  g_assert_true (varve_durable_replace (f->file, "x", 1, 0600, NULL));
  g_assert_true (varve_rename_noreplace (f->file, to, &error));
  g_assert_no_error (error);
  assert_content (to, "x");

  g_assert_true (varve_durable_replace (f->file, "y", 1, 0600, NULL));
  g_assert_false (varve_rename_noreplace (f->file, to, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  assert_content (to, "x");
  assert_content (f->file, "y");
  g_clear_error (&error);

  /* rename(2) itself would replace an empty directory. */
  g_assert_cmpint (g_mkdir (dir_a, 0700), ==, 0);
  g_assert_cmpint (g_mkdir (dir_b, 0700), ==, 0);
  g_assert_false (varve_rename_noreplace (dir_a, dir_b, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
}

static void
test_make_directories (Fixture *f, gconstpointer data)
{
  g_autofree char *top = g_build_filename (f->dir, "a", NULL);
  g_autofree char *deep = g_build_filename (top, "b", "c", NULL);
  g_autofree char *in_file = g_build_filename (f->file, "d", NULL);
  g_autoptr (GError) error = NULL;
  mode_t mask = umask (077);

  g_assert_true (varve_make_directories (deep, 0711, &error));
  g_assert_true (varve_make_directories (deep, 0700, &error));
  umask (mask);
  g_assert_no_error (error);
  g_assert_cmpint (mode_of (top), ==, 0711);
  g_assert_cmpint (mode_of (deep), ==, 0711);

  g_assert_true (varve_durable_replace (f->file, "x", 1, 0600, NULL));
  g_assert_false (varve_make_directories (f->file, 0700, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (varve_make_directories (in_file, 0700, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

static void
test_read_limits (Fixture *f, gconstpointer data)
{
  g_autofree char *large = g_strnfill (200000, 'x');
  g_autofree char *got = NULL;
  size_t length = 1;
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_read_file (f->file, 10, &got, &length, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_clear_error (&error);

  g_assert_true (varve_durable_replace (f->file, large, 200000, 0600, NULL));
  g_assert_false (varve_read_file (f->file, 199999, &got, &length, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, f->file));
  g_assert_null (got);
  g_clear_error (&error);

  g_assert_true (varve_read_file (f->file, 200000, &got, &length, &error));
  g_assert_cmpmem (got, length, large, 200000);
  g_clear_pointer (&got, g_free);
  g_assert_true (varve_read_file (f->file, SIZE_MAX, &got, &length, &error));
  g_assert_cmpuint (length, ==, 200000);
}

/* Neither may hang nor be read: the FIFO has no writer. */
static void
test_read_odd_files (Fixture *f, gconstpointer data)
{
  g_autofree char *got = NULL;
  size_t length;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (mkfifo (f->file, 0600), ==, 0);
  g_assert_false (varve_read_file (f->file, 10, &got, &length, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (varve_read_file (f->dir, 10, &got, &length, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

static void
test_sync (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_sync_path (f->dir, &error));
  g_assert_true (varve_sync_parent (f->file, &error));
  g_assert_no_error (error);
  g_assert_false (varve_sync_path (f->file, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)
  ADD ("/durable/replace", test_replace);
  ADD ("/durable/create", test_create);
  ADD ("/durable/no-directory", test_no_directory);
  ADD ("/durable/broken-write", test_broken_write);
  ADD ("/durable/unlink", test_unlink);
  ADD ("/durable/rename", test_rename);
  ADD ("/durable/make-directories", test_make_directories);
  ADD ("/durable/read-limits", test_read_limits);
  ADD ("/durable/read-odd-files", test_read_odd_files);
  ADD ("/durable/sync", test_sync);
#undef ADD
  return g_test_run ();
}
