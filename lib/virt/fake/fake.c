/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The scripted driver. Each op first writes down that it was called, then fails if it was told to,
 * and only then does its part on plain arrays. */
#include "config.h"
#include "virt/fake/fake-private.h"

typedef struct {
  VarveError code;
  unsigned times;
} Failure;

typedef VarveFake Fake;

static const VarveDomainOps fake_ops;

static VarveDisk *
copy_disk (const VarveDisk *from)
{
  VarveDisk *to = g_new (VarveDisk, 1);

  *to = *from;
  to->name = g_strdup (from->name);
  to->format = g_strdup (from->format);
  to->path = g_strdup (from->path);
  to->why_not_persist = g_strdup (from->why_not_persist);
  to->why_not = g_strdup (from->why_not);
  return to;
}

static VarveBitmap *
copy_bitmap (const VarveBitmap *from)
{
  VarveBitmap *to = g_new (VarveBitmap, 1);

  *to = *from;
  to->disk = g_strdup (from->disk);
  to->name = g_strdup (from->name);
  return to;
}

/* --- the script ------------------------------------------------------------------------------- */

VarveDomain *
varve_fake_domain_new (const char *name)
{
  Fake *fake = g_new0 (Fake, 1);

  g_mutex_init (&fake->mutex);
  fake->base.ops = &fake_ops;
  fake->base.uri = g_strdup ("fake:");
  fake->base.name = g_strdup (name);
  fake->base.uuid = varve_domain_uuid_from_name (name);
  fake->base.local = true;
  fake->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  fake->bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  fake->calls = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (fake->calls, NULL);
  fake->failures = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  fake->uris = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  fake->sessions = g_ptr_array_new_with_free_func (g_free);
  fake->metadata = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_metadata_free);
  fake->state = VARVE_DOMAIN_RUNNING;
  return &fake->base;
}

static void
fake_free (VarveDomain *base)
{
  Fake *fake = (Fake *)base;

  g_ptr_array_unref (fake->disks);
  g_ptr_array_unref (fake->bitmaps);
  g_ptr_array_unref (fake->calls);
  g_hash_table_unref (fake->failures);
  g_hash_table_unref (fake->uris);
  g_ptr_array_unref (fake->sessions);
  g_ptr_array_unref (fake->metadata);
  g_mutex_clear (&fake->mutex);
  g_free (base->uri);
  g_free (base->name);
  g_free (base->uuid);
  g_free (fake);
}

VarveDisk *
varve_fake_add_disk (VarveDomain *domain, const char *name)
{
  VarveDisk *disk = varve_disk_new (name);

  disk->size = 1u << 20;
  disk->format = g_strdup ("qcow2");
  disk->can_persist = true;
  disk->can_back_up = true;
  g_ptr_array_add (((Fake *)domain)->disks, disk);
  return disk;
}

VarveBitmap *
varve_fake_add_bitmap (VarveDomain *domain, const char *disk, const char *name)
{
  VarveBitmap *bitmap = varve_bitmap_new (disk, name);

  bitmap->granularity = 65536;
  bitmap->recording = true;
  bitmap->persistent = true;
  g_ptr_array_add (((Fake *)domain)->bitmaps, bitmap);
  return bitmap;
}

void
varve_fake_set_state (VarveDomain *domain, VarveDomainState state)
{
  ((Fake *)domain)->state = state;
}

void
varve_fake_set_uri (VarveDomain *domain, const char *disk, const char *uri)
{
  g_hash_table_insert (((Fake *)domain)->uris, g_strdup (disk), g_strdup (uri));
}

void
varve_fake_set_snapshot_state (VarveDomain *domain, VarveSnapshotState state)
{
  ((Fake *)domain)->snapshot_state = state;
}

void
varve_fake_set_scratch_used (VarveDomain *domain, uint64_t bytes)
{
  ((Fake *)domain)->scratch_used = bytes;
}

void
varve_fake_set_progress (VarveDomain *domain, uint64_t done, uint64_t total, bool ready)
{
  ((Fake *)domain)->progress = (VarvePushProgress){ done, total, ready };
}

void
varve_fake_keep_metadata (VarveDomain *domain)
{
  ((Fake *)domain)->keeps_metadata = true;
}

VarveCheckpointMetadata *
varve_fake_add_metadata (VarveDomain *domain, const char *name, const char *disk)
{
  return varve_fake_note ((Fake *)domain, name, NULL, disk);
}

void
varve_fake_fail (VarveDomain *domain, const char *op, VarveError code, unsigned times)
{
  Failure *failure = g_new0 (Failure, 1);

  failure->code = code;
  failure->times = times;
  g_hash_table_insert (((Fake *)domain)->failures, g_strdup (op), failure);
}

const char *const *
varve_fake_calls (VarveDomain *domain)
{
  return (const char *const *)((Fake *)domain)->calls->pdata;
}

unsigned
varve_fake_count_calls (VarveDomain *domain, const char *call)
{
  Fake *fake = (Fake *)domain;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&fake->mutex);
  unsigned n = 0;

  for (const char *const *c = varve_fake_calls (domain); *c; c++)
    n += g_str_equal (*c, call);
  return n;
}

unsigned
varve_fake_snapshots (VarveDomain *domain)
{
  return ((Fake *)domain)->sessions->len;
}

/* --- the ops ---------------------------------------------------------------------------------- */

bool
varve_fake_enter (VarveDomain *base, const char *op, const char *argument,
                  GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)base;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&fake->mutex);
  Failure *failure = g_hash_table_lookup (fake->failures, op);

  g_ptr_array_insert (fake->calls, (gint)fake->calls->len - 1,
                      argument ? g_strdup_printf ("%s %s", op, argument) : g_strdup (op));
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return false;
  if (!failure || failure->times == 0)
    return true;
  failure->times--;
  return varve_throw (error, failure->code, "The fake domain '%s' was told to fail at '%s'.",
                      base->name, op);
}

static bool
fake_inventory (VarveDomain *base, GPtrArray **out, GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)base;

  if (!varve_fake_enter (base, "inventory", NULL, cancellable, error))
    return false;
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  for (guint i = 0; i < fake->disks->len; i++)
    g_ptr_array_add (*out, copy_disk (g_ptr_array_index (fake->disks, i)));
  return true;
}

static bool
fake_bitmaps (VarveDomain *base, GPtrArray **out, GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)base;

  if (!varve_fake_enter (base, "bitmaps", NULL, cancellable, error))
    return false;
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  for (guint i = 0; i < fake->bitmaps->len; i++)
    g_ptr_array_add (*out, copy_bitmap (g_ptr_array_index (fake->bitmaps, i)));
  return true;
}

static bool
fake_state (VarveDomain *base, VarveDomainState *out, GCancellable *cancellable, GError **error)
{
  *out = ((Fake *)base)->state;
  return varve_fake_enter (base, "state", NULL, cancellable, error);
}

static bool
fake_freeze (VarveDomain *base, unsigned timeout_s, GCancellable *cancellable, GError **error)
{
  return varve_fake_enter (base, "freeze", NULL, cancellable, error);
}

static bool
fake_thaw (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  return varve_fake_enter (base, "thaw", NULL, cancellable, error);
}

static bool
fake_files (VarveDomain *base, VarveDomainFiles *out, GCancellable *cancellable, GError **error)
{
  out->why_not = g_strdup ("A fake domain has no XML.");
  return varve_fake_enter (base, "files", NULL, cancellable, error);
}

static bool
fake_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
            GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)base;

  if (!varve_fake_enter (base, "check", NULL, cancellable, error))
    return false;
  *out = varve_start_report_new ();
  (*out)->strategy = g_strdup ("fake");
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (!varve_disk_find (fake->disks, disk->disk))
      g_ptr_array_add ((*out)->refusals,
                       g_strdup_printf ("%s: the domain has no such disk.", disk->disk));
  }
  return true;
}

static bool
fake_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
             GCancellable *cancellable, GError **error)
{
  if (!varve_fake_enter (base, "attach", start->session, cancellable, error))
    return false;
  *out = g_new0 (VarveSnapshot, 1);
  (*out)->domain = base;
  (*out)->start = varve_start_copy (start);
  return true;
}

static bool
fake_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out, uint64_t *out_pause_us,
            GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)base;

  *out = NULL;
  *out_pause_us = 0;
  if (!varve_fake_enter (base, "start", NULL, cancellable, error))
    return false;
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->checkpoint)
      varve_fake_add_bitmap (base, disk->disk, start->checkpoint)->persistent = !disk->transient;
    if (disk->checkpoint && fake->keeps_metadata)
      varve_fake_note (fake, start->checkpoint, start->description, disk->disk);
  }
  g_ptr_array_add (fake->sessions, g_strdup (start->session));
  *out = g_new0 (VarveSnapshot, 1);
  (*out)->domain = base;
  (*out)->start = varve_start_copy (start);
  *out_pause_us = 1000;
  return true;
}

static bool
fake_endpoint (VarveSnapshot *snapshot, const char *disk, VarveEndpoint *out,
               GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)snapshot->domain;
  const VarveStartDisk *found = varve_start_find_disk (snapshot->start, disk);

  if (!varve_fake_enter (snapshot->domain, "endpoint", disk, cancellable, error))
    return false;
  out->uri = g_strdup (g_hash_table_lookup (fake->uris, disk));
  out->dirty_context =
      found && found->since ? g_strconcat ("qemu:dirty-bitmap:", found->since, NULL) : NULL;
  out->allocation_context = g_strdup ("base:allocation");
  out->contexts_may_share = true;
  out->connections = 1;
  return true;
}

static bool
fake_poll (VarveSnapshot *snapshot, VarveSnapshotStatus *out, GCancellable *cancellable,
           GError **error)
{
  Fake *fake = (Fake *)snapshot->domain;

  *out = (VarveSnapshotStatus){ .state = fake->snapshot_state,
                                .scratch_used = fake->scratch_used,
                                .guest_paused = fake->state == VARVE_DOMAIN_PAUSED_IO_ERROR };
  if (out->state != VARVE_SNAPSHOT_ALIVE)
    out->why = g_strdup ("the script says so");
  return varve_fake_enter (snapshot->domain, "poll", NULL, cancellable, error);
}

static bool
fake_progress (VarveSnapshot *snapshot, GArray **out, GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)snapshot->domain;

  if (!varve_fake_enter (snapshot->domain, "progress", NULL, cancellable, error))
    return false;
  *out = g_array_new (FALSE, TRUE, sizeof (VarvePushProgress));
  for (guint i = 0; i < snapshot->start->disks->len; i++)
    g_array_append_val (*out, fake->progress);
  return true;
}

static bool
fake_set_speed (VarveSnapshot *snapshot, uint64_t speed, GCancellable *cancellable, GError **error)
{
  g_autofree char *argument = g_strdup_printf ("%" G_GUINT64_FORMAT, speed);

  return varve_fake_enter (snapshot->domain, "set_speed", argument, cancellable, error);
}

static bool
fake_finish (VarveSnapshot *snapshot, GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)snapshot->domain;

  if (!varve_fake_enter (snapshot->domain, "finish", NULL, cancellable, error))
    return false;
  if (snapshot->start->push && !fake->progress.ready)
    return varve_throw (error, VARVE_ERROR_USAGE, "The push of the fake domain '%s' is not ready.",
                        snapshot->domain->name);
  return fake->snapshot_state == VARVE_SNAPSHOT_ALIVE ||
         varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The snapshot of the fake domain '%s' is lost, as the script says.",
                      snapshot->domain->name);
}

static bool
fake_end (VarveSnapshot *snapshot, bool start_was_cut, GCancellable *cancellable, GError **error)
{
  Fake *fake = (Fake *)snapshot->domain;

  if (!varve_fake_enter (snapshot->domain, "end", start_was_cut ? "cut" : NULL, cancellable, error))
    return false;
  for (guint i = fake->sessions->len; i > 0; i--) {
    if (g_str_equal (g_ptr_array_index (fake->sessions, i - 1), snapshot->start->session))
      g_ptr_array_remove_index (fake->sessions, i - 1);
  }
  return true;
}

static void
fake_snapshot_free (VarveSnapshot *snapshot)
{
  varve_start_free (snapshot->start);
  g_free (snapshot);
}

static bool
fake_resume (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  if (!varve_fake_enter (base, "resume", NULL, cancellable, error))
    return false;
  ((Fake *)base)->state = VARVE_DOMAIN_RUNNING;
  return true;
}

static const VarveDomainOps fake_ops = {
  .name = "fake",
  .inventory = fake_inventory,
  .bitmaps = fake_bitmaps,
  .state = fake_state,
  .freeze = fake_freeze,
  .thaw = fake_thaw,
  .files = fake_files,
  .check = fake_check,
  .start = fake_start,
  .attach = fake_attach,
  .endpoint = fake_endpoint,
  .poll = fake_poll,
  .progress = fake_progress,
  .set_speed = fake_set_speed,
  .finish = fake_finish,
  .end = fake_end,
  .snapshot_free = fake_snapshot_free,
  .checkpoint_remove = varve_fake_checkpoint_remove,
  .checkpoint_add = varve_fake_checkpoint_add,
  .checkpoint_merge = varve_fake_checkpoint_merge,
  .checkpoint_redefine = varve_fake_checkpoint_redefine,
  .checkpoint_forget = varve_fake_checkpoint_forget,
  .checkpoint_metadata = varve_fake_checkpoint_metadata,
  .resume = fake_resume,
  .free = fake_free,
};
