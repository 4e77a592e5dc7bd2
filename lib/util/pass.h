/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The right of one other user to pass through a directory (x, neither r nor w): an entry of its ACL, for a QEMU that
 * runs as a user of its own and is to reach a file in directories that are otherwise closed to it. The file itself is
 * given separately. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <gio/gio.h>

/* Nothing is changed where everybody may pass. Other rights, of this user and of others, stay as they are.
 * VARVE_ERROR_UNSUPPORTED: the file system keeps no ACLs. */
bool varve_pass_allow (const char *directory, uid_t uid, GError **error);
/* The same for all directories from @root on the way to @path, which lies below it; those above @root are not looked at. */
bool varve_pass_allow_way (const char *root, const char *path, uid_t uid, GError **error);
/* The directory's ACL goes, with all its entries, and its mode is @mode. */
bool varve_pass_forget (const char *directory, mode_t mode, GError **error);
