/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Targets in the place of a store, as far as files go: what is refused before anything is written, and that a file has its
 * name only when it is complete. */
#include "config.h"
#include "store/targets/targets.h"

#include <sys/stat.h>
#include <glib/gstdio.h>

#include "block/file.h"
#include "util/durable.h"
#include "util/error.h"

#define SIZE (1u << 20)

typedef struct {
  char *dir;
  char *path;
  VarveManifest *manifest;
  VarveManifestDisk *disk;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("varve-targets-XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->dir, "vda.raw", NULL);
  f->manifest = varve_manifest_new ("20260101T000000Z-00000000000000aa");
  f->disk = varve_manifest_add_disk (f->manifest, "vda");
  f->disk->size = SIZE;
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_assert_true (varve_remove_tree (f->dir, NULL));
  varve_manifest_unref (f->manifest);
  g_free (f->path);
  g_free (f->dir);
}

static VarveStoreImpl *
one_target (const Fixture *f, const char *format, bool force)
{
  VarveStoreImpl *targets = varve_targets_new (force);

  varve_targets_add (targets, "vda", f->path, format);
  return targets;
}

static void
assert_refused (VarveStoreImpl *targets, const char *disk, bool changes, VarveError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_targets_check (targets, disk, SIZE, changes, &error));
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
make_file (const Fixture *f, size_t length)
{
  g_autofree char *zeros = g_malloc0 (length);

  g_assert_true (g_file_set_contents (f->path, zeros, (gssize)length, NULL));
}

/* One byte @value at @offset; up to the commit or, if not @to_the_end, to what comes right before it. */
static void
write_one (Fixture *f, VarveStoreImpl *targets, uint64_t offset, char value, bool to_the_end)
{
  const VarveStoreOps *ops = targets->ops;
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;
  BlockSink *sink;
  BlockSumFunc sum;
  gpointer sum_data;

  ops->begin (targets, "vm", "", f->manifest->id, &write, NULL, &error);
  ops->add_disk (write, f->disk, NULL, &sink, &sum, &sum_data, NULL, &error);
  g_assert_no_error (error);
  block_sink_write (sink, offset, &value, 1, &error);
  ops->finish_disk (write, f->disk, NULL, &error);
  if (to_the_end)
    ops->commit (write, f->manifest, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_holds (const Fixture *f, uint64_t offset, char value)
{
  g_autofree char *data = NULL;
  gsize length;

  g_assert_true (g_file_get_contents (f->path, &data, &length, NULL));
  g_assert_cmpuint (length, ==, SIZE);
  g_assert_cmpint (data[offset], ==, value);
}

static void
test_full (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", false);
  g_autofree char *partial = g_strconcat (f->path, ".varve-partial", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, &error));
  write_one (f, targets, 7, 'a', false);
  g_assert_false (g_file_test (f->path, G_FILE_TEST_EXISTS));
  g_assert_false (g_file_test (partial, G_FILE_TEST_EXISTS));
  write_one (f, targets, 7, 'b', true);
  assert_holds (f, 7, 'b');
  g_assert_false (g_file_test (partial, G_FILE_TEST_EXISTS));
}

static void
test_replaced_by_force_only (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) mild = one_target (f, "raw", false);
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", true);

  make_file (f, 10);
  assert_refused (mild, "vda", false, VARVE_ERROR_REFUSED);
  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, NULL));
  write_one (f, targets, 7, 'c', true);
  assert_holds (f, 7, 'c');
}

static void
test_changes (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", true);
  g_autoptr (VarveStoreImpl) qcow2 = one_target (f, "qcow2", true);

  assert_refused (targets, "vda", true, VARVE_ERROR_NOT_FOUND);
  make_file (f, SIZE - 512);
  assert_refused (targets, "vda", true, VARVE_ERROR_REFUSED);
  make_file (f, SIZE);
  assert_refused (qcow2, "vda", true, VARVE_ERROR_REFUSED);
  g_assert_true (varve_targets_check (targets, "vda", SIZE, true, NULL));
  write_one (f, targets, 7, 'a', true);
  write_one (f, targets, 9, 'b', true);
  assert_holds (f, 7, 'a');
  assert_holds (f, 9, 'b');
}

static void
test_refused (Fixture *f, gconstpointer data)
{
  g_autofree char *detour = g_build_filename (f->dir, ".", "vda.raw", NULL);
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", false);

  assert_refused (targets, "vdb", false, VARVE_ERROR_USAGE);
  varve_targets_add (targets, "vdb", detour, "raw");
  assert_refused (targets, "vdb", false, VARVE_ERROR_USAGE);
  varve_targets_add (targets, "vdc", "nbd://localhost/", "raw");
  assert_refused (targets, "vdc", false, VARVE_ERROR_REFUSED);
  varve_targets_add (targets, "vdd", "/dev/null", "raw");
  assert_refused (targets, "vdd", false, VARVE_ERROR_REFUSED);
}

static void
test_refused_places (Fixture *f, gconstpointer data)
{
  g_autofree char *inner = g_build_filename (f->dir, "web01-00000000", "20260101", NULL);
  g_autofree char *inside = g_build_filename (inner, "vda.raw", NULL);
  g_autofree char *store = g_build_filename (f->dir, "varve-store.xml", NULL);
  g_autoptr (VarveStoreImpl) targets = varve_targets_new (true);

  varve_targets_add (targets, "vda", inside, "raw");
  assert_refused (targets, "vda", false, VARVE_ERROR_STORE_UNREACHABLE);
  g_assert_true (g_file_set_contents (store, "", 0, NULL));
  assert_refused (targets, "vda", false, VARVE_ERROR_REFUSED);
  g_assert_cmpint (g_mkdir_with_parents (inner, 0700), ==, 0);
  assert_refused (targets, "vda", false, VARVE_ERROR_REFUSED);
  g_assert_cmpint (g_unlink (store), ==, 0);
  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, NULL));
}

static void
push_one (Fixture *f, VarveStoreImpl *targets, bool in_place, char value)
{
  const VarveStoreOps *ops = targets->ops;
  g_autoptr (VarveStoreWrite) write = NULL;
  g_auto (VarveStoreTarget) target = { NULL };
  g_autoptr (GError) error = NULL;

  ops->begin (targets, "vm", "", f->manifest->id, &write, NULL, &error);
  ops->add_target (write, f->disk, NULL, &target, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (target.raw);
  g_assert_false (target.device);
  g_assert_cmpint (target.in_place, ==, in_place);
  g_assert_cmpint (g_str_equal (target.path, f->path), ==, in_place);

  g_autoptr (BlockSink) qemu = block_file_sink_open (target.path, SIZE, BLOCK_FILE_OVERWRITE, NULL);
  g_assert_true (block_sink_write (qemu, 7, &value, 1, NULL));
  ops->check_targets (write, &error);
  ops->adopt_disk (write, f->disk, true, NULL, NULL, NULL, &error);
  ops->commit (write, f->manifest, NULL, &error);
  g_assert_no_error (error);
}

static void
test_push (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", true);

  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, NULL));
  push_one (f, targets, false, 'a');
  assert_holds (f, 7, 'a');
  g_assert_true (varve_targets_check (targets, "vda", SIZE, true, NULL));
  push_one (f, targets, true, 'b');
  assert_holds (f, 7, 'b');
}

/* While QEMU writes, what has come to be there is not replaced. */
static void
test_push_overtaken (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) targets = one_target (f, "qcow2", false);
  g_autoptr (VarveStoreWrite) write = NULL;
  g_auto (VarveStoreTarget) target = { NULL };
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, NULL));
  g_assert_true (targets->ops->begin (targets, "vm", "", f->manifest->id, &write, NULL, &error));
  g_assert_true (targets->ops->add_target (write, f->disk, NULL, &target, NULL, &error));
  g_assert_false (target.raw);
  make_file (f, 10);
  g_assert_false (targets->ops->check_targets (write, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_pointer (&write, varve_store_write_free);
  g_assert_false (g_file_test (target.path, G_FILE_TEST_EXISTS));
}

/* Between the look and the first byte. */
static void
test_looked_at_again (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStoreImpl) targets = one_target (f, "raw", false);
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;
  BlockSink *sink;
  BlockSumFunc sum;
  gpointer sum_data;

  g_assert_true (varve_targets_check (targets, "vda", SIZE, false, NULL));
  g_assert_true (targets->ops->begin (targets, "vm", "", f->manifest->id, &write, NULL, &error));
  make_file (f, 10);
  g_assert_false (
      targets->ops->add_disk (write, f->disk, NULL, &sink, &sum, &sum_data, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/targets/full", Fixture, NULL, set_up, test_full, tear_down);
  g_test_add ("/targets/replaced-by-force-only", Fixture, NULL, set_up, test_replaced_by_force_only,
              tear_down);
  g_test_add ("/targets/changes", Fixture, NULL, set_up, test_changes, tear_down);
  g_test_add ("/targets/refused", Fixture, NULL, set_up, test_refused, tear_down);
  g_test_add ("/targets/refused-places", Fixture, NULL, set_up, test_refused_places, tear_down);
  g_test_add ("/targets/push", Fixture, NULL, set_up, test_push, tear_down);
  g_test_add ("/targets/push-overtaken", Fixture, NULL, set_up, test_push_overtaken, tear_down);
  g_test_add ("/targets/looked-at-again", Fixture, NULL, set_up, test_looked_at_again, tear_down);
  return g_test_run ();
}
