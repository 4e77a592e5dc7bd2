/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* L1 table, reference counts and header, after docs/interop/qcow2.txt of QEMU. Everything is
 * big-endian. As the file has neither holes nor shared clusters, all reference counts up to the end
 * of the file are 1, and they are written without ever having been kept.
 */
#include "config.h"
#include "block/qcow2-finish.h"

#include <string.h>

#include "util/bytes.h"
#include "util/checked.h"

#define HEADER_LENGTH     104u
#define EXTENSION_BACKING 0xe2792acau
#define MAX_BACKING_NAME  1023u
#define REFCOUNT_ORDER    4u /* 16 bits */
#define ENTRY_COPIED      (UINT64_C (1) << 63)

typedef struct {
  uint8_t *at;
} Writer;

static void
put32 (Writer *writer, uint32_t value)
{
  varve_put_be32 (writer->at, value);
  writer->at += sizeof value;
}

static void
put64 (Writer *writer, uint64_t value)
{
  varve_put_be64 (writer->at, value);
  writer->at += sizeof value;
}

static uint64_t
clusters (uint64_t bytes, uint32_t cluster_bits)
{
  return varve_round_up (bytes, UINT64_C (1) << cluster_bits) >> cluster_bits;
}

/* More clusters need more reference counts, which need more clusters: repeated until nothing is
 * added. Ends, as a cluster holds the counts of at least 256. */
void
block_qcow2_layout (BlockQcow2Layout *layout, uint32_t cluster_bits, uint64_t data_end,
                    uint64_t l1_length)
{
  uint64_t fixed = (data_end >> cluster_bits) + clusters (l1_length * 8, cluster_bits);
  uint64_t blocks = 0, table = 0, total, needed;

  for (;;) {
    total = fixed + blocks + table;
    needed = clusters (total * 2, cluster_bits);
    if (needed == blocks && clusters (needed * 8, cluster_bits) == table)
      break;
    blocks = needed;
    table = clusters (needed * 8, cluster_bits);
  }
  layout->l1 = data_end;
  layout->refcount_table = fixed << cluster_bits;
  layout->refcount_blocks = (fixed + table) << cluster_bits;
  layout->end = total << cluster_bits;
}

bool
block_qcow2_header (uint8_t *header, uint32_t cluster_bits, uint64_t size, uint64_t l1_length,
                    const BlockQcow2Layout *layout, const char *backing_file,
                    const char *backing_format)
{
  uint32_t name = backing_file != NULL ? (uint32_t)strlen (backing_file) : 0;
  uint32_t format = backing_file != NULL ? (uint32_t)strlen (backing_format) : 0;
  uint64_t name_at = HEADER_LENGTH + 8;
  Writer writer = { header };

  if (backing_file != NULL)
    name_at += 8 + varve_round_up (format, 8);
  if (name > MAX_BACKING_NAME || name_at + name > UINT64_C (1) << cluster_bits)
    return false;

  memset (header, 0, (size_t)1 << cluster_bits);
  put32 (&writer, 0x514649fb); /* QFI\xfb */
  put32 (&writer, 3);
  put64 (&writer, backing_file != NULL ? name_at : 0);
  put32 (&writer, name);
  put32 (&writer, cluster_bits);
  put64 (&writer, size);
  put32 (&writer, 0); /* encryption */
  put32 (&writer, (uint32_t)l1_length);
  put64 (&writer, layout->l1);
  put64 (&writer, layout->refcount_table);
  put32 (&writer, (uint32_t)((layout->refcount_blocks - layout->refcount_table) >> cluster_bits));
  put32 (&writer, 0); /* snapshots */
  put64 (&writer, 0);
  put64 (&writer, 0); /* features: incompatible, compatible, autoclear */
  put64 (&writer, 0);
  put64 (&writer, 0);
  put32 (&writer, REFCOUNT_ORDER);
  put32 (&writer, HEADER_LENGTH);

  /* Extensions: type, length, data padded to 8 bytes; the zeros behind the last are the end. */
  if (backing_file != NULL) {
    put32 (&writer, EXTENSION_BACKING);
    put32 (&writer, format);
    memcpy (writer.at, backing_format, format);
    memcpy (header + name_at, backing_file, name);
  }
  return true;
}

static bool
write_l1 (const BlockQcow2Map *map, const BlockQcow2Layout *layout, GError **error)
{
  g_autofree uint64_t *table = g_new (uint64_t, map->l1_length);

  for (uint32_t i = 0; i < map->l1_length; i++)
    table[i] = map->l1[i] != 0 ? GUINT64_TO_BE (map->l1[i] | ENTRY_COPIED) : 0;
  return block_qcow2_pwrite (map, table, (size_t)map->l1_length * 8, layout->l1, error);
}

static bool
write_refcount_table (const BlockQcow2Map *map, const BlockQcow2Layout *layout, GError **error)
{
  size_t blocks = (layout->end - layout->refcount_blocks) >> map->cluster_bits;
  g_autofree uint64_t *table = g_new (uint64_t, blocks);

  for (size_t i = 0; i < blocks; i++)
    table[i] = GUINT64_TO_BE (layout->refcount_blocks + ((uint64_t)i << map->cluster_bits));
  return block_qcow2_pwrite (map, table, blocks * 8, layout->refcount_table, error);
}

static bool
write_refcount_blocks (const BlockQcow2Map *map, const BlockQcow2Layout *layout, GError **error)
{
  size_t block = (size_t)1 << map->cluster_bits;
  g_autofree uint16_t *counts = g_malloc (block);
  uint64_t left = layout->end >> map->cluster_bits; /* clusters not counted yet */

  for (size_t i = 0; i < block / 2; i++)
    counts[i] = GUINT16_TO_BE (1);
  for (uint64_t at = layout->refcount_blocks; at < layout->end; at += block) {
    if (left < block / 2)
      memset (counts + left, 0, block - left * 2);
    if (!block_qcow2_pwrite (map, counts, block, at, error))
      return false;
    left -= MIN (left, block / 2);
  }
  return true;
}

bool
block_qcow2_write_metadata (const BlockQcow2Map *map, const BlockQcow2Layout *layout,
                            GError **error)
{
  return write_l1 (map, layout, error) && write_refcount_table (map, layout, error) &&
         write_refcount_blocks (map, layout, error);
}
