/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Power, and what dies at its work: QEMU, whoever has an image open, a worker of varve's. */
#include "config.h"
#include "steps.h"

#include "backup.h"
#include "worker.h"

static void
reload (Sequence *s)
{
  for (unsigned i = 0; i < DISKS; i++) {
    g_free (s->model->now[i]);
    s->model->now[i] = world_read (s->world, i);
  }
}

static void
drop_transient (Sequence *s)
{
  for (guint i = s->model->points->len; s->world->raw_b && i-- > 0;)
    model_drop (s->model, g_ptr_array_index (s->model->points, i), 1);
}

bool
step_power (Sequence *s)
{
  if (!s->world->running && s->world->kind != WORLD_IMAGE) {
    say ("boot");
    world_boot (s->world);
    reconcile (s, false, NULL);
    return true;
  }
  if (!s->world->running)
    return false;
  say ("shut down");
  world_shut_down (s->world);
  drop_transient (s);
  reconcile (s, false, NULL);
  return true;
}

bool
step_kill (Sequence *s)
{
  say ("kill what has the disks open");
  world_kill (s->world);
  if (s->defect == DEFECT_RESTART)
    defect_call_sound (s->world);
  reload (s); /* what was not flushed may be lost */
  drop_transient (s);
  reconcile (s, true, NULL);
  if (chance (s, 60))
    step_tidy (s);
  if (s->world->kind != WORLD_IMAGE && chance (s, 70))
    step_power (s);
  return true;
}

/* --- killed workers --- */

static const char *
some_failpoint (Sequence *s, bool backup)
{
  static const char *const session[] = { "session-recorded", "session-started", "session-copied",
                                         "session-closed",   "session-kept",    NULL };
  static const char *const qmp[] = { "qmp-start-scratch",
                                     "qmp-start-server",
                                     "qmp-start-stopped",
                                     "qmp-start-transaction",
                                     "qmp-start-switched",
                                     "qmp-start-resumed",
                                     "qmp-start-exported",
                                     "qmp-end-exports",
                                     "qmp-end-switched",
                                     "qmp-end-nodes",
                                     "qmp-end-bitmaps",
                                     "qmp-end-scratch",
                                     NULL };
  static const char *const image[] = { "image-start-bitmap", "image-start-daemon", NULL };
  static const char *const libvirt[] = { "libvirt-start-before", "libvirt-start-after",
                                         "libvirt-end-before", "libvirt-end-aborted", NULL };
  static const char *const change[] = { "qmp-checkpoint-changed",   "image-checkpoint-changed",
                                        "libvirt-add-created",      "libvirt-add-stored",
                                        "libvirt-merge-stored",     "libvirt-checkpoint-before",
                                        "libvirt-checkpoint-after", NULL };
  const char *const *own = !s->world->running                ? image
                           : s->world->kind == WORLD_LIBVIRT ? libvirt
                                                             : qmp;
  const char *const *list = !backup ? change : chance (s, 40) ? session : own;

  return chance (s, 30) ? NULL : list[pick (s, g_strv_length ((char **)list))];
}

bool
step_killed_backup (Sequence *s)
{
  Point *since = some_point (s, NULL);
  g_autofree char *name = model_name (s->model, false);
  bool keep = chance (s, 30);
  const char *words[] = {
    "backup", since ? since->name : "-", name, chance (s, 50) ? "1" : "0", keep ? "1" : "0", NULL
  };
  const char *failpoint = some_failpoint (s, true);
  unsigned delay = pick (s, 200) * 1000;
  g_autoptr (GPtrArray) bitmaps = NULL;
  unsigned mask = 0;

  say ("backup since %s, killed %s%s", words[1], failpoint ? "at " : "after some time",
       failpoint ? failpoint : "");
  bool ended = worker_run (s->world, words, failpoint, delay,
                           s->world->running && !keep ? write_during : NULL, s);
  backup_recover (s->world);
  /* Kept or not, by the record; a moment's writes do not come between when it is. */
  bitmaps = bitmaps_of (s);
  for (unsigned i = 0; i < DISKS; i++)
    mask |= varve_bitmap_find (bitmaps, disk_names[i], name) ? 1u << i : 0;
  if (ended && keep != (mask != 0))
    g_error ("A backup that ended left %s checkpoint.", mask ? "a" : "no");
  if (keep && mask)
    model_add (s->model, name, mask);
  reconcile (s, false, NULL);
  return true;
}

bool
step_killed_change (Sequence *s)
{
  static const char *const verbs[] = { "add", "remove", "merge" };
  const char *verb = verbs[pick (s, 3)];
  Point *point = some_point (s, NULL);
  Point *other = point ? some_point (s, point) : NULL;
  g_autofree char *name = model_name (s->model, false);
  bool add = g_str_equal (verb, "add"), merge = g_str_equal (verb, "merge");
  const char *words[] = { verb,
                          add     ? name
                          : point ? point->name
                                  : NULL,
                          add              ? "vda"
                          : merge && other ? other->name
                                           : NULL,
                          NULL };
  const char *failpoint = some_failpoint (s, false);
  g_autoptr (GPtrArray) bitmaps = NULL;

  if ((!add && !point) || (merge && (!other || must_be_refused (s, point, other))))
    return false;
  say ("%s %s %s, killed %s%s", verb, words[1], words[2] ? words[2] : "",
       failpoint ? "at " : "after some time", failpoint ? failpoint : "");
  g_autofree char *victim = g_strdup (merge ? other->name : words[1]);
  const char *const vanishing[] = { victim, NULL };
  worker_run (s->world, words, failpoint, pick (s, 100) * 1000, NULL, NULL);
  bitmaps = bitmaps_of (s);
  if (add && varve_bitmap_find (bitmaps, "vda", name))
    model_add (s->model, name, 1);
  reconcile (s, false, add ? NULL : vanishing);
  return true;
}
