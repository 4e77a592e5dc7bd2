/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "plan/plan.h"

#include <string.h>

#include "checkpoint/name.h"
#include "util/error.h"

const char *
varve_decision_name (VarveDecision decision)
{
  switch (decision) {
  case VARVE_DECISION_FULL:
    return "full";
  case VARVE_DECISION_INCREMENTAL:
    return "incremental";
  case VARVE_DECISION_RESCAN:
    return "rescan";
  case VARVE_DECISION_SKIP:
    return "skip";
  }
  g_return_val_if_reached ("?");
}

static void
plan_disk_free (gpointer data)
{
  VarvePlanDisk *plan = data;

  g_free (plan->reason);
  g_free (plan->distrust);
  g_free (plan->since);
  g_free (plan);
}

static bool
names_contain (GPtrArray *names, const char *name)
{
  return names != NULL && g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL);
}

static const VarveManifest *
manifest_of (const VarvePlanInput *input, const char *backup)
{
  for (guint i = 0; i < input->manifests->len; i++) {
    const VarveManifest *manifest = g_ptr_array_index (input->manifests, i);

    if (g_str_equal (manifest->id, backup))
      return manifest;
  }
  return NULL;
}

/* Why the layer of @disk in @manifest cannot be built upon; NULL when it can. */
static char *
distrust_base (const VarvePlanInput *input, const VarveDisk *disk, const VarveManifest *manifest)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (manifest, disk->name);

  if (g_ascii_strcasecmp (manifest->uuid, input->uuid) != 0)
    return g_strdup_printf ("the image is a copy: its bitmap belongs to a backup of domain '%s'",
                            manifest->domain);
  if (layer == NULL)
    return g_strdup_printf ("backup %s does not have this disk", manifest->id);
  if (layer->size > disk->size)
    return g_strdup_printf ("the disk has shrunk from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                            " bytes since backup %s",
                            layer->size, disk->size, manifest->id);
  return input->check_base (manifest, disk->name, input->check_data);
}

/* What a rescan leaves out it believes of its base: so damage to that must be known, all the way down. */
static char *
distrust_unsummed (const VarvePlanInput *input, const VarveManifestDisk *layer,
                   const VarveManifest *manifest)
{
  while (layer != NULL && layer->sums_file != NULL && layer->base != NULL) {
    manifest = manifest_of (input, layer->base);
    layer = manifest ? varve_manifest_find_disk (manifest, layer->name) : NULL;
  }
  if (layer == NULL || layer->sums_file != NULL)
    return NULL;
  return g_strdup_printf ("backup %s has no sums, so that nothing can be compared with it",
                          manifest->id);
}

/* Why nothing can be compared with @layer, the disk's in @manifest; NULL when it can. */
static char *
distrust_rescan (const VarvePlanInput *input, const VarveDisk *disk, const VarveManifestDisk *layer,
                 const VarveManifest *manifest)
{
  char *why;

  if (input->push)
    return g_strdup ("a push does not compare with older backups");
  why = distrust_base (input, disk, manifest);
  return why != NULL ? why : distrust_unsummed (input, layer, manifest);
}

/* What a push cannot do with the layer, on top of the above; NULL when it can. */
static char *
distrust_push (const VarvePlanInput *input, const VarveDisk *disk, const VarveManifest *base)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (base, disk->name);

  if (!input->push || layer->size == disk->size)
    return NULL;
  return g_strdup_printf ("the disk has grown from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                          " bytes since backup %s, and a push writes only what a bitmap tells of",
                          layer->size, disk->size, base->id);
}

/* Why not an increment from @bitmap; NULL when it is, with its base in @out_base. */
static char *
distrust_bitmap (const VarvePlanInput *input, const VarveDisk *disk, const VarveBitmap *bitmap,
                 const VarveManifest **out_base)
{
  g_auto (VarveCheckpointName) name = { NULL };
  const VarveManifest *manifest;
  char *why = varve_checkpoint_distrust (bitmap);

  if (why != NULL)
    return why;
  varve_checkpoint_name_parse (bitmap->name, &name);
  manifest = manifest_of (input, name.backup);
  if (manifest == NULL)
    return g_strdup_printf ("the store does not have backup %s, which bitmap '%s' is based on",
                            name.backup, bitmap->name);
  *out_base = manifest;
  why = distrust_base (input, disk, manifest);
  return why != NULL ? why : distrust_push (input, disk, manifest);
}

static int
newest_first (gconstpointer a, gconstpointer b)
{
  const VarveBitmap *x = *(const VarveBitmap *const *)a, *y = *(const VarveBitmap *const *)b;

  return strcmp (y->name, x->name);
}

static int
least_dirty_first (gconstpointer a, gconstpointer b)
{
  const VarveBitmap *x = *(const VarveBitmap *const *)a, *y = *(const VarveBitmap *const *)b;

  if (x->dirty != y->dirty)
    return x->dirty < y->dirty ? -1 : 1;
  return newest_first (a, b);
}

static bool
all_tell_dirty (GPtrArray *bitmaps)
{
  for (guint i = 0; i < bitmaps->len; i++)
    if (((const VarveBitmap *)g_ptr_array_index (bitmaps, i))->dirty == UINT64_MAX)
      return false;
  return true;
}

/* The owner's bitmaps of a disk, the best one first. As all of them record from their making on, what the one
 * made last has is in all others: it is the one of the newest backup, or of the one that the disk was
 * last put back to. */
static GPtrArray *
candidates (const VarvePlanInput *input, const VarveDisk *disk)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new ();

  for (guint i = 0; i < input->bitmaps->len; i++) {
    VarveBitmap *bitmap = g_ptr_array_index (input->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (g_str_equal (bitmap->disk, disk->name) &&
        varve_checkpoint_name_parse (bitmap->name, &name) && g_str_equal (name.owner, input->owner))
      g_ptr_array_add (found, bitmap);
  }
  g_ptr_array_sort (found, all_tell_dirty (found) ? least_dirty_first : newest_first);
  return g_steal_pointer (&found);
}

static void
decide_incremental (const VarvePlanInput *input, VarvePlanDisk *plan, const VarveBitmap *bitmap,
                    const VarveManifest *base)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (base, plan->disk->name);

  plan->decision = VARVE_DECISION_INCREMENTAL;
  plan->since = g_strdup (bitmap->name);
  plan->base = base;
  plan->flatten = layer->links >= input->max_chain;
  g_free (plan->reason);
  plan->reason = g_strdup_printf ("changed since backup %s", base->id);
}

/* No bitmap can be trusted, for the reason in @why (owned): rescan against the newest backup that
 * can be built upon, else full. */
static void
decide_without_bitmap (const VarvePlanInput *input, VarvePlanDisk *plan, char *why)
{
  g_autofree char *reason = why;
  g_autofree char *last = NULL;

  plan->distrust = g_strdup (reason);
  for (guint i = input->manifests->len; i > 0; i--) {
    const VarveManifest *manifest = g_ptr_array_index (input->manifests, i - 1);
    const VarveManifestDisk *layer = varve_manifest_find_disk (manifest, plan->disk->name);
    g_autofree char *distrust = NULL;

    if (layer == NULL || g_ascii_strcasecmp (manifest->uuid, input->uuid) != 0)
      continue;
    distrust = distrust_rescan (input, plan->disk, layer, manifest);
    if (distrust == NULL) {
      plan->decision = VARVE_DECISION_RESCAN;
      plan->base = manifest;
      plan->flatten = layer->links >= input->max_chain;
      plan->reason = g_strdup_printf ("%s; compared with backup %s", reason, manifest->id);
      return;
    }
    if (last == NULL)
      last = g_steal_pointer (&distrust);
  }
  plan->decision = VARVE_DECISION_FULL;
  if (last != NULL && !g_str_equal (last, reason))
    plan->reason = g_strdup_printf ("%s; %s", reason, last);
  else
    plan->reason = g_steal_pointer (&reason);
}

static bool
has_backup (const VarvePlanInput *input, const VarveDisk *disk)
{
  for (guint i = 0; i < input->manifests->len; i++) {
    const VarveManifest *manifest = g_ptr_array_index (input->manifests, i);

    if (g_ascii_strcasecmp (manifest->uuid, input->uuid) == 0 &&
        varve_manifest_find_disk (manifest, disk->name))
      return true;
  }
  return false;
}

/* What to say when the owner has no bitmap on the disk at all. */
static char *
why_no_bitmap (const VarvePlanInput *input, const VarveDisk *disk)
{
  if (!has_backup (input, disk))
    return g_strdup ("first backup of this disk");
  if (!disk->can_persist && disk->why_not_persist)
    return g_strdup_printf ("no bitmap: %s", disk->why_not_persist);
  /* QEMU keeps new bitmaps in memory until it ends: one that is killed leaves no trace of them. */
  return g_strdup_printf ("the disk has no bitmap of owner '%s': it was removed, or lost as QEMU "
                          "was not shut down cleanly",
                          input->owner);
}

static void
decide_auto (const VarvePlanInput *input, VarvePlanDisk *plan)
{
  g_autoptr (GPtrArray) bitmaps = candidates (input, plan->disk);
  g_autofree char *first = NULL;

  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    const VarveManifest *base = NULL;
    g_autofree char *why = distrust_bitmap (input, plan->disk, bitmap, &base);

    if (why == NULL) {
      decide_incremental (input, plan, bitmap, base);
      return;
    }
    if (first == NULL)
      first = g_steal_pointer (&why);
  }
  if (first == NULL)
    first = why_no_bitmap (input, plan->disk);
  decide_without_bitmap (input, plan, g_steal_pointer (&first));
}

/* The caller named the checkpoint: that one or none. */
static bool
decide_named (const VarvePlanInput *input, VarvePlanDisk *plan, GError **error)
{
  const VarveManifest *base = NULL;
  const VarveBitmap *bitmap =
      varve_bitmap_find (input->bitmaps, plan->disk->name, input->incremental);
  g_auto (VarveCheckpointName) name = { NULL };
  g_autofree char *why = NULL;

  if (bitmap == NULL)
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Disk '%s' has no checkpoint '%s'. Use incremental 'auto' to let varve "
                        "choose, or leave the disk out.",
                        plan->disk->name, input->incremental);
  if (!varve_checkpoint_name_parse (bitmap->name, &name) || !g_str_equal (name.owner, input->owner))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Checkpoint '%s' does not belong to owner '%s', so that this store has no "
                        "backup for it to build on.",
                        bitmap->name, input->owner);
  why = distrust_bitmap (input, plan->disk, bitmap, &base);
  if (why != NULL)
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Disk '%s' cannot be backed up since checkpoint '%s': %s.",
                        plan->disk->name, bitmap->name, why);
  decide_incremental (input, plan, bitmap, base);
  return true;
}

/* Without a store. What is wrong with one disk makes that one full. */
static void
decide_since (const VarvePlanInput *input, VarvePlanDisk *plan)
{
  const VarveBitmap *bitmap =
      varve_bitmap_find (input->bitmaps, plan->disk->name, input->incremental);

  plan->decision = VARVE_DECISION_FULL;
  plan->reason = bitmap ? varve_checkpoint_distrust (bitmap)
                        : g_strdup_printf ("it has no checkpoint '%s'", input->incremental);
  if (plan->reason != NULL)
    return;
  plan->decision = VARVE_DECISION_INCREMENTAL;
  plan->since = g_strdup (bitmap->name);
  plan->reason = g_strdup_printf ("changed since checkpoint '%s'", bitmap->name);
}

/* A checkpoint that no disk at all can be read by was named by mistake, or is lost: who named it counts on it. */
static bool
check_since (const VarvePlanInput *input, GPtrArray *plans, GError **error)
{
  const VarvePlanDisk *first = NULL;

  if (input->manifests != NULL || g_str_equal (input->incremental, "never"))
    return true;
  for (guint i = 0; i < plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (plans, i);

    if (plan->decision == VARVE_DECISION_INCREMENTAL)
      return true;
    if (first == NULL && plan->decision == VARVE_DECISION_FULL)
      first = plan;
  }
  return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "Nothing can be read since checkpoint '%s'. Disk '%s': %s. Leave the "
                      "checkpoint out, and read everything.",
                      input->incremental, first->disk->name, first->reason);
}

static bool
decide (const VarvePlanInput *input, VarvePlanDisk *plan, GError **error)
{
  const VarveDisk *disk = plan->disk;
  bool named = names_contain (input->include, disk->name);

  plan->decision = VARVE_DECISION_SKIP;
  if (names_contain (input->exclude, disk->name)) {
    plan->reason = g_strdup ("left out by the job");
    return true;
  }
  if (input->include->len > 0 && !named) {
    plan->reason = g_strdup ("not named by the job");
    return true;
  }
  if (!disk->can_back_up) {
    if (named)
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "Disk '%s' cannot be backed up: %s. Take it out of the job.", disk->name,
                          disk->why_not);
    plan->reason = g_strdup (disk->why_not);
    return true;
  }
  plan->checkpoint = disk->can_persist || disk->transient_ok;
  plan->transient = plan->checkpoint && !disk->can_persist;
  if (g_str_equal (input->incremental, "never")) {
    plan->decision = VARVE_DECISION_FULL;
    plan->reason = g_strdup (input->manifests ? "asked for" : "no checkpoint was named");
    return true;
  }
  if (input->manifests == NULL) {
    decide_since (input, plan);
    return true;
  }
  if (!g_str_equal (input->incremental, "auto"))
    return decide_named (input, plan, error);
  decide_auto (input, plan);
  return true;
}

static bool
all_known (const VarvePlanInput *input, GPtrArray *names, GError **error)
{
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_autoptr (GString) have = g_string_new (NULL);

    if (varve_disk_find (input->disks, name))
      continue;
    for (guint j = 0; j < input->disks->len; j++)
      g_string_append_printf (have, "%s'%s'", j ? ", " : "",
                              ((VarveDisk *)g_ptr_array_index (input->disks, j))->name);
    return varve_throw (error, VARVE_ERROR_NOT_FOUND, "The domain has no disk '%s'. It has: %s.",
                        name, have->len ? have->str : "none");
  }
  return true;
}

GPtrArray *
varve_plan (const VarvePlanInput *input, GError **error)
{
  g_autoptr (GPtrArray) plans = g_ptr_array_new_with_free_func (plan_disk_free);
  bool any = false;

  if (!all_known (input, input->include, error) || !all_known (input, input->exclude, error))
    return NULL;
  for (guint i = 0; i < input->disks->len; i++) {
    VarvePlanDisk *plan = g_new0 (VarvePlanDisk, 1);

    plan->disk = g_ptr_array_index (input->disks, i);
    g_ptr_array_add (plans, plan);
    if (!decide (input, plan, error))
      return NULL;
    any = any || plan->decision != VARVE_DECISION_SKIP;
  }
  if (!any) {
    varve_throw (error, VARVE_ERROR_REFUSED, "No disk is left to back up: all are left out%s.",
                 input->disks->len ? "" : ", as the domain has none");
    return NULL;
  }
  return check_since (input, plans, error) ? g_steal_pointer (&plans) : NULL;
}
