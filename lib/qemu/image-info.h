/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What qemu-img says of an image, read; and the chain of images below one. */
#pragma once

#include "qemu/qemu-img.h"

/* Knows nothing yet but its format. */
VarveImageInfo *varve_image_info_new (const char *format);
/* From the output of `qemu-img info --output=json`. */
VarveImageInfo *varve_image_info_parse (const char *path, const char *text, GError **error);

/* One image of a chain. */
typedef struct {
  VarveImage *image; /* by absolute path */
  VarveImageInfo *info;
} VarveImageLayer;

/* @top and all that lies below it, as the headers record it, top first: a GPtrArray of
 * VarveImageLayer (transfer full). @info is that of @top, or NULL, and it is read. VARVE_ERROR_REFUSED where a header names a file without its
 * format, which QEMU would have to guess; VARVE_ERROR_UNSUPPORTED where it names something else
 * than a local file. The key of
 * @top is that of every encrypted layer. */
GPtrArray *varve_image_chain (const VarveImage *top, VarveImageInfo *info, bool shared,
                              GCancellable *cancellable, GError **error);
/* @image alone, as a chain of one. */
GPtrArray *varve_image_single (const VarveImage *image, VarveImageInfo *info, bool shared,
                               GCancellable *cancellable, GError **error);
