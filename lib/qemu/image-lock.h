/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QEMU's locks on an image file or device, for where no QEMU takes or looks at them for us: a raw
 * image that is only read shares it with writers, and a file that is replaced is opened by no QEMU.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

/* Keeps every QEMU from opening the image for writing, until the descriptor in @out_fd is closed.
 * VARVE_ERROR_BUSY when one has it open so already. @out_fd is -1 on a file system that has no such
 * locks: there QEMU has none, too. */
bool varve_image_lock (const char *path, int *out_fd, GError **error);

/* VARVE_ERROR_BUSY when any QEMU, or one of its tools, has the file open, for reading too. */
bool varve_image_check_unused (const char *path, GError **error);
