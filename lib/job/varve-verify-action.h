/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"

G_BEGIN_DECLS

/**
 * VarveVerifyAction:
 *
 * One `<verify>` of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_VERIFY_ACTION (varve_verify_action_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveVerifyAction, varve_verify_action, VARVE, VERIFY_ACTION, GObject)

/**
 * varve_verify_action_set_name:
 * @name: (nullable): the name
 *
 * Names the action, for `varve run --only`.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_name (VarveVerifyAction *action, const char *name);

/**
 * varve_verify_action_set_boot:
 * @timeout: seconds that it has for a sign of life, 1 to 86400; 0: 300
 *
 * Has the backup started, instead of its sums compared: as a machine without a network, whose writes
 * are thrown away. Needs a backup, and QEMU and nbdkit on this host. The sign is an answer of the guest agent, unless another
 * is set.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_boot (VarveVerifyAction *action, guint timeout);

/**
 * varve_verify_action_set_console:
 * @text: (nullable): the text, in one line
 *
 * The sign of life is this text on the first serial console.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_console (VarveVerifyAction *action, const char *text);

/**
 * varve_verify_action_set_mounted:
 * @mountpoint: (nullable): as the guest names it: "/srv", "C:\\"
 *
 * The sign of life is that the guest agent says that a file system is mounted here.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_mounted (VarveVerifyAction *action, const char *mountpoint);

/**
 * varve_verify_action_set_screenshot:
 * @path: (type filename) (nullable): absolute path, which is overwritten; %NULL: below the state
 * directory
 *
 * Where the last picture of the machine's screen is kept.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_screenshot (VarveVerifyAction *action, const char *path);

/**
 * varve_verify_action_set_memory:
 * @bytes: at least 16 MiB; 0, the default: as much as the domain had
 *
 * How much memory the machine gets.
 *
 * Since: 0.1
 */
VARVE_API void varve_verify_action_set_memory (VarveVerifyAction *action, guint64 bytes);

G_END_DECLS
