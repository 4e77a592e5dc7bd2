/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/revert-write.h"

#include <unistd.h>

#include "checkpoint/name.h"
#include "restore/revert.h"
#include "run/checkpoint.h"
#include "run/sample.h"
#include "session/session.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"
#include "util/set-text.h"

typedef struct {
  const VarveStateDir *state;
  const VarveEventSink *events;
  const VarveLook *look;
  const VarveRevertPlan *plan;
  VarveRecord *record;
  char *older; /* checkpoint of the revert that was cut off, perhaps there already */
  VarveStart *start;
  VarveRewrite *rewrite;
  GPtrArray *disks; /* of VarveRevertDisk, as the plan's */
} Work;

static void
work_clear (Work *work)
{
  /* Our connections first, so that the daemon has nobody to wait for. */
  g_clear_pointer (&work->disks, g_ptr_array_unref);
  g_clear_pointer (&work->rewrite, varve_rewrite_free);
  if (work->start)
    varve_remove_tree (work->start->directory, NULL);
  g_clear_pointer (&work->start, varve_start_free);
  g_clear_pointer (&work->older, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Work, work_clear)

static const VarveRevertPlanDisk *
planned (const Work *work, guint i)
{
  return g_ptr_array_index (work->plan->disks, i);
}

static const char *
disk_name (const Work *work, guint i)
{
  return planned (work, i)->plan->disk->name;
}

static void
emit (const Work *work, const char *disk, VarveEvent event)
{
  event.action = "revert";
  event.domain = work->look->domain->name;
  event.backup = work->plan->wanted->id;
  event.disk = disk;
  varve_event_emit (work->events, &event);
}

/* --- prepare: nothing is written -------------------------------------------------------------- */

/* The bitmap that says "as at that backup" is a new one: others of that name know of more. One that dies with QEMU
 * is of use where there is a QEMU. */
static void
fill_start (Work *work)
{
  VarveStart *start = varve_start_new (work->record->id);
  bool is_there = work->look->state != VARVE_DOMAIN_OFF;
  bool checkpoint = false;

  work->start = start;
  start->directory = varve_state_dir_file (work->state, "sockets", start->session);
  for (guint i = 0; i < work->plan->disks->len; i++) {
    const VarveRevertPlanDisk *planned_disk = planned (work, i);
    VarveStartDisk *disk = varve_start_add_disk (start, disk_name (work, i));

    disk->since = planned_disk->compare ? NULL : g_strdup (planned_disk->plan->since);
    disk->transient = planned_disk->plan->transient;
    disk->checkpoint = planned_disk->plan->checkpoint && (!disk->transient || is_there);
    checkpoint = checkpoint || disk->checkpoint;
  }
  if (!checkpoint)
    return;
  start->checkpoint = varve_checkpoint_name_new (work->look->owner, work->plan->wanted->id);
  start->description = varve_checkpoint_description (start->checkpoint);
}

static VarveRevertDisk *
open_disk (Work *work, guint i, bool compare, GCancellable *cancellable, GError **error)
{
  const VarvePlanDisk *plan = planned (work, i)->plan;
  g_auto (VarveEndpoint) endpoint = { NULL };

  if (!varve_rewrite_endpoint (work->rewrite, plan->disk->name, &endpoint, cancellable, error))
    return NULL;
  return varve_revert_disk_open (work->look->store, compare ? NULL : plan->base, work->plan->wanted,
                                 plan->disk->name, &endpoint, cancellable, error);
}

static void
warn_distrust (const Work *work, const char *disk, const char *why)
{
  g_autofree char *text =
      g_strdup_printf ("Disk '%s': %s. All of it is read and compared.", disk, why);

  emit (work, disk, (VarveEvent){ .type = VARVE_EVENT_WARNING, .text = text });
}

/* Both maps are only believed when a sample of what they call clean is as in the wanted backup. */
static bool
prepare_disk (Work *work, guint i, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveRevertDisk) disk =
      open_disk (work, i, planned (work, i)->compare, cancellable, error);
  g_autofree char *why = NULL;

  if (disk == NULL ||
      (disk->both && !varve_sample_clean (disk->both, disk->disk, g_str_hash (work->record->id) ^ i,
                                          &why, error)))
    return false;
  if (why != NULL) {
    warn_distrust (work, disk_name (work, i), why);
    g_clear_pointer (&disk, varve_revert_disk_free);
    disk = open_disk (work, i, true, cancellable, error);
  }
  if (disk == NULL)
    return false;
  g_ptr_array_add (work->disks, g_steal_pointer (&disk));
  return true;
}

static bool
prepare (Work *work, GCancellable *cancellable, GError **error)
{
  fill_start (work);
  work->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_revert_disk_free);
  if (!varve_make_directories (work->start->directory, 0700, error) ||
      !varve_domain_rewrite (work->look->domain, work->start, &work->rewrite, cancellable, error))
    return false;
  for (guint i = 0; i < work->plan->disks->len; i++)
    if (!prepare_disk (work, i, cancellable, error))
      return varve_prefix (error, "Disk '%s' of domain '%s'", disk_name (work, i),
                           work->look->domain->name);
  return true;
}

/* --- record ----------------------------------------------------------------------------------- */

static void
fill_record (VarveRecord *record, const VarveStateDir *state, const VarveLook *look,
             const VarveManifest *wanted)
{
  g_autofree char *directory = varve_state_dir_file (state, "sockets", record->id);

  record->started = g_get_real_time () / G_USEC_PER_SEC;
  varve_set_text (&record->owner, look->owner);
  varve_set_text (&record->backup, wanted->id);
  varve_set_text (&record->store, look->store->uri);
  varve_set_text (&record->directory, directory);
}

static bool
save_record (Work *work, GError **error)
{
  VarveRecord *record = work->record;
  VarvePhase before = record->phase;

  record->phase = VARVE_PHASE_REVERTING;
  fill_record (record, work->state, work->look, work->plan->wanted);
  varve_set_text (&record->checkpoint, work->start->checkpoint);
  g_ptr_array_set_size (record->disks, 0);
  for (guint i = 0; i < work->start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (work->start->disks, i);

    varve_record_add_disk (record, disk->disk)->checkpoint = disk->checkpoint;
  }
  if (varve_record_save (record, work->state, error))
    return true;
  record->phase = before;
  return false;
}

/* --- write ------------------------------------------------------------------------------------ */

typedef struct {
  const Work *work;
  const char *disk;
} Tick;

static bool
tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  const Tick *turn = data;

  emit (turn->work, turn->disk,
        (VarveEvent){ .type = VARVE_EVENT_PROGRESS, .done = done, .total = total });
  return varve_failpoint ("revert-tick", error);
}

static bool
write_disk (Work *work, guint i, GCancellable *cancellable, GError **error)
{
  Tick turn = { work, disk_name (work, i) };
  BlockCopyStats stats = { 0 };

  if (!varve_revert_disk_write (g_ptr_array_index (work->disks, i), tick, &turn, &stats,
                                cancellable, error))
    return varve_prefix (error, "Disk '%s'", turn.disk);
  emit (work, turn.disk,
        (VarveEvent){ .type = VARVE_EVENT_DISK_DONE,
                      .text = planned (work, i)->text,
                      .done = stats.read,
                      .total = planned (work, i)->plan->disk->size,
                      .stored = stats.written + stats.zeroed });
  return varve_failpoint ("revert-disk-done", error);
}

static bool
write_disks (Work *work, GCancellable *cancellable, GError **error)
{
  if (!varve_failpoint ("revert-recorded", error))
    return false;
  for (guint i = 0; i < work->disks->len; i++)
    if (!write_disk (work, i, cancellable, error))
      return false;
  g_clear_pointer (&work->disks, g_ptr_array_unref);
  return varve_failpoint ("revert-written", error) &&
         varve_rewrite_finish (work->rewrite, cancellable, error) &&
         varve_failpoint ("revert-finished", error);
}

/* The record goes last: while it is there nobody takes the revert for done. *@out_runs: the guest, which was halted for
 * it, does again. */
static bool
let_go (const VarveStateDir *state, VarveDomain *domain, const VarveRecord *record, bool *out_runs,
        GError **error)
{
  bool written = record->phase != VARVE_PHASE_HALTED;

  *out_runs = false;
  if (record->was_running && !varve_domain_restart (domain, written, out_runs, NULL, error))
    return varve_prefix (error,
                         "The disks of domain '%s' are as %s%s, but it does not run again. 'varve "
                         "recover' tries that once more",
                         domain->name, written ? "at backup " : "they were",
                         written ? record->backup : "");
  return (!record->was_running || varve_failpoint ("restart-started", error)) &&
         (!record->directory || varve_remove_tree (record->directory, error)) &&
         varve_record_unlink (record, state, error);
}

static bool
finish (Work *work, bool *out_runs, GError **error)
{
  VarveRecord *record = work->record;

  if (work->older && !varve_domain_checkpoint_remove (work->look->domain, work->older, NULL, error))
    return false;
  if (record->was_running) {
    record->phase = VARVE_PHASE_REVERTED;
    if (!varve_record_save (record, work->state, error) ||
        !varve_failpoint ("restart-reverted", error))
      return false;
  }
  return let_go (work->state, work->look->domain, record, out_runs, error);
}

bool
varve_revert_write (const VarveStateDir *state, const VarveEventSink *events, const VarveLook *look,
                    const VarveRevertPlan *plan, VarveRecord *record, bool *out_runs,
                    GCancellable *cancellable, GError **error)
{
  g_auto (Work)
      work = { .state = state, .events = events, .look = look, .plan = plan, .record = record };

  if (!prepare (&work, cancellable, error) || !save_record (&work, error))
    return false;
  if (write_disks (&work, cancellable, error))
    return finish (&work, out_runs, error);
  return varve_prefix (
      error,
      "The disks of domain '%s' are partly as at backup %s, and partly not: do not "
      "start it. The same revert again, or 'varve recover', finishes this",
      look->domain->name, plan->wanted->id);
}

/* --- the guest -------------------------------------------------------------------------------- */

/* What another session shows of a disk would change under its readers. */
static bool
check_alone (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) left = NULL;

  if (!varve_domain_left_overs (domain, &left, cancellable, error))
    return false;
  return left->len == 0 ||
         varve_throw (error, VARVE_ERROR_BUSY,
                      "Session %s reads the disks of domain '%s': end it first ('varve export "
                      "list', 'varve recover').",
                      ((VarveLeftOver *)g_ptr_array_index (left, 0))->session, domain->name);
}

/* Should QEMU die meanwhile, its images are all that there is of the domain. */
static void
name_images (VarveRecord *record, const VarveLook *look)
{
  if (record->images->len > 0 || !g_str_has_prefix (record->uri, "qmp+unix:"))
    return;
  for (guint i = 0; i < look->disks->len; i++) {
    const VarveDisk *disk = g_ptr_array_index (look->disks, i);

    if (disk->path && g_path_is_absolute (disk->path) && disk->format)
      varve_record_add_image (record, disk->name, disk->path, disk->format, NULL);
  }
}

bool
varve_revert_halt (const VarveStateDir *state, const VarveLook *look, const VarveManifest *wanted,
                   VarveRecord *record, GCancellable *cancellable, GError **error)
{
  if (!check_alone (look->domain, cancellable, error))
    return false;
  record->was_running = true;
  if (record->phase != VARVE_PHASE_REVERTING) {
    record->phase = VARVE_PHASE_HALTED;
    fill_record (record, state, look, wanted);
  }
  name_images (record, look);
  return varve_record_save (record, state, error) &&
         varve_domain_halt (look->domain, cancellable, error) &&
         varve_failpoint ("restart-halted", error);
}

/* --- again ------------------------------------------------------------------------------------ */

VarveRecord *
varve_revert_unfinished (const VarveStateDir *state, const char *uuid)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, NULL);

  for (guint i = 0; ids != NULL && i < ids->len; i++) {
    g_autoptr (VarveRecord) record = varve_record_load (state, g_ptr_array_index (ids, i), NULL);

    if (record && record->phase == VARVE_PHASE_REVERTING &&
        !varve_session_is_live (state, record->id) &&
        (uuid == NULL || g_ascii_strcasecmp (record->uuid, uuid) == 0))
      return g_steal_pointer (&record);
  }
  return NULL;
}

static bool
check_off (VarveDomain *domain, const VarveRecord *record, GCancellable *cancellable,
           GError **error)
{
  g_autofree char *time = varve_format_time (record->started);
  VarveDomainState state;

  if (!varve_domain_state (domain, &state, cancellable, error))
    return false;
  return state == VARVE_DOMAIN_OFF || (state != VARVE_DOMAIN_RUNNING && record->was_running) ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "Domain '%s' runs on disks that are partly as at backup %s, and partly not: "
                      "a revert of them was cut off at %s. Shut it down; then 'varve recover' "
                      "finishes the revert, or 'varve revert' puts them back to another backup.",
                      domain->name, record->backup, time);
}

static bool
plan_again (const VarveEventSink *events, const VarveRecord *record, VarveLook *look,
            VarveRevertPlan *plan, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) include = g_ptr_array_new ();
  g_autoptr (GPtrArray) exclude = g_ptr_array_new ();
  const VarveManifest *wanted;

  for (guint i = 0; i < record->disks->len; i++)
    g_ptr_array_add (include, ((VarveRecordDisk *)g_ptr_array_index (record->disks, i))->name);
  if (!varve_look_again (events, "revert", 1, look, cancellable, error))
    return false;
  wanted = varve_revert_wanted (look, record->backup, error);
  return wanted != NULL &&
         varve_revert_plan (look, wanted, include, exclude, plan, cancellable, error);
}

static bool
write_again (const VarveStateDir *state, VarveRecord *record, VarveLook *look,
             const VarveEventSink *events, bool *out_runs, GCancellable *cancellable,
             GError **error)
{
  g_auto (VarveRevertPlan) plan = { .halted = record->was_running };

  look->owner = g_strdup (record->owner);
  look->store = varve_store_impl_open (record->store, false, error);
  return look->store != NULL && plan_again (events, record, look, &plan, cancellable, error) &&
         varve_revert_write (state, events, look, &plan, record, out_runs, cancellable, error);
}

static bool
resume (const VarveStateDir *state, VarveDomain *domain, VarveRecord *record,
        const VarveEventSink *events, bool *out_runs, GCancellable *cancellable, GError **error)
{
  g_autofree char *holder =
      g_strdup_printf ("revert to backup %s, pid %d", record->backup, (int)getpid ());
  g_autoptr (VarveLock) lock = varve_session_lock (state, record->id, holder, error);
  g_auto (VarveLook) look = { .domain = domain };
  bool ok =
      lock != NULL && write_again (state, record, &look, events, out_runs, cancellable, error);

  look.domain = NULL; /* the caller's */
  return ok ||
         varve_prefix (error,
                       "The revert of domain '%s' to backup %s, which was cut off, could not be "
                       "finished",
                       domain->name, record->backup);
}

bool
varve_revert_resume (const VarveStateDir *state, VarveDomain *domain, const char *id,
                     const VarveEventSink *events, bool *out_runs, GCancellable *cancellable,
                     GError **error)
{
  g_autoptr (VarveRecord) record = varve_record_load (state, id, error);

  *out_runs = false;
  if (record == NULL)
    return false;
  if (domain == NULL)
    return (!record->directory || varve_remove_tree (record->directory, error)) &&
           varve_record_unlink (record, state, error);
  if ((record->phase == VARVE_PHASE_REVERTING && !check_off (domain, record, cancellable, error)) ||
      !varve_session_take_down (domain, record, cancellable, error))
    return false;
  if (record->phase != VARVE_PHASE_REVERTING)
    return let_go (state, domain, record, out_runs, error);
  return resume (state, domain, record, events, out_runs, cancellable, error);
}
