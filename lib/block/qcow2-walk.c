/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Every entry of an L2 table is checked when it is met, and only then: damage costs those who ask
 * for it.
 *
 *   L2 entry   63      COPIED: says nothing to a reader
 *              62      compressed: all else is another, see qcow2-packed.h
 *              61-56   reserved
 *              55-9    host offset
 *              8-1     reserved
 *              0       zeros
 */
#include "config.h"
#include "block/qcow2-walk.h"

#include "block/qcow2-packed.h"
#include "util/checked.h"
#include "util/error.h"

#define ENTRY_COPIED     (UINT64_C (1) << 63)
#define ENTRY_COMPRESSED (UINT64_C (1) << 62)
#define ENTRY_RESERVED   UINT64_C (0x3f000000000001fe)
#define ENTRY_HOST       UINT64_C (0x00fffffffffffe00)
#define ENTRY_ZERO       UINT64_C (1)

typedef struct {
  const BlockQcow2Link *link;
  BlockQcow2Cache *cache;
  uint32_t number; /* of the link */
  bool places;
  GArray *out;
} Walk;

static void
append (GArray *pieces, BlockQcow2Piece piece, bool places)
{
  if (piece.length == 0)
    return;
  if (pieces->len > 0) {
    BlockQcow2Piece *last = &g_array_index (pieces, BlockQcow2Piece, pieces->len - 1);
    bool joined = !places || piece.kind == BLOCK_QCOW2_GAP || piece.kind == BLOCK_QCOW2_ZERO ||
                  (piece.kind == BLOCK_QCOW2_DATA && piece.link == last->link &&
                   piece.host == last->host + last->length);
    if (piece.kind == last->kind && joined) {
      last->length += piece.length;
      return;
    }
  }
  g_array_append_val (pieces, piece);
}

static void
put (Walk *walk, BlockQcow2Kind kind, uint64_t guest, uint64_t end, uint64_t host)
{
  BlockQcow2Piece piece = {
    .guest = guest, .length = end - guest, .host = host, .link = walk->number, .kind = kind
  };

  append (walk->out, piece, walk->places);
}

static bool
check_entry (const Walk *walk, uint64_t entry, uint64_t guest, GError **error)
{
  const BlockQcow2Link *link = walk->link;
  uint64_t host = entry & ENTRY_HOST, cluster = link->header.cluster_size;
  /* The file need not go on to the end of a cluster of which the guest sees only a part. */
  uint64_t seen = MIN (cluster, link->header.size - varve_round_down (guest, cluster));

  if ((entry & ENTRY_COMPRESSED) != 0)
    return block_qcow2_packed_check (link, entry, guest, error);
  if ((entry & ENTRY_RESERVED) != 0 || (host & (cluster - 1)) != 0 ||
      (host == 0 && (entry & ENTRY_COPIED) != 0))
    return block_qcow2_link_damaged (link, guest, "its L2 entry has impossible bits", error);
  if (host != 0 && !block_qcow2_link_holds (link, host, (entry & ENTRY_ZERO) != 0 ? 1 : seen))
    return block_qcow2_link_damaged (link, guest, "its data has an impossible place", error);
  return true;
}

/* [from, to) lies in @slice. */
static bool
walk_slice (Walk *walk, const BlockQcow2Slice *slice, uint64_t from, uint64_t to, GError **error)
{
  uint32_t bits = walk->link->header.cluster_bits;
  size_t mask = slice->length - 1;

  while (from < to) {
    uint64_t entry = GUINT64_FROM_BE (slice->entries[(from >> bits) & mask]);
    uint64_t start = varve_round_down (from, UINT64_C (1) << bits);
    uint64_t end = MIN (start + (UINT64_C (1) << bits), to);

    if (entry == 0) {
      put (walk, BLOCK_QCOW2_GAP, from, end, 0);
    } else if (!check_entry (walk, entry, from, error)) {
      return false;
    } else if ((entry & ENTRY_COMPRESSED) != 0) {
      put (walk, walk->places ? BLOCK_QCOW2_PACKED : BLOCK_QCOW2_DATA, from, end, entry);
    } else if ((entry & ENTRY_ZERO) != 0) {
      put (walk, BLOCK_QCOW2_ZERO, from, end, 0);
    } else {
      put (walk, BLOCK_QCOW2_DATA, from, end, (entry & ENTRY_HOST) + (from - start));
    }
    from = end;
  }
  return true;
}

/* [from, to) lies within the link's size. */
static bool
walk_link (Walk *walk, uint64_t from, uint64_t to, GError **error)
{
  const BlockQcow2Link *link = walk->link;
  uint32_t l1_shift = 2 * link->header.cluster_bits - 3;

  while (from < to) {
    uint64_t index = from >> l1_shift;
    bool has_table = link->l1[index] != 0;
    uint64_t span = has_table ? block_qcow2_link_slice_span (link) : UINT64_C (1) << l1_shift;
    uint64_t end = MIN (varve_round_down (from, span) + span, to);
    g_autoptr (BlockQcow2Slice) slice = NULL;

    if (!has_table) {
      put (walk, BLOCK_QCOW2_GAP, from, end, 0);
    } else {
      slice = block_qcow2_cache_get (walk->cache, link, walk->number, from, error);
      if (slice == NULL || !walk_slice (walk, slice, from, end, error))
        return false;
    }
    from = end;
  }
  return true;
}

/* What lies behind the end of this link is zeros, whatever the links below have there. */
static bool
fill_gap (Walk *walk, const BlockQcow2Piece *gap, GError **error)
{
  uint64_t end = gap->guest + gap->length;
  uint64_t held = CLAMP (walk->link->header.size, gap->guest, end);

  if (!walk_link (walk, gap->guest, held, error))
    return false;
  put (walk, BLOCK_QCOW2_ZERO, held, end, 0);
  return true;
}

/* Puts into walk->out what @pieces are when the walk's link is asked for their gaps. */
static bool
fill_gaps (Walk *walk, const GArray *pieces, bool *out_gaps, GError **error)
{
  *out_gaps = false;
  for (guint i = 0; i < pieces->len; i++) {
    const BlockQcow2Piece *piece = &g_array_index (pieces, BlockQcow2Piece, i);
    guint before = walk->out->len;
    if (piece->kind != BLOCK_QCOW2_GAP)
      append (walk->out, *piece, walk->places);
    else if (!fill_gap (walk, piece, error))
      return false;
    for (guint j = before; j < walk->out->len && !*out_gaps; j++)
      *out_gaps = g_array_index (walk->out, BlockQcow2Piece, j).kind == BLOCK_QCOW2_GAP;
  }
  return true;
}

bool
block_qcow2_walk (const BlockQcow2Chain *chain, uint64_t offset, uint64_t length, bool places,
                  GArray *pieces, GError **error)
{
  g_autoptr (GArray) now = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));
  g_autoptr (GArray) next = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));
  BlockQcow2Piece all = { .guest = offset, .length = length, .kind = BLOCK_QCOW2_GAP };
  bool gaps = true;

  append (now, all, places);
  for (uint32_t i = 0; i < chain->links->len && gaps; i++) {
    Walk walk = { .link = g_ptr_array_index (chain->links, i),
                  .cache = chain->cache,
                  .number = i,
                  .places = places,
                  .out = next };
    g_array_set_size (next, 0);
    if (!fill_gaps (&walk, now, &gaps, error))
      return false;
    GArray *swap = g_steal_pointer (&now);
    now = g_steal_pointer (&next);
    next = swap;
  }
  g_array_append_vals (pieces, now->data, now->len);
  return true;
}
