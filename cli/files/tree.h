/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files of the guest, and what is known of them. Names are whatever bytes a file system has: they are made fit for
 * people and terminals where they are shown, and only there. */
#pragma once

#include "files/guest.h"

typedef struct {
  char *name; /* in its directory; never a way out of one */
  guint32 mode;
  guint32 uid, gid;
  guint64 size;
  struct timespec accessed, modified;
  char *target; /* of a symbolic link; NULL: it is none */
} Entry;

/* What is at @path; a symbolic link there is followed. VARVE_ERROR_NOT_FOUND. */
Entry *tree_look (Guest *guest, const char *path, GError **error);
/* What is in the directory @path, in order: an array that owns its entries. */
GPtrArray *tree_read (Guest *guest, const char *path, GError **error);
/* The bytes of a file, or a tar archive of what is in a directory, into @fd, which is a file of ours that is empty, or a pipe.
 * VARVE_ERROR_NO_SPACE: it takes no more. */
bool tree_copy (Guest *guest, const char *path, int fd, GError **error);
bool tree_archive (Guest *guest, const char *path, int fd, GError **error);
void entry_free (Entry *entry);

/* "file", "directory", "symlink", … */
const char *entry_type (const Entry *entry);
/* @name without what a terminal would obey, and valid as UTF-8: such bytes as in C, "\033". (transfer full) */
char *tree_printable (const char *name);
/* (transfer full) */
char *tree_join (const char *directory, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Entry, entry_free)
