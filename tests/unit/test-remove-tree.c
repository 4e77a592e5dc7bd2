/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* rm -r: what it removes, and what lies behind links and mounts that it must not. */
#include "config.h"
#include "util/durable.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "util/error.h"

typedef struct {
  char *dir;
  char *tree; /* dir/tree, made, with sub/file in it */
  char *sub;
  char *inside; /* dir/tree/sub/file */
  char *precious;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->dir = g_dir_make_tmp ("varve-tree-XXXXXX", NULL);
  g_assert_nonnull (f->dir);
  f->tree = g_build_filename (f->dir, "tree", NULL);
  f->sub = g_build_filename (f->tree, "sub", NULL);
  f->inside = g_build_filename (f->sub, "file", NULL);
  f->precious = g_build_filename (f->dir, "precious", NULL);
  g_assert_cmpint (g_mkdir_with_parents (f->sub, 0700), ==, 0);
  g_assert_cmpint (g_mkdir (f->precious, 0700), ==, 0);
  g_assert_true (g_file_set_contents (f->inside, "x", 1, NULL));
  g_assert_cmpint (chmod (f->inside, 0400), ==, 0);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_true (varve_remove_tree (f->dir, NULL));
  g_assert_false (g_file_test (f->dir, G_FILE_TEST_EXISTS));
  g_free (f->dir);
  g_free (f->tree);
  g_free (f->sub);
  g_free (f->inside);
  g_free (f->precious);
}

static void
test_removes (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_remove_tree (f->tree, &error));
  g_assert_no_error (error);
  g_assert_false (g_file_test (f->tree, G_FILE_TEST_EXISTS));
  g_assert_true (varve_remove_tree (f->tree, &error));
  g_assert_no_error (error);
}

static void
test_many (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 3000; i++) {
    g_autofree char *path = g_strdup_printf ("%s/%d", f->sub, i);
    g_assert_true (g_file_set_contents (path, "", 0, NULL));
  }
  g_assert_true (varve_remove_tree (f->tree, &error));
  g_assert_no_error (error);
}

static void
test_links (Fixture *f, gconstpointer data)
{
  g_autofree char *link_inside = g_build_filename (f->sub, "link", NULL);
  g_autofree char *link_root = g_build_filename (f->dir, "link", NULL);
  g_autofree char *kept = g_build_filename (f->precious, "kept", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (kept, "x", 1, NULL));
  g_assert_cmpint (symlink (f->precious, link_inside), ==, 0);
  g_assert_cmpint (symlink (f->precious, link_root), ==, 0);

  g_assert_true (varve_remove_tree (f->tree, &error));
  g_assert_no_error (error);
  g_assert_true (g_file_test (kept, G_FILE_TEST_EXISTS));

  g_assert_false (varve_remove_tree (link_root, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_true (g_file_test (kept, G_FILE_TEST_EXISTS));
}

static void
test_too_deep (Fixture *f, gconstpointer data)
{
  g_autoptr (GString) path = g_string_new (f->sub);
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 70; i++)
    g_string_append (path, "/d");
  g_assert_cmpint (g_mkdir_with_parents (path->str, 0700), ==, 0);
  g_assert_false (varve_remove_tree (f->tree, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);

  g_string_truncate (path, strlen (f->sub));
  for (int i = 0; i < 20; i++)
    g_string_append (path, "/d");
  g_assert_true (varve_remove_tree (path->str, NULL));
}

/* 0: refused, and what is mounted is whole; 77: mounting is not allowed here. */
static int
try_mount (Fixture *f, bool bind)
{
  g_autofree char *kept = g_build_filename (f->sub, "kept", NULL);
  g_autoptr (GError) error = NULL;

  if (unshare (CLONE_NEWNS) < 0 || mount ("none", "/", "none", MS_REC | MS_PRIVATE, "") < 0 ||
      mount (bind ? f->precious : "none", f->sub, "tmpfs", bind ? MS_BIND : 0, "") < 0)
    return 77;
  g_assert_true (g_file_set_contents (kept, "x", 1, NULL));
  g_assert_false (varve_remove_tree (f->tree, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_true (g_file_test (kept, G_FILE_TEST_EXISTS));
  return 0;
}

static void
test_mount (Fixture *f, gconstpointer bind)
{
  int status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    _exit (try_mount (f, bind != NULL));
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) == 77)
    g_test_skip ("mounting is not allowed here");
  else
    g_assert_cmpint (WEXITSTATUS (status), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, data, func) g_test_add (name, Fixture, data, set_up, func, tear_down)
  ADD ("/remove-tree/removes", NULL, test_removes);
  ADD ("/remove-tree/many", NULL, test_many);
  ADD ("/remove-tree/links", NULL, test_links);
  ADD ("/remove-tree/too-deep", NULL, test_too_deep);
  ADD ("/remove-tree/other-file-system", NULL, test_mount);
  ADD ("/remove-tree/bind-mount", "bind", test_mount);
#undef ADD
  return g_test_run ();
}
