/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Directories of bitmaps: what qemu-img reads of the same images, ours reads too; what has been damaged is left to
 * qemu-img, whatever byte it is. */
#include "config.h"
#include "qemu/bitmap-directory.h"

#include <string.h>
#include <unistd.h>

#include "qemu-fixture.h"

#define SIZE (16u << 20)

static VarveImage *
new_image (Fixture *fixture, const char *name)
{
  g_autofree char *path = fixture_path (fixture, name);
  g_autoptr (GError) error = NULL;
  VarveImage *image = varve_image_new (path, "qcow2", NULL);

  g_assert_true (varve_image_create (image, SIZE, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  return image;
}

static void
add (const VarveImage *image, const char *name, uint32_t granularity)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_image_bitmap_add (image, name, granularity, NULL, &error));
  g_assert_no_error (error);
}

static void
assert_as_by_qemu (const VarveImage *image)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveImageInfo) theirs = varve_image_info (image, true, NULL, &error);
  g_autoptr (VarveImageInfo) ours = varve_bitmap_directory_read (image->path, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (ours->format, ==, theirs->format);
  g_assert_cmpuint (ours->cluster_size, ==, theirs->cluster_size);
  g_assert_true (ours->can_persist == theirs->can_persist);
  g_assert_cmpuint (ours->bitmaps->len, ==, theirs->bitmaps->len);
  for (guint i = 0; i < ours->bitmaps->len; i++) {
    const VarveImageBitmap *a = ours->bitmaps->pdata[i], *b = theirs->bitmaps->pdata[i];

    g_assert_cmpstr (a->name, ==, b->name);
    g_assert_cmpuint (a->granularity, ==, b->granularity);
    g_assert_true (a->recording == b->recording && a->inconsistent == b->inconsistent);
  }
}

static void
test_as_by_qemu (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = new_image (fixture, "a.qcow2");
  char longest[1024];

  assert_as_by_qemu (image);
  add (image, "seven77", 0);
  add (image, "varve.bench-a-32d8237b.20261121T170127Z-9a6c1025e1739e9e.b0363238", 512);
  memset (longest, 'l', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  add (image, longest, 1u << 30);
  run ("qemu-img", "bitmap", "--disable", image->path, "seven77");
  assert_as_by_qemu (image);

  g_autoptr (VarveImageInfo) info = varve_bitmap_directory_read (image->path, NULL);
  g_assert_cmpuint (info->bitmaps->len, ==, 3);
  g_assert_false (((VarveImageBitmap *)info->bitmaps->pdata[0])->recording);
}

static void
test_other_headers (Fixture *fixture, gconstpointer data)
{
  g_autofree char *old_path = fixture_path (fixture, "old.qcow2");
  g_autofree char *top_path = fixture_path (fixture, "top.qcow2");
  g_autoptr (VarveImage) old = varve_image_new (old_path, "qcow2", NULL);
  g_autoptr (VarveImage) top = varve_image_new (top_path, "qcow2", NULL);

  run ("qemu-img", "create", "-qfqcow2", "-ocompat=0.10", old_path, "1M");
  assert_as_by_qemu (old);
  run ("qemu-img", "create", "-qfqcow2", "-ocluster_size=4k", "-Fqcow2", "-b", old_path, top_path);
  assert_as_by_qemu (top);
  add (top, "b", 0);
  assert_as_by_qemu (top);
}

static bool
is_marked (const VarveImage *image)
{
  g_autoptr (VarveImageInfo) info = varve_bitmap_directory_read (image->path, NULL);

  return info && info->bitmaps->len == 1 &&
         ((VarveImageBitmap *)info->bitmaps->pdata[0])->inconsistent;
}

/* A QEMU that has the image open for writing marks its bitmaps for as long; killed, for ever. */
static void
test_in_use (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = new_image (fixture, "a.qcow2");
  const char *argv[] = { "qemu-io", "-fqcow2",      "-c",        "write 0 64k",
                         "-c",      "sleep 300000", image->path, NULL };
  g_autoptr (GSubprocess) writer = NULL;

  add (image, "a", 0);
  writer = start_child (argv);
  wait_until (is_marked (image));
  assert_as_by_qemu (image);
  g_subprocess_force_exit (writer);
  g_assert_true (g_subprocess_wait (writer, NULL, NULL));
  assert_as_by_qemu (image);
}

typedef struct {
  VarveImage *image;
  char *contents;
  gsize length;
  uint8_t *extension; /* of bitmaps, behind its type and length */
  uint8_t *directory;
} Damage;

static uint32_t
get32 (const uint8_t *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
damage_set_up (Fixture *fixture, Damage *damage)
{
  g_autoptr (GError) error = NULL;
  uint8_t *at;

  damage->image = new_image (fixture, "a.qcow2");
  add (damage->image, "one", 0);
  add (damage->image, "two", 65536);
  g_assert_true (
      g_file_get_contents (damage->image->path, &damage->contents, &damage->length, &error));
  g_assert_no_error (error);
  at = (uint8_t *)damage->contents + get32 ((uint8_t *)damage->contents + 100);
  while (get32 (at) != 0x23852875u)
    at += 8 + get32 (at + 4);
  damage->extension = at + 8;
  damage->directory = (uint8_t *)damage->contents + get32 (damage->extension + 20);
}

static void
damage_clear (Damage *damage)
{
  varve_image_free (damage->image);
  g_free (damage->contents);
}

/* What becomes of it with the byte @at changed: the error, or NULL. */
static GError *
read_changed (Damage *damage, uint8_t *at, uint8_t value)
{
  g_autoptr (VarveImageInfo) info = NULL;
  GError *error = NULL;
  uint8_t before = *at;

  *at = value;
  g_assert_true (
      g_file_set_contents (damage->image->path, damage->contents, (gssize)damage->length, NULL));
  *at = before;
  info = varve_bitmap_directory_read (damage->image->path, &error);
  g_assert_true ((info == NULL) == (error != NULL));
  return error;
}

static void
assert_left_to_qemu (Damage *damage, uint8_t *at, uint8_t value)
{
  g_autoptr (GError) error = read_changed (damage, at, value);

  assert_varve_error (error, VARVE_ERROR_UNSUPPORTED, damage->image->path);
}

static void
test_odd (Fixture *fixture, gconstpointer data)
{
  Damage damage;
  uint8_t *header;

  damage_set_up (fixture, &damage);
  header = (uint8_t *)damage.contents;
  assert_left_to_qemu (&damage, header, 'X');                /* magic */
  assert_left_to_qemu (&damage, header + 7, 4);              /* version */
  assert_left_to_qemu (&damage, header + 23, 8);             /* cluster_bits */
  assert_left_to_qemu (&damage, header + 23, 22);            /* cluster_bits */
  assert_left_to_qemu (&damage, header + 103, 8);            /* header_length */
  assert_left_to_qemu (&damage, header + 100, 1);            /* header_length */
  assert_left_to_qemu (&damage, damage.extension - 4, 1);    /* length of the extension */
  assert_left_to_qemu (&damage, damage.extension - 1, 23);   /* the same */
  assert_left_to_qemu (&damage, damage.extension, 1);        /* bitmaps */
  assert_left_to_qemu (&damage, damage.extension + 3, 3);    /* one more */
  assert_left_to_qemu (&damage, damage.extension + 3, 1);    /* one less */
  assert_left_to_qemu (&damage, damage.extension + 8, 1);    /* size of the directory */
  assert_left_to_qemu (&damage, damage.extension + 15, 1);   /* the same */
  assert_left_to_qemu (&damage, damage.extension + 16, 255); /* its place */
  assert_left_to_qemu (&damage, damage.extension + 17, 1);   /* the same, behind the end */
  assert_left_to_qemu (&damage, damage.directory + 15, 4);   /* flags */
  assert_left_to_qemu (&damage, damage.directory + 16, 2);   /* type */
  assert_left_to_qemu (&damage, damage.directory + 17, 32);  /* granularity */
  assert_left_to_qemu (&damage, damage.directory + 18, 255); /* length of the name */
  assert_left_to_qemu (&damage, damage.directory + 19, 0);   /* the same */
  assert_left_to_qemu (&damage, damage.directory + 20, 255); /* extra data */
  assert_left_to_qemu (&damage, damage.directory + 23, 8);   /* the same */
  assert_left_to_qemu (&damage, damage.directory + 24, 0);   /* the name */
  assert_left_to_qemu (&damage, damage.directory + 24, 255); /* not UTF-8 */
  damage_clear (&damage);
}

/* Whatever byte it is: an answer or an error, and nothing that a sanitizer has to say of it. */
static void
test_any_byte (Fixture *fixture, gconstpointer data)
{
  static const uint8_t values[] = { 0, 1, 0x7f, 0xff };
  Damage damage;

  damage_set_up (fixture, &damage);
  for (size_t i = 0; i < G_N_ELEMENTS (values); i++) {
    for (uint8_t *at = damage.extension - 8; at < damage.extension + 24; at++)
      g_clear_error (&(GError *){ read_changed (&damage, at, values[i]) });
    for (uint8_t *at = damage.directory; at < damage.directory + 64; at++)
      g_clear_error (&(GError *){ read_changed (&damage, at, values[i]) });
  }
  damage_clear (&damage);
}

/* As qemu-img: not there, or no longer than this. */
static void
test_short (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = new_image (fixture, "a.qcow2");
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (truncate (image->path, 50), ==, 0);
  g_assert_null (varve_bitmap_directory_read (image->path, &error));
  assert_varve_error (error, VARVE_ERROR_UNSUPPORTED, image->path);
  g_clear_error (&error);
  g_assert_null (varve_image_bitmaps (image, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, image->path);
  g_clear_error (&error);
  g_assert_cmpint (unlink (image->path), ==, 0);
  g_assert_null (varve_bitmap_directory_read (image->path, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, image->path);
  g_clear_error (&error);
  g_assert_null (varve_image_bitmaps (image, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_NOT_FOUND, image->path);
}

/* What is odd for us is read by qemu-img, as is another format. */
static void
test_left_to_qemu (Fixture *fixture, gconstpointer data)
{
  g_autofree char *raw_path = fixture_path (fixture, "a.raw");
  g_autoptr (VarveImage) raw = varve_image_new (raw_path, "raw", NULL);
  g_autoptr (VarveImageInfo) info = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (raw_path, "", 0, NULL));
  info = varve_image_bitmaps (raw, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (info->format, ==, "raw");
  g_assert_false (info->can_persist);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define TEST(name, function)                                                                       \
  g_test_add (name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)
  TEST ("/bitmap-directory/as-by-qemu", test_as_by_qemu);
  TEST ("/bitmap-directory/other-headers", test_other_headers);
  TEST ("/bitmap-directory/in-use", test_in_use);
  TEST ("/bitmap-directory/odd", test_odd);
  TEST ("/bitmap-directory/any-byte", test_any_byte);
  TEST ("/bitmap-directory/short", test_short);
  TEST ("/bitmap-directory/left-to-qemu", test_left_to_qemu);
#undef TEST
  return g_test_run ();
}
