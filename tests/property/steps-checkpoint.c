/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "steps.h"

#include "util/error.h"

static GPtrArray *
some_disks (Sequence *s, unsigned *out_mask)
{
  GPtrArray *disks = g_ptr_array_new ();
  bool both = !s->world->raw_b || (s->world->kind == WORLD_QMP && s->world->running);

  *out_mask = both ? 1 + pick (s, 3) : 1;
  for (unsigned i = 0; i < DISKS; i++) {
    if (*out_mask >> i & 1)
      g_ptr_array_add (disks, (char *)disk_names[i]);
  }
  return disks;
}

bool
step_create (Sequence *s)
{
  unsigned mask;
  g_autoptr (GPtrArray) disks = some_disks (s, &mask);
  g_autofree char *name = model_name (s->model, false);
  g_autoptr (GError) error = NULL;

  if (s->model->points->len >= MANY_POINTS)
    return false;
  say ("create %s on disks %u", name, mask);
  varve_domain_checkpoint_add (s->world->domain, name, "of a test", disks, NULL, &error);
  g_assert_no_error (error);
  model_add (s->model, name, mask);
  reconcile (s, false, NULL);
  return true;
}

bool
step_delete (Sequence *s)
{
  Point *point = some_point (s, NULL);
  g_autoptr (GError) error = NULL;

  if (!point)
    return false;
  say ("delete %s", point->name);
  varve_domain_checkpoint_remove (s->world->domain, point->name, NULL, &error);
  g_assert_no_error (error);
  model_remove (s->model, point->name);
  reconcile (s, false, NULL);
  return true;
}

bool
step_merge (Sequence *s)
{
  Point *into = some_point (s, NULL);
  Point *from = into ? some_point (s, into) : NULL;
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;

  if (!from)
    return false;
  bool refused = must_be_refused (s, into, from);
  say ("merge %s into %s%s", from->name, into->name, refused ? ", to be refused" : "");
  g_ptr_array_add (names, from->name);
  varve_domain_checkpoint_merge (s->world->domain, into->name, names, NULL, &error);
  if (refused)
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_CHECKPOINT);
  else
    g_assert_no_error (error);
  if (!refused)
    model_remove (s->model, from->name);
  reconcile (s, false, NULL);
  return true;
}

/* The hypervisor forgets, and is told again or not. A libvirt that has the domain running tells nothing
 * of a bitmap that it was not told of, unless the image's header has it from before. */
bool
step_record (Sequence *s)
{
  Point *point = some_point (s, NULL);
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;

  if (!point)
    return false;
  bool again = chance (s, 60) || (s->world->kind == WORLD_LIBVIRT && s->world->running);
  say ("forget the record of %s%s", point->name, again ? ", and redefine it" : "");
  varve_domain_checkpoint_forget (s->world->domain, point->name, NULL, &error);
  g_assert_no_error (error);
  for (unsigned i = 0; i < DISKS; i++) {
    if (point->image[i])
      g_ptr_array_add (disks, (char *)disk_names[i]);
  }
  if (again)
    varve_domain_checkpoint_redefine (s->world->domain, point->name, "again", 1234, disks, NULL,
                                      &error);
  g_assert_no_error (error);
  reconcile (s, false, NULL);
  return true;
}

/* What kills left, as the next run would take it away. */
bool
step_tidy (Sequence *s)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_of (s);

  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    g_autoptr (GError) error = NULL;

    if (!bitmap->inconsistent || model_find (s->model, bitmap->name))
      continue;
    say ("tidy %s away", bitmap->name);
    varve_domain_checkpoint_remove (s->world->domain, bitmap->name, NULL, &error);
    g_assert_no_error (error);
  }
  reconcile (s, false, NULL);
  return true;
}

/* Index of the newest foreign point; -1: none. */
static int
newest_foreign (Sequence *s)
{
  for (guint i = s->model->points->len; i-- > 0;) {
    if (((Point *)g_ptr_array_index (s->model->points, i))->foreign)
      return (int)i;
  }
  return -1;
}

bool
step_foreign_next (Sequence *s)
{
  int newest = newest_foreign (s);
  Point *last = newest >= 0 ? g_ptr_array_index (s->model->points, (guint)newest) : NULL;
  g_autofree char *name = model_name (s->model, true);

  if (!chains_work (s) || s->model->points->len >= MANY_POINTS)
    return false;
  say ("an older tool goes from %s to %s", last ? last->name : "nothing", name);
  world_rotate (s->world, last ? last->name : NULL, name);
  if (last)
    last->disabled = true;
  model_add (s->model, name, 1)->foreign = true;
  reconcile (s, false, NULL);
  return true;
}

/* Merges some of those that came later; what is left of these is of no use any more. */
bool
step_foreign_merge (Sequence *s)
{
  g_autoptr (GPtrArray) chain = g_ptr_array_new ();
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < s->model->points->len; i++) {
    Point *point = g_ptr_array_index (s->model->points, i);

    if (point->foreign)
      g_ptr_array_add (chain, point);
  }
  if (!chains_work (s))
    return false;
  if (chain->len < 2) {
    step_foreign_next (s); /* so that there is something to merge, before all is lost to a kill */
    return false;
  }
  guint first = pick (s, chain->len - 1);
  Point *into = g_ptr_array_index (chain, first);
  bool all = chance (s, 70);
  for (guint i = first + 1; i < chain->len; i++) {
    Point *point = g_ptr_array_index (chain, i);

    if (all || chance (s, 50))
      g_ptr_array_add (names, g_strdup (point->name));
    else
      g_hash_table_add (s->model->noise, g_strdup (point->name));
  }
  if (s->defect == DEFECT_MERGE)
    defect_empty (s->world, ((Point *)g_ptr_array_index (chain, first + 1))->name,
                  ((Point *)g_ptr_array_index (chain, first + 1))->disabled);
  say ("merge %u of the %u later ones into %s", names->len, chain->len - first - 1, into->name);
  varve_domain_checkpoint_merge (s->world->domain, into->name, names, NULL, &error);
  g_assert_no_error (error);
  for (guint i = first + 1; i < chain->len; i++)
    g_ptr_array_remove (s->model->points, g_ptr_array_index (chain, i));
  into->disabled = false;
  reconcile (s, false, NULL);
  return true;
}
