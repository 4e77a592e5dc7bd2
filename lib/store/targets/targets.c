/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/targets/targets.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "store/images/images.h"
#include "store/targets/write.h"
#include "util/error.h"

typedef struct {
  VarveStoreImpl impl;
  GPtrArray *targets; /* of VarveTargetsDisk */
  bool force;
} Targets;

static void
target_free (gpointer data)
{
  VarveTargetsDisk *target = data;

  g_free ((char *)target->as.disk);
  g_free ((char *)target->as.path);
  g_free ((char *)target->as.format);
  g_free (target);
}

static void
writing_free (gpointer data)
{
  VarveTargetsWriting *writing = data;

  g_clear_pointer (&writing->sink, block_sink_free);
  if (writing->partial)
    unlink (writing->partial);
  g_free (writing->partial);
  g_free (writing);
}

VarveTargetsDisk *
varve_targets_find (VarveStoreImpl *impl, const char *disk)
{
  GPtrArray *targets = ((Targets *)impl)->targets;

  for (guint i = 0; i < targets->len; i++) {
    VarveTargetsDisk *target = g_ptr_array_index (targets, i);

    if (g_str_equal (target->as.disk, disk))
      return target;
  }
  return NULL;
}

/* --- before ----------------------------------------------------------------------------------- */

static bool
check_distinct (VarveStoreImpl *impl, const VarveTargetsDisk *target, GError **error)
{
  GPtrArray *targets = ((Targets *)impl)->targets;

  for (guint i = 0; i < targets->len; i++) {
    const VarveTargetsDisk *other = g_ptr_array_index (targets, i);

    if (other != target && varve_target_same (other->as.path, target->as.path))
      return varve_throw (error, VARVE_ERROR_USAGE,
                          "Disks '%s' and '%s' have the same target, '%s'. Give each its own.",
                          other->as.disk, target->as.disk, target->as.path);
  }
  return true;
}

/* What is written over there would be backups. */
static bool
check_no_store (const VarveTargetsDisk *target, GError **error)
{
  g_autofree char *store =
      varve_target_is_nbd (target->as.path) ? NULL : varve_images_store_around (target->as.path);

  if (store == NULL)
    return true;
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "The target '%s' lies inside the store '%s', which has room for backups "
                      "alone. Name another.",
                      target->as.path, store);
}

static bool
check_size (const VarveTargetsDisk *target, GError **error)
{
  struct stat st;

  if (target->kind != VARVE_TARGET_FILE ||
      (stat (target->as.path, &st) == 0 && (uint64_t)st.st_size == target->size))
    return true;
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "The target '%s' is no copy of disk '%s', to which changes could be added: "
                      "it does not have its size, %" G_GUINT64_FORMAT " bytes.",
                      target->as.path, target->as.disk, target->size);
}

static bool
check_changes (const VarveTargetsDisk *target, GError **error)
{
  if (!g_str_equal (target->as.format, "raw"))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Changes of disk '%s' can only be written to a raw target, and '%s' is to "
                        "be %s.",
                        target->as.disk, target->as.path, target->as.format);
  if (target->kind == VARVE_TARGET_ABSENT)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "The target '%s' is not there. Changes of disk '%s' are written over a "
                        "copy of it: take a full one first.",
                        target->as.path, target->as.disk);
  return check_size (target, error);
}

static bool
check_directory (const VarveTargetsDisk *target, GError **error)
{
  g_autofree char *directory = g_path_get_dirname (target->as.path);

  if (target->kind != VARVE_TARGET_ABSENT && target->kind != VARVE_TARGET_FILE)
    return true;
  if (!g_file_test (directory, G_FILE_TEST_IS_DIR))
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE,
                        "The directory of the target '%s' is not there. Make it, or name another.",
                        target->as.path);
  /* Changes are written into the file; all else beside it, until it is complete. */
  return target->changes || access (directory, W_OK) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "The directory of the target '%s' cannot be written; name another",
                            target->as.path);
}

bool
varve_targets_look (VarveTargetsDisk *target, GError **error)
{
  return varve_target_check (&target->as, &target->kind, error) &&
         (target->kind != VARVE_TARGET_DEVICE ||
          varve_target_check_size (&target->as, target->kind, target->size, NULL, error)) &&
         (!target->changes || check_changes (target, error)) && check_directory (target, error);
}

bool
varve_targets_check (VarveStoreImpl *impl, const char *disk, uint64_t size, bool changes,
                     GError **error)
{
  VarveTargetsDisk *target = varve_targets_find (impl, disk);

  if (target == NULL)
    return varve_throw (error, VARVE_ERROR_USAGE, "Disk '%s' has no target.", disk);
  target->changes = changes;
  target->size = size;
  return check_distinct (impl, target, error) &&
         ((check_no_store (target, error) && varve_targets_look (target, error)) ||
          varve_prefix (error, "Disk '%s'", disk));
}

/* --- a backup --------------------------------------------------------------------------------- */

static bool
list (VarveStoreImpl *impl, GPtrArray **out_manifests, GPtrArray *problems,
      GCancellable *cancellable, GError **error)
{
  *out_manifests = g_ptr_array_new ();
  return true;
}

static BlockSink *
open_sink (const VarveTargetsDisk *target, GCancellable *cancellable, GError **error)
{
  if (target->changes && target->kind == VARVE_TARGET_FILE)
    return block_file_sink_open (target->as.path, target->size, BLOCK_FILE_OVERWRITE, error);
  return varve_target_open (&target->as, target->kind, target->size, cancellable, error);
}

VarveTargetsWriting *
varve_targets_open (VarveTargetsWrite *write, const VarveTargetsDisk *target,
                    GCancellable *cancellable, GError **error)
{
  VarveTargetsWriting *writing = g_new0 (VarveTargetsWriting, 1);

  writing->target = target;
  if (!target->changes)
    writing->partial = varve_target_partial (&target->as, target->kind);
  writing->sink = open_sink (target, cancellable, error);
  if (writing->sink == NULL) {
    writing_free (writing);
    return NULL;
  }
  g_ptr_array_add (write->disks, writing);
  return writing;
}

VarveTargetsWriting *
varve_targets_writing (VarveTargetsWrite *write, const char *disk)
{
  for (guint i = 0; i < write->disks->len; i++) {
    VarveTargetsWriting *writing = g_ptr_array_index (write->disks, i);

    if (g_str_equal (writing->target->as.disk, disk))
      return writing;
  }
  return NULL;
}

/* Servers are asked now, all of them: while no snapshot is held, and no disk has been copied for nothing. They stay
 * connected, as some end with their first client. */
static bool
connect_servers (VarveTargetsWrite *write, GCancellable *cancellable, GError **error)
{
  GPtrArray *targets = ((Targets *)write->write.store)->targets;

  for (guint i = 0; i < targets->len; i++) {
    const VarveTargetsDisk *target = g_ptr_array_index (targets, i);

    if (target->size > 0 && target->kind == VARVE_TARGET_NBD &&
        varve_targets_open (write, target, cancellable, error) == NULL)
      return varve_prefix (error,
                           "Disk '%s' cannot be copied to its target, which must be an NBD export "
                           "that can be reached and written",
                           target->as.disk);
  }
  return true;
}

static bool
begin (VarveStoreImpl *impl, const char *domain, const char *uuid, const char *backup,
       VarveStoreWrite **out, GCancellable *cancellable, GError **error)
{
  VarveTargetsWrite *write = g_new0 (VarveTargetsWrite, 1);
  g_autoptr (VarveStoreWrite) owned = &write->write;

  owned->store = impl;
  owned->backup = g_strdup (backup);
  write->disks = g_ptr_array_new_with_free_func (writing_free);
  if (!connect_servers (write, cancellable, error))
    return false;
  *out = g_steal_pointer (&owned);
  return true;
}

static bool
add_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, const VarveManifest *base,
          BlockSink **out_sink, BlockSumFunc *out_sum, gpointer *out_sum_data,
          GCancellable *cancellable, GError **error)
{
  VarveTargetsWrite *write = (VarveTargetsWrite *)owned;
  VarveTargetsDisk *target = varve_targets_find (owned->store, disk->name);
  VarveTargetsWriting *writing = varve_targets_writing (write, disk->name);

  /* Once more: now that the disks are being read, whoever reads them has locked all files that they consist of. */
  if (writing == NULL && varve_targets_look (target, error))
    writing = varve_targets_open (write, target, cancellable, error);
  if (writing == NULL)
    return false;
  *out_sink = writing->sink;
  *out_sum = NULL;
  *out_sum_data = NULL;
  return true;
}

static bool
finish_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, GCancellable *cancellable,
             GError **error)
{
  VarveTargetsWriting *writing = varve_targets_writing ((VarveTargetsWrite *)owned, disk->name);

  if (!block_sink_flush (writing->sink, error))
    return varve_prefix (error, "The copy of disk '%s' in '%s' is not durable", disk->name,
                         writing->target->as.path);
  g_clear_pointer (&writing->sink, block_sink_free);
  return true;
}

/* The domain's document has no place here. */
static bool
add_file (VarveStoreWrite *owned, const char *name, GBytes *data, GError **error)
{
  return true;
}

static bool
commit (VarveStoreWrite *owned, const VarveManifest *manifest, GCancellable *cancellable,
        GError **error)
{
  VarveTargetsWrite *write = (VarveTargetsWrite *)owned;

  for (guint i = 0; i < write->disks->len; i++) {
    VarveTargetsWriting *writing = g_ptr_array_index (write->disks, i);

    if (!writing->partial)
      continue;
    if (!varve_target_publish (&writing->target->as, writing->partial, error))
      return varve_prefix (error, "The copy of disk '%s' is complete, and cannot get its name",
                           writing->target->as.disk);
    g_clear_pointer (&writing->partial, g_free);
  }
  return true;
}

static void
write_free (VarveStoreWrite *owned)
{
  g_ptr_array_unref (((VarveTargetsWrite *)owned)->disks);
}

static bool
contains (VarveStoreImpl *impl, const char *path)
{
  return false;
}

static void
targets_free (VarveStoreImpl *impl)
{
  g_ptr_array_unref (((Targets *)impl)->targets);
}

/* Nothing is listed, so that nobody asks for a backup of it. */
static const VarveStoreOps targets_ops = {
  .name = "targets",
  .size = sizeof (Targets),
  .list = list,
  .begin = begin,
  .add_disk = add_disk,
  .finish_disk = finish_disk,
  .add_target = varve_targets_add_target,
  .check_targets = varve_targets_check_again,
  .adopt_disk = varve_targets_adopt_disk,
  .add_file = add_file,
  .commit = commit,
  .write_free = write_free,
  .contains = contains,
  .free = targets_free,
};

VarveStoreImpl *
varve_targets_new (bool force)
{
  Targets *self = g_new0 (Targets, 1);

  self->impl.ops = &targets_ops;
  self->targets = g_ptr_array_new_with_free_func (target_free);
  self->force = force;
  return &self->impl;
}

void
varve_targets_add (VarveStoreImpl *impl, const char *disk, const char *path, const char *format)
{
  Targets *self = (Targets *)impl;
  VarveTargetsDisk *target = g_new0 (VarveTargetsDisk, 1);

  target->as = (VarveTarget){
    .disk = g_strdup (disk),
    .path = g_strdup (path),
    .format = g_strdup (format),
    .force = self->force,
  };
  g_ptr_array_add (self->targets, target);
}
