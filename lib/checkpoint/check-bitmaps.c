/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Checkpoints, as the bitmaps of the disks and the backups of the stores tell of them.
 *
 * A checkpoint is one thing over several disks, so that one that is of no use on one disk goes only
 * when it is of no use on any. What cannot be used is no loss: removing it changes no decision of the
 * next backup. */
#include "config.h"

#include "checkpoint/check-private.h"

#include <string.h>

#define GRANULARITY 65536u

/* --- one bitmap ------------------------------------------------------------------------------- */

typedef struct {
  VarveCheckKind kind;
  char *why; /* NULL: nothing is wrong. No full stop */
  bool usable;
} Verdict;

static Verdict
fault (VarveCheckKind kind, char *why)
{
  return (Verdict){ kind, why, false };
}

static const VarveCheckBackupDisk *
disk_of (const VarveCheckBackup *backup, const char *name)
{
  for (guint i = 0; i < backup->disks->len; i++) {
    const VarveCheckBackupDisk *disk = g_ptr_array_index (backup->disks, i);

    if (g_str_equal (disk->name, name))
      return disk;
  }
  return NULL;
}

static bool
is_of_domain (const VarveCheckFacts *facts, const VarveCheckBackup *backup)
{
  return g_ascii_strcasecmp (backup->uuid, facts->uuid) == 0;
}

/* Whether @backup can be the base of what changed on @disk since. */
static Verdict
judge_base (const VarveCheckFacts *facts, const VarveCheckBackup *backup, const char *name)
{
  const VarveCheckBackupDisk *before = disk_of (backup, name);
  const VarveDisk *disk = varve_disk_find (facts->disks, name);
  char *why;

  if (!is_of_domain (facts, backup))
    return fault (
        VARVE_CHECK_IMAGE_COPIED,
        g_strdup_printf ("the backup is one of domain '%s': the image is a copy", backup->domain));
  if (before == NULL)
    return fault (VARVE_CHECK_DISK_NOT_IN_BACKUP, g_strdup ("the backup does not have this disk"));
  if (disk && before->size > disk->size)
    return fault (VARVE_CHECK_DISK_SHRUNK,
                  g_strdup_printf ("the backup is of %" G_GUINT64_FORMAT
                                   " bytes, and the disk has shrunk to %" G_GUINT64_FORMAT,
                                   before->size, disk->size));
  why = facts->check_base (backup, name, facts->check_data);
  if (why != NULL) {
    g_autofree char *text = why;

    return fault (VARVE_CHECK_BACKUP_DAMAGED,
                  g_strdup_printf ("the backup is not fit to be built upon: %s", text));
  }
  return (Verdict){ .usable = true };
}

/* What holds for a bitmap that can be used: no fault, and yet not as it should be. */
static Verdict
judge_quality (const VarveCheckFacts *facts, const VarveBitmap *bitmap)
{
  const VarveDisk *disk = varve_disk_find (facts->disks, bitmap->disk);

  if (disk && disk->can_persist && !bitmap->persistent)
    return (Verdict){ VARVE_CHECK_BITMAP_TRANSIENT,
                      g_strdup ("it dies with QEMU, although the disk could store it"), true };
  if (bitmap->granularity > GRANULARITY)
    return (
        Verdict){ VARVE_CHECK_BITMAP_COARSE,
                  g_strdup_printf ("each grain of it stands for %u KiB, and varve makes them of "
                                   "%u KiB",
                                   bitmap->granularity >> 10, GRANULARITY >> 10),
                  true };
  return (Verdict){ .usable = true };
}

static Verdict
judge (const VarveCheckFacts *facts, const VarveBitmap *bitmap, const VarveCheckBackup *backup)
{
  Verdict verdict = { .usable = true };

  if (bitmap->inconsistent)
    return fault (facts->off ? VARVE_CHECK_IMAGE_NOT_CLOSED : VARVE_CHECK_BITMAP_BROKEN,
                  g_strdup (facts->off ? "its image is marked as not closed, as QEMU was not shut "
                                         "down cleanly"
                                       : "it is inconsistent, as QEMU was not shut down cleanly"));
  if (!bitmap->recording)
    return fault (VARVE_CHECK_BITMAP_DISABLED,
                  g_strdup ("it is disabled, and has not recorded every write"));
  if (backup)
    verdict = judge_base (facts, backup, bitmap->disk);
  return verdict.usable ? judge_quality (facts, bitmap) : verdict;
}

bool
varve_check_is_usable (const VarveCheckFacts *facts, const VarveBitmap *bitmap)
{
  g_auto (VarveCheckpointName) name = { NULL };
  const VarveCheckBackup *backup = NULL;
  g_autofree char *why = NULL;
  VarveCheckBackupState state;
  Verdict verdict;

  if (!varve_checkpoint_name_parse (bitmap->name, &name) ||
      varve_check_is_tentative (facts, bitmap->name, &name))
    return false;
  state = varve_check_find_backup (facts, name.owner, name.backup, &backup);
  if (state == VARVE_CHECK_BACKUP_ABSENT)
    return false;
  verdict = judge (facts, bitmap, backup);
  why = verdict.why;
  return verdict.usable;
}

/* --- the next backup -------------------------------------------------------------------------- */

/* The backup of @owner's newest usable checkpoint on @disk. (transfer full) */
static char *
newest_usable (const VarveCheckFacts *facts, const char *owner, const char *disk)
{
  g_autofree char *newest = NULL;

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (!g_str_equal (bitmap->disk, disk) || !varve_checkpoint_name_parse (bitmap->name, &name) ||
        !g_str_equal (name.owner, owner) || !varve_check_is_usable (facts, bitmap) ||
        (newest && strcmp (newest, name.backup) > 0))
      continue;
    g_free (newest);
    newest = g_steal_pointer (&name.backup);
  }
  return g_steal_pointer (&newest);
}

static const char *
newest_base (const VarveCheckFacts *facts, const char *owner, const char *disk)
{
  for (guint i = facts->backups->len; i > 0; i--) {
    const VarveCheckBackup *backup = g_ptr_array_index (facts->backups, i - 1);
    Verdict verdict;

    if (!g_str_has_suffix (owner, backup->store) || !is_of_domain (facts, backup))
      continue;
    verdict = judge_base (facts, backup, disk);
    g_free (verdict.why);
    if (verdict.usable)
      return backup->id;
  }
  return NULL;
}

char *
varve_check_next_backup (const VarveCheckFacts *facts, const char *owner, const char *disk)
{
  g_autofree char *since = newest_usable (facts, owner, disk);
  const char *base = NULL;
  bool unknown;

  if (since)
    return g_strdup_printf ("The next backup by '%s' is incremental on disk '%s', since %s.", owner,
                            disk, since);
  if (!varve_checkpoint_owner_has_store (owner))
    return g_strdup_printf ("'%s' cannot tell from it what changed on disk '%s'.", owner, disk);
  unknown = varve_check_find_backup (facts, owner, "", NULL) == VARVE_CHECK_BACKUP_UNKNOWN;
  base = newest_base (facts, owner, disk);
  if (base)
    return g_strdup_printf (
        "The next backup by '%s' reads all of disk '%s' and stores what differs "
        "from %s.",
        owner, disk, base);
  return unknown
             ? g_strdup_printf ("The next backup by '%s' reads all of disk '%s'.", owner, disk)
             : g_strdup_printf ("The next backup by '%s' is a full one of disk '%s'.", owner, disk);
}

/* --- one checkpoint --------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  VarveCheckpointName parts;
  GPtrArray *bitmaps; /* of VarveBitmap, borrowed */
  VarveCheckBackupState state;
  const VarveCheckBackup *backup;
} Checkpoint;

static void
checkpoint_free (gpointer data)
{
  Checkpoint *checkpoint = data;

  varve_checkpoint_name_clear (&checkpoint->parts);
  g_ptr_array_unref (checkpoint->bitmaps);
  g_free (checkpoint);
}

static Checkpoint *
find_checkpoint (GPtrArray *checkpoints, const char *name)
{
  for (guint i = 0; i < checkpoints->len; i++) {
    Checkpoint *checkpoint = g_ptr_array_index (checkpoints, i);

    if (g_str_equal (checkpoint->name, name))
      return checkpoint;
  }
  return NULL;
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(const Checkpoint *const *)a)->name, (*(const Checkpoint *const *)b)->name);
}

static Checkpoint *
add_checkpoint (const VarveCheckFacts *facts, GPtrArray *checkpoints, const VarveBitmap *bitmap)
{
  g_auto (VarveCheckpointName) name = { NULL };
  Checkpoint *checkpoint;

  if (!varve_checkpoint_name_parse (bitmap->name, &name) ||
      varve_check_is_tentative (facts, bitmap->name, &name))
    return NULL;
  checkpoint = g_new0 (Checkpoint, 1);
  checkpoint->name = bitmap->name;
  checkpoint->parts = name;
  name = (VarveCheckpointName){ NULL };
  checkpoint->bitmaps = g_ptr_array_new ();
  checkpoint->state = varve_check_find_backup (facts, checkpoint->parts.owner,
                                               checkpoint->parts.backup, &checkpoint->backup);
  g_ptr_array_add (checkpoints, checkpoint);
  return checkpoint;
}

/* Ours, by name, but for those that a session still has to decide about. Bitmaps of a disk that is
 * gone, or that only a record speaks of, are looked at with the records. */
static GPtrArray *
group (const VarveCheckFacts *facts)
{
  GPtrArray *checkpoints = g_ptr_array_new_with_free_func (checkpoint_free);

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    Checkpoint *checkpoint = find_checkpoint (checkpoints, bitmap->name);

    if (bitmap->missing || varve_disk_find (facts->disks, bitmap->disk) == NULL)
      continue;
    if (checkpoint == NULL)
      checkpoint = add_checkpoint (facts, checkpoints, bitmap);
    if (checkpoint != NULL)
      g_ptr_array_add (checkpoint->bitmaps, bitmap);
  }
  g_ptr_array_sort (checkpoints, by_name);
  return checkpoints;
}

/* A disk that it can be used on, or NULL. */
static const char *
used_on (const VarveCheckFacts *facts, const Checkpoint *checkpoint)
{
  for (guint i = 0; i < checkpoint->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (checkpoint->bitmaps, i);

    if (varve_check_is_usable (facts, bitmap))
      return bitmap->disk;
  }
  return NULL;
}

/* A session that may be alive, and does not tell us its checkpoint. */
static const VarveCheckSession *
stranger (const VarveCheckFacts *facts)
{
  for (guint i = 0; i < facts->sessions->len; i++) {
    const VarveCheckSession *session = g_ptr_array_index (facts->sessions, i);

    if (session->in_hypervisor && !session->recorded && session->in_use)
      return session;
  }
  return NULL;
}

static void
check_no_backup (VarveCheck *check, const Checkpoint *checkpoint)
{
  VarveFindingFacts *finding =
      varve_check_add (check, VARVE_CHECK_NO_BACKUP, checkpoint->name, NULL);
  const VarveCheckSession *session = stranger (check->facts);

  finding->what =
      g_strdup_printf ("The store of '%s' does not have backup %s: that was not finished, "
                       "or has been deleted.",
                       checkpoint->parts.owner, checkpoint->parts.backup);
  finding->meaning =
      g_strdup ("No backup can use it, and each write of the guest is noted in it. The "
                "owner's next backup removes it.");
  if (session)
    varve_check_refuse (finding,
                        g_strdup_printf ("It may be that of session %s, which may be alive: "
                                         "see what is said of that.",
                                         session->id));
  else
    varve_check_offer (check, finding, VARVE_REPAIR_REMOVE,
                       g_strdup ("The checkpoint is removed."));
}

/* Once for each owner. */
static void
check_unknown (VarveCheck *check, const char *owner)
{
  VarveFindingFacts *finding;

  for (guint i = 0; i < check->findings->len; i++) {
    const VarveFindingFacts *found = g_ptr_array_index (check->findings, i);

    if (found->kind == VARVE_CHECK_STORE_UNKNOWN && g_str_equal (found->owner, owner))
      return;
  }
  finding = varve_check_add (check, VARVE_CHECK_STORE_UNKNOWN, NULL, NULL);
  finding->owner = g_strdup (owner);
  finding->damage = false;
  finding->what = g_strdup_printf ("What the checkpoints of '%s' are good for cannot be told: its "
                                   "store is not at hand, or some of its manifests cannot be read.",
                                   owner);
  finding->meaning = g_strdup ("Nothing is known against them.");
  varve_check_refuse (finding, g_strdup ("Name the store by --from STORE to have them judged."));
}

static void
cure_fault (VarveCheck *check, const Checkpoint *checkpoint, VarveFindingFacts *finding)
{
  const char *used = used_on (check->facts, checkpoint);

  if (finding->kind == VARVE_CHECK_BACKUP_DAMAGED)
    varve_check_refuse (finding,
                        g_strdup ("The fault is in the store: 'varve verify' says more. The "
                                  "bitmap is good, and stays."));
  else if (used)
    varve_check_refuse (finding,
                        g_strdup_printf ("The checkpoint can still be used on disk '%s', and stays "
                                         "for that. The next backups let it go.",
                                         used));
  else if (checkpoint->state == VARVE_CHECK_BACKUP_UNKNOWN)
    varve_check_refuse (finding, g_strdup ("Checkpoints of a store that is not at hand are left "
                                           "alone: name it by --from STORE."));
  else
    varve_check_offer (check, finding, VARVE_REPAIR_REMOVE,
                       g_strdup ("The checkpoint is removed, as no disk can use it."));
}

static void
cure_quality (VarveFindingFacts *finding)
{
  if (finding->kind == VARVE_CHECK_BITMAP_TRANSIENT) {
    g_free (finding->meaning);
    finding->meaning =
        g_strdup ("It is right as long as this QEMU runs; a backup after that reads all "
                  "of the disk.");
    varve_check_refuse (finding,
                        g_strdup ("What it has noted cannot be moved safely. A backup before "
                                  "the machine stops makes one that is stored."));
    return;
  }
  finding->damage = false;
  varve_check_refuse (finding,
                      g_strdup ("It is right, only larger than need be: the next backup reads "
                                "more, and makes a finer one."));
}

static void
check_bitmap (VarveCheck *check, const Checkpoint *checkpoint, const VarveBitmap *bitmap)
{
  Verdict verdict = judge (check->facts, bitmap, checkpoint->backup);
  g_autofree char *why = verdict.why;
  VarveFindingFacts *finding;

  if (why == NULL)
    return;
  finding = varve_check_add (check, verdict.kind, checkpoint->name, bitmap->disk);
  finding->what = g_strdup_printf ("Disk '%s', bitmap of backup %s: %s.", bitmap->disk,
                                   checkpoint->parts.backup, why);
  finding->meaning = varve_check_next_backup (check->facts, checkpoint->parts.owner, bitmap->disk);
  if (verdict.usable)
    cure_quality (finding);
  else
    cure_fault (check, checkpoint, finding);
}

/* --- what is missing -------------------------------------------------------------------------- */

/* The backup of each owner that should have left its checkpoint here: the newest that it made of this
 * domain. */
static bool
is_newest_of_owner (const VarveCheckFacts *facts, guint index)
{
  const VarveCheckBackup *backup = g_ptr_array_index (facts->backups, index);

  if (!is_of_domain (facts, backup))
    return false;
  for (guint i = index + 1; i < facts->backups->len; i++) {
    const VarveCheckBackup *later = g_ptr_array_index (facts->backups, i);

    if (g_strcmp0 (later->owner, backup->owner) == 0 && is_of_domain (facts, later))
      return false;
  }
  return true;
}

static bool
has_bitmap (const VarveCheckFacts *facts, const char *disk, const VarveCheckBackup *backup)
{
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (!bitmap->missing && g_str_equal (bitmap->disk, disk) &&
        varve_checkpoint_name_parse (bitmap->name, &name) &&
        g_str_equal (name.owner, backup->owner) && g_str_equal (name.backup, backup->id))
      return true;
  }
  return false;
}

static void
check_missing (VarveCheck *check, const VarveCheckBackup *backup, const char *name)
{
  const VarveCheckFacts *facts = check->facts;
  const VarveDisk *disk = varve_disk_find (facts->disks, name);
  g_autofree char *older = newest_usable (facts, backup->owner, name);
  VarveFindingFacts *finding;

  if (disk == NULL || has_bitmap (facts, name, backup))
    return;
  finding = varve_check_add (check, VARVE_CHECK_BITMAP_MISSING, backup->checkpoint, name);
  finding->damage = disk->can_persist && older == NULL;
  finding->what = g_strdup_printf (
      "Disk '%s' does not have the bitmap of the newest backup, %s: %s.", name, backup->id,
      disk->can_persist ? "it was removed, or QEMU was killed before it stored it"
                        : "the image cannot store it, so that it died with QEMU");
  finding->meaning = varve_check_next_backup (facts, backup->owner, name);
  varve_check_refuse (finding, g_strdup ("What was written in the meantime is known to nobody; the "
                                         "next backup finds out, and makes a new one."));
}

void
varve_check_bitmaps (VarveCheck *check)
{
  const VarveCheckFacts *facts = check->facts;
  g_autoptr (GPtrArray) checkpoints = group (facts);

  for (guint i = 0; i < checkpoints->len; i++) {
    const Checkpoint *checkpoint = g_ptr_array_index (checkpoints, i);

    if (checkpoint->state == VARVE_CHECK_BACKUP_ABSENT) {
      check_no_backup (check, checkpoint);
      continue;
    }
    if (checkpoint->state == VARVE_CHECK_BACKUP_UNKNOWN)
      check_unknown (check, checkpoint->parts.owner);
    for (guint j = 0; j < checkpoint->bitmaps->len; j++)
      check_bitmap (check, checkpoint, g_ptr_array_index (checkpoint->bitmaps, j));
  }
  for (guint i = 0; i < facts->backups->len; i++) {
    const VarveCheckBackup *backup = g_ptr_array_index (facts->backups, i);

    for (guint j = 0; is_newest_of_owner (facts, i) && backup->checkpoint && j < backup->disks->len;
         j++) {
      const VarveCheckBackupDisk *disk = g_ptr_array_index (backup->disks, j);

      if (disk->checkpoint)
        check_missing (check, backup, disk->name);
    }
  }
}
