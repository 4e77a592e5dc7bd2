/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The decision table: facts about one disk in, decision and reason out. */
#include "config.h"

#include "plan/plan.h"

#include "checkpoint/name.h"
#include "util/error.h"

#define UUID  "11111111-2222-3333-4444-555555555555"
#define OWNER "nightly-1f0c77ab"
#define ID_A  "20260101T000000Z-00000000000000aa"
#define ID_B  "20260102T000000Z-00000000000000bb"
#define CK_A  "varve." OWNER "." ID_A ".00000001"
#define CK_B  "varve." OWNER "." ID_B ".00000002"
#define OTHER "varve.weekly-1f0c77ab." ID_B ".00000003"
#define GIB   (1ull << 30)

typedef struct {
  const char *name;
  /* the disk */
  uint64_t size; /* 0: 1 GiB */
  bool raw, cdrom;
  /* bitmaps on it */
  const char *bitmap;
  const char *older;
  bool inconsistent, disabled;
  uint64_t dirty, older_dirty;
  /* the store: ID_A full, and ID_B on it, of this size */
  bool has_a, has_b;
  uint64_t backup_size; /* 0: 1 GiB */
  const char *backup_uuid;
  const char *damaged; /* this backup's files fail the cheap check */
  unsigned links;
  bool no_sums; /* of any backup */
  /* asked for */
  const char *incremental;
  bool excluded;
  bool push;
  /* expected */
  VarveDecision decision;
  const char *base;
  const char *since;
  const char *reason; /* a part of it */
  bool flatten;
  bool no_checkpoint;
} Case;

static const Case cases[] = {
  { "first", .decision = VARVE_DECISION_FULL, .reason = "first backup of this disk" },
  { "incremental", .bitmap = CK_B, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_B, .since = CK_B, .reason = ID_B },
  { "older bitmap when the newer is of no backup", .bitmap = CK_B, .older = CK_A, .has_a = true,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A, .reason = ID_A },
  { "put back: the bitmap made last has the least", .bitmap = CK_B, .dirty = 2 * GIB, .older = CK_A,
    .older_dirty = 65536, .has_a = true, .has_b = true, .decision = VARVE_DECISION_INCREMENTAL,
    .base = ID_A, .since = CK_A, .reason = ID_A },
  { "the newest where they have the same", .bitmap = CK_B, .dirty = 65536, .older = CK_A,
    .older_dirty = 65536, .has_a = true, .has_b = true, .decision = VARVE_DECISION_INCREMENTAL,
    .base = ID_B, .since = CK_B, .reason = ID_B },
  { "the newest where one does not tell", .bitmap = CK_B, .dirty = UINT64_MAX, .older = CK_A,
    .older_dirty = 65536, .has_a = true, .has_b = true, .decision = VARVE_DECISION_INCREMENTAL,
    .base = ID_B, .since = CK_B, .reason = ID_B },
  { "fork: the base is the bitmap's, not the newest", .bitmap = CK_A, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A, .reason = ID_A },
  { "inconsistent", .bitmap = CK_B, .inconsistent = true, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_RESCAN, .base = ID_B, .reason = "inconsistent" },
  { "disabled", .bitmap = CK_B, .disabled = true, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_RESCAN, .base = ID_B, .reason = "disabled" },
  { "bitmap deleted", .has_a = true, .has_b = true, .decision = VARVE_DECISION_RESCAN, .base = ID_B,
    .reason = "no bitmap of owner" },
  { "only another owner's bitmap", .bitmap = OTHER, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_RESCAN, .base = ID_B, .reason = "no bitmap of owner" },
  { "foreign bitmap, first backup", .bitmap = "virtnbdbackup.0", .decision = VARVE_DECISION_FULL,
    .reason = "first backup of this disk" },
  { "grown", .size = 2 * GIB, .bitmap = CK_A, .has_a = true, .decision = VARVE_DECISION_INCREMENTAL,
    .base = ID_A, .since = CK_A },
  { "shrunk", .bitmap = CK_A, .has_a = true, .backup_size = 2 * GIB,
    .decision = VARVE_DECISION_FULL, .reason = "shrunk" },
  { "copied image", .bitmap = CK_A, .has_a = true,
    .backup_uuid = "99999999-2222-3333-4444-555555555555", .decision = VARVE_DECISION_FULL,
    .reason = "is a copy" },
  { "base damaged, older one sound", .bitmap = CK_B, .has_a = true, .has_b = true, .damaged = ID_B,
    .decision = VARVE_DECISION_RESCAN, .base = ID_A, .reason = "damaged on purpose" },
  { "only base damaged", .bitmap = CK_A, .has_a = true, .damaged = ID_A,
    .decision = VARVE_DECISION_FULL, .reason = "damaged on purpose" },
  { "raw on libvirt", .raw = true, .has_a = true, .decision = VARVE_DECISION_RESCAN, .base = ID_A,
    .reason = "raw images hold no bitmaps", .no_checkpoint = true },
  { "raw, first", .raw = true, .decision = VARVE_DECISION_FULL, .no_checkpoint = true },
  { "chain at its end", .bitmap = CK_A, .has_a = true, .links = 60,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A, .flatten = true },
  { "chain not at its end", .bitmap = CK_A, .has_a = true, .links = 59,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A },
  { "never", .bitmap = CK_A, .has_a = true, .incremental = "never", .decision = VARVE_DECISION_FULL,
    .reason = "asked for" },
  { "named checkpoint", .bitmap = CK_B, .older = CK_A, .has_a = true, .has_b = true,
    .incremental = CK_A, .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A },
  { "no sums: an increment does not mind", .bitmap = CK_B, .has_a = true, .has_b = true,
    .no_sums = true, .decision = VARVE_DECISION_INCREMENTAL, .base = ID_B, .since = CK_B },
  { "no sums: nothing to compare with", .has_a = true, .has_b = true, .no_sums = true,
    .decision = VARVE_DECISION_FULL, .reason = "has no sums" },
  { "push", .push = true, .bitmap = CK_B, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_B, .since = CK_B },
  { "push, bitmap lost", .push = true, .has_a = true, .has_b = true,
    .decision = VARVE_DECISION_FULL, .reason = "a push does not compare" },
  { "push, grown", .push = true, .size = 2 * GIB, .bitmap = CK_A, .has_a = true,
    .decision = VARVE_DECISION_FULL, .reason = "has grown" },
  { "push, end of the chain", .push = true, .bitmap = CK_A, .has_a = true, .links = 60,
    .decision = VARVE_DECISION_INCREMENTAL, .base = ID_A, .since = CK_A, .flatten = true },
  { "excluded", .excluded = true, .decision = VARVE_DECISION_SKIP, .reason = "left out",
    .no_checkpoint = true },
  { "cdrom", .cdrom = true, .decision = VARVE_DECISION_SKIP, .reason = "is a CD-ROM",
    .no_checkpoint = true },
};

static char *
check_base (const VarveManifest *manifest, const char *disk, gpointer data)
{
  const Case *c = data;

  return g_strcmp0 (manifest->id, c->damaged) == 0 ? g_strdup ("damaged on purpose") : NULL;
}

static void
add_bitmap (GPtrArray *bitmaps, const Case *c, const char *name, uint64_t dirty)
{
  VarveBitmap *bitmap;

  if (name == NULL)
    return;
  bitmap = varve_bitmap_new ("vda", name);
  bitmap->recording = !c->disabled && !c->inconsistent;
  bitmap->inconsistent = c->inconsistent;
  bitmap->dirty = dirty;
  g_ptr_array_add (bitmaps, bitmap);
}

static void
add_manifest (GPtrArray *manifests, const Case *c, const char *id)
{
  VarveManifest *manifest = varve_manifest_new (id);
  VarveManifestDisk *disk = varve_manifest_add_disk (manifest, "vda");

  manifest->uuid = g_strdup (c->backup_uuid ? c->backup_uuid : UUID);
  manifest->domain = g_strdup ("web01");
  disk->size = c->backup_size ? c->backup_size : GIB;
  disk->links = c->links ? c->links : 1;
  disk->sums_file = c->no_sums ? NULL : g_strdup ("vda.sums");
  g_ptr_array_add (manifests, manifest);
}

/* A second disk keeps the plan from being empty where vda is skipped. */
static void
add_disks (GPtrArray *disks, const Case *c)
{
  VarveDisk *disk = varve_disk_new ("vda"), *second = varve_disk_new ("vdb");

  disk->size = c->size ? c->size : GIB;
  disk->can_back_up = !c->cdrom;
  disk->why_not = c->cdrom ? g_strdup ("is a CD-ROM") : NULL;
  disk->can_persist = !c->raw;
  disk->why_not_persist = c->raw ? g_strdup ("raw images hold no bitmaps") : NULL;
  second->size = GIB;
  second->can_back_up = true;
  g_ptr_array_add (disks, disk);
  g_ptr_array_add (disks, second);
}

static GPtrArray *
plan_case (const Case *c, VarvePlanInput *input, GError **error)
{
  input->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  input->bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  input->manifests = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_manifest_unref);
  input->include = g_ptr_array_new ();
  input->exclude = g_ptr_array_new ();
  input->uuid = UUID;
  input->owner = OWNER;
  input->max_chain = 60;
  input->check_base = check_base;
  input->check_data = (gpointer)c;
  input->incremental = c->incremental ? c->incremental : "auto";
  input->push = c->push;
  add_disks (input->disks, c);
  add_bitmap (input->bitmaps, c, c->older, c->older_dirty);
  add_bitmap (input->bitmaps, c, c->bitmap, c->dirty);
  if (c->has_a)
    add_manifest (input->manifests, c, ID_A);
  if (c->has_b)
    add_manifest (input->manifests, c, ID_B);
  if (c->excluded)
    g_ptr_array_add (input->exclude, (gpointer) "vda");
  if (c->incremental && g_str_has_prefix (c->incremental, "varve."))
    g_ptr_array_add (input->include, (gpointer) "vda");
  return varve_plan (input, error);
}

static void
input_clear (VarvePlanInput *input)
{
  g_ptr_array_unref (input->disks);
  g_ptr_array_unref (input->bitmaps);
  g_ptr_array_unref (input->manifests);
  g_ptr_array_unref (input->include);
  g_ptr_array_unref (input->exclude);
}

static void
test_case (gconstpointer data)
{
  const Case *c = data;
  VarvePlanInput input = { NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) plans = plan_case (c, &input, &error);
  const VarvePlanDisk *plan;

  g_assert_no_error (error);
  plan = g_ptr_array_index (plans, 0);
  g_test_message ("%s: %s", varve_decision_name (plan->decision), plan->reason);
  g_assert_cmpint (plan->decision, ==, c->decision);
  g_assert_cmpstr (plan->base ? plan->base->id : NULL, ==, c->base);
  g_assert_cmpstr (plan->since, ==, c->since);
  g_assert_nonnull (plan->reason);
  if (c->reason)
    g_assert_nonnull (strstr (plan->reason, c->reason));
  g_assert_cmpint (plan->flatten, ==, c->flatten);
  g_assert_cmpint (plan->checkpoint, ==, !c->no_checkpoint);
  input_clear (&input);
}

static void
expect_error (const Case *c, int code, const char *part)
{
  VarvePlanInput input = { NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) plans = plan_case (c, &input, &error);

  g_assert_null (plans);
  g_assert_error (error, VARVE_ERROR, code);
  g_assert_nonnull (strstr (error->message, part));
  input_clear (&input);
}

static void
test_refusals (void)
{
  const Case missing = { .incremental = CK_A };
  const Case foreign = { .bitmap = OTHER, .incremental = OTHER };
  const Case broken = { .bitmap = CK_A, .inconsistent = true, .has_a = true, .incremental = CK_A };

  expect_error (&missing, VARVE_ERROR_CHECKPOINT, "has no checkpoint");
  expect_error (&foreign, VARVE_ERROR_REFUSED, "does not belong to owner");
  expect_error (&broken, VARVE_ERROR_CHECKPOINT, "inconsistent");
}

/* Without a store: what was named is taken at its word, disk by disk, and is not nowhere. */
static void
test_no_store (void)
{
  static const struct {
    const char *since;
    VarveDecision decision; /* of vda; vdb has OTHER in any case */
    const char *reason;
    bool inconsistent;
  } rows[] = {
    { "never", VARVE_DECISION_FULL, "no checkpoint was named", false },
    { OTHER, VARVE_DECISION_INCREMENTAL, "changed since checkpoint '" OTHER "'", false },
    { OTHER, VARVE_DECISION_FULL, "inconsistent", true },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (rows); i++) {
    const Case c = { .bitmap = OTHER,
                     .incremental = rows[i].since,
                     .inconsistent = rows[i].inconsistent };
    VarvePlanInput input = { NULL };
    g_autoptr (GError) error = NULL;
    g_autoptr (GPtrArray) first = plan_case (&c, &input, &error);
    VarveBitmap *bitmap = varve_bitmap_new ("vdb", OTHER);
    g_autoptr (GPtrArray) plans = NULL;
    const VarvePlanDisk *plan;

    g_clear_error (&error);
    bitmap->recording = true;
    g_ptr_array_add (input.bitmaps, bitmap);
    g_ptr_array_unref (input.manifests);
    input.manifests = NULL;
    g_ptr_array_set_size (input.include, 0);
    plans = varve_plan (&input, &error);
    g_assert_no_error (error);
    plan = g_ptr_array_index (plans, 0);
    g_assert_cmpint (plan->decision, ==, rows[i].decision);
    g_assert_nonnull (strstr (plan->reason, rows[i].reason));
    g_assert_cmpstr (plan->since, ==, plan->decision == VARVE_DECISION_INCREMENTAL ? OTHER : NULL);
    g_assert_true (plan->checkpoint);
    plan = g_ptr_array_index (plans, 1);
    g_assert_cmpint (plan->decision, ==, i ? VARVE_DECISION_INCREMENTAL : VARVE_DECISION_FULL);

    /* On no disk at all: whoever named it counts on it. */
    g_ptr_array_set_size (input.bitmaps, 0);
    g_clear_pointer (&plans, g_ptr_array_unref);
    plans = varve_plan (&input, &error);
    g_assert_true ((plans == NULL) == (i > 0));
    if (i > 0)
      g_assert_error (error, VARVE_ERROR, VARVE_ERROR_CHECKPOINT);
    input.manifests = g_ptr_array_new ();
    input_clear (&input);
  }
}

static void
test_unknown_disk (void)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  g_autoptr (GPtrArray) none = g_ptr_array_new ();
  g_autoptr (GPtrArray) include = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  VarvePlanInput input = { .uuid = UUID,
                           .owner = OWNER,
                           .incremental = "auto",
                           .disks = disks,
                           .bitmaps = none,
                           .manifests = none,
                           .include = include,
                           .exclude = none,
                           .check_base = check_base };

  g_ptr_array_add (disks, varve_disk_new ("vda"));
  g_ptr_array_add (include, (gpointer) "sdz");
  g_assert_null (varve_plan (&input, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "'vda'"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strdup_printf ("/plan/%s", cases[i].name);

    g_test_add_data_func (path, &cases[i], test_case);
  }
  g_test_add_func ("/plan/refusals", test_refusals);
  g_test_add_func ("/plan/no-store", test_no_store);
  g_test_add_func ("/plan/unknown-disk", test_unknown_disk);
  return g_test_run ();
}
