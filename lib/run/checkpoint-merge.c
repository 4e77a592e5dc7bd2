/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Making one checkpoint of several. Ours all record, so that the oldest of them has what the newer
 * ones have, and merging is letting those go. Bitmaps of other tools may be disabled one after the
 * other, in an order that nothing but their owner knows: hence it is stated. */
#include "config.h"

#include "run/checkpoint.h"

#include <string.h>

#include "util/error.h"

/* Those of one owner behind @from up to @to. They differ behind the owner only, so that their order is
 * that of their instants. */
static GPtrArray *
range (const VarveCheckFacts *facts, const char *owner, const char *from, const char *to)
{
  g_autoptr (GPtrArray) ours = varve_checkpoint_ours (facts);
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < ours->len; i++) {
    const char *next = g_ptr_array_index (ours, i);
    g_auto (VarveCheckpointName) name = { NULL };

    varve_checkpoint_name_parse (next, &name);
    if (g_str_equal (name.owner, owner) && strcmp (next, from) > 0 && strcmp (next, to) <= 0)
      g_ptr_array_add (names, g_strdup (next));
  }
  return names;
}

/* What records has every change since its instant, so that the newer ones may go; what does not has
 * a gap that no other fills. */
static bool
check_recording (const VarveCheckFacts *facts, const char *name, GError **error)
{
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (!g_str_equal (bitmap->name, name) || (bitmap->recording && !bitmap->inconsistent))
      continue;
    return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                        "Checkpoint '%s' %s on disk '%s', so that it does not have every change "
                        "since: nothing can be merged into it.",
                        name, bitmap->inconsistent ? "is broken" : "does not record", bitmap->disk);
  }
  return true;
}

static GPtrArray *
plan_own (const VarveCheckFacts *facts, const char *first, const char *last, GError **error)
{
  g_auto (VarveCheckpointName) a = { NULL }, b = { NULL };

  if (!varve_checkpoint_check_own (facts, first, error) ||
      !varve_checkpoint_check_own (facts, last, error) || !check_recording (facts, first, error))
    return NULL;
  varve_checkpoint_name_parse (first, &a);
  varve_checkpoint_name_parse (last, &b);
  if (!g_str_equal (a.owner, b.owner)) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "'%s' and '%s' are not of one owner, and are not merged.", first, last);
    return NULL;
  }
  if (strcmp (first, last) >= 0) {
    varve_throw (error, VARVE_ERROR_USAGE, "'%s' is not older than '%s': name the older one first.",
                 first, last);
    return NULL;
  }
  return range (facts, a.owner, first, last);
}

static bool
anything_records (const VarveCheckFacts *facts, const char *disk)
{
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (g_str_equal (bitmap->disk, disk) && bitmap->recording && !bitmap->inconsistent)
      return true;
  }
  return false;
}

/* Where nothing records, nobody knows what was written since the newest was disabled: a merged one
 * that records from now on would lie. */
static bool
check_gap (const VarveCheckFacts *facts, const char *first, GError **error)
{
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (g_str_equal (bitmap->name, first) && !anything_records (facts, bitmap->disk))
      return varve_throw (
          error, VARVE_ERROR_REFUSED,
          "No bitmap of disk '%s' records, so that nobody knows what was written since "
          "the newest of them was disabled. Merged, they would miss that: take a full "
          "backup with the program that they belong to.",
          bitmap->disk);
  }
  return true;
}

static GPtrArray *
plan_foreign (const VarveCheckFacts *facts, const char *const *names, GError **error)
{
  g_autoptr (GPtrArray) from = g_ptr_array_new_with_free_func (g_free);

  for (const char *const *name = names; *name; name++) {
    g_auto (VarveCheckpointName) parsed = { NULL };

    if (!varve_checkpoint_is_there (facts, *name)) {
      varve_throw (error, VARVE_ERROR_NOT_FOUND, "The domain has no bitmap '%s'.", *name);
      return NULL;
    }
    if (varve_checkpoint_name_parse (*name, &parsed) || varve_checkpoint_is_frozen (*name)) {
      varve_throw (error, VARVE_ERROR_REFUSED,
                   "'%s' is varve's own, and is not merged as a foreign one.", *name);
      return NULL;
    }
    if (g_strv_contains (name + 1, *name)) {
      varve_throw (error, VARVE_ERROR_USAGE, "'%s' is named twice.", *name);
      return NULL;
    }
    if (name > names)
      g_ptr_array_add (from, g_strdup (*name));
  }
  return check_gap (facts, names[0], error) ? g_steal_pointer (&from) : NULL;
}

/* @out_into: what remains. */
static GPtrArray *
plan_merge (const VarveCheckFacts *facts, const char *const *names, bool foreign, char **out_into,
            GError **error)
{
  g_autofree char *last = NULL;

  if (foreign) {
    *out_into = g_strdup (names[0]);
    return plan_foreign (facts, names, error);
  }
  if (names[2] != NULL) {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "Name the oldest and the newest; all between them go with the newest.");
    return NULL;
  }
  *out_into = varve_checkpoint_resolve (facts, names[0], error);
  last = *out_into ? varve_checkpoint_resolve (facts, names[1], error) : NULL;
  return last ? plan_own (facts, *out_into, last, error) : NULL;
}

gboolean
varve_checkpoints_merge (VarveCheckpoints *checkpoints, const char *const *names, gboolean foreign,
                         GPtrArray **out_removed, GCancellable *cancellable, GError **error)
{
  g_auto (VarveCheckpointWork) work = { NULL };
  g_autoptr (GPtrArray) from = NULL;
  g_autofree char *into = NULL;

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && names, FALSE);
  if (names[0] == NULL || names[1] == NULL)
    return varve_throw (error, VARVE_ERROR_USAGE, "Name at least two checkpoints, oldest first.");
  if (!varve_checkpoint_work_open (&work, varve_checkpoints_def (checkpoints), "merge", true,
                                   cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return FALSE;
  from = plan_merge (&work.facts, names, foreign, &into, error);
  if (from == NULL || !varve_domain_checkpoint_merge (work.domain, into, from, cancellable, error))
    return FALSE;
  if (out_removed)
    *out_removed = g_steal_pointer (&from);
  return TRUE;
}
