/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who reads an image of the store: this process, or QEMU where that cannot; and damage is told, not
 * handed on to QEMU. */
#include "config.h"
#include "store/images/images.h"

#include <unistd.h>

#include "qcow2-fixture.h"

static void
assert_read_by (Images *f, const char *name, bool by_qemu)
{
  g_autofree char *path = image_path (f, 1), *got = g_malloc (1 << 20);
  g_autoptr (GBytes) wanted = ask_qemu (f, path);
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (GError) error = NULL;

  if (by_qemu)
    varve_images_read_by_qemu (path, "vda", 2, false, &read, NULL, &error);
  else
    varve_images_read_file (path, "vda", 2, &read, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (read->source->ops->name, ==, name);
  g_assert_cmpuint (read->source->size, ==, 1 << 20);
  g_assert_true (block_source_read (read->source, 0, got, 1 << 20, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (got, 1 << 20, g_bytes_get_data (wanted, NULL), g_bytes_get_size (wanted));
}

static void
make (const Images *f, const char *upper)
{
  run (f, "qemu-img create -q -f qcow2 0.qcow2 1M");
  qemu_io (f, "0.qcow2", "write -P 1 0 512k");
  run (f, "qemu-img create -q -f qcow2 -F qcow2 -b 0.qcow2 1.qcow2 1M");
  qemu_io (f, "1.qcow2", upper);
}

static void
test_plain (Images *f, gconstpointer data)
{
  make (f, "write -P 2 64k 64k");
  assert_read_by (f, "qcow2", false);
  assert_read_by (f, "nbd", true);
}

static void
test_compressed (Images *f, gconstpointer data)
{
  make (f, "write -c -P 2 64k 64k");
  assert_read_by (f, "qcow2", false);
  assert_read_by (f, "nbd", true);
}

static void
test_unknown (Images *f, gconstpointer data)
{
  make (f, "write -P 2 64k 64k");
  run (f, "qemu-img create -q -f qcow2 -o extended_l2=on -F qcow2 -b 0.qcow2 1.qcow2 1M");
  qemu_io (f, "1.qcow2", "write -P 3 2k 2k");
  assert_read_by (f, "nbd", false);
}

static void
test_damaged (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 0), *top = image_path (f, 1);
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (GError) error = NULL;

  make (f, "write -P 2 64k 64k");
  g_assert_cmpint (truncate (path, 0), ==, 0);
  g_assert_false (varve_images_read_file (top, "vda", 2, &read, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
  g_assert_nonnull (strstr (error->message, "'vda'"));
  g_assert_nonnull (strstr (error->message, path));
  g_assert_null (read);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/images-read/plain", Images, NULL, images_set_up, test_plain, images_tear_down);
  g_test_add ("/images-read/compressed", Images, NULL, images_set_up, test_compressed,
              images_tear_down);
  g_test_add ("/images-read/unknown", Images, NULL, images_set_up, test_unknown, images_tear_down);
  g_test_add ("/images-read/damaged", Images, NULL, images_set_up, test_damaged, images_tear_down);
  return g_test_run ();
}
