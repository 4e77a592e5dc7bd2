/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files of the guest become files here: with their times, the permissions of mode 0777, and symbolic links as they are,
 * of whoever runs this. Nothing is written outside of the target, whatever names and links the guest has: all is made
 * relative to directories that are open, and no link is followed. A file has its name when it is complete. */
#pragma once

#include "files/guest.h"

typedef struct {
  char *directory; /* where something is made; exists */
  char *name;      /* of what is made there */
  bool force;      /* replaces what is there by that name */
} Target;

/* What "--to TO" means for the file or directory @path: in TO, where that is a directory, or else that name. Refuses
 * what exists unless @force, before anything was done. @among: there are several paths, so TO must be a directory. */
bool target_init (Target *target, const char *path, const char *to, bool among, bool force,
                  GError **error);
void target_clear (Target *target);

/* @path with all that is in it. What cannot be read is told, and left out: VARVE_ERROR_PARTIAL. */
bool extract_path (Guest *guest, const char *path, const Target *target, GError **error);
/* To stdout: the bytes of a file, or a tar archive of what is in a directory. */
bool extract_stream (Guest *guest, const char *path, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Target, target_clear)
