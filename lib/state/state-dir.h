/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The host's state directory (by default VARVE_STATE_DIR of the build, or the environment's
 * VARVE_STATE_DIR): locks/, sessions/, scratch/, sockets/, exports/, screenshots/. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

typedef struct VarveStateDir VarveStateDir;

/* @path NULL: as said above. Makes what is missing; refuses (VARVE_ERROR_REFUSED) a directory that
 * belongs to another user than us and root, or that everybody may write to. */
VarveStateDir *varve_state_dir_open (const char *path, GError **error);
void varve_state_dir_free (VarveStateDir *dir);
const char *varve_state_dir_path (const VarveStateDir *dir);
/* Absolute path of @name in the subdirectory @kind ("scratch" …). (transfer full) */
char *varve_state_dir_file (const VarveStateDir *dir, const char *kind, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStateDir, varve_state_dir_free)
