/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Layers that QEMU writes into the images store: qemu-io stands for its backup job here, which opens the target as that
 * does, without what it is linked to. */
#include "config.h"
#include "store/images/images.h"

#include <sys/stat.h>

#include "qcow2-fixture.h"

#define ID_A "20260101T000000Z-00000000000000aa"
#define ID_B "20260102T000000Z-00000000000000bb"
#define ID_C "20260103T000000Z-00000000000000cc"
#define UUID "11111111-2222-3333-4444-555555555555"
#define SIZE (1u << 20)

typedef struct {
  Images images;
  VarveStoreImpl *store;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autofree char *name = NULL;
  g_autoptr (GError) error = NULL;

  images_set_up (&f->images, NULL);
  name = g_strdup_printf ("images:%s/store", f->images.dir);
  f->store = varve_store_impl_open (name, true, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_store_impl_free (f->store);
  images_tear_down (&f->images, NULL);
}

static VarveManifest *
make_manifest (const char *id)
{
  VarveManifest *manifest = varve_manifest_new (id);
  VarveManifestDisk *disk = varve_manifest_add_disk (manifest, "vda");

  manifest->domain = g_strdup ("web01");
  manifest->uuid = g_strdup (UUID);
  manifest->uri = g_strdup ("qmp+unix:///nowhere");
  manifest->owner = g_strdup ("nightly-1f0c77ab");
  manifest->strategy = g_strdup ("push");
  manifest->consistency = g_strdup ("crash");
  manifest->started = manifest->finished = 1767225600;
  disk->size = SIZE;
  disk->source_format = g_strdup ("qcow2");
  disk->decision = g_strdup ("full");
  disk->reason = g_strdup ("first backup of this disk");
  return manifest;
}

static VarveManifestDisk *
disk_of (const VarveManifest *manifest)
{
  return varve_manifest_find_disk (manifest, "vda");
}

/* As QEMU has it open: none but this one image. */
static void
push (Fixture *f, const char *path, const char *commands)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) each = g_strsplit (commands, ";", -1);

  g_ptr_array_add (argv, g_strdup ("qemu-io"));
  for (char **command = each; *command != NULL; command++) {
    g_ptr_array_add (argv, g_strdup ("-c"));
    g_ptr_array_add (argv, g_strdup (*command));
  }
  g_ptr_array_add (argv, g_strdup ("--image-opts"));
  g_ptr_array_add (
      argv, g_strdup_printf ("driver=qcow2,file.filename=%s,file.driver=file,backing=", path));
  g_assert_true (spawn (&f->images, argv));
}

static VarveStoreWrite *
begin (Fixture *f, VarveManifest *manifest, const VarveManifest *base, char **out_path)
{
  g_autoptr (GError) error = NULL;
  g_auto (VarveStoreTarget) target = { NULL };
  VarveStoreWrite *write = NULL;

  f->store->ops->begin (f->store, "web01", UUID, manifest->id, &write, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (
      f->store->ops->add_target (write, disk_of (manifest), base, &target, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_str_has_prefix (target.path, target.root));
  *out_path = g_steal_pointer (&target.path);
  return write;
}

static void
adopt (Fixture *f, VarveManifest *manifest, const VarveManifest *base, const char *commands,
       bool read_back)
{
  g_autofree char *path = NULL;
  g_autoptr (VarveStoreWrite) write = begin (f, manifest, base, &path);
  g_autoptr (GError) error = NULL;

  push (f, path, commands);
  g_assert_true (
      f->store->ops->adopt_disk (write, disk_of (manifest), read_back, NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (f->store->ops->commit (write, manifest, NULL, &error));
  g_assert_no_error (error);
}

static char *
layer_path (Fixture *f, const VarveManifest *manifest)
{
  g_autofree char *directory = f->store->ops->directory (f->store, manifest);

  return g_build_filename (directory, "vda.qcow2", NULL);
}

/* What is wrong; belongs to the caller. */
static GPtrArray *
verify (Fixture *f, const VarveManifest *manifest)
{
  GPtrArray *problems = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;

  g_assert_true (
      f->store->ops->verify (f->store, manifest, "vda", NULL, NULL, problems, NULL, &error));
  g_assert_no_error (error);
  return problems;
}

static void
assert_verified (Fixture *f, const VarveManifest *manifest)
{
  g_autoptr (GPtrArray) problems = verify (f, manifest);

  if (problems->len > 0)
    g_error ("%s", (char *)problems->pdata[0]);
}

/* A full layer and two on it: data, zeros over data, and a write beside what the base has in the same MiB. */
static void
test_chain (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveManifest) a = make_manifest (ID_A), b = make_manifest (ID_B),
                            c = make_manifest (ID_C);
  g_autofree char *path = NULL;
  g_autoptr (GBytes) all = NULL;
  const uint8_t *bytes;
  struct stat st;

  adopt (f, a, NULL, "write -P 1 0 512k;write -z 768k 64k", true);
  adopt (f, b, a, "write -P 2 64k 64k;write -z 128k 64k", true);
  adopt (f, c, b, "write -P 3 960k 64k", true);
  path = layer_path (f, c);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 07777, ==, 0400);
  g_assert_cmpuint (disk_of (a)->stored, ==, 512 << 10);
  g_assert_cmpuint (disk_of (b)->stored, ==, 64 << 10);
  g_assert_cmpuint (disk_of (b)->zeroed, ==, 64 << 10);
  g_assert_cmpuint (disk_of (c)->links, ==, 3);
  g_assert_cmpuint (disk_of (c)->file_size, ==, (uint64_t)st.st_size);
  assert_verified (f, a);
  assert_verified (f, b);
  assert_verified (f, c);
  all = ask_qemu (&f->images, path);
  bytes = g_bytes_get_data (all, NULL);
  g_assert_cmpuint (g_bytes_get_size (all), ==, SIZE);
  g_assert_cmpuint (bytes[0], ==, 1);
  g_assert_cmpuint (bytes[64 << 10], ==, 2);
  g_assert_cmpuint (bytes[128 << 10], ==, 0);
  g_assert_cmpuint (bytes[192 << 10], ==, 1);
  g_assert_cmpuint (bytes[960 << 10], ==, 3);
}

/* Damage behind the adoption is found, as with layers of our own. */
static void
test_damage (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveManifest) a = make_manifest (ID_A);
  g_autoptr (GPtrArray) problems = NULL;
  g_autofree char *path = NULL;

  adopt (f, a, NULL, "write -P 1 0 512k", true);
  path = layer_path (f, a);
  g_assert_cmpint (chmod (path, 0600), ==, 0);
  qemu_io (&f->images, path, "write -P 9 128k 64k");
  problems = verify (f, a);
  g_assert_cmpuint (problems->len, ==, 1);
  g_assert_nonnull (strstr (problems->pdata[0], "differ from their sum"));
}

/* Not read back: no sums, which verify tells, the manifest keeps, and a layer above does not mind. A full layer that is
 * made of the chain has them again. */
static void
test_unsummed (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveManifest) a = make_manifest (ID_A), b = make_manifest (ID_B), again = NULL;
  g_autofree char *text = NULL, *path = NULL;
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;

  adopt (f, a, NULL, "write -P 1 0 512k", false);
  g_assert_null (disk_of (a)->sums_file);
  text = varve_manifest_format (a);
  again = varve_manifest_parse (text, strlen (text), "manifest.xml", &error);
  g_assert_no_error (error);
  g_assert_null (disk_of (again)->sums_file);
  problems = verify (f, again);
  g_assert_cmpuint (problems->len, ==, 1);
  g_assert_nonnull (strstr (problems->pdata[0], "has no sums"));

  write = begin (f, b, a, &path);
  push (f, path, "write -P 2 0 64k");
  g_assert_true (f->store->ops->adopt_disk (write, disk_of (b), false, NULL, NULL, NULL, &error));
  g_assert_true (f->store->ops->flatten_disk (write, disk_of (b), NULL, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_null (disk_of (b)->base);
  g_assert_true (f->store->ops->commit (write, b, NULL, &error));
  assert_verified (f, b);
}

/* What somebody else made of the target meanwhile is no layer. */
static void
test_strange (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveManifest) a = make_manifest (ID_A), b = make_manifest (ID_B);
  g_autofree char *path = NULL, *partial = NULL;
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;

  adopt (f, a, NULL, "write -P 1 0 512k", true);
  write = begin (f, b, a, &path);
  run (&f->images, "qemu-img rebase -q -u -f qcow2 -b  %s", path);
  g_assert_false (f->store->ops->adopt_disk (write, disk_of (b), true, NULL, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
  g_assert_nonnull (strstr (error->message, "'vda'"));
  partial = g_path_get_dirname (path);
  g_clear_pointer (&write, varve_store_write_free);
  g_assert_false (g_file_test (partial, G_FILE_TEST_EXISTS));
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/adopt/chain", test_chain);
  ADD ("/adopt/damage", test_damage);
  ADD ("/adopt/unsummed", test_unsummed);
  ADD ("/adopt/strange", test_strange);
  return g_test_run ();
}
