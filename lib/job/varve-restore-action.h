/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"

G_BEGIN_DECLS

/**
 * VarveRestoreAction:
 *
 * One `<restore>` of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_RESTORE_ACTION (varve_restore_action_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveRestoreAction, varve_restore_action, VARVE, RESTORE_ACTION, GObject)

/**
 * varve_restore_action_set_name:
 * @name: (nullable): the name
 *
 * Names the action, for `varve run --only`.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_name (VarveRestoreAction *action, const char *name);

/**
 * varve_restore_action_add_disk:
 * @name: the disk's name in the backup
 * @path: (type filename): the target, or the URI of an NBD export
 * @format: (nullable): "raw" (so also for %NULL) or "qcow2"
 *
 * Restores one disk to a file, a block device or an NBD export.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_add_disk (VarveRestoreAction *action, const char *name,
                                              const char *path, const char *format);

/**
 * varve_restore_action_set_directory:
 * @directory: (type filename): absolute path
 * @format: (nullable): "raw" (so also for %NULL) or "qcow2"
 *
 * Restores every disk that is not named to DISK.FORMAT in @directory.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_directory (VarveRestoreAction *action,
                                                   const char *directory, const char *format);

/**
 * varve_restore_action_set_define:
 * @name: the new domain's name, which no other has
 * @uri: where: a libvirt on this host, such as qemu:///system
 *
 * Defines a domain with the disks that are restored, by the definition that the backup keeps.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_define (VarveRestoreAction *action, const char *name,
                                                const char *uri);

/**
 * varve_restore_action_set_instant:
 * @instant: %TRUE: the guest runs at once, on disks that are filled meanwhile
 * @uri: (nullable): a bare QEMU that was started with -S, qmp+unix:///PATH, whose guest it is; %NULL: that of the domain
 * of varve_restore_action_set_define()
 * @speed: bytes per second that the disks are filled at, all together; 0: no limit
 *
 * Has a guest run at once on the disks that are restored: new files of format qcow2. A domain that is defined under the name
 * that it had is that domain again, with its uuid and MAC addresses; its next backup is an increment.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_instant (VarveRestoreAction *action, gboolean instant,
                                                 const char *uri, guint64 speed);

/**
 * varve_restore_action_set_force:
 * @force: %TRUE: they are
 *
 * Whether existing files and devices are overwritten.
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_force (VarveRestoreAction *action, gboolean force);

/**
 * varve_restore_action_set_over:
 * @over: %TRUE: they are
 *
 * Whether existing files, devices and exports are written over in place: they are read, and only what
 * differs is written. Not together with varve_restore_action_set_force().
 *
 * Since: 0.1
 */
VARVE_API void varve_restore_action_set_over (VarveRestoreAction *action, gboolean over);

G_END_DECLS
