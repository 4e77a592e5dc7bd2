/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files that survive a power cut: what is written is synced, and so is the directory that names it.
 * All paths are absolute or relative to the working directory; nothing here follows a policy. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <gio/gio.h>

/* Writes a temporary file beside @path, syncs it, renames it over @path, syncs the directory. */
bool varve_durable_replace (const char *path, const char *data, size_t length, int mode,
                            GError **error);

/* As above, but an existing @path is an error (VARVE_ERROR_EXISTS) and is left alone. */
bool varve_durable_create (const char *path, const char *data, size_t length, int mode,
                           GError **error);

/* Removes @path (no error when it is not there) and syncs its directory. */
bool varve_durable_unlink (const char *path, GError **error);

bool varve_sync_path (const char *path, GError **error); /* file or directory */
bool varve_sync_parent (const char *path, GError **error);

/* rename(2) that never replaces (VARVE_ERROR_EXISTS), then syncs the parent of @to. */
bool varve_rename_noreplace (const char *from, const char *to, GError **error);

/* mkdir -p. Directories that are made get @mode. */
bool varve_make_directories (const char *path, int mode, GError **error);

/* rm -r of a tree that is ours; does not follow links, and does not leave the file system. */
bool varve_remove_tree (const char *path, GError **error);

/* Reads a whole file of at most @max bytes; VARVE_ERROR_FAILED names the path otherwise. */
bool varve_read_file (const char *path, size_t max, char **out_data, size_t *out_length,
                      GError **error);
