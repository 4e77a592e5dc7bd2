/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What must be true of two tiny disks and their checkpoints: the disks as they are, and for each
 * checkpoint the whole disks as they were at its instant. Knows nothing of bitmaps but whether there
 * has to be one. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

#define BLOCK  65536u
#define BLOCKS 32u
#define SIZE   (BLOCK * BLOCKS)
#define DISKS  2u

static const char *const disk_names[DISKS] = { "vda", "vdb" };

/* A checkpoint. */
typedef struct {
  char *name;
  GBytes *image[DISKS]; /* NULL: it has no bitmap there that could be read by */
  bool foreign;         /* of an older tool: it makes up a chain with those that came later */
  bool disabled;        /* … and no longer records */
} Point;

typedef struct {
  guint8 *now[DISKS];
  GPtrArray *points; /* of Point, oldest first */
  GHashTable *noise; /* names of bitmaps that are there and of no use */
  unsigned counter;  /* of names */
} Model;

Model *model_new (void);
void model_free (Model *model);

void model_write (Model *model, unsigned disk, unsigned offset, unsigned length, guint8 pattern);
/* The disk as it is now. (transfer full) */
GBytes *model_image (const Model *model, unsigned disk);

/* A new name: "varve.…" or, @foreign, another. (transfer full) */
char *model_name (Model *model, bool foreign);
/* A checkpoint of this moment, on the disks of @mask. Belongs to the model. */
Point *model_add (Model *model, const char *name, unsigned mask);
Point *model_find (const Model *model, const char *name);
void model_remove (Model *model, const char *name);
/* The bitmap on one disk is no longer to be read by; the point goes with its last. */
void model_drop (Model *model, Point *point, unsigned disk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Model, model_free)
