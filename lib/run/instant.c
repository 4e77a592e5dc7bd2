/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/instant.h"

#include <unistd.h>

#include "checkpoint/name.h"
#include "run/checkpoint.h"
#include "run/instant-fill.h"
#include "run/recover.h"
#include "session/session.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"

typedef struct {
  const VarveRunContext *context;
  const VarveInstant *instant;
  VarveRecord *record;
  VarveDomain *domain; /* libvirt: once it is defined */
  VarveLock *lock;
  VarveLock *session;
  VarveInstantFill work;
} Restore;

static void
restore_clear (Restore *restore)
{
  varve_instant_fill_clear (&restore->work);
  g_clear_pointer (&restore->session, varve_lock_free);
  g_clear_pointer (&restore->lock, varve_lock_free);
  g_clear_pointer (&restore->domain, varve_domain_free);
  g_clear_pointer (&restore->record, varve_record_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Restore, restore_clear)

static const VarveDefinition *
definition_of (const Restore *restore)
{
  return restore->instant->define->definition;
}

/* --- the domain ------------------------------------------------------------------------------- */

static bool
open_domain (Restore *restore, const char *uri, const char *name, GCancellable *cancellable,
             GError **error)
{
  VarveDomainAddress address = { .uri = uri, .name = name };

  restore->domain =
      varve_run_open_domain (restore->context->state, &address, 0, cancellable, error);
  return restore->domain != NULL;
}

/* Another one would begin anew with its backups. */
static bool
check_same (const Restore *restore, GError **error)
{
  const VarveManifest *manifest = restore->instant->manifest;

  return g_ascii_strcasecmp (restore->domain->uuid, manifest->uuid) == 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The QEMU of domain '%s' has uuid %s, and that of backup %s is %s: start it "
                      "with -uuid %s.",
                      restore->domain->name, restore->domain->uuid, manifest->id, manifest->uuid,
                      manifest->uuid);
}

static bool
open_qemu (Restore *restore, GCancellable *cancellable, GError **error)
{
  const VarveInstant *instant = restore->instant;

  return open_domain (restore, instant->def->instant_uri, instant->manifest->domain, cancellable,
                      error) &&
         check_same (restore, error);
}

static bool
lock (Restore *restore, GError **error)
{
  const VarveStateDir *state = restore->context->state;
  const VarveDefinition *definition = definition_of (restore);
  g_autofree char *holder = g_strdup_printf ("instant restore of backup %s, pid %d",
                                             restore->instant->manifest->id, (int)getpid ());

  restore->lock = varve_run_lock_domain (
      state, definition ? definition->name : restore->domain->name,
      definition ? definition->uuid : restore->domain->uuid, holder, 0, NULL, error);
  if (restore->lock)
    restore->session = varve_session_lock (state, restore->record->id, holder, error);
  return restore->session != NULL;
}

/* --- the record ------------------------------------------------------------------------------- */

/* Only of the domain that was backed up is the backup one that increments can be built upon. */
static bool
goes_on (const Restore *restore)
{
  const VarveDefinition *definition = definition_of (restore);

  return !definition ||
         g_ascii_strcasecmp (definition->uuid, restore->instant->manifest->uuid) == 0;
}

static void
make_record (Restore *restore, VarveRecord *record)
{
  const VarveInstant *instant = restore->instant;
  const VarveDefinition *definition = definition_of (restore);

  record->phase = VARVE_PHASE_PREPARING;
  record->uri = g_strdup (definition ? definition->uri : restore->domain->uri);
  record->domain = g_strdup (definition ? definition->name : restore->domain->name);
  record->uuid = g_strdup (definition ? definition->uuid : restore->domain->uuid);
  record->owner = g_strdup (instant->manifest->owner);
  record->backup = g_strdup (instant->manifest->id);
  record->store = g_strdup (instant->store);
  record->directory = varve_state_dir_file (restore->context->state, "sockets", record->id);
  record->started = g_get_real_time () / G_USEC_PER_SEC;
  record->speed = instant->def->speed;
  if (definition && instant->define->nvram)
    record->nvram = g_strdup (definition->nvram);
  if (definition && instant->define->tpm)
    record->tpm = g_strdup (definition->tpm);
  if (goes_on (restore))
    record->checkpoint =
        varve_checkpoint_name_new (instant->manifest->owner, instant->manifest->id);
  for (guint i = 0; i < instant->targets->len; i++) {
    const VarveRestoreDisk *target = g_ptr_array_index (instant->targets, i);
    VarveRecordDisk *disk = varve_record_add_disk (record, target->name);

    disk->target = g_strdup (target->path);
    disk->checkpoint = record->checkpoint != NULL;
  }
}

/* --- what is made before the guest runs ------------------------------------------------------- */

static bool
make_image (const Restore *restore, const VarveRecordDisk *disk, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (disk->target, "qcow2", NULL);
  g_autofree char *backing = varve_fill_backing (restore->work.fill->socket, disk->name);
  uint64_t size = varve_manifest_find_disk (restore->instant->manifest, disk->name)->size;

  return varve_image_create (image, size, backing, "raw", NULL, error) &&
         (!disk->checkpoint ||
          varve_image_bitmap_add (image, restore->record->checkpoint, 0, NULL, error));
}

static bool
make_images (const Restore *restore, GError **error)
{
  for (guint i = 0; i < restore->record->disks->len; i++)
    if (!make_image (restore, g_ptr_array_index (restore->record->disks, i), error))
      return false;
  return varve_failpoint ("instant-images", error);
}

/* libvirt gets its record of the checkpoint while the domain is off, so that there is one from the start. */
static bool
tell_checkpoint (const Restore *restore, GCancellable *cancellable, GError **error)
{
  const VarveRecord *record = restore->record;
  g_autofree char *description = NULL;
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();

  if (record->checkpoint == NULL)
    return true;
  description = varve_checkpoint_description (record->checkpoint);
  for (guint i = 0; i < record->disks->len; i++)
    g_ptr_array_add (disks, ((VarveRecordDisk *)g_ptr_array_index (record->disks, i))->name);
  return varve_domain_checkpoint_redefine (restore->domain, record->checkpoint, description,
                                           record->started, disks, cancellable, error);
}

static bool
define (Restore *restore, GCancellable *cancellable, GError **error)
{
  const VarveDefinition *definition = definition_of (restore);

  if (definition == NULL)
    return true;
  if (!varve_restore_define_finish (restore->instant->define, cancellable, error) ||
      !open_domain (restore, definition->uri, definition->name, cancellable, error))
    return false;
  restore->work.domain = restore->domain;
  return tell_checkpoint (restore, cancellable, error);
}

static bool
prepare (Restore *restore, GCancellable *cancellable, GError **error)
{
  return varve_failpoint ("instant-recorded", error) &&
         varve_instant_fill_serve (&restore->work, cancellable, error) &&
         make_images (restore, error) && define (restore, cancellable, error) &&
         varve_failpoint ("instant-prepared", error) &&
         varve_instant_fill_boot (&restore->work, cancellable, error);
}

/* What cannot be undone now is on record. */
static void
undo (Restore *restore)
{
  g_autoptr (GError) error = NULL;

  if (!varve_instant_fill_undo (&restore->work, &error))
    varve_recover_warn (restore->context->events, error->message);
}

static void
tell_new (const Restore *restore)
{
  if (!goes_on (restore))
    varve_instant_fill_emit (
        &restore->work,
        (VarveEvent){ .type = VARVE_EVENT_NOTE,
                      .text = "It is another domain than the one that was backed up: its first "
                              "backup will be a full one." });
}

bool
varve_run_instant (const VarveRunContext *context, const VarveInstant *instant,
                   GCancellable *cancellable, GError **error)
{
  g_autofree char *id = varve_random_hex (8);
  g_auto (Restore) restore = { .context = context, .instant = instant };

  restore.record = varve_record_new (id);
  if (!definition_of (&restore) && !open_qemu (&restore, cancellable, error))
    return false;
  make_record (&restore, restore.record);
  varve_instant_fill_init (&restore.work, context->state, context->events, "restore",
                           restore.record);
  restore.work.domain = restore.domain;
  if ((restore.domain &&
       !varve_domain_fill_check (restore.domain, restore.work.fill, cancellable, error)) ||
      !lock (&restore, error) || !varve_record_save (restore.record, context->state, error))
    return false;
  tell_new (&restore);
  if (prepare (&restore, cancellable, error))
    return varve_instant_fill_run (&restore.work, cancellable, error);
  if (restore.record->phase == VARVE_PHASE_PREPARING)
    undo (&restore);
  return false;
}

/* --- again ------------------------------------------------------------------------------------ */

static bool
has_target (const VarveRecord *record, GPtrArray *targets)
{
  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = g_ptr_array_index (record->disks, i);

    for (guint j = 0; disk->target && j < targets->len; j++)
      if (g_strcmp0 (((VarveRestoreDisk *)g_ptr_array_index (targets, j))->path, disk->target) == 0)
        return true;
  }
  return false;
}

char *
varve_instant_unfinished (const VarveStateDir *state, GPtrArray *targets)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, NULL);

  for (guint i = 0; ids != NULL && i < ids->len; i++) {
    const char *id = g_ptr_array_index (ids, i);
    g_autoptr (VarveRecord) record = varve_record_load (state, id, NULL);

    if (record && varve_record_is_instant (record) && !varve_session_is_live (state, id) &&
        has_target (record, targets))
      return g_strdup (id);
  }
  return NULL;
}

/* Whether anybody may have used what was made. */
static bool
is_unused (const VarveRecord *record, VarveDomain *domain, bool *out, GError **error)
{
  VarveDomainState state = VARVE_DOMAIN_OFF;

  if (domain && !varve_domain_state (domain, &state, NULL, error))
    return false;
  *out = record->phase == VARVE_PHASE_PREPARING &&
         (state == VARVE_DOMAIN_OFF || g_str_has_prefix (record->uri, "qmp+unix:"));
  return true;
}

/* Where nobody has the images, they tell by themselves whether they need the backup; it may be gone by then. */
static bool
is_done (VarveInstantFill *work, bool *out, GError **error)
{
  VarveDomainState state = VARVE_DOMAIN_OFF;

  *out = false;
  if (work->domain && !varve_domain_state (work->domain, &state, NULL, error))
    return false;
  return state != VARVE_DOMAIN_OFF || varve_instant_fill_is_done (work, out, error);
}

static bool
go_on (VarveInstantFill *work, GCancellable *cancellable, GError **error)
{
  bool done;

  if (!is_done (work, &done, error))
    return false;
  if (done)
    return varve_instant_fill_finish (work, error);
  return varve_instant_fill_serve (work, cancellable, error) &&
         (work->domain == NULL || work->record->phase == VARVE_PHASE_FILLING ||
          varve_instant_fill_boot (work, cancellable, error)) &&
         varve_instant_fill_run (work, cancellable, error);
}

bool
varve_instant_resume (const VarveStateDir *state, VarveDomain *domain, const char *id,
                      const VarveEventSink *events, bool *out_undone, GCancellable *cancellable,
                      GError **error)
{
  g_autofree char *holder =
      g_strdup_printf ("instant restore that is gone on with, pid %d", (int)getpid ());
  g_autoptr (VarveRecord) record = varve_record_load (state, id, error);
  g_autoptr (VarveLock) session = record ? varve_session_lock (state, id, holder, error) : NULL;
  g_auto (VarveInstantFill) work = { NULL };

  if (session == NULL)
    return false;
  varve_instant_fill_init (&work, state, events, "recover", record);
  work.domain = domain;
  if (!is_unused (record, domain, out_undone, error))
    return false;
  return *out_undone ? varve_instant_fill_undo (&work, error) : go_on (&work, cancellable, error);
}
