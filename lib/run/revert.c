/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The revert action of a job:
 *
 *   look, plan, tell ─▶ (dry run: that was it) ─▶ guest halted ─▶ backup of the present state ─▶ look, plan ─▶ write
 *   ─▶ guest started
 *
 * Where it fails before anything is written, a guest that was halted for it goes on.
 */
#include "config.h"

#include <unistd.h>

#include "run/recover.h"
#include "run/revert-write.h"
#include "run/source.h"
#include "session/session.h"
#include "util/clock.h"
#include "util/error.h"

typedef struct {
  const VarveRunContext *context;
  const VarveRevertDef *def;
  char *backup; /* id: "latest" is another one when the present state has been backed up */
  VarveRecord *unfinished; /* of a revert that was cut off, or NULL */
  VarveRecord *fresh;      /* else: of this one */
  VarveLock *session;
  bool halted; /* by us */
  VarveLook look;
  VarveRevertPlan plan;
} Revert;

static void
revert_clear (Revert *revert)
{
  varve_revert_plan_clear (&revert->plan);
  varve_look_clear (&revert->look);
  g_clear_pointer (&revert->session, varve_lock_free);
  g_clear_pointer (&revert->fresh, varve_record_free);
  g_clear_pointer (&revert->unfinished, varve_record_free);
  g_clear_pointer (&revert->backup, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Revert, revert_clear)

static void
emit (const Revert *revert, VarveEvent event)
{
  event.action = "revert";
  event.domain = revert->look.domain ? revert->look.domain->name : revert->def->source->domain;
  event.backup = revert->backup;
  varve_event_emit (revert->context->events, &event);
}

static bool
make_plan (Revert *revert, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) include = g_ptr_array_new ();
  g_autoptr (GPtrArray) exclude = g_ptr_array_new ();
  const VarveManifest *wanted = varve_revert_wanted (
      &revert->look, revert->backup ? revert->backup : revert->def->backup, error);

  if (wanted == NULL)
    return false;
  if (revert->backup == NULL)
    revert->backup = g_strdup (wanted->id);
  varve_run_source_disks (revert->def->source, include, exclude);
  revert->plan.may_run = revert->def->restart && !revert->halted;
  revert->plan.halted = revert->halted || (revert->unfinished && revert->unfinished->was_running);
  return varve_revert_plan (&revert->look, wanted, include, exclude, &revert->plan, cancellable,
                            error);
}

static bool
look (Revert *revert, GCancellable *cancellable, GError **error)
{
  g_autofree char *holder = g_strdup_printf ("revert, pid %d", (int)getpid ());
  /* What was cut off is not finished first, as this writes the same disks. */
  VarveLookOptions options = { .action = "revert",
                               .holder = holder,
                               .recover = !revert->def->dry_run && !revert->unfinished,
                               .left = revert->unfinished };

  return varve_look (revert->context, revert->def->source, &options, &revert->look, cancellable,
                     error) &&
         make_plan (revert, cancellable, error);
}

/* Lets go of the domain, for the backup, which takes it itself. */
static void
look_away (Revert *revert)
{
  varve_revert_plan_clear (&revert->plan);
  varve_look_clear (&revert->look);
  revert->plan = (VarveRevertPlan){ NULL };
  revert->look = (VarveLook){ NULL };
}

static void
tell (const Revert *revert, bool nothing)
{
  for (guint i = 0; i < revert->plan.disks->len; i++) {
    const VarveRevertPlanDisk *disk = g_ptr_array_index (revert->plan.disks, i);

    emit (revert, (VarveEvent){ .type = VARVE_EVENT_DISK_PLANNED,
                                .disk = disk->plan->disk->name,
                                .decision = disk->compare ? "compare" : "difference",
                                .text = disk->text,
                                .total = disk->plan->disk->size,
                                .stored = MIN (disk->compare ? disk->plan->disk->size
                                                             : disk->changed + disk->differing,
                                               disk->plan->disk->size) });
  }
  if (revert->look.state == VARVE_DOMAIN_RUNNING && !nothing)
    emit (revert, (VarveEvent){ .type = VARVE_EVENT_NOTE,
                                .text = "The domain runs: it is halted first, as if its power were "
                                        "cut, and started again behind it." });
  for (guint i = 0; i < revert->plan.left->len; i++)
    emit (revert, (VarveEvent){ .type = VARVE_EVENT_NOTE,
                                .text = g_ptr_array_index (revert->plan.left, i) });
}

/* --- what was cut off ------------------------------------------------------------------------- */

/* Who then asks for the latest backup means the one that was being put back, and not the one of the
 * state before. */
static bool
find_unfinished (Revert *revert, GCancellable *cancellable, GError **error)
{
  const VarveStateDir *state = revert->context->state;
  g_autoptr (VarveRecord) any = varve_revert_unfinished (state, NULL);
  g_autoptr (VarveDomain) domain = NULL;

  if (any == NULL)
    return true;
  domain = varve_run_open_source (revert->context, revert->def->source, cancellable, error);
  if (domain == NULL)
    return false;
  revert->unfinished = varve_revert_unfinished (state, domain->uuid);
  if (revert->unfinished && g_str_has_suffix (revert->def->backup, "@latest"))
    revert->backup = g_strdup (revert->unfinished->backup);
  return true;
}

static bool
is_planned (const Revert *revert, const char *disk)
{
  for (guint i = 0; i < revert->plan.disks->len; i++) {
    const VarveRevertPlanDisk *planned = g_ptr_array_index (revert->plan.disks, i);

    if (g_str_equal (planned->plan->disk->name, disk))
      return true;
  }
  return false;
}

/* Its record goes with this revert, so none of its disks may be left out. */
static bool
check_unfinished (const Revert *revert, GError **error)
{
  const VarveRecord *record = revert->unfinished;
  g_autofree char *text = NULL;

  if (record == NULL)
    return true;
  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = g_ptr_array_index (record->disks, i);

    if (!is_planned (revert, disk->name))
      return varve_throw (
          error, VARVE_ERROR_REFUSED,
          "Disk '%s' of domain '%s' is not to be put back, and is partly as at backup "
          "%s: a revert was cut off. Name it as well, or let 'varve recover' finish "
          "that revert first.",
          disk->name, revert->look.domain->name, record->backup);
  }
  text = g_strdup_printf (
      "A revert to backup %s was cut off; this one writes the same disks, and ends "
      "it. The present state is not backed up.",
      record->backup);
  emit (revert, (VarveEvent){ .type = VARVE_EVENT_NOTE, .text = text });
  return true;
}

/* --- write ------------------------------------------------------------------------------------ */

static VarveRecord *
record_of (const Revert *revert)
{
  return revert->unfinished ? revert->unfinished : revert->fresh;
}

static bool
begin (Revert *revert, GError **error)
{
  g_autofree char *holder =
      g_strdup_printf ("revert to backup %s, pid %d", revert->backup, (int)getpid ());
  g_autofree char *id = varve_random_hex (8);
  g_autoptr (VarveStart) start = varve_start_new (id);

  if (!revert->unfinished)
    revert->fresh = varve_run_source_record (revert->def->source, revert->look.domain, start);
  revert->session =
      varve_session_lock (revert->context->state, record_of (revert)->id, holder, error);
  return revert->session != NULL;
}

static bool
halt (Revert *revert, GCancellable *cancellable, GError **error)
{
  revert->halted = revert->look.state != VARVE_DOMAIN_OFF;
  return !revert->halted ||
         varve_revert_halt (revert->context->state, &revert->look, revert->plan.wanted,
                            record_of (revert), cancellable, error);
}

/* What is there now is not what the plan was made of. */
static bool
settle (Revert *revert, GCancellable *cancellable, GError **error)
{
  bool keep = revert->def->keep_present && !revert->unfinished;

  if (!keep && !revert->halted)
    return true;
  look_away (revert);
  return (!keep || varve_run_backup (revert->context, revert->def->source, cancellable, error) ||
          varve_prefix (error, "The present state could not be backed up, and nothing was put back "
                               "(--no-keep goes without)")) &&
         look (revert, cancellable, error);
}

static bool
steps (Revert *revert, GCancellable *cancellable, GError **error)
{
  bool runs;

  if (!halt (revert, cancellable, error) || !settle (revert, cancellable, error) ||
      !varve_revert_write (revert->context->state, revert->context->events, &revert->look,
                           &revert->plan, record_of (revert), &runs, cancellable, error))
    return false;
  if (record_of (revert)->was_running && !runs)
    emit (revert, (VarveEvent){ .type = VARVE_EVENT_WARNING,
                                .text = "Its QEMU has exited, so that the guest, which ran before, "
                                        "does not run: start it." });
  return true;
}

/* As whoever finds the record would do it. */
static void
let_guest_go (Revert *revert)
{
  const VarveRunContext *context = revert->context;
  g_autoptr (GError) error = NULL;

  look_away (revert);
  g_clear_pointer (&revert->session, varve_lock_free);
  if (!varve_recover_session (context->state, record_of (revert)->id, context->events, NULL,
                              &error))
    varve_recover_warn (context->events, error->message);
}

static bool
carry_out (Revert *revert, GCancellable *cancellable, GError **error)
{
  if (!begin (revert, error))
    return false;
  if (steps (revert, cancellable, error))
    return true;
  if (record_of (revert)->phase == VARVE_PHASE_HALTED)
    let_guest_go (revert);
  return false;
}

bool
varve_run_revert (const VarveRunContext *context, const VarveRevertDef *def,
                  GCancellable *cancellable, GError **error)
{
  g_auto (Revert) revert = { .context = context, .def = def };
  bool nothing;

  if (!find_unfinished (&revert, cancellable, error) || !look (&revert, cancellable, error))
    return false;
  emit (&revert, (VarveEvent){ .type = VARVE_EVENT_RUN_STARTED, .text = def->source->store });
  if (!check_unfinished (&revert, error))
    return false;
  nothing = varve_revert_plan_is_empty (&revert.plan) && !revert.unfinished;
  tell (&revert, nothing);
  if (!def->dry_run && !nothing && !carry_out (&revert, cancellable, error))
    return false;
  emit (&revert, (VarveEvent){ .type = VARVE_EVENT_RUN_DONE,
                               .unchanged = nothing,
                               .text = nothing        ? "nothing to write"
                                       : def->dry_run ? "dry run"
                                                      : NULL });
  return true;
}
