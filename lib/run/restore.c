/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The restore action of a job: which disk goes where, all checked before the first is written. */
#include "config.h"

#include "restore/restore.h"

#include "run/context.h"
#include "run/instant.h"
#include "run/recover.h"
#include "run/restore-define.h"
#include "util/durable.h"
#include "util/error.h"

typedef struct {
  const VarveRunContext *context;
  const VarveManifest *manifest;
  const char *disk;
} Progress;

static void
emit (const Progress *progress, VarveEvent event)
{
  event.action = "restore";
  event.domain = progress->manifest->domain;
  event.backup = progress->manifest->id;
  event.disk = progress->disk;
  varve_event_emit (progress->context->events, &event);
}

static bool
tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  emit (data, (VarveEvent){ .type = VARVE_EVENT_PROGRESS, .done = done, .total = total });
  return true;
}

static void
target_free (gpointer data)
{
  VarveRestoreDisk *target = data;

  g_free (target->name);
  g_free (target->path);
  g_free (target->format);
  g_free (target);
}

static void
add_target (GPtrArray *targets, const char *name, char *path, const char *format)
{
  VarveRestoreDisk *target = g_new0 (VarveRestoreDisk, 1);

  target->name = g_strdup (name);
  target->path = path;
  target->format = g_strdup (format);
  g_ptr_array_add (targets, target);
}

static bool
is_named (const VarveRestoreDef *def, const char *disk)
{
  for (guint i = 0; i < def->disks->len; i++)
    if (g_str_equal (((VarveRestoreDisk *)g_ptr_array_index (def->disks, i))->name, disk))
      return true;
  return false;
}

/* The disks that the document names, and, with a directory, all others. */
static GPtrArray *
plan_targets (const VarveRestoreDef *def, const VarveManifest *manifest)
{
  g_autoptr (GPtrArray) targets = g_ptr_array_new_with_free_func (target_free);

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveRestoreDisk *disk = g_ptr_array_index (def->disks, i);

    add_target (targets, disk->name, g_strdup (disk->path), disk->format);
  }
  for (guint i = 0; def->directory && i < manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);
    g_autofree char *file = g_strdup_printf ("%s.%s", disk->name, def->directory_format);

    if (!is_named (def, disk->name))
      add_target (targets, disk->name, g_build_filename (def->directory, file, NULL),
                  def->directory_format);
  }
  return g_steal_pointer (&targets);
}

static VarveTarget
target_of (const VarveRestoreDef *def, const VarveRestoreDisk *disk)
{
  return (VarveTarget){ disk->name, disk->path, disk->format, def->force, def->over, true };
}

static bool
check_target (VarveStoreImpl *store, const VarveManifest *manifest, const VarveTarget *target,
              GCancellable *cancellable, GError **error)
{
  const VarveManifestDisk *disk = varve_manifest_find_disk (manifest, target->disk);
  g_autoptr (GString) have = g_string_new (NULL);

  if (disk != NULL)
    return varve_restore_check (store, target, disk->size, cancellable, error);
  for (guint i = 0; i < manifest->disks->len; i++)
    g_string_append_printf (have, "%s'%s'", i ? ", " : "",
                            ((VarveManifestDisk *)g_ptr_array_index (manifest->disks, i))->name);
  return varve_throw (error, VARVE_ERROR_NOT_FOUND, "Backup %s has no disk '%s'. It has: %s.",
                      manifest->id, target->disk, have->str);
}

/* Of two disks in one place the first would be lost. */
static bool
check_distinct (GPtrArray *targets, guint last, GError **error)
{
  const VarveRestoreDisk *disk = g_ptr_array_index (targets, last);

  for (guint i = 0; i < last; i++) {
    const VarveRestoreDisk *other = g_ptr_array_index (targets, i);

    if (varve_target_same (other->path, disk->path))
      return varve_throw (error, VARVE_ERROR_USAGE,
                          "Disks '%s' and '%s' have the same target, '%s'. Give each its own.",
                          other->name, disk->name, disk->path);
  }
  return true;
}

static bool
restore_target (const VarveRunContext *context, VarveStoreImpl *store,
                const VarveManifest *manifest, const VarveTarget *target, GCancellable *cancellable,
                GError **error)
{
  Progress progress = { context, manifest, target->disk };
  BlockCopyStats stats = { 0 };

  if (!varve_restore_disk (store, manifest, target, tick, &progress, &stats, cancellable, error))
    return varve_prefix (error, "Restoring disk '%s' of backup %s to '%s'", target->disk,
                         manifest->id, target->path);
  emit (&progress, (VarveEvent){ .type = VARVE_EVENT_DISK_DONE,
                                 .text = target->path,
                                 .done = stats.read,
                                 .total = stats.read + stats.zeroed,
                                 .stored = stats.written });
  return true;
}

/* Everything that is to be found wrong is found here. */
static bool
check_targets (VarveStoreImpl *store, const VarveManifest *manifest, const VarveRestoreDef *def,
               GPtrArray *targets, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < targets->len; i++) {
    VarveTarget target = target_of (def, g_ptr_array_index (targets, i));

    if (!check_distinct (targets, i, error) ||
        !check_target (store, manifest, &target, cancellable, error))
      return false;
  }
  return targets->len > 0 ||
         varve_throw (error, VARVE_ERROR_USAGE,
                      "No disk is named and no directory is given to restore to.");
}

/* One that libvirt's QEMU is to find its disks in lets others pass through. */
static bool
make_directory (const VarveRestoreDef *def, GError **error)
{
  return !def->directory ||
         varve_classify (varve_make_directories (def->directory,
                                                 def->define || def->instant ? 0711 : 0700, error),
                         VARVE_ERROR_STORE_UNREACHABLE, error);
}

static void
tell_notes (const Progress *progress, const VarveDefinition *definition)
{
  for (guint i = 0; i < definition->notes->len; i++)
    emit (progress, (VarveEvent){ .type = VARVE_EVENT_NOTE,
                                  .text = g_ptr_array_index (definition->notes, i) });
}

static bool
finish_define (const Progress *progress, const VarveRestoreDefine *define,
               GCancellable *cancellable, GError **error)
{
  g_autofree char *text = g_strdup_printf ("Domain '%s' is defined, with uuid %s.",
                                           define->definition->name, define->definition->uuid);

  if (!varve_restore_define_finish (define, cancellable, error))
    return false;
  emit (progress, (VarveEvent){ .type = VARVE_EVENT_NOTE, .text = text });
  return true;
}

/* An instant restore to the same targets that was cut off is gone on with. *@out_done: that was it; else none was, or it had come
 * to nothing that is worth it. */
static bool
go_on (const VarveRunContext *context, const VarveRestoreDef *def, GPtrArray *targets,
       bool *out_done, GCancellable *cancellable, GError **error)
{
  g_autofree char *id = def->instant ? varve_instant_unfinished (context->state, targets) : NULL;

  *out_done = false;
  if (id == NULL)
    return true;
  if (!varve_recover_session (context->state, id, context->events, cancellable, error))
    return false;
  for (guint i = 0; i < targets->len; i++)
    if (g_file_test (((VarveRestoreDisk *)g_ptr_array_index (targets, i))->path,
                     G_FILE_TEST_EXISTS))
      *out_done = true;
  return true;
}

static bool
restore_targets (const VarveRunContext *context, VarveStoreImpl *store, const Progress *progress,
                 const VarveRestoreDef *def, GPtrArray *targets, const VarveRestoreDefine *define,
                 GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < targets->len; i++) {
    VarveTarget target = target_of (def, g_ptr_array_index (targets, i));

    if (!restore_target (context, store, progress->manifest, &target, cancellable, error))
      return false;
  }
  return define->definition == NULL || finish_define (progress, define, cancellable, error);
}

bool
varve_run_restore (const VarveRunContext *context, const VarveRestoreDef *def,
                   GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStore) store = varve_store_open (def->store, error);
  g_auto (VarveRestoreDefine) define = { NULL };
  g_autoptr (VarveBackup) backup = NULL;
  g_autoptr (GPtrArray) targets = NULL;
  VarveStoreImpl *impl;
  Progress progress;
  bool done;

  if (store == NULL)
    return false;
  backup = varve_store_find (store, def->backup, cancellable, error);
  if (backup == NULL)
    return false;
  impl = varve_store_get_impl (store);
  progress = (Progress){ context, varve_backup_manifest (backup), NULL };
  targets = plan_targets (def, progress.manifest);
  emit (&progress, (VarveEvent){ .type = VARVE_EVENT_RUN_STARTED, .text = def->store });
  if (!go_on (context, def, targets, &done, cancellable, error))
    return false;
  if (done) {
    emit (&progress, (VarveEvent){ .type = VARVE_EVENT_RUN_DONE });
    return true;
  }
  if (!check_targets (impl, progress.manifest, def, targets, cancellable, error) ||
      (def->define && !varve_restore_define_prepare (def, impl, progress.manifest, targets, &define,
                                                     cancellable, error)))
    return false;
  if (define.definition)
    tell_notes (&progress, define.definition);
  if (!make_directory (def, error))
    return false;
  if (def->instant) {
    VarveInstant instant = { def, def->store, progress.manifest, targets, &define };

    if (!varve_run_instant (context, &instant, cancellable, error))
      return false;
  } else if (!restore_targets (context, impl, &progress, def, targets, &define, cancellable, error))
    return false;
  emit (&progress, (VarveEvent){ .type = VARVE_EVENT_RUN_DONE });
  return true;
}
