/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/sample.h"

#include <string.h>

#include "util/checked.h"
#include "util/error.h"

/* How much of the map around a random place is looked at for a clean granule. */
#define WINDOW (64ull << 20)

/* A clean, whole granule in the window at @at; false when there is none. */
static bool
pick (BlockSource *snapshot, uint64_t at, uint64_t limit, uint64_t *out_offset, bool *out_found,
      GError **error)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  uint64_t length = MIN (WINDOW, limit - at);

  *out_found = false;
  if (!block_source_extents (snapshot, at, length, map, error))
    return false;
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    uint64_t start = varve_round_up (extent->offset, VARVE_SAMPLE_GRANULE);

    if (extent->state != VARVE_EXTENT_CLEAN ||
        start + VARVE_SAMPLE_GRANULE > extent->offset + extent->length)
      continue;
    *out_offset = start;
    *out_found = true;
    return true;
  }
  return true;
}

static bool
same (BlockSource *snapshot, BlockSource *base, uint64_t offset, bool *out_same, GError **error)
{
  g_autofree uint8_t *a = g_malloc (VARVE_SAMPLE_GRANULE);
  g_autofree uint8_t *b = g_malloc (VARVE_SAMPLE_GRANULE);

  if (!block_source_read (snapshot, offset, a, VARVE_SAMPLE_GRANULE, error) ||
      !block_source_read (base, offset, b, VARVE_SAMPLE_GRANULE, error))
    return false;
  *out_same = memcmp (a, b, VARVE_SAMPLE_GRANULE) == 0;
  return true;
}

bool
varve_sample_clean (BlockSource *snapshot, BlockSource *base, uint64_t seed, char **out_why,
                    GError **error)
{
  g_autoptr (GRand) random = g_rand_new_with_seed ((guint32)(seed ^ (seed >> 32)));
  uint64_t limit = varve_round_down (MIN (snapshot->size, base->size), VARVE_SAMPLE_GRANULE);

  *out_why = NULL;
  for (unsigned i = 0; limit > 0 && i < VARVE_SAMPLE_GRANULES; i++) {
    uint64_t granules = limit / VARVE_SAMPLE_GRANULE;
    uint64_t at = (uint64_t)(g_rand_double (random) * (double)granules) * VARVE_SAMPLE_GRANULE;
    uint64_t offset = 0;
    bool found, equal;

    if (!pick (snapshot, MIN (at, limit - VARVE_SAMPLE_GRANULE), limit, &offset, &found, error))
      return false;
    if (!found)
      continue;
    if (!same (snapshot, base, offset, &equal, error))
      return varve_prefix (error, "The clean sample at offset %" G_GUINT64_FORMAT, offset);
    if (!equal) {
      *out_why = g_strdup_printf ("the bitmap calls offset %" G_GUINT64_FORMAT
                                  " unchanged, and it differs from the base",
                                  offset);
      return true;
    }
  }
  return true;
}
