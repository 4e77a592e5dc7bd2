/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The qemu-img runner, with the real program: what it makes, what it reads, and which of its
 * complaints become which decision. */
#include "config.h"
#include "qemu/qemu-img.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu-fixture.h"

#define SIZE (16u << 20)

static VarveImage *
image_at (Fixture *fixture, const char *name, const char *format)
{
  g_autofree char *path = fixture_path (fixture, name);

  return varve_image_new (path, format, NULL);
}

static void
create (const VarveImage *image)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_image_create (image, SIZE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
}

static VarveImageInfo *
info_of (const VarveImage *image)
{
  g_autoptr (GError) error = NULL;
  VarveImageInfo *info = varve_image_info (image, false, NULL, &error);

  g_assert_no_error (error);
  return info;
}

static const VarveImageBitmap *
find_bitmap (const VarveImageInfo *info, const char *name)
{
  for (guint i = 0; i < info->bitmaps->len; i++) {
    const VarveImageBitmap *bitmap = info->bitmaps->pdata[i];

    if (g_str_equal (bitmap->name, name))
      return bitmap;
  }
  return NULL;
}

/* Overwrites @length bytes of the file. */
static void
scribble (const char *path, off_t offset, const void *data, size_t length)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (pwrite (fd, data, length, offset), ==, (ssize_t)length);
  close (fd);
}

static void
test_create (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a.qcow2", "qcow2");
  g_autoptr (GError) error = NULL;
  struct stat status;

  create (image);
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_cmpstr (info->format, ==, "qcow2");
  g_assert_cmpuint (info->size, ==, SIZE);
  g_assert_cmpuint (info->cluster_size, ==, 65536);
  g_assert_cmpuint (info->allocated, >, 0);
  g_assert_true (info->can_persist);
  g_assert_false (info->encrypted);
  g_assert_null (info->backing_file);
  g_assert_cmpuint (info->bitmaps->len, ==, 0);
  g_assert_cmpint (stat (image->path, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 0777, ==, 0600);

  g_assert_false (varve_image_create (image, SIZE, NULL, NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_EXISTS, image->path);
}

static void
test_create_raw (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a.raw", "raw");
  g_autoptr (GError) error = NULL;

  /* The caller's own empty file is taken. */
  g_assert_true (g_file_set_contents (image->path, "", 0, NULL));
  create (image);
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_cmpstr (info->format, ==, "raw");
  g_assert_cmpuint (info->size, ==, SIZE);
  g_assert_false (info->can_persist);

  g_assert_true (varve_image_check (image, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (varve_image_bitmap_add (image, "b", 0, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_UNSUPPORTED, "persistent bitmaps");
}

static void
test_create_fails (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) strange = image_at (fixture, "a", "no-such-format");
  g_autoptr (VarveImage) lost = image_at (fixture, "no-directory/a", "qcow2");
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_image_create (strange, SIZE, NULL, NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "no-such-format");
  g_assert_false (g_file_test (strange->path, G_FILE_TEST_EXISTS));
  g_clear_error (&error);
  g_assert_false (varve_image_create (lost, SIZE, NULL, NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, lost->path);
}

static void
test_backing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_image_create (top, SIZE, "base", "qcow2", NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, base->path);
  g_clear_error (&error);
  create (base);
  g_assert_false (varve_image_create (top, SIZE, "base", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_USAGE, "format");
  g_clear_error (&error);
  g_assert_false (varve_image_create (top, SIZE, "nbd:base", "raw", NULL, &error));
  assert_varve_error (error, VARVE_ERROR_USAGE, "protocol");
  g_clear_error (&error);

  g_assert_true (varve_image_create (top, SIZE, "base", "qcow2", NULL, &error));
  g_assert_no_error (error);
  g_autoptr (VarveImageInfo) info = info_of (top);
  g_assert_cmpstr (info->backing_file, ==, "base");
  g_assert_cmpstr (info->backing_format, ==, "qcow2");
  g_assert_cmpstr (info->full_backing_file, ==, base->path);

  /* A bitmap is added by an open without backing; the header keeps it all the same. */
  g_assert_true (varve_image_bitmap_add (top, "b", 0, NULL, &error));
  g_autoptr (VarveImageInfo) after = info_of (top);
  g_assert_cmpstr (after->backing_file, ==, "base");
  g_assert_cmpstr (after->backing_format, ==, "qcow2");
  g_assert_cmpuint (after->bitmaps->len, ==, 1);
}

/* Nothing in a name is a separator, an option, a protocol or a pattern to anybody. */
static void
test_hostile_names (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = { "a,b=c",    "nbd:x",     "json:{}",     "-f",
                                       "quo'te\"", "new\nline", "back\\slash", "%s$(x)*" };

  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (VarveImage) image = image_at (fixture, names[i], "qcow2");
    g_autoptr (GError) error = NULL;

    create (image);
    g_assert_true (g_file_test (image->path, G_FILE_TEST_EXISTS));
    g_assert_true (varve_image_bitmap_add (image, names[i], 0, NULL, &error));
    g_assert_no_error (error);
    g_autoptr (VarveImageInfo) info = info_of (image);
    g_assert_nonnull (find_bitmap (info, names[i]));
    g_assert_true (varve_image_bitmap_remove (image, names[i], NULL, &error));
    g_assert_no_error (error);
    g_assert_true (varve_image_check (image, NULL, &error));
    g_assert_no_error (error);
  }
}

static void
test_bitmaps (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;

  create (image);
  g_assert_true (varve_image_bitmap_add (image, "one", 32768, NULL, &error));
  g_assert_true (varve_image_bitmap_add (image, "two", 0, NULL, &error));
  g_assert_no_error (error);
  g_autoptr (VarveImageInfo) info = info_of (image);
  const VarveImageBitmap *one = find_bitmap (info, "one");
  g_assert_nonnull (one);
  g_assert_cmpuint (one->granularity, ==, 32768);
  g_assert_true (one->recording);
  g_assert_false (one->inconsistent);
  g_assert_cmpuint (find_bitmap (info, "two")->granularity, ==, 65536);

  g_assert_false (varve_image_bitmap_add (image, "one", 0, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_EXISTS, "'one'");
  g_clear_error (&error);
  g_assert_false (varve_image_bitmap_remove (image, "none", NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, "'none'");
  g_clear_error (&error);
  g_assert_false (varve_image_bitmap_merge (image, "one", "none", NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, "'none'");
  g_clear_error (&error);
  g_assert_false (varve_image_bitmap_add (image, "odd", 12345, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "'odd'");
  g_clear_error (&error);

  g_assert_true (varve_image_bitmap_merge (image, "one", "two", NULL, &error));
  g_assert_true (varve_image_bitmap_remove (image, "two", NULL, &error));
  g_assert_no_error (error);
  g_autoptr (VarveImageInfo) after = info_of (image);
  g_assert_cmpuint (after->bitmaps->len, ==, 1);
}

static void
test_old_version (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "old", "qcow2");
  g_autoptr (GError) error = NULL;

  run ("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", image->path, "1M");
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_false (info->can_persist);
  g_assert_false (varve_image_bitmap_add (image, "b", 0, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_UNSUPPORTED, "compat=1.1");
}

/* Somebody has the image open for writing: reading past the lock is possible, nothing else is. And
 * when that somebody is killed, its bitmaps are inconsistent. */
static void
test_locked (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;
  g_autofree char *pidfile = fixture_path (fixture, "pid");

  create (image);
  g_assert_true (varve_image_bitmap_add (image, "b", 0, NULL, &error));
  g_autofree char *node =
      g_strdup_printf ("driver=qcow2,node-name=n,file.driver=file,file.filename=%s", image->path);
  const char *argv[] = { "qemu-storage-daemon", "--blockdev", node, "--pidfile", pidfile, NULL };
  GSubprocess *holder = start_child (argv);
  wait_until (g_file_test (pidfile, G_FILE_TEST_EXISTS));

  g_assert_null (varve_image_info (image, false, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_BUSY, "is in use by a running QEMU or another program");
  g_assert_nonnull (strstr (error->message, image->path));
  g_clear_error (&error);
  g_assert_false (varve_image_bitmap_remove (image, "b", NULL, &error));
  assert_varve_error (error, VARVE_ERROR_BUSY, image->path);
  g_clear_error (&error);
  g_assert_false (varve_image_check (image, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_BUSY, image->path);
  g_clear_error (&error);
  g_autoptr (VarveImageInfo) past_lock = varve_image_info (image, true, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (past_lock->size, ==, SIZE);

  stop_child (holder);
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_true (find_bitmap (info, "b")->inconsistent);
  g_assert_true (varve_image_bitmap_remove (image, "b", NULL, &error));
  g_assert_no_error (error);
}

static void
test_unreadable (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) none = image_at (fixture, "none", "qcow2");
  g_autoptr (VarveImage) other = image_at (fixture, "other", "qcow2");
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_image_info (none, false, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, none->path);
  g_clear_error (&error);
  g_assert_false (varve_image_check (none, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, none->path);
  g_clear_error (&error);

  g_assert_true (g_file_set_contents (other->path, "no header here", -1, NULL));
  g_assert_null (varve_image_info (other, false, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "not in qcow2 format");
  g_assert_null (strstr (error->message, "json:"));
  g_clear_error (&error);
  g_assert_false (varve_image_check (other, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_STORE_DAMAGED, other->path);
}

/* A raw disk whose guest has written a qcow2 header onto it is a raw disk. */
static void
test_no_probing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) inner = image_at (fixture, "disk", "qcow2");
  g_autoptr (VarveImage) raw = image_at (fixture, "disk", "raw");

  run ("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/passwd",
       inner->path, "1M");
  g_autoptr (VarveImageInfo) info = info_of (raw);
  g_assert_cmpstr (info->format, ==, "raw");
  g_assert_null (info->backing_file);
}

static void
test_check (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;
  const guint8 no_refcount[2] = { 0, 0 };

  create (image);
  g_assert_true (varve_image_check (image, NULL, &error));
  g_assert_no_error (error);

  /* The first refcount block of a fresh image is its third cluster; its first entry counts the
   * header. */
  scribble (image->path, 2 * 65536, no_refcount, sizeof no_refcount);
  g_assert_false (varve_image_check (image, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_STORE_DAMAGED, image->path);
  g_assert_nonnull (strstr (error->message, "1 corruptions"));
}

static void
test_leak_is_no_damage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;
  const guint8 refcount[2] = { 0, 1 };

  create (image);
  g_assert_cmpint (truncate (image->path, 10 * 65536), ==, 0);
  scribble (image->path, 2 * 65536 + 2 * 8, refcount, sizeof refcount);
  g_autofree char *command =
      g_strdup_printf ("qemu-img check -q -f qcow2 %s 2>/dev/null", image->path);
  gint status = 0;
  const char *argv[] = { "sh", "-c", command, NULL };
  g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, &status, NULL));
  g_assert_cmpint (status >> 8, ==, 3); /* the fixture does what it says */

  g_assert_true (varve_image_check (image, NULL, &error));
  g_assert_no_error (error);
}

static void
test_encrypted (Fixture *fixture, gconstpointer data)
{
  g_autofree char *key = fixture_path (fixture, "key");
  g_autofree char *path = fixture_path (fixture, data);
  g_autoptr (VarveImage) image = varve_image_new (path, data, key);
  g_autoptr (VarveImage) keyless = varve_image_new (path, data, NULL);
  g_autoptr (GError) error = NULL;
  bool is_qcow2 = g_str_equal (data, "qcow2");

  g_assert_true (g_file_set_contents (key, "secret", -1, NULL));
  create_encrypted (path, data, key, "16M");
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_true (info->encrypted);
  g_autoptr (VarveImageInfo) without_key = info_of (keyless);
  g_assert_true (without_key->encrypted);
  g_assert_true (varve_image_check (image, NULL, &error));
  g_assert_no_error (error);

  g_assert_cmpint (varve_image_bitmap_add (image, "b", 0, NULL, &error), ==, is_qcow2);
  g_clear_error (&error);
  g_assert_true (g_file_set_contents (key, "wrong", -1, NULL));
  g_assert_false (varve_image_bitmap_add (image, "c", 0, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "Invalid password");
  g_clear_error (&error);
  g_assert_false (varve_image_check (image, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "Invalid password");
}

/* The key file's name is one place where a comma does mean something to QEMU. */
static void
test_create_encrypted (Fixture *fixture, gconstpointer data)
{
  g_autofree char *key = fixture_path (fixture, "key,file=x");
  g_autofree char *path = fixture_path (fixture, "a");
  g_autoptr (VarveImage) image = varve_image_new (path, data, key);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_image_create (image, SIZE, NULL, NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "key,file=x");
  g_clear_error (&error);

  g_assert_true (g_file_set_contents (key, "secret", -1, NULL));
  /* Tried again for the reason that the fixture tells; an image that was never made fails below. */
  for (int i = 0; i < 20 && !varve_image_create (image, SIZE, NULL, NULL, NULL, &error); i++)
    g_clear_error (&error);
  g_autoptr (VarveImageInfo) info = info_of (image);
  g_assert_true (info->encrypted);
  g_assert_cmpuint (info->size, ==, SIZE);
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_false (varve_image_create (image, SIZE, NULL, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_false (g_file_test (image->path, G_FILE_TEST_EXISTS));
  g_clear_error (&error);
  g_assert_null (varve_image_info (image, false, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

#define ADD(name, data, function)                                                                  \
  g_test_add ("/qemu-img/" name, Fixture, data, fixture_set_up, function, fixture_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("create", NULL, test_create);
  ADD ("create-raw", NULL, test_create_raw);
  ADD ("create-fails", NULL, test_create_fails);
  ADD ("backing", NULL, test_backing);
  ADD ("hostile-names", NULL, test_hostile_names);
  ADD ("bitmaps", NULL, test_bitmaps);
  ADD ("old-version", NULL, test_old_version);
  ADD ("locked", NULL, test_locked);
  ADD ("unreadable", NULL, test_unreadable);
  ADD ("no-probing", NULL, test_no_probing);
  ADD ("check", NULL, test_check);
  ADD ("leak-is-no-damage", NULL, test_leak_is_no_damage);
  ADD ("encrypted/qcow2", "qcow2", test_encrypted);
  ADD ("encrypted/luks", "luks", test_encrypted);
  ADD ("create-encrypted/qcow2", "qcow2", test_create_encrypted);
  ADD ("create-encrypted/luks", "luks", test_create_encrypted);
  ADD ("cancelled", NULL, test_cancelled);
  return g_test_run ();
}
