/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "steps.h"

#include "backup.h"

static void
check_used (const Point *since, unsigned used)
{
  for (unsigned i = 0; i < DISKS; i++) {
    bool usable = since && since->image[i];

    if (usable != ((used >> i & 1) != 0))
      g_error ("Disk %s: the bitmap %s is %s.", disk_names[i], since ? since->name : "-",
               usable ? "good, and was not used" : "not good, and was used");
  }
}

static void
compare (VarveSession *session, GBytes *const *images, const Point *since, unsigned disks)
{
  for (unsigned i = 0; i < disks; i++)
    backup_check (session, i, images[i], since ? since->image[i] : NULL);
}

static void
back_up (Sequence *s, Point *since, bool good, bool checkpoint)
{
  g_autofree char *name = model_name (s->model, false);
  BackupPlan plan = { .since = since ? since->name : NULL,
                      .also = since && since->foreign,
                      .checkpoint = checkpoint ? name : NULL,
                      .never_pause = chance (s, 50) };
  g_autoptr (GError) error = NULL;
  unsigned mask, used;

  say ("%s backup since %s, checkpoint %s", good ? "good" : "failing", since ? since->name : "ever",
       plan.checkpoint ? name : "none");
  VarveSession *session = backup_begin (s->world, &plan, &mask, &used);
  g_autoptr (GBytes) vda = model_image (s->model, 0);
  g_autoptr (GBytes) vdb = model_image (s->model, 1);
  GBytes *const images[DISKS] = { vda, vdb };

  check_used (since, used);
  if (good && mask)
    model_add (s->model, name, mask);
  if (s->world->running)
    write_during (s);
  compare (session, images, since, good ? DISKS : pick (s, DISKS + 1));
  if (good) {
    backup_end (session, true);
    return;
  }
  varve_session_end (session, &error);
  g_assert_no_error (error);
}

bool
step_backup (Sequence *s)
{
  Point *since = s->model->points->len && chance (s, 85)
                     ? g_ptr_array_index (s->model->points, pick (s, s->model->points->len))
                     : NULL;

  if (since && since->foreign && !chains_work (s))
    since = NULL;
  back_up (s, since, chance (s, 65), s->model->points->len < MANY_POINTS);
  reconcile (s, false, NULL);
  return true;
}

void
verify_all (Sequence *s)
{
  unsigned n = s->model->points->len;

  for (unsigned i = 0; i < n; i++) {
    Point *point = g_ptr_array_index (s->model->points, i);

    if (!point->foreign || chains_work (s))
      back_up (s, point, true, false);
  }
  reconcile (s, false, NULL);
}
