/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a qcow2 header says of bitmaps, read by ourselves: an image that a running QEMU holds is looked
 * into a few times in each backup, and a process for that costs more than a small backup. */
#pragma once

#include "qemu/qemu-img.h"

/* As varve_image_info (shared), of which only format, cluster_size, can_persist and bitmaps are
 * filled. What is not understood here is left to qemu-img. */
VarveImageInfo *varve_image_bitmaps (const VarveImage *image, GCancellable *cancellable,
                                     GError **error);

/* The part of it that is read here: NULL, with an error that nobody need see, where it cannot be. */
VarveImageInfo *varve_bitmap_directory_read (const char *path, GError **error);
