/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is to be put back, and how much of it: a scripted domain, and a store that has manifests and says how two
 * backups differ. */
#include "config.h"
#include "run/revert-plan.h"

#include "block/memory.h"
#include "util/error.h"
#include "virt/fake/fake.h"

#define MIB   (1u << 20)
#define OWNER "varve-1f0c77ab"
#define ID_A  "20260101T000000Z-00000000000000aa"
#define ID_B  "20260102T000000Z-00000000000000bb"
#define CK_B  "varve." OWNER "." ID_B ".00000002"
#define OTHER "20260103T000000Z-00000000000000cc" /* of another domain */

typedef struct {
  VarveStoreImpl store;
  bool tells; /* how backups differ */
  VarveLook look;
  VarveRevertPlan plan;
  GPtrArray *include;
  GPtrArray *exclude;
} Fixture;

static void
release (gpointer source)
{
  block_source_free (source);
}

/* 64 KiB of each. */
static bool
difference (VarveStoreImpl *impl, const VarveManifest *from, const VarveManifest *to,
            const char *disk, VarveStoreRead **out, GCancellable *cancellable, GError **error)
{
  g_autofree uint8_t *bytes = g_malloc0 (MIB);
  g_autoptr (VarveExtents) map = varve_extents_new ();

  *out = NULL;
  if (!((Fixture *)impl)->tells)
    return true;
  varve_extents_append (map, 0, 65536, from == to ? VARVE_EXTENT_CLEAN : VARVE_EXTENT_DATA);
  varve_extents_append (map, 65536, MIB - 65536, VARVE_EXTENT_CLEAN);
  *out = g_new0 (VarveStoreRead, 1);
  (*out)->source = block_memory_source_new (bytes, MIB, map);
  (*out)->release = release;
  (*out)->data = (*out)->source;
  return true;
}

static bool
check_base (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
            GCancellable *cancellable, GError **error)
{
  return true;
}

static const VarveStoreOps ops = { .difference = difference, .check_base = check_base };

static void
add_manifest (Fixture *f, const char *id, const char *uuid, bool second)
{
  VarveManifest *manifest = varve_manifest_new (id);

  manifest->domain = g_strdup ("web01");
  manifest->uuid = g_strdup (uuid);
  manifest->owner = g_strdup (OWNER);
  for (unsigned i = 0; i < (second ? 2 : 1); i++) {
    VarveManifestDisk *disk = varve_manifest_add_disk (manifest, i == 0 ? "vda" : "vdb");

    disk->size = MIB;
    disk->links = 1;
  }
  g_ptr_array_add (f->look.manifests, manifest);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  VarveBitmap *bitmap;

  f->store.ops = &ops;
  f->store.uri = g_strdup ("images:/srv/backup");
  f->tells = true;
  f->look.store = &f->store;
  f->look.domain = varve_fake_domain_new ("web01");
  f->look.owner = g_strdup (OWNER);
  f->look.state = VARVE_DOMAIN_OFF;
  f->look.manifests = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_manifest_unref);
  add_manifest (f, ID_A, f->look.domain->uuid, false);
  add_manifest (f, ID_B, f->look.domain->uuid, true);
  add_manifest (f, OTHER, "99999999-2222-3333-4444-555555555555", true);
  varve_fake_add_disk (f->look.domain, "vda");
  varve_fake_add_disk (f->look.domain, "vdb");
  bitmap = varve_fake_add_bitmap (f->look.domain, "vda", CK_B);
  bitmap->recording = true;
  bitmap->persistent = true;
  bitmap->dirty = 131072;
  f->include = g_ptr_array_new ();
  f->exclude = g_ptr_array_new ();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_revert_plan_clear (&f->plan);
  f->look.store = NULL;
  g_free (f->store.uri);
  varve_look_clear (&f->look);
  g_ptr_array_unref (f->include);
  g_ptr_array_unref (f->exclude);
}

static bool
plan (Fixture *f, const char *backup, GError **error)
{
  const VarveManifest *wanted;

  g_clear_pointer (&f->look.disks, g_ptr_array_unref);
  g_clear_pointer (&f->look.bitmaps, g_ptr_array_unref);
  varve_revert_plan_clear (&f->plan);
  g_assert_true (varve_domain_inventory (f->look.domain, &f->look.disks, NULL, NULL));
  g_assert_true (varve_domain_bitmaps (f->look.domain, &f->look.bitmaps, NULL, NULL));
  wanted = varve_revert_wanted (&f->look, backup, error);
  return wanted != NULL &&
         varve_revert_plan (&f->look, wanted, f->include, f->exclude, &f->plan, NULL, error);
}

static void
assert_refused (Fixture *f, const char *backup, VarveError code, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (plan (f, backup, &error));
  g_assert_error (error, VARVE_ERROR, (int)code);
  if (strstr (error->message, text) == NULL)
    g_error ("'%s' does not say '%s'", error->message, text);
}

static const VarveRevertPlanDisk *
planned (Fixture *f, guint i)
{
  g_assert_cmpuint (i, <, f->plan.disks->len);
  return g_ptr_array_index (f->plan.disks, i);
}

static void
test_wanted (Fixture *f, gconstpointer data)
{
  static const struct {
    const char *backup;
    const char *id;
  } cases[] = {
    { "web01@latest", ID_B },
    { "web01@2026-01-01T12:00:00Z", ID_A },
    { "web01@2026-02-01", ID_B },
    { ID_A, ID_A },
  };
  g_autofree char *by_uuid = g_strconcat (f->look.domain->uuid, "@latest", NULL);
  g_autoptr (GError) error = NULL;

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    const VarveManifest *found = varve_revert_wanted (&f->look, cases[i].backup, &error);

    g_assert_no_error (error);
    g_assert_cmpstr (found->id, ==, cases[i].id);
  }
  g_assert_nonnull (varve_revert_wanted (&f->look, by_uuid, &error));
  assert_refused (f, "web02@latest", VARVE_ERROR_REFUSED, "another domain");
  assert_refused (f, OTHER, VARVE_ERROR_REFUSED, "is one of domain");
  assert_refused (f, "web01@2025-01-01", VARVE_ERROR_NOT_FOUND, "as old as 2025-01-01");
  assert_refused (f, "20260101T000000Z-00000000000000ff", VARVE_ERROR_NOT_FOUND, "has no backup");
}

static void
test_difference (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (plan (f, ID_A, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (f->plan.disks->len, ==, 1);
  g_assert_cmpuint (planned (f, 0)->changed, ==, 131072);
  g_assert_cmpuint (planned (f, 0)->differing, ==, 65536);
  g_assert_false (planned (f, 0)->compare);
  g_assert_nonnull (strstr (planned (f, 0)->text, "changed since backup " ID_B));
  g_assert_false (varve_revert_plan_is_empty (&f->plan));
  g_assert_cmpuint (f->plan.left->len, ==, 1);
  g_assert_nonnull (strstr (g_ptr_array_index (f->plan.left, 0), "'vdb' stays as it is"));
}

static void
test_compare (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  /* vdb has no bitmap. */
  g_assert_true (plan (f, ID_B, &error));
  g_assert_cmpuint (f->plan.disks->len, ==, 2);
  g_assert_false (planned (f, 0)->compare);
  g_assert_cmpuint (planned (f, 0)->differing, ==, 0);
  g_assert_true (planned (f, 1)->compare);
  g_assert_nonnull (strstr (planned (f, 1)->text, "no bitmap"));
  g_assert_null (strstr (planned (f, 1)->text, "; compared with"));

  f->tells = false;
  g_assert_true (plan (f, ID_A, &error));
  g_assert_true (planned (f, 0)->compare);
  g_assert_nonnull (strstr (planned (f, 0)->text, "no layer in common"));
  g_assert_false (varve_revert_plan_is_empty (&f->plan));
}

static void
test_empty (Fixture *f, gconstpointer data)
{
  VarveBitmap *second =
      varve_fake_add_bitmap (f->look.domain, "vda", "varve." OWNER "." ID_B ".00000003");
  g_autoptr (GError) error = NULL;

  second->recording = true;
  second->persistent = true;
  second->dirty = 0;
  g_ptr_array_add (f->exclude, (char *)"vdb");
  g_assert_true (plan (f, ID_B, &error));
  g_assert_no_error (error);
  g_assert_true (varve_revert_plan_is_empty (&f->plan));
  g_assert_cmpuint (f->plan.left->len, ==, 0);

  /* How much is not known: all of it, and never nothing. */
  second->dirty = UINT64_MAX;
  g_assert_true (plan (f, ID_B, &error));
  g_assert_false (varve_revert_plan_is_empty (&f->plan));
}

static void
test_refused (Fixture *f, gconstpointer data)
{
  VarveDisk *third = varve_fake_add_disk (f->look.domain, "vdc");

  f->look.state = VARVE_DOMAIN_PAUSED;
  assert_refused (f, ID_A, VARVE_ERROR_REFUSED, "is not off");
  f->look.state = VARVE_DOMAIN_OFF;

  g_ptr_array_add (f->include, (char *)"vdc");
  assert_refused (f, ID_A, VARVE_ERROR_NOT_FOUND, "has no disk 'vdc'");
  g_ptr_array_set_size (f->include, 0);
  g_ptr_array_add (f->exclude, (char *)"vda");
  assert_refused (f, ID_A, VARVE_ERROR_REFUSED, "all are left out");
  g_ptr_array_set_size (f->exclude, 0);

  add_manifest (f, "20260104T000000Z-00000000000000dd", f->look.domain->uuid, true);
  varve_manifest_add_disk (g_ptr_array_index (f->look.manifests, 3), "vdd")->size = MIB;
  assert_refused (f, "web01@latest", VARVE_ERROR_REFUSED, "has no disk 'vdd' now");
  varve_manifest_add_disk (g_ptr_array_index (f->look.manifests, 2), "vdc");
  varve_manifest_add_disk (g_ptr_array_index (f->look.manifests, 1), "vdc")->size = 2 * MIB;
  third->size = MIB;
  assert_refused (f, ID_B, VARVE_ERROR_REFUSED, "has 1048576 bytes now, and had 2097152");
}

#define ADD(name, func) g_test_add ("/revert-plan/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("wanted", test_wanted);
  ADD ("difference", test_difference);
  ADD ("compare", test_compare);
  ADD ("empty", test_empty);
  ADD ("refused", test_refused);
  return g_test_run ();
}
