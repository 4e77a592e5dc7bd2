/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The state directory: what it makes, and which directories it refuses. */
#include "config.h"
#include "state/state-dir.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "util/durable.h"
#include "util/error.h"

typedef struct {
  char *path;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->path = g_dir_make_tmp ("varve-state-XXXXXX", NULL);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_true (varve_remove_tree (f->path, NULL));
  g_free (f->path);
}

static int
mode_of (const char *path)
{
  struct stat st;

  g_assert_cmpint (stat (path, &st), ==, 0);
  return st.st_mode & 07777;
}

static void
test_makes (Fixture *f, gconstpointer data)
{
  static const struct {
    const char *name;
    int mode;
  } expected[] = {
    { ".", 0711 }, { "locks", 0700 }, { "sessions", 0700 }, { "scratch", 0711 }, { "sockets", 0711 }
  };
  g_autofree char *path = g_build_filename (f->path, "new", "state", NULL);
  g_autoptr (GError) error = NULL;
  mode_t mask = umask (077);

  g_autoptr (VarveStateDir) dir = varve_state_dir_open (path, &error);
  umask (mask);
  g_assert_no_error (error);
  g_assert_cmpstr (varve_state_dir_path (dir), ==, path);
  for (size_t i = 0; i < G_N_ELEMENTS (expected); i++) {
    g_autofree char *child = g_build_filename (path, expected[i].name, NULL);
    g_assert_cmpint (mode_of (child), ==, expected[i].mode);
  }
  g_autoptr (VarveStateDir) again = varve_state_dir_open (path, &error);
  g_assert_no_error (error);
}

static void
test_environment (Fixture *f, gconstpointer data)
{
  g_autofree char *path = g_build_filename (f->path, "from-env", NULL);
  g_autofree char *expected = g_build_filename (path, "scratch", "vda.qcow2", NULL);
  g_autoptr (GError) error = NULL;

  g_setenv ("VARVE_STATE_DIR", path, TRUE);
  g_autoptr (VarveStateDir) dir = varve_state_dir_open (NULL, &error);
  g_unsetenv ("VARVE_STATE_DIR");
  g_assert_no_error (error);
  g_autofree char *file = varve_state_dir_file (dir, "scratch", "vda.qcow2");
  g_assert_cmpstr (file, ==, expected);
}

static void
test_relative_gets_absolute (Fixture *f, gconstpointer data)
{
  g_autofree char *before = g_get_current_dir ();
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (g_chdir (f->path), ==, 0);
  g_autoptr (VarveStateDir) dir = varve_state_dir_open ("state", &error);
  g_assert_cmpint (g_chdir (before), ==, 0);
  g_assert_no_error (error);
  g_assert_true (g_path_is_absolute (varve_state_dir_path (dir)));
}

static void
test_refuses_open_to_all (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (chmod (f->path, 0777), ==, 0);
  g_assert_null (varve_state_dir_open (f->path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);

  g_assert_cmpint (chmod (f->path, 0755), ==, 0);
  g_autofree char *sessions = g_build_filename (f->path, "sessions", NULL);
  g_assert_cmpint (g_mkdir (sessions, 0700), ==, 0);
  g_assert_cmpint (chmod (sessions, 0777), ==, 0);
  g_assert_null (varve_state_dir_open (f->path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
}

static void
test_refuses_foreign (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  if (geteuid () != 0) {
    g_test_skip ("only root can give a directory away");
    return;
  }
  g_assert_cmpint (chown (f->path, 65534, 65534), ==, 0);
  g_assert_null (varve_state_dir_open (f->path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
}

static void
test_not_a_directory (Fixture *f, gconstpointer data)
{
  g_autofree char *path = g_build_filename (f->path, "file", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  g_assert_null (varve_state_dir_open (path, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, path));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)
  ADD ("/state-dir/makes", test_makes);
  ADD ("/state-dir/environment", test_environment);
  ADD ("/state-dir/relative", test_relative_gets_absolute);
  ADD ("/state-dir/open-to-all", test_refuses_open_to_all);
  ADD ("/state-dir/foreign", test_refuses_foreign);
  ADD ("/state-dir/not-a-directory", test_not_a_directory);
#undef ADD
  return g_test_run ();
}
