/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Sessions that nobody is at any more. They are ended whoever's they are, as each run does it that
 * comes next: they hold scratch, and the guest pays for them. */
#include "config.h"

#include "checkpoint/check-private.h"

/* A checkpoint that the session's end drops: it is there, and its backup is not. */
static bool
has_tentative (const VarveCheckFacts *facts, const VarveCheckSession *session)
{
  g_auto (VarveCheckpointName) name = { NULL };

  if (session->checkpoint == NULL || !varve_checkpoint_name_parse (session->checkpoint, &name) ||
      varve_check_find_backup (facts, name.owner, name.backup, NULL) == VARVE_CHECK_BACKUP_THERE)
    return false;
  for (guint i = 0; i < facts->bitmaps->len; i++)
    if (g_str_equal (((VarveBitmap *)g_ptr_array_index (facts->bitmaps, i))->name,
                     session->checkpoint))
      return true;
  return varve_checkpoint_metadata_find (facts->records, session->checkpoint) != NULL;
}

/* "frozen views in QEMU, its checkpoint and 2 files" (transfer full) */
static char *
describe_traces (const VarveCheckSession *session, bool tentative)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new_with_free_func (g_free);

  if (session->in_hypervisor)
    g_ptr_array_add (parts, g_strdup ("what it set up in the hypervisor"));
  if (tentative)
    g_ptr_array_add (parts, g_strdup ("a checkpoint whose backup is not complete"));
  if (session->files->len > 0)
    g_ptr_array_add (parts,
                     g_strdup_printf ("'%s'%s", (char *)g_ptr_array_index (session->files, 0),
                                      session->files->len > 1 ? " and more files" : ""));
  g_ptr_array_add (parts, NULL);
  return g_strjoinv (", ", (char **)parts->pdata);
}

static void
check_reverting (VarveCheck *check, const VarveCheckSession *session)
{
  VarveFindingFacts *finding = varve_check_add (check, VARVE_CHECK_SESSION_DEAD, NULL, NULL);

  finding->session = g_strdup (session->id);
  finding->what =
      g_strdup_printf ("A revert to backup %s was cut off (session %s): disks are partly "
                       "as at that backup, and partly not.",
                       session->backup, session->id);
  finding->meaning = g_strdup ("Start the domain only when that has been settled. The next backup "
                               "finishes the revert first.");
  varve_check_offer (check, finding, VARVE_REPAIR_RECOVER,
                     g_strdup ("The revert is finished as 'varve recover' does."));
}

static void
check_recorded (VarveCheck *check, const VarveCheckSession *session)
{
  bool tentative = has_tentative (check->facts, session);
  bool any = tentative || session->in_hypervisor || session->files->len > 0;
  VarveFindingFacts *finding = varve_check_add (
      check, any ? VARVE_CHECK_SESSION_DEAD : VARVE_CHECK_SESSION_EMPTY, NULL, NULL);
  g_autofree char *traces = describe_traces (session, tentative);

  finding->session = g_strdup (session->id);
  if (any) {
    finding->what =
        g_strdup_printf ("Session %s of backup %s was not ended, and nobody is at it: "
                         "there is %s.",
                         session->id, session->backup ? session->backup : "none", traces);
    finding->meaning =
        g_strdup ("The guest goes on paying for it until it is ended. The next backup "
                  "ends it first.");
    varve_check_offer (check, finding, VARVE_REPAIR_RECOVER,
                       g_strdup ("The session is ended as 'varve recover' does."));
    return;
  }
  finding->what =
      g_strdup_printf ("Session %s of backup %s is on record, and nothing of it is left.",
                       session->id, session->backup ? session->backup : "none");
  finding->meaning = g_strdup ("Nothing; the next backup removes the record.");
  varve_check_offer (check, finding, VARVE_REPAIR_RECOVER, g_strdup ("The record is removed."));
}

static void
add_files (VarveFindingFacts *finding, const VarveCheckSession *session)
{
  for (guint i = 0; i < session->files->len; i++)
    g_ptr_array_add (finding->files, g_strdup (g_ptr_array_index (session->files, i)));
}

/* The record goes last: without one there was none, or somebody removed it. */
static void
check_unrecorded (VarveCheck *check, const VarveCheckSession *session)
{
  VarveFindingFacts *finding = varve_check_add (
      check, session->in_hypervisor ? VARVE_CHECK_SESSION_UNRECORDED : VARVE_CHECK_SESSION_FILES,
      NULL, NULL);

  finding->session = g_strdup (session->id);
  add_files (finding, session);
  if (session->in_hypervisor) {
    finding->what =
        g_strdup_printf ("The hypervisor still has exports, nodes or bitmaps of session "
                         "%s, which is not on record here.",
                         session->id);
    finding->meaning =
        g_strdup ("The guest goes on paying for it, and with libvirt no backup can be "
                  "started beside it. No backup ends it.");
    if (session->in_use)
      varve_check_refuse (finding, g_strdup_printf ("Somebody may be at it: %s.", session->in_use));
    else
      varve_check_offer (check, finding, VARVE_REPAIR_END,
                         g_strdup ("What it set up is taken down in the order that is safe for the "
                                   "guest; its checkpoint is judged by its name."));
    return;
  }
  finding->what = g_strdup_printf (
      "'%s' is left of session %s, which is not on record.",
      session->files->len ? (char *)g_ptr_array_index (session->files, 0) : "A file", session->id);
  finding->meaning = g_strdup ("Nothing; it takes room.");
  if (session->in_use)
    varve_check_refuse (finding, g_strdup_printf ("It is in use: %s.", session->in_use));
  else
    varve_check_offer (check, finding, VARVE_REPAIR_REMOVE_FILES,
                       g_strdup ("The files are removed."));
}

static void
check_unreadable (VarveCheck *check, const VarveCheckSession *session)
{
  VarveFindingFacts *finding = varve_check_add (check, VARVE_CHECK_SESSION_UNREADABLE, NULL, NULL);

  finding->session = g_strdup (session->id);
  finding->what = g_strdup (session->unreadable);
  finding->meaning =
      g_strdup ("If it is a session of this domain, what it set up stays until it is "
                "ended by hand.");
  varve_check_refuse (finding,
                      g_strdup ("A record that is not understood is not acted upon: see what "
                                "it says, then move it out of the state directory."));
}

void
varve_check_sessions (VarveCheck *check)
{
  for (guint i = 0; i < check->facts->sessions->len; i++) {
    const VarveCheckSession *session = g_ptr_array_index (check->facts->sessions, i);

    if (session->live)
      continue;
    if (session->unreadable)
      check_unreadable (check, session);
    else if (session->reverting)
      check_reverting (check, session);
    else if (session->recorded)
      check_recorded (check, session);
    else
      check_unrecorded (check, session);
  }
}
