/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"

G_BEGIN_DECLS

/**
 * VarveExport:
 *
 * An export session that lives in a process of its own: disks of a domain as they were at one
 * instant, served over NBD, and a checkpoint that is kept or dropped when it ends. A run of a
 * job with a VarveExportAction begins one.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EXPORT (varve_export_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveExport, varve_export, VARVE, EXPORT, GObject)

/**
 * VarveExportDisk:
 * @name: the disk's name
 * @size: bytes
 * @uri: the NBD URI to read it at
 * @export_name: the export in it
 * @contexts: (array zero-terminated=1): NBD metadata contexts that there are
 * @dirty_context: (nullable): the one of them that tells what changed since the checkpoint that
 *   was named; %NULL: the disk is to be read in full
 * @decision: "full" or "incremental"
 * @reason: why so
 * @checkpoint: whether the new checkpoint is on this disk
 *
 * One disk of a session.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EXPORT_DISK (varve_export_disk_get_type ())
typedef struct {
  char *name;
  guint64 size;
  char *uri;
  char *export_name;
  char **contexts;
  char *dirty_context;
  char *decision;
  char *reason;
  gboolean checkpoint;
} VarveExportDisk;

/**
 * varve_export_disk_get_type:
 *
 * Returns: the boxed type.
 *
 * Since: 0.1
 */
VARVE_API GType varve_export_disk_get_type (void);
/**
 * varve_export_disk_copy:
 * @disk: a disk
 *
 * Returns: (transfer full): a copy.
 *
 * Since: 0.1
 */
VARVE_API VarveExportDisk *varve_export_disk_copy (const VarveExportDisk *disk);
/**
 * varve_export_disk_free:
 * @disk: (nullable) (transfer full): a disk
 *
 * Frees a copy; %NULL is fine.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_disk_free (VarveExportDisk *disk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportDisk, varve_export_disk_free)

/**
 * VarveExportState:
 * @VARVE_EXPORT_STATE_SERVING: its disks can be read
 * @VARVE_EXPORT_STATE_BROKEN: the view was lost, for the reason that varve_export_get_trouble() gives;
 *   the checkpoint is dropped, what was read is to be thrown away
 * @VARVE_EXPORT_STATE_DEAD: its process has died; what is left of it is on record, and can be ended
 *
 * What a session is doing.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EXPORT_STATE (varve_export_state_get_type ())
typedef enum {
  VARVE_EXPORT_STATE_SERVING,
  VARVE_EXPORT_STATE_BROKEN,
  VARVE_EXPORT_STATE_DEAD,
} VarveExportState;

VARVE_API GType varve_export_state_get_type (void);

/**
 * varve_export_list:
 * @state_directory: (type filename) (nullable): as for varve_run_set_state_directory()
 *
 * The sessions of this host.
 *
 * Returns: (transfer container) (element-type VarveExport) (nullable): the sessions, in no order
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_export_list (const char *state_directory, GError **error);

/**
 * varve_export_find:
 * @state_directory: (type filename) (nullable): as for varve_run_set_state_directory()
 * @session: its id
 *
 * One session.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND: it has ended, or never was.
 *
 * Returns: (transfer full) (nullable): the session
 *
 * Since: 0.1
 */
VARVE_API VarveExport *varve_export_find (const char *state_directory, const char *session,
                                          GError **error);

/**
 * varve_export_end:
 * @keep: %FALSE: drop the checkpoint
 *
 * Ends a session, whatever its readers do. With @keep, what was read counts only when this
 * succeeds: then the view was whole until now, and the checkpoint stays.
 *
 * Errors: %VARVE_ERROR_SOURCE_LOST where the checkpoint was to be kept and the view was lost:
 *   the session has ended and the checkpoint is dropped.
 *
 * Returns: %TRUE when nothing of the session is left; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_export_end (VarveExport *session, gboolean keep, GCancellable *cancellable,
                                     GError **error);

/**
 * varve_export_get_id:
 *
 * Returns: (transfer none): its id.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_id (VarveExport *session);
/**
 * varve_export_get_domain:
 *
 * Returns: (transfer none): the domain's name.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_domain (VarveExport *session);
/**
 * varve_export_get_owner:
 *
 * Returns: (transfer none): whose checkpoints.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_owner (VarveExport *session);
/**
 * varve_export_get_checkpoint:
 *
 * Returns: (transfer none) (nullable): the new checkpoint's name.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_checkpoint (VarveExport *session);
/**
 * varve_export_get_since:
 *
 * Returns: (transfer none) (nullable): the checkpoint that the changes are told since.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_since (VarveExport *session);
/**
 * varve_export_get_started:
 *
 * Returns: the instant, seconds since the epoch.
 *
 * Since: 0.1
 */
VARVE_API gint64 varve_export_get_started (VarveExport *session);
/**
 * varve_export_get_expires:
 *
 * Returns: when it ends by itself, seconds since the epoch.
 *
 * Since: 0.1
 */
VARVE_API gint64 varve_export_get_expires (VarveExport *session);
/**
 * varve_export_get_consistency:
 *
 * Returns: (transfer none) (nullable): what the disks are consistent as at the instant, as in
 *   varve-export(1): "off", "file-systems" (frozen by the guest agent), or "crash"; %NULL where
 *   its process died and left nobody who knows.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_consistency (VarveExport *session);
/**
 * varve_export_get_state:
 *
 * Returns: what it was doing when it was looked up.
 *
 * Since: 0.1
 */
VARVE_API VarveExportState varve_export_get_state (VarveExport *session);
/**
 * varve_export_get_trouble:
 *
 * Returns: (transfer none) (nullable): why it is broken.
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_trouble (VarveExport *session);
/**
 * varve_export_get_path:
 *
 * Returns: (type filename) (transfer none): the file with varve_export_to_json().
 *
 * Since: 0.1
 */
VARVE_API const char *varve_export_get_path (VarveExport *session);

/**
 * varve_export_get_notes:
 *
 * How what is promised is weaker than the best, and what went wrong.
 *
 * Returns: (transfer none) (element-type utf8): sentences
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_export_get_notes (VarveExport *session);

/**
 * varve_export_get_disks:
 *
 * Its disks.
 *
 * Returns: (transfer none) (element-type VarveExportDisk): the disks
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_export_get_disks (VarveExport *session);

/**
 * varve_export_to_json:
 *
 * Returns: (transfer full): all of it, in one line; see varve-export(1).
 *
 * Since: 0.1
 */
VARVE_API char *varve_export_to_json (VarveExport *session);
/**
 * varve_export_to_xml:
 *
 * Returns: (transfer full): all of it, as XML.
 *
 * Since: 0.1
 */
VARVE_API char *varve_export_to_xml (VarveExport *session);

G_END_DECLS
