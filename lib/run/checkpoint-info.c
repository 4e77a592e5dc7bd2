/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the verbs on checkpoints return, as objects. They own what they tell and never change, but for
 * a finding, which is closed when its repair was tried. */
#include "config.h"

#include "run/checkpoint.h"

#include "util/clock.h"

/* --- a disk ----------------------------------------------------------------------------------- */

G_DEFINE_BOXED_TYPE (VarveCheckpointDisk, varve_checkpoint_disk, varve_checkpoint_disk_copy,
                     varve_checkpoint_disk_free)

VarveCheckpointDisk *
varve_checkpoint_disk_copy (const VarveCheckpointDisk *disk)
{
  VarveCheckpointDisk *copy = g_memdup2 (disk, sizeof *disk);

  copy->name = g_strdup (disk->name);
  return copy;
}

void
varve_checkpoint_disk_free (VarveCheckpointDisk *disk)
{
  if (disk == NULL)
    return;
  g_free (disk->name);
  g_free (disk);
}

/* --- a checkpoint ----------------------------------------------------------------------------- */

struct _VarveCheckpoint {
  GObject parent;
  char *name;
  char *owner;
  char *backup;
  const char *state;
  GPtrArray *disks; /* of VarveCheckpointDisk */
};

G_DEFINE_FINAL_TYPE (VarveCheckpoint, varve_checkpoint, G_TYPE_OBJECT)

static void
varve_checkpoint_finalize (GObject *object)
{
  VarveCheckpoint *checkpoint = VARVE_CHECKPOINT (object);

  g_free (checkpoint->name);
  g_free (checkpoint->owner);
  g_free (checkpoint->backup);
  g_ptr_array_unref (checkpoint->disks);
  G_OBJECT_CLASS (varve_checkpoint_parent_class)->finalize (object);
}

static void
varve_checkpoint_class_init (VarveCheckpointClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_checkpoint_finalize;
}

static void
varve_checkpoint_init (VarveCheckpoint *checkpoint)
{
  checkpoint->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_disk_free);
}

static const char *
state_of (const VarveCheckFacts *facts, const char *checkpoint, const VarveCheckpointName *name)
{
  if (varve_check_is_tentative (facts, checkpoint, name))
    return "tentative";
  switch (varve_check_find_backup (facts, name->owner, name->backup, NULL)) {
  case VARVE_CHECK_BACKUP_THERE:
    return "committed";
  case VARVE_CHECK_BACKUP_ABSENT:
    return "no-backup";
  case VARVE_CHECK_BACKUP_UNKNOWN:
    return "unknown";
  case VARVE_CHECK_BACKUP_NO_STORE:
    return "kept";
  }
  g_return_val_if_reached ("unknown");
}

static void
add_disks (VarveCheckpoint *checkpoint, GPtrArray *bitmaps)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    VarveCheckpointDisk *disk;

    if (!g_str_equal (bitmap->name, checkpoint->name))
      continue;
    disk = g_new0 (VarveCheckpointDisk, 1);
    *disk = (VarveCheckpointDisk){ .name = g_strdup (bitmap->disk),
                                   .changed = bitmap->dirty,
                                   .granularity = bitmap->granularity,
                                   .recording = bitmap->recording,
                                   .persistent = bitmap->persistent,
                                   .inconsistent = bitmap->inconsistent,
                                   .missing = bitmap->missing };
    g_ptr_array_add (checkpoint->disks, disk);
  }
}

VarveCheckpoint *
varve_checkpoint_from_facts (const VarveCheckFacts *facts, const char *name)
{
  VarveCheckpoint *checkpoint = g_object_new (VARVE_TYPE_CHECKPOINT, NULL);
  g_auto (VarveCheckpointName) parts = { NULL };

  checkpoint->name = g_strdup (name);
  if (varve_checkpoint_name_parse (name, &parts)) {
    checkpoint->state = state_of (facts, name, &parts);
    checkpoint->owner = g_steal_pointer (&parts.owner);
    checkpoint->backup = g_steal_pointer (&parts.backup);
  } else {
    checkpoint->state = varve_checkpoint_is_frozen (name) ? "frozen" : "foreign";
  }
  add_disks (checkpoint, facts->bitmaps);
  return checkpoint;
}

const char *
varve_checkpoint_get_name (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), NULL);
  return checkpoint->name;
}

const char *
varve_checkpoint_get_owner (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), NULL);
  return checkpoint->owner;
}

const char *
varve_checkpoint_get_backup (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), NULL);
  return checkpoint->backup;
}

gint64
varve_checkpoint_get_time (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), -1);
  return checkpoint->backup ? varve_backup_id_time (checkpoint->backup) : -1;
}

const char *
varve_checkpoint_get_state (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), NULL);
  return checkpoint->state;
}

GPtrArray *
varve_checkpoint_get_disks (VarveCheckpoint *checkpoint)
{
  g_return_val_if_fail (VARVE_IS_CHECKPOINT (checkpoint), NULL);
  return checkpoint->disks;
}

/* --- a finding -------------------------------------------------------------------------------- */

struct _VarveFinding {
  GObject parent;
  VarveFindingFacts *facts;
  bool closed;
  char *failure;
};

G_DEFINE_FINAL_TYPE (VarveFinding, varve_finding, G_TYPE_OBJECT)

static void
varve_finding_finalize (GObject *object)
{
  VarveFinding *finding = VARVE_FINDING (object);

  g_clear_pointer (&finding->facts, varve_finding_facts_free);
  g_free (finding->failure);
  G_OBJECT_CLASS (varve_finding_parent_class)->finalize (object);
}

static void
varve_finding_class_init (VarveFindingClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_finding_finalize;
}

static void
varve_finding_init (VarveFinding *finding)
{
}

VarveFinding *
varve_finding_from_facts (VarveFindingFacts *facts)
{
  VarveFinding *finding = g_object_new (VARVE_TYPE_FINDING, NULL);

  finding->facts = facts;
  return finding;
}

const VarveFindingFacts *
varve_finding_facts (VarveFinding *finding)
{
  return finding->facts;
}

void
varve_finding_close (VarveFinding *finding, char *failure)
{
  g_free (finding->failure);
  finding->failure = failure;
  finding->closed = true;
}

bool
varve_finding_is_closed (VarveFinding *finding)
{
  return finding->closed;
}

const char *
varve_finding_get_kind (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return varve_check_kind_name (finding->facts->kind);
}

gboolean
varve_finding_is_damage (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), FALSE);
  return finding->facts->damage;
}

const char *
varve_finding_get_checkpoint (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->checkpoint;
}

const char *
varve_finding_get_disk (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->disk;
}

const char *
varve_finding_get_session (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->session;
}

const char *
varve_finding_get_text (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->what;
}

const char *
varve_finding_get_meaning (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->meaning;
}

const char *
varve_finding_get_cure (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->facts->cure;
}

const char *
varve_finding_get_state (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  if (finding->failure)
    return "failed";
  if (finding->closed)
    return "mended";
  return finding->facts->repair == VARVE_REPAIR_NONE ? "left" : "mendable";
}

const char *
varve_finding_get_failure (VarveFinding *finding)
{
  g_return_val_if_fail (VARVE_IS_FINDING (finding), NULL);
  return finding->failure;
}
