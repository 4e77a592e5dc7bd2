/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/instant-fill.h"

#include <string.h>

#include <glib/gstdio.h>

#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"
#include "virt/define.h"

#define LOOK_US   (G_USEC_PER_SEC / 4)
#define EXCUSE_US (30 * (gint64)G_USEC_PER_SEC)

/* libvirt's pull fails with its server, and a QEMU 7.2 in which it failed does not live long. */
static bool
needs_front (const VarveRecord *record)
{
  return !g_str_has_prefix (record->uri, "qmp+unix:");
}

void
varve_instant_fill_init (VarveInstantFill *work, const VarveStateDir *state,
                         const VarveEventSink *events, const char *action, VarveRecord *record)
{
  g_autofree char *socket = varve_backup_server_socket_in (record->directory, needs_front (record));

  *work = (VarveInstantFill){ state, events, action, record, NULL, NULL, NULL, NULL, 0 };
  work->fill = varve_fill_new (record->id, socket);
  work->fill->speed = record->speed;
  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = g_ptr_array_index (record->disks, i);

    varve_fill_add_disk (work->fill, disk->name, disk->target);
  }
}

void
varve_instant_fill_clear (VarveInstantFill *work)
{
  g_clear_pointer (&work->daemon, varve_storage_daemon_free);
  g_clear_pointer (&work->server, varve_backup_server_leave);
  g_clear_pointer (&work->fill, varve_fill_free);
}

void
varve_instant_fill_emit (const VarveInstantFill *work, VarveEvent event)
{
  event.action = work->action;
  event.domain = work->record->domain;
  event.backup = work->record->backup;
  varve_event_emit (work->events, &event);
}

bool
varve_instant_fill_serve (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  const VarveRecord *record = work->record;
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  VarveBackupServerOptions options = { record->store, record->backup, record->directory,
                                       VARVE_CHILD_KEPT, needs_front (record) ? disks : NULL };

  for (guint i = 0; i < work->fill->disks->len; i++)
    g_ptr_array_add (disks, varve_fill_disk (work->fill, i)->disk);

  if (!varve_make_directories (record->directory, 0700, error))
    return false;
  work->server = varve_backup_server_begin (&options, cancellable, error);
  return work->server != NULL;
}

static bool
set_phase (VarveInstantFill *work, VarvePhase phase, GError **error)
{
  VarvePhase before = work->record->phase;

  work->record->phase = phase;
  if (varve_record_save (work->record, work->state, error))
    return true;
  work->record->phase = before;
  return false;
}

bool
varve_instant_fill_boot (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  if (!set_phase (work, VARVE_PHASE_BOOTING, error))
    return false;
  if (!varve_domain_fill_boot (work->domain, work->fill, cancellable, error)) {
    /* It has never run: what is there may go. */
    set_phase (work, VARVE_PHASE_PREPARING, NULL);
    return false;
  }
  varve_instant_fill_emit (
      work, (VarveEvent){ .type = VARVE_EVENT_NOTE,
                          .text = "The guest runs; its disks are filled meanwhile." });
  return varve_failpoint ("instant-booted", error) && set_phase (work, VARVE_PHASE_FILLING, error);
}

/* --- what is there ---------------------------------------------------------------------------- */

/* @out_below: what the image lies above, or NULL. An image that is not there has nothing below it. */
static bool
look_below (const char *path, bool *out_there, char **out_below, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (path, "qcow2", NULL);
  g_autoptr (VarveImageInfo) info = NULL;

  *out_there = g_file_test (path, G_FILE_TEST_EXISTS);
  *out_below = NULL;
  if (!*out_there)
    return true;
  info = varve_image_info (image, true, NULL, error);
  if (info)
    *out_below = g_strdup (info->backing_file);
  return info != NULL;
}

/* An image that was removed is nobody's any more, and one without anything below it is full. */
static bool
look_at_images (VarveInstantFill *work, GError **error)
{
  for (guint i = 0; i < work->fill->disks->len; i++) {
    VarveFillDisk *disk = varve_fill_disk (work->fill, i);
    g_autofree char *below = NULL;
    bool there;

    if (!look_below (disk->path, &there, &below, error))
      return false;
    disk->progress.ready = below == NULL;
  }
  return true;
}

bool
varve_instant_fill_is_done (VarveInstantFill *work, bool *out, GError **error)
{
  if (!look_at_images (work, error))
    return false;
  *out = varve_fill_is_ready (work->fill);
  return true;
}

static bool
check_full (const VarveInstantFill *work, GError **error)
{
  for (guint i = 0; i < work->fill->disks->len; i++) {
    const VarveFillDisk *disk = varve_fill_disk (work->fill, i);
    g_autofree char *below = NULL;
    bool there;

    if (!look_below (disk->path, &there, &below, error))
      return false;
    if (below)
      return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                          "Disk '%s' is said to be full, and its image '%s' still names '%s'.",
                          disk->disk, disk->path, below);
  }
  return true;
}

/* --- the fill --------------------------------------------------------------------------------- */

static bool
look_after_server (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  if (varve_backup_server_alive (work->server))
    return true;
  if (!varve_backup_server_restart (work->server, cancellable, error))
    return false;
  work->excused = g_get_monotonic_time () + EXCUSE_US;
  varve_instant_fill_emit (
      work, (VarveEvent){ .type = VARVE_EVENT_WARNING,
                          .text = "The server of the backup had gone, and was started again." });
  return true;
}

static bool
state_of (const VarveInstantFill *work, VarveDomainState *out, GCancellable *cancellable,
          GError **error)
{
  *out = VARVE_DOMAIN_OFF;
  return work->domain == NULL || varve_domain_state (work->domain, out, cancellable, error);
}

static bool
open_stopped (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  if (!look_at_images (work, error))
    return false;
  if (varve_fill_is_ready (work->fill))
    return true;
  work->daemon = varve_fill_stopped (work->fill, cancellable, error);
  if (work->daemon == NULL)
    return false;
  varve_instant_fill_emit (
      work, (VarveEvent){ .type = VARVE_EVENT_NOTE,
                          .text = "The guest is off: its disks are filled without it." });
  return true;
}

static bool
is_excused (const VarveInstantFill *work)
{
  return g_get_monotonic_time () < work->excused;
}

/* The job is not begun again in this QEMU: its guest is to be off for that. */
static void
note_stuck (VarveInstantFill *work)
{
  if (!needs_front (work->record))
    return;
  work->record->stuck = true;
  varve_record_save (work->record, work->state, NULL);
}

static bool
check_stuck (const VarveInstantFill *work, GError **error)
{
  return !work->record->stuck ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "A job of libvirt that filled the disks of domain '%s' has failed. The guest "
                      "runs on; its disks can be filled when it is shut down.",
                      work->record->domain);
}

/* The domain may have gone off since it was looked at. */
static bool
step_domain (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  VarveDomainState state;

  if (!check_stuck (work, error))
    return false;
  if (varve_domain_fill_step (work->domain, work->fill, cancellable, &local) ||
      (state_of (work, &state, NULL, NULL) && state == VARVE_DOMAIN_OFF))
    return true;
  if (!g_error_matches (local, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    note_stuck (work);
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

static bool
step (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  VarveDomainState state;

  if (!look_after_server (work, cancellable, error))
    return false;
  if (work->daemon)
    return varve_fill_step_all (varve_storage_daemon_qmp (work->daemon), work->fill, cancellable,
                                error);
  if (!state_of (work, &state, cancellable, error) ||
      (state == VARVE_DOMAIN_PAUSED_IO_ERROR && is_excused (work) &&
       !varve_domain_resume (work->domain, cancellable, error)))
    return false;
  return state == VARVE_DOMAIN_OFF ? open_stopped (work, cancellable, error)
                                   : step_domain (work, cancellable, error);
}

static uint64_t
allocated (const char *path)
{
  GStatBuf st;

  return g_stat (path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void
tell (const VarveInstantFill *work, GArray *told)
{
  for (guint i = 0; i < work->fill->disks->len; i++) {
    const VarveFillDisk *disk = varve_fill_disk (work->fill, i);
    const VarveFillProgress *progress = &disk->progress;
    bool *done = &g_array_index (told, bool, i);

    if (!*done && !progress->ready)
      varve_instant_fill_emit (work, (VarveEvent){ .type = VARVE_EVENT_PROGRESS,
                                                   .disk = disk->disk,
                                                   .done = progress->done,
                                                   .total = progress->total });
    if (!*done && progress->ready)
      varve_instant_fill_emit (work, (VarveEvent){ .type = VARVE_EVENT_DISK_DONE,
                                                   .disk = disk->disk,
                                                   .text = disk->path,
                                                   .done = progress->total,
                                                   .total = progress->total,
                                                   .stored = allocated (disk->path) });
    *done = progress->ready;
  }
}

static bool
fill (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  g_autoptr (GArray) told = g_array_new (FALSE, TRUE, sizeof (bool));

  g_array_set_size (told, work->fill->disks->len);
  for (;;) {
    if (!step (work, cancellable, error) || !varve_failpoint ("instant-tick", error))
      return false;
    tell (work, told);
    if (varve_fill_is_ready (work->fill))
      return true;
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    g_usleep (LOOK_US);
  }
}

/* An I/O error stopped it: of a server that had gone, and is back. */
static bool
wake_guest (const VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  VarveDomainState state;

  if (!state_of (work, &state, cancellable, error))
    return false;
  return state != VARVE_DOMAIN_PAUSED_IO_ERROR ||
         varve_domain_resume (work->domain, cancellable, error);
}

bool
varve_instant_fill_finish (VarveInstantFill *work, GError **error)
{
  VarveStorageDaemon *daemon = g_steal_pointer (&work->daemon);
  bool stored = !daemon || varve_storage_daemon_quit (daemon, error);

  g_clear_pointer (&daemon, varve_storage_daemon_free);
  if (!stored || !check_full (work, error) || !varve_failpoint ("instant-filled", error))
    return false;
  g_clear_pointer (&work->server, varve_backup_server_end);
  varve_backup_server_end_left (work->record->directory);
  return varve_remove_tree (work->record->directory, error) &&
         varve_record_unlink (work->record, work->state, error);
}

/* What the server could not read it has said: that is the reason, and of a store that is damaged. */
static bool
explain (const VarveInstantFill *work, GError **error)
{
  g_autofree char *words = work->server ? varve_backup_server_words (work->server) : NULL;

  if (words && *words && varve_error_matches (*error, VARVE_ERROR_FAILED)) {
    varve_reclassify (error, VARVE_ERROR_STORE_DAMAGED);
    varve_prefix (error, "The backup cannot be read (%s)", words);
  }
  return varve_prefix (
      error,
      "The disks of domain '%s' are not full, and need backup %s, which goes on being served, "
      "until 'varve recover' has filled them",
      work->record->domain, work->record->backup);
}

bool
varve_instant_fill_run (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  return (wake_guest (work, cancellable, error) && fill (work, cancellable, error) &&
          varve_instant_fill_finish (work, error)) ||
         explain (work, error);
}

/* --- back ------------------------------------------------------------------------------------- */

/* Only what lies above our server is ours. */
static bool
remove_image (const VarveInstantFill *work, const char *path, GError **error)
{
  g_autofree char *wanted = NULL;
  g_autofree char *below = NULL;
  bool there;

  if (!look_below (path, &there, &below, error))
    return false;
  wanted = g_strdup_printf ("\"%s\"", work->fill->socket);
  return below == NULL || strstr (below, wanted) == NULL || varve_durable_unlink (path, error);
}

bool
varve_instant_fill_undo (VarveInstantFill *work, GError **error)
{
  const VarveRecord *record = work->record;

  if (!g_str_has_prefix (record->uri, "qmp+unix:") &&
      !varve_define_undo (record->uri, record->uuid, varve_fill_disk (work->fill, 0)->path,
                          record->nvram, record->tpm, NULL, error))
    return false;
  for (guint i = 0; i < work->fill->disks->len; i++)
    if (!remove_image (work, varve_fill_disk (work->fill, i)->path, error))
      return false;
  g_clear_pointer (&work->server, varve_backup_server_end);
  varve_backup_server_end_left (record->directory);
  return varve_remove_tree (record->directory, error) &&
         varve_record_unlink (record, work->state, error);
}
