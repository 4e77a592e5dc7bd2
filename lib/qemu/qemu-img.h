/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The qemu-img program, for what is short: describe, create, add or remove a bitmap, check. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* A file with the format that its owner vouches for: never probed, as a guest could write a header
 * that names a file of the host. */
typedef struct {
  char *path;
  char *format;   /* "qcow2", "raw", "luks" … */
  char *key_file; /* LUKS passphrase file, or NULL */
} VarveImage;

VarveImage *varve_image_new (const char *path, const char *format, const char *key_file);
VarveImage *varve_image_copy (const VarveImage *image);
void varve_image_free (VarveImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveImage, varve_image_free)

typedef struct {
  char *name;
  uint32_t granularity;
  bool recording;    /* flag "auto" */
  bool inconsistent; /* flag "in-use": said truly only of an image that nobody has open for writing
                      */
} VarveImageBitmap;

typedef struct {
  char *format;
  uint64_t size;         /* virtual, bytes */
  uint64_t cluster_size; /* 0 where the format has none */
  uint64_t allocated;    /* bytes on disk */
  bool encrypted;
  bool can_persist;   /* qcow2 version 3: can hold bitmaps */
  char *backing_file; /* as in the header, or NULL */
  char *backing_format;
  char *full_backing_file; /* resolved against the image's directory */
  GPtrArray *bitmaps;      /* of VarveImageBitmap */
} VarveImageInfo;

/* All of these open @image and nothing below it. One that is not there is VARVE_ERROR_NOT_FOUND,
 * one that a running QEMU has locked is VARVE_ERROR_BUSY. What writes is not cancelled once it has
 * begun: half a change would cost the image all its bitmaps. */

/* Reads the header, without a lock conflict (-U) when @shared. */
VarveImageInfo *varve_image_info (const VarveImage *image, bool shared, GCancellable *cancellable,
                                  GError **error);
/* One more owner of it, who changes nothing; each frees it. */
VarveImageInfo *varve_image_info_ref (VarveImageInfo *info);
void varve_image_info_free (VarveImageInfo *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveImageInfo, varve_image_info_free)

/* Makes the file (0600), which must not exist yet or be empty (VARVE_ERROR_EXISTS), or writes onto
 * a block device. A relative @backing_file is meant from the image's directory, one that begins with "json:" is no file,
 * and not looked for; its format is mandatory. */
bool varve_image_create (const VarveImage *image, uint64_t size, const char *backing_file,
                         const char *backing_format, GCancellable *cancellable, GError **error);
/* An image that cannot hold bitmaps is VARVE_ERROR_UNSUPPORTED; a name that is there already is
 * VARVE_ERROR_EXISTS, one that is not there to be removed or merged is VARVE_ERROR_NOT_FOUND.
 * @granularity 0 is QEMU's default. */
bool varve_image_bitmap_add (const VarveImage *image, const char *name, uint32_t granularity,
                             GCancellable *cancellable, GError **error);
bool varve_image_bitmap_remove (const VarveImage *image, const char *name,
                                GCancellable *cancellable, GError **error);
bool varve_image_bitmap_merge (const VarveImage *image, const char *into, const char *from,
                               GCancellable *cancellable, GError **error);
/* qemu-img check; anything wrong is VARVE_ERROR_STORE_DAMAGED with its words. Leaks alone are not.
 */
bool varve_image_check (const VarveImage *image, GCancellable *cancellable, GError **error);
