/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/backup.h"

#include <string.h>
#include <unistd.h>

#include "checkpoint/name.h"
#include "fleece/scratch.h"
#include "run/source.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/failpoint.h"

static void
backup_run_clear (VarveBackupRun *run)
{
  /* The session first: it takes the snapshot down while our connections still drain. */
  g_clear_pointer (&run->session, varve_session_free);
  g_clear_pointer (&run->sources, g_ptr_array_unref);
  g_clear_pointer (&run->write, varve_store_write_free);
  g_clear_pointer (&run->manifest, varve_manifest_unref);
  g_clear_pointer (&run->start, varve_start_free);
  g_clear_pointer (&run->plans, g_ptr_array_unref);
  g_clear_pointer (&run->why_mode, g_free);
  varve_look_clear (&run->look);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveBackupRun, backup_run_clear)

static void
emit (VarveBackupRun *run, VarveEvent event)
{
  event.action = "backup";
  event.domain = run->look.domain ? run->look.domain->name : run->def->domain;
  if (run->manifest)
    event.backup = run->manifest->id;
  varve_event_emit (run->context->events, &event);
}

/* Targets are not looked at for what they might hold: so nothing is incremental there by itself. */
static const char *
since_when (const VarveBackupRun *run)
{
  const char *incremental = run->def->incremental;

  return run->def->store || !g_str_equal (incremental, "auto") ? incremental : "never";
}

/* --- plan ------------------------------------------------------------------------------------- */

static bool
plan_disks (VarveBackupRun *run, GError **error)
{
  g_autoptr (GPtrArray) include = g_ptr_array_new ();
  g_autoptr (GPtrArray) exclude = g_ptr_array_new ();
  VarveLookPlan wanted = {
    .incremental = since_when (run),
    .include = include,
    .exclude = exclude,
    .max_chain = run->def->max_chain,
    .push = run->push,
  };

  varve_run_source_disks (run->def, include, exclude);
  g_clear_pointer (&run->plans, g_ptr_array_unref);
  run->plans = varve_look_plan (&run->look, &wanted, error);
  return run->plans != NULL;
}

static bool
make_plan (VarveBackupRun *run, const char *session, GCancellable *cancellable, GError **error)
{
  run->push = g_str_equal (run->def->mode, "push");
  if (!plan_disks (run, error) || !varve_backup_choose_mode (run, session, cancellable, error) ||
      (run->why_mode && !plan_disks (run, error)) || !varve_backup_check_targets (run, error))
    return false;
  for (guint i = 0; i < run->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (run->plans, i);

    emit (run, (VarveEvent){ .type = VARVE_EVENT_DISK_PLANNED,
                             .disk = plan->disk->name,
                             .decision = varve_decision_name (plan->decision),
                             .text = plan->reason,
                             .total = plan->disk->size });
  }
  return true;
}

/* --- prepare ---------------------------------------------------------------------------------- */

/* Without a store, only who gives himself a name has checkpoints: nobody else would ever come back for one, and each
 * costs the guest's host a bitmap. */
bool
varve_backup_owns_checkpoints (const VarveBackupRun *run)
{
  return run->def->store || run->def->owner;
}

/* The checkpoint columns of the start, and the manifest's disks. */
static void
fill_start (VarveBackupRun *run)
{
  bool wanted = varve_backup_owns_checkpoints (run);
  bool checkpoint = false;

  for (guint i = 0; i < run->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (run->plans, i);
    VarveManifestDisk *disk;
    VarveStartDisk *start;

    if (plan->decision == VARVE_DECISION_SKIP)
      continue;
    start = varve_start_add_disk (run->start, plan->disk->name);
    start->since = g_strdup (plan->since);
    start->checkpoint = wanted && plan->checkpoint;
    start->transient = plan->transient;
    checkpoint = checkpoint || start->checkpoint;
    disk = varve_manifest_add_disk (run->manifest, plan->disk->name);
    disk->size = plan->disk->size;
    disk->source_format = g_strdup (plan->disk->format);
    disk->decision = g_strdup (varve_decision_name (plan->decision));
    disk->reason = g_strdup (plan->reason);
    disk->checkpoint = start->checkpoint;
  }
  if (checkpoint)
    run->start->checkpoint = varve_checkpoint_name_new (run->look.owner, run->manifest->id);
  run->manifest->checkpoint = g_strdup (run->start->checkpoint);
}

/* The manifest keeps what was told. */
static void
tell (VarveBackupRun *run, VarveEventType type, const char *text)
{
  g_ptr_array_add (run->manifest->notes, g_strdup (text));
  emit (run, (VarveEvent){ .type = type, .text = text });
}

static bool
check_start (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStartReport) report = NULL;

  if (!varve_run_source_check (run->context, run->def, run->look.domain, run->start, &report,
                               cancellable, error))
    return false;
  run->manifest->strategy = g_strdup (report->strategy);
  if (run->why_mode)
    tell (run, VARVE_EVENT_NOTE, run->why_mode);
  for (guint i = 0; i < report->weaker->len; i++)
    tell (run, VARVE_EVENT_NOTE, g_ptr_array_index (report->weaker, i));
  return true;
}

/* Where there is something to add. */
static bool
add_file (VarveBackupRun *run, const char *name, GBytes *data, GError **error)
{
  if (data == NULL)
    return true;
  varve_manifest_sum_file (run->manifest, name, data);
  return run->look.store->ops->add_file (run->write, name, data, error);
}

/* A store is told of it: targets of the disks' own keep nothing of the machine. */
static void
tell_no_tpm (VarveBackupRun *run, const char *why)
{
  g_autofree char *text =
      g_strdup_printf ("The backup does not have what the domain's TPM remembers: %s.", why);

  if (run->def->store)
    tell (run, VARVE_EVENT_NOTE, text);
}

static bool
add_files (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  g_auto (VarveDomainFiles) files = { NULL };
  g_autoptr (GBytes) xml = NULL;
  VarveManifest *manifest = run->manifest;

  if (!varve_domain_files (run->look.domain, &files, cancellable, error))
    return false;
  if (files.xml)
    xml = g_bytes_new (files.xml, strlen (files.xml));
  manifest->has_domain_xml = xml != NULL;
  manifest->has_nvram = files.nvram != NULL;
  manifest->has_tpm = files.tpm != NULL;
  manifest->why_not_xml = g_steal_pointer (&files.why_not);
  if (files.why_no_tpm)
    tell_no_tpm (run, files.why_no_tpm);
  return add_file (run, "domain.xml", xml, error) && add_file (run, "nvram", files.nvram, error) &&
         add_file (run, "tpm", files.tpm, error);
}

/* Of all that the store has; NULL when it is empty. */
static const char *
newest_id (VarveBackupRun *run)
{
  guint n = run->look.manifests->len;

  return n ? ((const VarveManifest *)g_ptr_array_index (run->look.manifests, n - 1))->id : NULL;
}

static void
note_clock (VarveBackupRun *run, const char *last)
{
  g_autofree char *text =
      g_strdup_printf ("The clock was set back: backup %s is dated later than now. The new one is "
                       "dated behind it, so that both sort as they were made.",
                       last);

  tell (run, VARVE_EVENT_WARNING, text);
}

static bool
prepare (VarveBackupRun *run, const char *session, GCancellable *cancellable, GError **error)
{
  const char *last = newest_id (run);
  g_autofree char *id = varve_backup_id_new (last);
  VarveManifest *manifest = varve_manifest_new (id);

  run->manifest = manifest;
  if (varve_backup_id_time (last) > g_get_real_time () / G_USEC_PER_SEC)
    note_clock (run, last);
  manifest->domain = g_strdup (run->look.domain->name);
  manifest->uuid = g_strdup (run->look.domain->uuid);
  manifest->uri = g_strdup (run->look.domain->uri);
  manifest->owner = g_strdup (run->look.owner);
  run->start = varve_run_source_start (run->context, run->def, session);
  run->start->push = run->push;
  run->start->speed = varve_run_speed (run->context, run->def->speed);
  /* What is off nobody writes to. */
  run->start->fleece = run->push && run->def->fleece && run->look.state != VARVE_DOMAIN_OFF;
  run->start->compress = run->def->compress;
  run->start->workers = run->def->workers;
  run->start->chunk = (uint64_t)run->def->chunk * 1024;
  fill_start (run);
  return check_start (run, cancellable, error) &&
         run->look.store->ops->begin (run->look.store, manifest->domain, manifest->uuid, id,
                                      &run->write, cancellable, error) &&
         add_files (run, cancellable, error) &&
         (!run->start->push || varve_backup_push_prepare (run, cancellable, error));
}

/* --- session ---------------------------------------------------------------------------------- */

static VarveRecord *
make_record (VarveBackupRun *run)
{
  VarveRecord *record = varve_run_source_record (run->def, run->look.domain, run->start);

  record->owner = g_strdup (run->look.owner);
  record->backup = g_strdup (run->manifest->id);
  record->store = g_strdup (run->look.store->uri);
  record->strategy = g_strdup (run->manifest->strategy);
  record->started = varve_backup_id_time (run->manifest->id);
  return record;
}

static bool
begin_session (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) weaker = g_ptr_array_new_with_free_func (g_free);
  /* A domain that is off has nothing to freeze, and is consistent as it is. */
  VarveQuiesce quiesce = { run->def->quiesce && run->look.state != VARVE_DOMAIN_OFF,
                           run->def->quiesce_required, run->def->quiesce_timeout };
  VarveManifest *manifest = run->manifest;
  bool frozen = false;

  manifest->started = g_get_real_time () / G_USEC_PER_SEC;
  run->session =
      varve_session_begin (run->context->state, run->look.domain, run->start, make_record (run),
                           &quiesce, &manifest->pause_us, &frozen, weaker, cancellable, error);
  if (run->session == NULL)
    return false;
  for (guint i = 0; i < weaker->len; i++)
    tell (run, VARVE_EVENT_WARNING, g_ptr_array_index (weaker, i));
  manifest->consistency = g_strdup (run->look.state == VARVE_DOMAIN_OFF ? "off"
                                    : frozen                            ? "file-systems"
                                                                        : "crash");
  emit (run, (VarveEvent){ .type = VARVE_EVENT_SNAPSHOT_STARTED,
                           .text = manifest->strategy,
                           .pause_us = manifest->pause_us });
  return true;
}

/* --- copy, commit ----------------------------------------------------------------------------- */

const VarvePlanDisk *
varve_backup_plan_of (VarveBackupRun *run, const char *disk)
{
  for (guint i = 0; i < run->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (run->plans, i);

    if (g_str_equal (plan->disk->name, disk))
      return plan;
  }
  g_return_val_if_reached (NULL);
}

static void
tell_disk_done (VarveBackupRun *run, const VarveManifestDisk *disk)
{
  emit (run, (VarveEvent){ .type = VARVE_EVENT_DISK_DONE,
                           .disk = disk->name,
                           .decision = disk->decision,
                           .text = disk->reason,
                           .done = disk->read,
                           .total = disk->size,
                           .stored = disk->stored });
}

static bool
copy_disks (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < run->manifest->disks->len; i++) {
    VarveManifestDisk *disk = g_ptr_array_index (run->manifest->disks, i);

    if (!varve_backup_copy_disk (run, varve_backup_plan_of (run, disk->name), disk, cancellable,
                                 error)) {
      varve_session_explain (run->session, error);
      if (run->look.domain->local)
        varve_scratch_explain (run->start, error);
      return varve_prefix (error, "Disk '%s' of domain '%s'", disk->name, run->look.domain->name);
    }
    tell_disk_done (run, disk);
  }
  return true;
}

/* The snapshot is down before the layers are made durable: the guest pays for it no longer than it
 * is read. */
static bool
finish_session (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  bool ok = varve_session_finish (run->session, cancellable, error) &&
            varve_session_close (run->session, error);

  g_ptr_array_set_size (run->sources, 0);
  return ok;
}

/* libvirt does not tell how much it was of a disk that is done. */
static void
complete_numbers (VarveBackupRun *run, VarveManifestDisk *disk)
{
  const VarveStartDisk *start = varve_start_find_disk (run->start, disk->name);
  const VarveBitmap *since =
      start->since ? varve_bitmap_find (run->look.bitmaps, disk->name, start->since) : NULL;

  if (disk->read == 0)
    disk->read = disk->stored + disk->zeroed;
  if (disk->read == 0 && start->target_in_place && !start->since)
    disk->read = disk->size;
  else if (disk->read == 0 && start->target_in_place && since && since->dirty != UINT64_MAX)
    disk->read = since->dirty;
  if (start->target_in_place)
    disk->stored = disk->read;
}

/* What QEMU wrote has been seen by nobody before it is read back. */
static bool
finish_disk (VarveBackupRun *run, VarveManifestDisk *disk, GCancellable *cancellable,
             GError **error)
{
  const VarveStoreOps *ops = run->look.store->ops;

  if (!run->start->push)
    return ops->finish_disk (run->write, disk, cancellable, error);
  if (!ops->adopt_disk (run->write, disk, run->def->verify, NULL, NULL, cancellable, error) ||
      !varve_failpoint ("push-adopted", error))
    return false;
  complete_numbers (run, disk);
  tell_disk_done (run, disk);
  return true;
}

static bool
commit (VarveBackupRun *run, GCancellable *cancellable, GError **error)
{
  const VarveStoreOps *ops = run->look.store->ops;
  VarveManifest *manifest = run->manifest;

  for (guint i = 0; i < manifest->disks->len; i++) {
    VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);

    if (!finish_disk (run, disk, cancellable, error))
      return false;
    if (varve_backup_plan_of (run, disk->name)->flatten && disk->base &&
        !ops->flatten_disk (run->write, disk, NULL, NULL, cancellable, error))
      return varve_prefix (error, "The chain of disk '%s' could not be made into a full layer",
                           disk->name);
  }
  manifest->finished = g_get_real_time () / G_USEC_PER_SEC;
  return varve_failpoint ("run-before-commit", error) &&
         ops->commit (run->write, manifest, cancellable, error) &&
         varve_failpoint ("run-committed", error);
}

/* Behind the commit nothing fails the backup: what goes wrong is told, and is on record. */
static void
keep (VarveBackupRun *run)
{
  g_autoptr (GError) error = NULL;

  if (varve_session_keep (run->session, &error) && varve_backup_retire (run, &error) &&
      varve_session_end (g_steal_pointer (&run->session), &error))
    return;
  emit (run, (VarveEvent){ .type = VARVE_EVENT_WARNING, .text = error->message });
}

bool
varve_run_backup (const VarveRunContext *context, const VarveBackupDef *def,
                  GCancellable *cancellable, GError **error)
{
  g_auto (VarveBackupRun) run = { .context = context, .def = def };
  g_autofree char *session = varve_random_hex (8);
  g_autofree char *holder = g_strdup_printf ("backup %s, pid %d", session, (int)getpid ());
  VarveLookOptions options = {
    .action = "backup", .holder = holder, .create = true, .recover = true
  };

  run.sources = g_ptr_array_new_with_free_func ((GDestroyNotify)block_source_free);
  emit (&run, (VarveEvent){ .type = VARVE_EVENT_RUN_STARTED,
                            .text = def->store ? def->store : "the targets of its disks" });
  if (!varve_look (context, def, &options, &run.look, cancellable, error) ||
      !make_plan (&run, session, cancellable, error) ||
      !varve_backup_remove_stale (&run, cancellable, error) ||
      !prepare (&run, session, cancellable, error) || !begin_session (&run, cancellable, error) ||
      !(run.start->push ? varve_backup_push_wait (&run, cancellable, error)
                        : copy_disks (&run, cancellable, error)) ||
      !finish_session (&run, cancellable, error) || !commit (&run, cancellable, error))
    return false;
  keep (&run);
  emit (&run, (VarveEvent){ .type = VARVE_EVENT_RUN_DONE });
  return true;
}
