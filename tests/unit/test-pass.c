/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "util/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "util/error.h"

#define ACL "system.posix_acl_access"

typedef struct {
  char *directory;
  char *file; /* in it, which all may read */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("varve-pass-XXXXXX", NULL);
  fixture->file = g_build_filename (fixture->directory, "file", NULL);
  g_assert_true (g_file_set_contents (fixture->file, "x", 1, NULL));
  g_assert_cmpint (chmod (fixture->file, 0644), ==, 0);
  g_assert_cmpint (chmod (fixture->directory, 0700), ==, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->file);
  g_rmdir (fixture->directory);
  g_free (fixture->file);
  g_free (fixture->directory);
}

/* In a child that becomes that user. */
static bool
can_read (const char *path, uid_t uid)
{
  int status = 0;
  pid_t child = fork ();

  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    _exit (setgid (uid) == 0 && setuid (uid) == 0 ? access (path, R_OK) != 0 : 2);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), !=, 2);
  return WEXITSTATUS (status) == 0;
}

static mode_t
mode_of (const char *path)
{
  struct stat st;

  g_assert_cmpint (stat (path, &st), ==, 0);
  return st.st_mode & 07777;
}

/* False, with the test marked as skipped, where the file system has no ACLs. */
static bool
allow (const char *directory, uid_t uid)
{
  g_autoptr (GError) error = NULL;

  if (varve_pass_allow (directory, uid, &error))
    return true;
  g_assert_true (varve_error_matches (error, VARVE_ERROR_UNSUPPORTED));
  g_test_skip (error->message);
  return false;
}

static void
test_others (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  if (geteuid () != 0) {
    g_test_skip ("only root can become another user");
    return;
  }
  g_assert_false (can_read (fixture->file, 5000));
  if (!allow (fixture->directory, 5000) || !allow (fixture->directory, 7000) ||
      !allow (fixture->directory, 6000) || !allow (fixture->directory, 6000))
    return;
  g_assert_true (can_read (fixture->file, 5000));
  g_assert_true (can_read (fixture->file, 6000));
  g_assert_true (can_read (fixture->file, 7000));
  g_assert_false (can_read (fixture->file, 8000));
  /* To pass is not to list. */
  g_assert_false (can_read (fixture->directory, 5000));
  g_assert_cmpint (getxattr (fixture->directory, ACL, NULL, 0), ==, 4 + 7 * 8);

  g_assert_true (varve_pass_forget (fixture->directory, 0700, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (mode_of (fixture->directory), ==, 0700);
  g_assert_false (can_read (fixture->file, 5000));
  g_assert_true (varve_pass_forget (fixture->directory, 0700, &error));
  g_assert_no_error (error);
}

/* The group keeps what it had, and no more. */
static void
test_group (Fixture *fixture, gconstpointer data)
{
  if (geteuid () != 0) {
    g_test_skip ("only root can become another user");
    return;
  }
  g_assert_cmpint (chown (fixture->directory, 0, 5000), ==, 0);
  g_assert_cmpint (chmod (fixture->directory, 0740), ==, 0);
  if (!allow (fixture->directory, 6000))
    return;
  g_assert_true (can_read (fixture->file, 6000));
  g_assert_false (can_read (fixture->file, 5000));
  g_assert_true (can_read (fixture->directory, 5000));
}

static void
test_needless (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_pass_allow (fixture->directory, geteuid (), &error));
  g_assert_true (varve_pass_allow (fixture->directory, 0, &error));
  g_assert_cmpint (chmod (fixture->directory, 0711), ==, 0);
  g_assert_true (varve_pass_allow (fixture->directory, 5000, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (mode_of (fixture->directory), ==, 0711);
  g_assert_cmpint (getxattr (fixture->directory, ACL, NULL, 0), ==, -1);
}

static void
test_way (Fixture *fixture, gconstpointer data)
{
  g_autofree char *middle = g_build_filename (fixture->directory, "a", NULL);
  g_autofree char *inner = g_build_filename (middle, "b", NULL);
  g_autofree char *file = g_build_filename (inner, "file", NULL);
  g_autoptr (GError) error = NULL;

  if (geteuid () != 0) {
    g_test_skip ("only root can become another user");
    return;
  }
  g_assert_cmpint (g_mkdir_with_parents (inner, 0700), ==, 0);
  g_assert_true (g_file_set_contents (file, "x", 1, NULL));
  g_assert_cmpint (chmod (file, 0644), ==, 0);
  if (allow (fixture->directory, 5000)) {
    g_assert_true (varve_pass_allow_way (inner, file, 5000, &error));
    g_assert_no_error (error);
    g_assert_false (can_read (file, 5000));
    g_assert_true (varve_pass_allow_way (middle, file, 5000, &error));
    g_assert_no_error (error);
    g_assert_true (can_read (file, 5000));
  }
  g_unlink (file);
  g_rmdir (inner);
  g_rmdir (middle);
}

static void
test_missing (Fixture *fixture, gconstpointer data)
{
  g_autofree char *missing = g_build_filename (fixture->directory, "missing", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_pass_allow (missing, 5000, &error));
  g_assert_true (varve_error_matches (error, VARVE_ERROR_FAILED));
  g_clear_error (&error);
  g_assert_false (varve_pass_forget (missing, 0700, &error));
  g_assert_true (varve_error_matches (error, VARVE_ERROR_FAILED));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/pass/others", Fixture, NULL, set_up, test_others, tear_down);
  g_test_add ("/pass/group", Fixture, NULL, set_up, test_group, tear_down);
  g_test_add ("/pass/needless", Fixture, NULL, set_up, test_needless, tear_down);
  g_test_add ("/pass/way", Fixture, NULL, set_up, test_way, tear_down);
  g_test_add ("/pass/missing", Fixture, NULL, set_up, test_missing, tear_down);
  return g_test_run ();
}
