/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Extents: ranges of bytes with one state. A list is sorted, without overlap, and coalesced:
 * neighbours of the same state are one extent. What a list does not cover is not stated. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

typedef enum {
  VARVE_EXTENT_DATA,  /* must be read */
  VARVE_EXTENT_ZERO,  /* reads as zeros: need not be read, must be recorded */
  VARVE_EXTENT_CLEAN, /* unchanged since the base (incremental), or not held by this layer */
} VarveExtentState;

typedef struct {
  uint64_t offset;
  uint64_t length;
  VarveExtentState state;
} VarveExtent;

typedef struct {
  GArray *items; /* of VarveExtent */
} VarveExtents;

VarveExtents *varve_extents_new (void);
void varve_extents_free (VarveExtents *extents);
void varve_extents_clear (VarveExtents *extents);

/* Appends; @offset must not lie before the end of the last extent (programming error otherwise). A
 * length of 0 is ignored. Coalesces with the last extent where state and position allow. */
void varve_extents_append (VarveExtents *extents, uint64_t offset, uint64_t length,
                           VarveExtentState state);

size_t varve_extents_count (const VarveExtents *extents);
const VarveExtent *varve_extents_get (const VarveExtents *extents, size_t i);

/* Sum of the lengths of all extents in @state. */
uint64_t varve_extents_bytes (const VarveExtents *extents, VarveExtentState state);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExtents, varve_extents_free)
