/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "sequence.h"

#include "steps.h"

static const struct {
  unsigned weight; /* of a hundred */
  bool (*act) (Sequence *);
  const char *name;
} kinds[STEP_KINDS] = {
  { 24, step_write, "writes" },
  { 12, step_backup, "backups" },
  { 9, step_create, "created" },
  { 5, step_delete, "deleted" },
  { 8, step_merge, "merged" },
  { 3, step_record, "redefined" },
  { 8, step_foreign_next, "by another tool" },
  { 9, step_foreign_merge, "merged of those" },
  { 6, step_power, "shut down or booted" },
  { 4, step_kill, "killed" },
  { 6, step_killed_backup, "killed backups" },
  { 6, step_killed_change, "killed changes" },
};

const char *
sequence_step_name (unsigned kind)
{
  return kinds[kind].name;
}

static void
step (Sequence *s, unsigned counts[STEP_KINDS])
{
  unsigned at = pick (s, 100);

  for (guint i = 0; i < STEP_KINDS; i++) {
    if (at < kinds[i].weight) {
      counts[i] += kinds[i].act (s);
      return;
    }
    at -= kinds[i].weight;
  }
}

void
sequence_run (WorldKind kind, guint32 seed, unsigned steps, Defect defect,
              unsigned counts[STEP_KINDS])
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
  g_autoptr (Model) model = model_new ();
  bool raw_b = kind != WORLD_LIBVIRT && g_rand_int_range (rand, 0, 4) == 0;
  g_autoptr (World) world = world_new (kind, raw_b);
  Sequence s = { .world = world, .model = model, .rand = rand, .defect = defect };

  say ("%s, seed %u%s", world_kind_name (kind), seed, raw_b ? ", vdb is raw" : "");
  for (unsigned i = 0; i < steps; i++)
    step (&s, counts);
  verify_all (&s);
  world_remove (world);
}
