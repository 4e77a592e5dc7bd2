/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints without a backup on a libvirt domain, running and off: bitmaps and libvirt's records
 * of them go together. */
#include "config.h"

#include <signal.h>
#include <sys/stat.h>

#include "libvirt-fixture.h"

#define C1 "varve.t-1.b1.n"
#define C2 "varve.t-1.b2.n"
#define C3 "varve.t-1.b3.n"

static GPtrArray *
words_of (const char *text)
{
  GPtrArray *words = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) parts = g_strsplit (text, " ", -1);

  for (size_t i = 0; parts[i]; i++)
    g_ptr_array_add (words, g_strdup (parts[i]));
  return words;
}

static void
add (Fixture *f, const char *name, const char *disks)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_add (f->domain, name, "of a test", words, NULL, &error);
  g_assert_no_error (error);
}

static void
add_fails (Fixture *f, const char *name, const char *disks, VarveError code)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_domain_checkpoint_add (f->domain, name, NULL, words, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
merge (Fixture *f, const char *into, const char *from)
{
  g_autoptr (GPtrArray) words = words_of (from);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_merge (f->domain, into, words, NULL, &error);
  g_assert_no_error (error);
}

static void
merge_fails (Fixture *f, const char *into, const char *from, VarveError code)
{
  g_autoptr (GPtrArray) words = words_of (from);
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_domain_checkpoint_merge (f->domain, into, words, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VARVE_ERROR, (int)code);
}

static void
redefine (Fixture *f, const char *name, const char *disks)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_redefine (f->domain, name, "again", 1234, words, NULL, &error);
  g_assert_no_error (error);
}

static void
redefine_fails (Fixture *f, const char *name, const char *disks)
{
  g_autoptr (GPtrArray) words = words_of (disks);
  g_autoptr (GError) error = NULL;

  g_assert_false (
      varve_domain_checkpoint_redefine (f->domain, name, NULL, 1234, words, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_CHECKPOINT);
}

/* libvirt's records, as "NAME:DISK DISK;…". */
static void
assert_metadata (Fixture *f, const char *expected)
{
  g_autoptr (GPtrArray) metadata = NULL;
  g_autoptr (GString) found = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_metadata (f->domain, &metadata, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < metadata->len; i++) {
    const VarveCheckpointMetadata *record = g_ptr_array_index (metadata, i);

    g_ptr_array_add (record->disks, NULL);
    g_autofree char *disks = g_strjoinv (" ", (char **)record->disks->pdata);
    g_string_append_printf (found, "%s:%s;", record->name, disks);
    g_assert_cmpint (record->created, >, 0);
    g_assert_nonnull (record->description);
  }
  g_assert_cmpstr (found->str, ==, expected);
}

/* --- running -------------------------------------------------------------------------------- */

static void
test_add (Fixture *f, gconstpointer data)
{
  add (f, C1, "vda vdc");
  guest_io (f, "virtio-disk0", "write -P 1 0 1M");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  assert_bitmap (f, "vdc", C1, true, 0);
  assert_metadata (f, C1 ":vda vdc;");
  add_fails (f, C1, "vda", VARVE_ERROR_EXISTS);
  add_fails (f, C2, "vda vdb", VARVE_ERROR_REFUSED);
  add_fails (f, C2, "hda", VARVE_ERROR_REFUSED);
  add_fails (f, C2, "vda vdx", VARVE_ERROR_NOT_FOUND);
  assert_metadata (f, C1 ":vda vdc;");
  assert_no_bitmap (f, C2);
  /* The bitmap alone is somebody's, too, and stays. */
  virsh ("checkpoint-delete", f->name, C1, "--metadata");
  add_fails (f, C1, "vda", VARVE_ERROR_EXISTS);
  redefine (f, C1, "vda vdc");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
}

static void
test_add_undone (Fixture *f, gconstpointer data)
{
  g_setenv ("VARVE_FAILPOINT", "libvirt-add-created:error,libvirt-add-stored:error", TRUE);
  add_fails (f, C1, "vda vdc", VARVE_ERROR_FAILED);
  g_unsetenv ("VARVE_FAILPOINT");
  assert_no_bitmap (f, C1);
  assert_metadata (f, "");
  add (f, C1, "vda vdc");
  assert_metadata (f, C1 ":vda vdc;");
}

static void
test_merge (Fixture *f, gconstpointer data)
{
  add (f, C1, "vda vdc");
  guest_io (f, "virtio-disk0", "write -P 1 0 1M");
  add (f, C2, "vda vdc");
  guest_io (f, "virtio-disk0", "write -P 1 4M 1M");
  add (f, C3, "vda vdc");
  merge_fails (f, "varve.t-1.b4.n", C1, VARVE_ERROR_CHECKPOINT);
  merge (f, C1, C2 " " C3);
  assert_metadata (f, C1 ":vda vdc;");
  assert_bitmap (f, "vda", C1, true, 2 * MIB);
  assert_no_bitmap (f, C2);
  assert_no_bitmap (f, C3);
  merge (f, C1, C2 " " C3);
}

static void
test_redefine (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  add (f, C1, "vda vdc");
  guest_io (f, "virtio-disk0", "write -P 1 0 1M");
  varve_domain_checkpoint_forget (f->domain, C1, NULL, &error);
  g_assert_no_error (error);
  varve_domain_checkpoint_forget (f->domain, C1, NULL, &error);
  g_assert_no_error (error);
  assert_metadata (f, "");
  redefine_fails (f, C1, "vda vdb");
  redefine_fails (f, C2, "vda");
  assert_metadata (f, "");
  redefine (f, C1, "vda");
  assert_metadata (f, C1 ":vda;");
  redefine (f, C1, "vda vdc");
  assert_metadata (f, C1 ":vda vdc;");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
}

static void
test_since_also (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveStart) start = new_start (f, NULL);
  g_autofree char *message = NULL;

  add (f, C1, "vda");
  add (f, C2, "vda");
  varve_start_disk_also (add_disk (f, start, "vda", C1), C2);
  message = begin_fails (f, start, VARVE_ERROR_REFUSED);
  g_assert_nonnull (strstr (message, "several bitmaps"));
}

/* --- off ------------------------------------------------------------------------------------ */

static void
test_stopped (Fixture *f, gconstpointer data)
{
  add (f, C1, "vda vdc");
  assert_metadata (f, C1 ":vda vdc;");
  assert_bitmap (f, "vda", C1, true, 0);
  add_fails (f, C1, "vda", VARVE_ERROR_EXISTS);
  add_fails (f, C2, "vda vdb", VARVE_ERROR_REFUSED);
  assert_no_bitmap (f, C2);
  virsh ("start", f->name);
  guest_io (f, "virtio-disk0", "write -P 1 0 1M");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  virsh ("destroy", f->name);
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  add (f, C2, "vda vdc");
  merge (f, C1, C2);
  assert_metadata (f, C1 ":vda vdc;");
  assert_bitmap (f, "vda", C1, true, 1 * MIB);
  assert_no_bitmap (f, C2);
}

/* As an older tool leaves them. libvirt merges none while the domain runs; off, they become one
 * that libvirt takes. */
static void
test_foreign_disabled (Fixture *f, gconstpointer data)
{
  g_autofree char *path = in_top (f, "vda.qcow2");
  g_autoptr (GPtrArray) bitmaps = NULL;

  run ("qemu-img", "bitmap", "--add", path, "old.1");
  run ("qemu-io", "-f", "qcow2", "-c", "write -q 0 1M", path);
  run ("qemu-img", "bitmap", "--disable", path, "old.1");
  run ("qemu-img", "bitmap", "--add", path, "old.2");
  run ("qemu-io", "-f", "qcow2", "-c", "write -q 8M 1M", path);
  virsh ("start", f->name);
  bitmaps = bitmaps_of (f);
  g_assert_false (varve_bitmap_find (bitmaps, "vda", "old.1")->recording);
  g_assert_true (varve_bitmap_find (bitmaps, "vda", "old.2")->recording);
  merge_fails (f, "old.1", "old.2", VARVE_ERROR_UNSUPPORTED);
  /* Whether it is sound is not known, so that nothing is removed for its sake. */
  merge_fails (f, "old.2", "old.1", VARVE_ERROR_CHECKPOINT);
  redefine_fails (f, "old.1", "vda");
  virsh ("destroy", f->name);

  redefine_fails (f, "old.1", "vda");
  merge (f, "old.1", "old.2");
  assert_bitmap (f, "vda", "old.1", true, 2 * MIB);
  assert_no_bitmap (f, "old.2");
  redefine (f, "old.1", "vda");
  virsh ("start", f->name);
  guest_io (f, "virtio-disk0", "write -P 1 32M 1M");
  assert_bitmap (f, "vda", "old.1", true, 3 * MIB);
}

/* Cut off between images and metadata: the same again goes through. */
static void
test_stopped_cut (Fixture *f, gconstpointer data)
{
  add (f, C1, "vda vdc");
  add (f, C2, "vda vdc");
  g_setenv ("VARVE_FAILPOINT", "libvirt-merge-stored:error", TRUE);
  merge_fails (f, C1, C2, VARVE_ERROR_FAILED);
  g_unsetenv ("VARVE_FAILPOINT");
  assert_metadata (f, C1 ":vda vdc;" C2 ":vda vdc;");
  merge (f, C1, C2);
  assert_metadata (f, C1 ":vda vdc;");
  assert_no_bitmap (f, C2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!have_libvirtd ()) {
    g_print ("1..0 # SKIP no libvirtd, or not root\n");
    return 0;
  }
  add_test ("manage/add", NULL, test_add);
  add_test ("manage/add-undone", NULL, test_add_undone);
  add_test ("manage/merge", NULL, test_merge);
  add_test ("manage/redefine", NULL, test_redefine);
  add_test ("manage/since-also", NULL, test_since_also);
  add_test ("manage/stopped", "off", test_stopped);
  add_test ("manage/stopped-add-undone", "off", test_add_undone);
  add_test ("manage/foreign-disabled", "off", test_foreign_disabled);
  add_test ("manage/stopped-cut", "off", test_stopped_cut);
  return g_test_run ();
}
