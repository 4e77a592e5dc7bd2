/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files that survive a power cut: what is written is synced, and so is the directory that names it.
 * All paths are absolute or relative to the working directory; nothing here follows a policy. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <gio/gio.h>

/* Writes a temporary file (.NAME.tmp-XXXXXX) beside @path, syncs it, renames it over @path, syncs
 * the directory. A kill can leave the temporary file; whoever lists the directory removes it. @mode
 * is taken as it is, without the umask. */
bool varve_durable_replace (const char *path, const char *data, size_t length, int mode,
                            GError **error);

/* As above, but an existing @path is an error (VARVE_ERROR_EXISTS) and is left alone. */
bool varve_durable_create (const char *path, const char *data, size_t length, int mode,
                           GError **error);

/* A new file (VARVE_ERROR_EXISTS otherwise), written and synced; its name is not: for a directory that is
 * synced as a whole later. */
bool varve_write_synced (const char *path, const char *data, size_t length, int mode,
                         GError **error);

/* Removes @path (no error when it, or its directory, is not there) and syncs its directory. */
bool varve_durable_unlink (const char *path, GError **error);

bool varve_sync_path (const char *path, GError **error); /* file or directory */
bool varve_sync_parent (const char *path, GError **error);

/* rename(2) that never replaces (VARVE_ERROR_EXISTS), then syncs the parent of @to. On file systems
 * that cannot do it in one call (NFS), a kill can leave @to as a second link, or as an empty
 * directory. Any other error than EXISTS may mean that it was renamed and not synced. */
bool varve_rename_noreplace (const char *from, const char *to, GError **error);

/* mkdir -p. Directories that are made get @mode, without the umask, and are synced into their
 * parents. */
bool varve_make_directories (const char *path, int mode, GError **error);

/* rm -r of a tree that is ours; does not follow links, and stops at another file system or mount
 * with VARVE_ERROR_REFUSED. No error when @path is not there. */
bool varve_remove_tree (const char *path, GError **error);

/* Reads a whole regular file of at most @max bytes; a NUL that @out_length does not count follows
 * them. VARVE_ERROR_NOT_FOUND when it is not there, VARVE_ERROR_FAILED otherwise. */
bool varve_read_file (const char *path, size_t max, char **out_data, size_t *out_length,
                      GError **error);
