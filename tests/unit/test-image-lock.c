/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QEMU's locks, against a child that locks as QEMU does: permission n at byte 100 + n, barred to
 * others at byte 200 + n. (tests/shell/test-fault-image.sh has the real one.) */
#include "config.h"
#include "qemu/image-lock.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"

typedef struct {
  char *path;
  int other; /* another open file description of it */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  int fd = g_file_open_tmp ("varve-lock-XXXXXX", &fixture->path, NULL);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
  fixture->other = open (fixture->path, O_RDWR | O_CLOEXEC);
  g_assert_cmpint (fixture->other, >=, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  close (fixture->other);
  g_unlink (fixture->path);
  g_free (fixture->path);
}

static void
hold (Fixture *fixture, off_t byte, bool held)
{
  struct flock lock = {
    .l_type = held ? F_RDLCK : F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
  };

  g_assert_cmpint (fcntl (fixture->other, F_OFD_SETLK, &lock), ==, 0);
}

static bool
is_barred (Fixture *fixture, off_t byte)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

  g_assert_cmpint (fcntl (fixture->other, F_OFD_GETLK, &lock), ==, 0);
  return lock.l_type != F_UNLCK;
}

static void
test_lock (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int fd = -1;

  hold (fixture, 100, true); /* a reader is no matter */
  g_assert_true (varve_image_lock (fixture->path, &fd, &error));
  g_assert_no_error (error);
  g_assert_cmpint (fd, >=, 0);
  g_assert_true (is_barred (fixture, 201));
  g_assert_true (is_barred (fixture, 203));
  g_assert_false (is_barred (fixture, 101));
  g_assert_false (is_barred (fixture, 200));
  close (fd);
  g_assert_false (is_barred (fixture, 201));
}

static void
test_writer (Fixture *fixture, gconstpointer data)
{
  for (off_t byte = 101; byte <= 103; byte += 2) {
    g_autoptr (GError) error = NULL;
    int fd = 0;

    hold (fixture, byte, true);
    g_assert_false (varve_image_lock (fixture->path, &fd, &error));
    g_assert_true (varve_error_matches (error, VARVE_ERROR_BUSY));
    g_assert_nonnull (strstr (error->message, fixture->path));
    g_assert_cmpint (fd, ==, -1);
    g_assert_false (is_barred (fixture, 201));
    hold (fixture, byte, false);
  }
}

static void
test_unused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_image_check_unused (fixture->path, &error));
  g_assert_no_error (error);
  hold (fixture, 100, true);
  g_assert_false (varve_image_check_unused (fixture->path, &error));
  g_assert_true (varve_error_matches (error, VARVE_ERROR_BUSY));
  g_clear_error (&error);
  hold (fixture, 100, false);
  hold (fixture, 50, true);
  g_assert_true (varve_image_check_unused (fixture->path, &error));
}

static void
test_missing (void)
{
  g_autoptr (GError) error = NULL;
  int fd = 0;

  g_assert_false (varve_image_lock ("/nowhere/at/all", &fd, &error));
  g_assert_true (varve_error_matches (error, VARVE_ERROR_NOT_FOUND));
  g_clear_error (&error);
  g_assert_false (varve_image_check_unused ("/nowhere/at/all", &error));
  g_assert_true (varve_error_matches (error, VARVE_ERROR_NOT_FOUND));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/image-lock/lock", Fixture, NULL, set_up, test_lock, tear_down);
  g_test_add ("/image-lock/writer", Fixture, NULL, set_up, test_writer, tear_down);
  g_test_add ("/image-lock/unused", Fixture, NULL, set_up, test_unused, tear_down);
  g_test_add_func ("/image-lock/missing", test_missing);
  return g_test_run ();
}
