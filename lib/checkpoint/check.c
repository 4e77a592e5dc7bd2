/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The facts and findings themselves, and what is asked of them from more than one side. */
#include "config.h"

#include "checkpoint/check-private.h"

#include <string.h>

static const char *const kind_names[] = {
  [VARVE_CHECK_NO_BACKUP] = "no-backup",
  [VARVE_CHECK_BITMAP_BROKEN] = "bitmap-broken",
  [VARVE_CHECK_IMAGE_NOT_CLOSED] = "image-not-closed",
  [VARVE_CHECK_BITMAP_DISABLED] = "bitmap-disabled",
  [VARVE_CHECK_BITMAP_MISSING] = "bitmap-missing",
  [VARVE_CHECK_BITMAP_TRANSIENT] = "bitmap-transient",
  [VARVE_CHECK_BITMAP_COARSE] = "bitmap-coarse",
  [VARVE_CHECK_IMAGE_COPIED] = "image-copied",
  [VARVE_CHECK_DISK_SHRUNK] = "disk-shrunk",
  [VARVE_CHECK_DISK_NOT_IN_BACKUP] = "disk-not-in-backup",
  [VARVE_CHECK_BACKUP_DAMAGED] = "backup-damaged",
  [VARVE_CHECK_RECORD_WITHOUT_BITMAP] = "record-without-bitmap",
  [VARVE_CHECK_BITMAP_WITHOUT_RECORD] = "bitmap-without-record",
  [VARVE_CHECK_RECORD_OF_LOST_DISK] = "record-of-lost-disk",
  [VARVE_CHECK_SESSION_DEAD] = "session-dead",
  [VARVE_CHECK_SESSION_EMPTY] = "session-empty",
  [VARVE_CHECK_SESSION_UNRECORDED] = "session-unrecorded",
  [VARVE_CHECK_SESSION_FILES] = "session-files",
  [VARVE_CHECK_SESSION_UNREADABLE] = "session-unreadable",
  [VARVE_CHECK_STORE_UNKNOWN] = "store-unknown",
};

G_STATIC_ASSERT (G_N_ELEMENTS (kind_names) == VARVE_CHECK_KINDS);

const char *
varve_check_kind_name (VarveCheckKind kind)
{
  g_return_val_if_fail (kind < VARVE_CHECK_KINDS, "?");
  return kind_names[kind];
}

/* --- facts ------------------------------------------------------------------------------------ */

static void
backup_disk_free (gpointer data)
{
  g_free (((VarveCheckBackupDisk *)data)->name);
  g_free (data);
}

VarveCheckBackup *
varve_check_backup_new (const char *store, const char *id)
{
  VarveCheckBackup *backup = g_new0 (VarveCheckBackup, 1);

  backup->store = g_strndup (store, 8);
  backup->id = g_strdup (id);
  backup->disks = g_ptr_array_new_with_free_func (backup_disk_free);
  return backup;
}

void
varve_check_backup_free (VarveCheckBackup *backup)
{
  if (backup == NULL)
    return;
  g_free (backup->store);
  g_free (backup->id);
  g_free (backup->owner);
  g_free (backup->checkpoint);
  g_free (backup->uuid);
  g_free (backup->domain);
  g_ptr_array_unref (backup->disks);
  g_free (backup);
}

VarveCheckBackupDisk *
varve_check_backup_add_disk (VarveCheckBackup *backup, const char *name, uint64_t size,
                             bool checkpoint)
{
  VarveCheckBackupDisk *disk = g_new0 (VarveCheckBackupDisk, 1);

  *disk = (VarveCheckBackupDisk){ g_strdup (name), size, checkpoint };
  g_ptr_array_add (backup->disks, disk);
  return disk;
}

VarveCheckSession *
varve_check_session_new (const char *id)
{
  VarveCheckSession *session = g_new0 (VarveCheckSession, 1);

  session->id = g_strdup (id);
  session->files = g_ptr_array_new_with_free_func (g_free);
  return session;
}

void
varve_check_session_free (VarveCheckSession *session)
{
  if (session == NULL)
    return;
  g_free (session->id);
  g_free (session->unreadable);
  g_free (session->owner);
  g_free (session->backup);
  g_free (session->checkpoint);
  g_free (session->in_use);
  g_ptr_array_unref (session->files);
  g_free (session);
}

/* Whether the store of @owner is at hand, and whether all of it can be read. */
static bool
find_store (const VarveCheckFacts *facts, const char *owner, bool *out_complete)
{
  const char *wanted = owner + strlen (owner) - 8;

  for (guint i = 0; i < facts->stores->len; i++) {
    const char *store = g_ptr_array_index (facts->stores, i);

    if (strncmp (store, wanted, 8) == 0) {
      *out_complete = store[8] != '!';
      return true;
    }
  }
  return false;
}

VarveCheckBackupState
varve_check_find_backup (const VarveCheckFacts *facts, const char *owner, const char *backup,
                         const VarveCheckBackup **out)
{
  bool complete;

  if (!varve_checkpoint_owner_has_store (owner))
    return VARVE_CHECK_BACKUP_NO_STORE;
  if (!find_store (facts, owner, &complete))
    return VARVE_CHECK_BACKUP_UNKNOWN;
  for (guint i = 0; i < facts->backups->len; i++) {
    const VarveCheckBackup *found = g_ptr_array_index (facts->backups, i);

    if (!g_str_equal (found->id, backup) || !g_str_has_suffix (owner, found->store))
      continue;
    if (out != NULL)
      *out = found;
    return VARVE_CHECK_BACKUP_THERE;
  }
  return complete ? VARVE_CHECK_BACKUP_ABSENT : VARVE_CHECK_BACKUP_UNKNOWN;
}

const VarveCheckSession *
varve_check_session_of (const VarveCheckFacts *facts, const char *checkpoint)
{
  for (guint i = 0; i < facts->sessions->len; i++) {
    const VarveCheckSession *session = g_ptr_array_index (facts->sessions, i);

    if (session->checkpoint && g_str_equal (session->checkpoint, checkpoint))
      return session;
  }
  return NULL;
}

bool
varve_check_is_tentative (const VarveCheckFacts *facts, const char *checkpoint,
                          const VarveCheckpointName *name)
{
  const VarveCheckSession *session = varve_check_session_of (facts, checkpoint);

  return session && (session->live || varve_check_find_backup (facts, name->owner, name->backup,
                                                               NULL) != VARVE_CHECK_BACKUP_THERE);
}

/* --- findings --------------------------------------------------------------------------------- */

void
varve_finding_facts_free (VarveFindingFacts *finding)
{
  if (finding == NULL)
    return;
  g_free (finding->checkpoint);
  g_free (finding->owner);
  g_free (finding->disk);
  g_free (finding->session);
  g_free (finding->what);
  g_free (finding->meaning);
  g_free (finding->cure);
  g_ptr_array_unref (finding->disks);
  g_ptr_array_unref (finding->files);
  g_free (finding);
}

bool
varve_finding_facts_same (const VarveFindingFacts *a, const VarveFindingFacts *b)
{
  return a->kind == b->kind && g_strcmp0 (a->checkpoint, b->checkpoint) == 0 &&
         g_strcmp0 (a->owner, b->owner) == 0 && g_strcmp0 (a->disk, b->disk) == 0 &&
         g_strcmp0 (a->session, b->session) == 0;
}

VarveFindingFacts *
varve_check_add (VarveCheck *check, VarveCheckKind kind, const char *checkpoint, const char *disk)
{
  VarveFindingFacts *finding = g_new0 (VarveFindingFacts, 1);
  g_auto (VarveCheckpointName) name = { NULL };

  finding->kind = kind;
  finding->damage = true;
  finding->checkpoint = g_strdup (checkpoint);
  finding->disk = g_strdup (disk);
  finding->disks = g_ptr_array_new_with_free_func (g_free);
  finding->files = g_ptr_array_new_with_free_func (g_free);
  if (checkpoint && varve_checkpoint_name_parse (checkpoint, &name))
    finding->owner = g_strdup (name.owner);
  g_ptr_array_add (check->findings, finding);
  return finding;
}

void
varve_check_refuse (VarveFindingFacts *finding, char *cure)
{
  g_free (finding->cure);
  finding->cure = cure;
  finding->repair = VARVE_REPAIR_NONE;
}

void
varve_check_offer (VarveCheck *check, VarveFindingFacts *finding, VarveRepair repair, char *cure)
{
  if (finding->owner && !varve_checkpoint_owner_matches (finding->owner, check->facts->owner)) {
    g_free (cure);
    varve_check_refuse (finding,
                        g_strdup_printf ("It belongs to owner '%s': '--owner %s' has it mended.",
                                         finding->owner, finding->owner));
    return;
  }
  g_free (finding->cure);
  finding->cure = cure;
  finding->repair = repair;
}

GPtrArray *
varve_check (const VarveCheckFacts *facts)
{
  VarveCheck check = { facts,
                       g_ptr_array_new_with_free_func ((GDestroyNotify)varve_finding_facts_free) };

  varve_check_sessions (&check);
  varve_check_bitmaps (&check);
  varve_check_records (&check);
  return check.findings;
}
