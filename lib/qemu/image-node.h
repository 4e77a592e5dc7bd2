/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How QEMU is told to open an image: always as JSON (blockdev-add, or the json: file names of
 * qemu-img), so that no character of a file name means anything, with every driver spelt out, so
 * that nothing is probed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <json-glib/json-glib.h>

#include "qemu/qemu-img.h"

typedef struct {
  const char *node_name; /* or NULL */
  const char *secret;    /* id of the secret object that opens it, or NULL */
  JsonObject *backing;   /* (transfer full) NULL: without backing */
  bool writable;
  bool unlocked;          /* file driver with locking off; only for reading */
  uint64_t l2_cache_size; /* of a qcow2; 0: QEMU's default */
} VarveNodeOptions;

/* What blockdev-add takes. (transfer full) */
JsonObject *varve_image_node (const VarveImage *image, const VarveNodeOptions *options);
/* The same as one "json:…" file name. (transfer full) */
char *varve_image_node_name (const VarveImage *image, const VarveNodeOptions *options);

/* Whether images of @format can have a backing file at all. */
bool varve_format_has_backing (const char *format);

/* Whether QEMU's words say that another process holds an image. */
bool varve_is_lock_failure (const char *words);
/* Turns such words into VARVE_ERROR_BUSY that names @path, after the text of what was being done.
 */
bool varve_throw_locked (GError **error, const char *path, const char *doing, const char *words);
