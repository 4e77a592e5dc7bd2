/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is printed of disks, file systems and files. */
#pragma once

#include "files/guest.h"

/* The disks of @backup that are in the guest, with their file systems and operating systems. */
bool list_volumes (Guest *guest, VarveBackup *backup, GError **error);
/* A directory or file; with a line of its own above it where @headed. */
bool list_path (Guest *guest, const char *path, bool headed, GError **error);
