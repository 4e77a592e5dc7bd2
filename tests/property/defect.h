/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Defects that varve must not have, made by hand behind its back: a test that does not find them is
 * none. */
#pragma once

#include "world.h"

typedef enum {
  DEFECT_NONE,
  DEFECT_MERGE,  /* one bitmap is left out of a merge */
  DEFECT_RESTART /* bitmaps that a kill left behind are taken for sound by the next who opens them */
} Defect;

/* "none", "merge", "restart". */
bool defect_parse (const char *text, Defect *out);

/* Bitmap @name of vda knows nothing any more, and is otherwise as it was. */
void defect_empty (World *world, const char *name, bool disabled);
/* The flags "in use" of the bitmaps in the images of a machine that is off, cleared. */
void defect_call_sound (World *world);
