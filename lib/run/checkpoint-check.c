/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The check, and the repairs it offers. After them everything is looked at once more: a finding is
 * mended when it is not found again, whatever the hypervisor said to the repair. */
#include "config.h"

#include "run/checkpoint.h"

#include "run/recover.h"
#include "util/clock.h"
#include "util/error.h"

static GPtrArray *
find (const VarveCheckFacts *facts)
{
  g_autoptr (GPtrArray) found = varve_check (facts);
  GPtrArray *findings = g_ptr_array_new_with_free_func (g_object_unref);

  g_ptr_array_set_free_func (found, NULL);
  for (guint i = 0; i < found->len; i++)
    g_ptr_array_add (findings, varve_finding_from_facts (g_ptr_array_index (found, i)));
  return findings;
}

/* --- repairs ---------------------------------------------------------------------------------- */

static bool
make_record (VarveCheckpointWork *work, const VarveFindingFacts *finding, GCancellable *cancellable,
             GError **error)
{
  g_autofree char *description = varve_checkpoint_description (finding->checkpoint);
  g_auto (VarveCheckpointName) name = { NULL };

  varve_checkpoint_name_parse (finding->checkpoint, &name);
  return varve_domain_checkpoint_redefine (work->domain, finding->checkpoint, description,
                                           varve_backup_id_time (name.backup), finding->disks,
                                           cancellable, error);
}

static bool
recover (VarveCheckpointWork *work, const char *id, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveRecord) record = varve_record_load (work->state, id, error);

  return record && varve_recover_record (work->state, work->domain, record, &work->def->events,
                                         cancellable, error);
}

static bool
repair (VarveCheckpointWork *work, const VarveFindingFacts *finding, GCancellable *cancellable,
        GError **error)
{
  switch (finding->repair) {
  case VARVE_REPAIR_REMOVE:
    return varve_domain_checkpoint_remove (work->domain, finding->checkpoint, cancellable, error);
  case VARVE_REPAIR_RECORD:
    return make_record (work, finding, cancellable, error);
  case VARVE_REPAIR_FORGET:
    return varve_domain_checkpoint_forget (work->domain, finding->checkpoint, cancellable, error);
  case VARVE_REPAIR_RECOVER:
    return recover (work, finding->session, cancellable, error);
  case VARVE_REPAIR_END:
    return varve_checkpoint_end_session (work->state, work->domain, finding->session,
                                         finding->files, cancellable, error);
  case VARVE_REPAIR_REMOVE_FILES:
    return varve_checkpoint_remove_files (finding->files, error);
  case VARVE_REPAIR_NONE:
    break;
  }
  return true;
}

static bool
is_among (GPtrArray *findings, const VarveFindingFacts *finding)
{
  for (guint i = 0; i < findings->len; i++)
    if (varve_finding_facts_same (g_ptr_array_index (findings, i), finding))
      return true;
  return false;
}

/* One that fails does not keep the others from being mended. */
static void
repair_all (VarveCheckpointWork *work, GPtrArray *findings, GCancellable *cancellable)
{
  for (guint i = 0; i < findings->len && !g_cancellable_is_cancelled (cancellable); i++) {
    VarveFinding *finding = g_ptr_array_index (findings, i);
    const VarveFindingFacts *facts = varve_finding_facts (finding);
    g_autoptr (GError) error = NULL;

    if (facts->repair == VARVE_REPAIR_NONE)
      continue;
    varve_finding_close (
        finding, repair (work, facts, cancellable, &error) ? NULL : g_strdup (error->message));
  }
}

static bool
read_back (VarveCheckpointWork *work, GPtrArray *findings, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (GPtrArray) again = NULL;

  if (!varve_checkpoint_work_look (work, cancellable, error))
    return varve_prefix (error, "What the repairs came to could not be read back");
  again = varve_check (&work->facts);
  for (guint i = 0; i < findings->len; i++) {
    VarveFinding *finding = g_ptr_array_index (findings, i);

    if (varve_finding_is_closed (finding) && varve_finding_get_failure (finding) == NULL &&
        is_among (again, varve_finding_facts (finding)))
      varve_finding_close (finding,
                           g_strdup ("It was mended without an error, and is found still."));
  }
  return true;
}

GPtrArray *
varve_checkpoints_check (VarveCheckpoints *checkpoints, gboolean mend, GCancellable *cancellable,
                         GError **error)
{
  g_auto (VarveCheckpointWork) work = { NULL };
  g_autoptr (GPtrArray) findings = NULL;

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints), NULL);
  if (!varve_checkpoint_work_open (&work, varve_checkpoints_def (checkpoints),
                                   mend ? "check --repair" : "check", false, cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return NULL;
  findings = find (&work.facts);
  if (mend && findings->len > 0) {
    repair_all (&work, findings, cancellable);
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        !read_back (&work, findings, cancellable, error))
      return NULL;
  }
  return g_steal_pointer (&findings);
}

/* --- the verdict ------------------------------------------------------------------------------ */

gboolean
varve_checkpoints_judge (VarveCheckpoints *checkpoints, GPtrArray *findings, gboolean mend,
                         GError **error)
{
  const char *domain;
  unsigned failed = 0, left = 0, damage = 0;

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && findings, FALSE);
  domain = varve_checkpoints_def (checkpoints)->domain;
  for (guint i = 0; i < findings->len; i++) {
    VarveFinding *finding = g_ptr_array_index (findings, i);
    const char *state = varve_finding_get_state (finding);

    if (!varve_finding_is_damage (finding) || g_str_equal (state, "mended"))
      continue;
    damage++;
    failed += g_str_equal (state, "failed");
    left += g_str_equal (state, "left");
  }
  if (damage == 0)
    return TRUE;
  if (failed > 0)
    return varve_throw (error, VARVE_ERROR_PARTIAL,
                        "Domain '%s': %u of the repairs failed, as is told above.", domain, failed);
  if (mend)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s': %u of the findings cannot be mended; each says why.", domain,
                        left);
  return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "Domain '%s': not all is well with the checkpoints. Of the damage above, "
                      "'--repair' mends %u of %u.",
                      domain, damage - left, damage);
}
