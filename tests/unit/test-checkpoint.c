/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/name.h"

#define OWNER "nightly-1f0c77ab"
#define ID(n) "2026010" #n "T000000Z-000000000000000" #n
#define CK(n) "varve." OWNER "." ID (n) ".0000000" #n

static void
test_name_round_trip (void)
{
  g_autofree char *name = varve_checkpoint_name_new (OWNER, ID (1));
  g_auto (VarveCheckpointName) parsed = { NULL };

  g_assert_cmpuint (strlen (name), <=, VARVE_CHECKPOINT_NAME_MAX);
  g_assert_true (varve_checkpoint_name_parse (name, &parsed));
  g_assert_cmpstr (parsed.owner, ==, OWNER);
  g_assert_cmpstr (parsed.backup, ==, ID (1));
  g_assert_cmpuint (strlen (parsed.nonce), ==, 8);
}

static void
test_foreign_names (void)
{
  const char *const foreign[] = {
    "virtnbdbackup.0",
    "varve",
    "varve.",
    "varve." OWNER,
    "varve." OWNER "." ID (1),
    "varve." OWNER ".20260101T000000Z.00000001",
    "varve." OWNER "." ID (1) ".0000000G",
    "varve." OWNER "." ID (1) ".00000001.more",
    "varve.Nightly-1f0c77ab." ID (1) ".00000001",
    "varve.nightly." ID (1) ".00000001",
    "Varve." OWNER "." ID (1) ".00000001",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (foreign); i++) {
    g_auto (VarveCheckpointName) parsed = { NULL };

    g_assert_false (varve_checkpoint_name_parse (foreign[i], &parsed));
  }
}

static void
test_frozen_names (void)
{
  g_assert_true (varve_checkpoint_is_frozen ("varve-0123456789abcdef-t-0"));
  g_assert_false (varve_checkpoint_is_frozen ("varve-0123456789abcdef-s-0"));
  g_assert_false (varve_checkpoint_is_frozen ("varve-0123456789abcde-t-0"));
  g_assert_false (varve_checkpoint_is_frozen ("varve-0123456789abcdef"));
  g_assert_false (varve_checkpoint_is_frozen ("varve-"));
  g_assert_false (varve_checkpoint_is_frozen (CK (1)));
}

static void
test_owner (void)
{
  g_autofree char *plain =
      varve_checkpoint_owner ("nightly", "1f0c77ab-0000-0000-0000-000000000000");
  g_autofree char *odd =
      varve_checkpoint_owner ("My Job_1", "1f0c77ab-0000-0000-0000-000000000000");
  g_autofree char *longest = g_strnfill (200, 'x');
  g_autofree char *cut = varve_checkpoint_owner (longest, "1f0c77ab-0000-0000-0000-000000000000");
  g_autofree char *name = varve_checkpoint_name_new (cut, ID (1));

  g_assert_cmpstr (plain, ==, OWNER);
  g_assert_cmpstr (odd, ==, "my-job-1-1f0c77ab");
  g_assert_cmpuint (strlen (name), <=, VARVE_CHECKPOINT_NAME_MAX);
}

static void
test_owner_without_store (void)
{
  g_autofree char *owner = varve_checkpoint_owner_without_store ("Acme Backup");
  g_autofree char *longest = g_strnfill (200, 'y');
  g_autofree char *cut = varve_checkpoint_owner_without_store (longest);
  g_autofree char *name = varve_checkpoint_name_new (cut, ID (1));
  /* A label that looks like one without a store must not become one. */
  g_autofree char *job = varve_checkpoint_owner ("x-job", "1f0c77ab-0000-0000-0000-000000000000");
  g_auto (VarveCheckpointName) parsed = { NULL };

  g_assert_cmpstr (owner, ==, "x-acme-backup");
  g_assert_false (varve_checkpoint_owner_has_store (owner));
  g_assert_true (varve_checkpoint_name_parse (name, &parsed));
  g_assert_cmpstr (parsed.owner, ==, cut);
  g_assert_cmpstr (job, ==, "xxjob-1f0c77ab");
  g_assert_true (varve_checkpoint_owner_has_store (job));
}

static void
test_owner_matches (void)
{
  static const struct {
    const char *owner, *label;
    bool matches;
  } cases[] = {
    { OWNER, "nightly", true },
    { OWNER, OWNER, true },
    { OWNER, "Nightly", true },
    { OWNER, "night", false },
    { OWNER, "nightly-2222beef", false },
    { OWNER, "weekly", false },
    { "nightly-2222beef", "nightly", true },
    { "nightly-a-2222beef", "nightly", false },
    { "x-nightly", "nightly", true },
    { "x-nightly", "x-nightly", true },
    { "x-nightly-1f0c77ab", "nightly", false },
    { "x-1f0c77ab", "", false },
    { "xxjob-1f0c77ab", "x-job", true },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_test_message ("%s %s", cases[i].owner, cases[i].label);
    g_assert_true (varve_checkpoint_owner_matches (cases[i].owner, cases[i].label) ==
                   cases[i].matches);
  }
}

static bool
committed (const char *backup, gpointer data)
{
  return g_strv_contains (data, backup);
}

static void
add (GPtrArray *bitmaps, const char *disk, const char *name, bool inconsistent)
{
  VarveBitmap *bitmap = varve_bitmap_new (disk, name);

  bitmap->recording = !inconsistent;
  bitmap->inconsistent = inconsistent;
  g_ptr_array_add (bitmaps, bitmap);
}

static GPtrArray *
bitmaps_new (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
}

static void
assert_names (GPtrArray *names, const char *const *expected)
{
  g_ptr_array_add (names, NULL);
  g_assert_cmpstrv (names->pdata, expected);
}

static void
test_stale (void)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_new ();
  g_autoptr (GPtrArray) names = NULL;
  const char *store[] = { ID (1), ID (2), NULL };

  add (bitmaps, "vda", CK (1), true); /* broken everywhere */
  add (bitmaps, "vdb", CK (1), true);
  add (bitmaps, "vda", CK (2), true); /* broken on one disk only */
  add (bitmaps, "vdb", CK (2), false);
  add (bitmaps, "vda", CK (3), false); /* no such backup */
  add (bitmaps, "vda", "virtnbdbackup.0", true);
  add (bitmaps, "vda", "varve.weekly-1f0c77ab." ID (4) ".00000004", false);
  names = varve_checkpoint_stale (bitmaps, OWNER, committed, store);
  assert_names (names, (const char *[]){ CK (1), CK (3), NULL });
}

static void
test_retire (void)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_new ();
  g_autoptr (GPtrArray) none = NULL, two = NULL;
  const char *store[] = { ID (1), ID (2), ID (3), NULL };

  add (bitmaps, "vda", CK (2), false);
  add (bitmaps, "vda", CK (1), false);
  add (bitmaps, "vda", CK (3), false);
  add (bitmaps, "vdb", CK (3), false);
  add (bitmaps, "vda", "virtnbdbackup.0", false);
  none = varve_checkpoint_retire (bitmaps, OWNER, 3, committed, store);
  two = varve_checkpoint_retire (bitmaps, OWNER, 1, committed, store);
  g_assert_cmpuint (none->len, ==, 0);
  assert_names (two, (const char *[]){ CK (2), CK (1), NULL });
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/checkpoint/name/round-trip", test_name_round_trip);
  g_test_add_func ("/checkpoint/name/foreign", test_foreign_names);
  g_test_add_func ("/checkpoint/name/frozen", test_frozen_names);
  g_test_add_func ("/checkpoint/name/owner", test_owner);
  g_test_add_func ("/checkpoint/name/owner-without-store", test_owner_without_store);
  g_test_add_func ("/checkpoint/name/owner-matches", test_owner_matches);
  g_test_add_func ("/checkpoint/stale", test_stale);
  g_test_add_func ("/checkpoint/retire", test_retire);
  return g_test_run ();
}
