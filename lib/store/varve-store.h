/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"
#include "varve-event.h"

G_BEGIN_DECLS

/**
 * VarveStore:
 *
 * Where backups live.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_STORE (varve_store_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveStore, varve_store, VARVE, STORE, GObject)

/**
 * VarveBackup:
 *
 * One instant of a domain in a store, as its manifest tells it.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_BACKUP (varve_backup_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveBackup, varve_backup, VARVE, BACKUP, GObject)

/**
 * VarveBackupDisk:
 * @name: the disk's name
 * @size: its size as the guest saw it
 * @decision: how it was taken: "full", "incremental", "rescan"
 * @reason: why so
 * @base: (nullable): the backup that this layer builds on
 * @links: how many layers a reader goes through, 1 for a full one
 * @read: read from the guest's disk
 * @stored: data held by this layer
 * @zeroed: recorded as zeros by this layer
 * @format: of the file: "qcow2"
 * @file: its name in the backup's directory
 * @sums: what its data can be verified by: "xxh3", or "none"
 *
 * One disk of a backup. Sizes are bytes.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_BACKUP_DISK (varve_backup_disk_get_type ())
typedef struct {
  const char *name;
  guint64 size;
  const char *decision;
  const char *reason;
  const char *base;
  guint links;
  guint64 read;
  guint64 stored;
  guint64 zeroed;
  const char *format;
  const char *file;
  const char *sums;
} VarveBackupDisk;

VARVE_API GType varve_backup_disk_get_type (void);

/**
 * varve_backup_disk_copy:
 * @disk: a disk
 *
 * Copies a disk with all its texts, for use when its backup is gone.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 0.1
 */
VARVE_API VarveBackupDisk *varve_backup_disk_copy (const VarveBackupDisk *disk);

/**
 * varve_backup_disk_free:
 * @disk: (nullable) (transfer full): a copy
 *
 * Frees what varve_backup_disk_copy() returned.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_disk_free (VarveBackupDisk *disk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveBackupDisk, varve_backup_disk_free)

/**
 * varve_store_open: (constructor)
 * @store: STORE, as on the command line: "images:DIR"
 *
 * Opens a store that exists.
 *
 * Errors: %VARVE_ERROR_USAGE, %VARVE_ERROR_NOT_FOUND, %VARVE_ERROR_STORE_UNREACHABLE,
 * %VARVE_ERROR_STORE_DAMAGED.
 *
 * Returns: (transfer full) (nullable): the store
 *
 * Since: 0.1
 */
VARVE_API VarveStore *varve_store_open (const char *store, GError **error);

/**
 * varve_store_get_uuid:
 *
 * Returns: (transfer none): the store's uuid
 *
 * Since: 0.1
 */
VARVE_API const char *varve_store_get_uuid (VarveStore *store);

/**
 * varve_store_list:
 * @domain: (nullable): only this domain's, by name or uuid
 * @out_problems: (out) (optional) (transfer container) (element-type utf8): directories whose
 * manifest cannot be read, each with the reason
 *
 * Lists backups, oldest first; those that are not complete do not exist.
 *
 * Returns: (transfer container) (element-type VarveBackup) (nullable): the backups
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_store_list (VarveStore *store, const char *domain,
                                       GPtrArray **out_problems, GCancellable *cancellable,
                                       GError **error);

/**
 * varve_store_find:
 * @backup: an id, DOMAIN\@latest, or DOMAIN\@TIME (the newest not later)
 *
 * Finds one backup.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND says what there is instead.
 *
 * Returns: (transfer full) (nullable): the backup
 *
 * Since: 0.1
 */
VARVE_API VarveBackup *varve_store_find (VarveStore *store, const char *backup,
                                         GCancellable *cancellable, GError **error);

/**
 * varve_nbdkit_plugin:
 *
 * The plugin by which nbdkit serves a backup of a store, read-only, over NBD: `nbdkit PLUGIN store=STORE backup=BACKUP
 * [disk=NAME]`, with whatever options and filters of nbdkit. It is not there where varve was built without it.
 *
 * Returns: (transfer full) (type filename): its path
 *
 * Since: 0.1
 */
VARVE_API char *varve_nbdkit_plugin (void);

/**
 * varve_store_verify:
 * @backup: (nullable): %NULL: all backups of the store, each layer once
 * @func: (nullable) (scope call): events
 * @out_problems: (out) (transfer container) (element-type utf8): what is wrong, each naming backup,
 * disk and offset; empty when all is well
 *
 * Checks every layer of a backup and of those it builds on: its image by `qemu-img check`, its
 * links, and every byte it holds against its sums.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND when the store does not have @backup any more.
 *
 * Returns: %TRUE when the check was made, whatever it found; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_store_verify (VarveStore *store, VarveBackup *backup, VarveEventFunc func,
                                       gpointer user_data, GPtrArray **out_problems,
                                       GCancellable *cancellable, GError **error);

/**
 * varve_backup_get_id:
 *
 * Returns: (transfer none): its id
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_id (VarveBackup *backup);

/**
 * varve_backup_get_domain:
 *
 * Returns: (transfer none): the domain's name
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_domain (VarveBackup *backup);

/**
 * varve_backup_get_uuid:
 *
 * Returns: (transfer none): the domain's uuid
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_uuid (VarveBackup *backup);

/**
 * varve_backup_get_owner:
 *
 * Returns: (transfer none): whose checkpoints it used
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_owner (VarveBackup *backup);

/**
 * varve_backup_get_checkpoint:
 *
 * Returns: (transfer none) (nullable): the checkpoint made with it
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_checkpoint (VarveBackup *backup);

/**
 * varve_backup_get_time:
 *
 * Returns: the instant, seconds since the epoch
 *
 * Since: 0.1
 */
VARVE_API gint64 varve_backup_get_time (VarveBackup *backup);

/**
 * varve_backup_get_consistency:
 *
 * Returns: (transfer none): "crash", "file-systems" or "off"
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_consistency (VarveBackup *backup);

/**
 * varve_backup_get_directory:
 *
 * Returns: (type filename) (transfer none): absolute path of its directory
 *
 * Since: 0.1
 */
VARVE_API const char *varve_backup_get_directory (VarveBackup *backup);

/**
 * varve_backup_get_manifest:
 *
 * Returns: (transfer full) (nullable): the manifest's text
 *
 * Since: 0.1
 */
VARVE_API char *varve_backup_get_manifest (VarveBackup *backup, GError **error);

/**
 * varve_backup_get_disks:
 *
 * Returns: (transfer none) (element-type VarveBackupDisk): its disks, which belong to it
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_backup_get_disks (VarveBackup *backup);

G_END_DECLS
