/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The two levels of tables of a qcow2 image that is being written, with a bounded number of L2
 * tables in memory. Reading and writing tables is done with the lock held: it is rare, and small.
 */
#include "config.h"
#include "block/qcow2-map.h"

#include <errno.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/error.h"

#define ENTRY_COPIED (UINT64_C (1) << 63)
#define ENTRY_ZERO   UINT64_C (1)
#define ENTRY_HOST   UINT64_C (0x00fffffffffffe00)

struct BlockQcow2Table {
  uint64_t *entries; /* big-endian; NULL: the slot is free */
  uint32_t index;    /* in L1 */
  bool dirty;
  uint64_t used; /* clock of the last use */
};

bool
block_qcow2_pwrite (const BlockQcow2Map *map, const void *buffer, size_t length, uint64_t offset,
                    GError **error)
{
  const uint8_t *from = buffer;

  while (length > 0) {
    ssize_t put = pwrite (map->fd, from, length, (off_t)offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, put < 0 ? errno : EIO,
                                "Cannot write to %s", map->label);
    from += put;
    offset += (size_t)put;
    length -= (size_t)put;
  }
  return true;
}

bool
block_qcow2_pread (const BlockQcow2Map *map, void *buffer, size_t length, uint64_t offset,
                   GError **error)
{
  uint8_t *to = buffer;

  while (length > 0) {
    ssize_t got = pread (map->fd, to, length, (off_t)offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, got < 0 ? errno : EIO,
                                "Cannot read a table back from %s", map->label);
    to += got;
    offset += (size_t)got;
    length -= (size_t)got;
  }
  return true;
}

static uint32_t
cluster_size (const BlockQcow2Map *map)
{
  return 1u << map->cluster_bits;
}

static uint32_t
table_bits (const BlockQcow2Map *map)
{
  return map->cluster_bits - 3;
}

void
block_qcow2_map_init (BlockQcow2Map *map, int fd, const char *label, uint64_t size,
                      uint32_t cluster_bits)
{
  map->fd = fd;
  map->label = label;
  map->cluster_bits = cluster_bits;
  map->end = cluster_size (map);
  map->l1_length =
      (uint32_t)(varve_round_up (size, UINT64_C (1) << (cluster_bits + table_bits (map))) >>
                 (cluster_bits + table_bits (map)));
  map->l1 = g_new0 (uint64_t, map->l1_length);
  map->tables_length = CLAMP (BLOCK_QCOW2_CACHE_BYTES >> cluster_bits, BLOCK_QCOW2_CACHE_MIN_TABLES,
                              BLOCK_QCOW2_CACHE_MAX_TABLES);
  map->tables = g_new0 (BlockQcow2Table, map->tables_length);
  g_mutex_init (&map->lock);
}

void
block_qcow2_map_clear (BlockQcow2Map *map)
{
  for (unsigned i = 0; i < map->tables_length; i++)
    g_free (map->tables[i].entries);
  g_free (map->tables);
  g_free (map->l1);
  g_mutex_clear (&map->lock);
}

static uint64_t
allocate_locked (BlockQcow2Map *map)
{
  uint64_t host = map->end;

  map->end += cluster_size (map);
  return host;
}

static bool
write_table_locked (BlockQcow2Map *map, BlockQcow2Table *table, GError **error)
{
  if (map->l1[table->index] == 0)
    map->l1[table->index] = allocate_locked (map);
  if (!block_qcow2_pwrite (map, table->entries, cluster_size (map), map->l1[table->index], error))
    return false;
  table->dirty = false;
  return true;
}

/* The slot of table @index; else a free one; else the one that was not used for longest. */
static BlockQcow2Table *
find_slot_locked (BlockQcow2Map *map, uint32_t index)
{
  BlockQcow2Table *slot = NULL;

  for (unsigned i = 0; i < map->tables_length; i++) {
    BlockQcow2Table *table = &map->tables[i];
    if (table->entries != NULL && table->index == index)
      return table;
    if (slot == NULL ||
        (slot->entries != NULL && (table->entries == NULL || table->used < slot->used)))
      slot = table;
  }
  return slot;
}

/* Fills @table with what the file has of table @index, or with nothing. */
static bool
load_table_locked (BlockQcow2Map *map, BlockQcow2Table *table, uint32_t index, GError **error)
{
  if (table->entries != NULL && table->dirty && !write_table_locked (map, table, error))
    return false;
  g_clear_pointer (&table->entries, g_free);
  table->entries = g_malloc0 (cluster_size (map));
  table->index = index;
  table->dirty = false;
  if (map->l1[index] == 0)
    return true;
  map->reloads++;
  return block_qcow2_pread (map, table->entries, cluster_size (map), map->l1[index], error);
}

static BlockQcow2Table *
get_table_locked (BlockQcow2Map *map, uint32_t index, GError **error)
{
  BlockQcow2Table *table = find_slot_locked (map, index);

  if ((table->entries == NULL || table->index != index) &&
      !load_table_locked (map, table, index, error))
    return NULL;
  table->used = ++map->clock;
  return table;
}

static bool
has_table_locked (BlockQcow2Map *map, uint32_t index)
{
  const BlockQcow2Table *table = find_slot_locked (map, index);

  return map->l1[index] != 0 || (table->entries != NULL && table->index == index);
}

/* The part of [offset, offset + *length) that one L2 table covers: shortens *length to it. */
static uint32_t
split (const BlockQcow2Map *map, uint64_t offset, uint64_t *length, uint32_t *out_entry)
{
  uint32_t shift = map->cluster_bits + table_bits (map);
  uint64_t covered = UINT64_C (1) << shift;

  *length = MIN (*length, covered - (offset & (covered - 1)));
  *out_entry = (uint32_t)((offset & (covered - 1)) >> map->cluster_bits);
  return (uint32_t)(offset >> shift);
}

static void
add_run (GArray *runs, uint64_t guest, uint64_t host, uint32_t length)
{
  if (runs->len > 0) {
    BlockQcow2Run *last = &g_array_index (runs, BlockQcow2Run, runs->len - 1);
    if (last->guest + last->length == guest && last->host + last->length == host) {
      last->length += length;
      return;
    }
  }
  BlockQcow2Run run = { .guest = guest, .host = host, .length = length };
  g_array_append_val (runs, run);
}

static void
claim_in_table_locked (BlockQcow2Map *map, BlockQcow2Table *table, uint32_t entry, uint64_t offset,
                       uint64_t length, GArray *runs)
{
  for (; length > 0; entry++, offset += cluster_size (map), length -= cluster_size (map)) {
    uint64_t old = GUINT64_FROM_BE (table->entries[entry]);
    uint64_t host = old & ENTRY_HOST;

    if (host == 0)
      host = allocate_locked (map);
    if (old != (host | ENTRY_COPIED)) {
      table->entries[entry] = GUINT64_TO_BE (host | ENTRY_COPIED);
      table->dirty = true;
    }
    add_run (runs, offset, host, cluster_size (map));
  }
}

bool
block_qcow2_map_claim (BlockQcow2Map *map, uint64_t offset, uint64_t length, GArray *runs,
                       GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&map->lock);

  while (length > 0) {
    uint64_t part = length;
    uint32_t entry, index = split (map, offset, &part, &entry);
    BlockQcow2Table *table = get_table_locked (map, index, error);
    if (table == NULL)
      return false;
    claim_in_table_locked (map, table, entry, offset, part, runs);
    offset += part;
    length -= part;
  }
  return true;
}

static void
zero_in_table_locked (BlockQcow2Table *table, uint32_t entry, uint64_t count, bool has_base)
{
  for (; count > 0; entry++, count--) {
    uint64_t old = GUINT64_FROM_BE (table->entries[entry]);

    if ((old == 0 && !has_base) || (old & ENTRY_ZERO) != 0)
      continue;
    table->entries[entry] = GUINT64_TO_BE (old | ENTRY_ZERO);
    table->dirty = true;
  }
}

bool
block_qcow2_map_zero (BlockQcow2Map *map, uint64_t offset, uint64_t length, bool has_base,
                      GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&map->lock);

  while (length > 0) {
    uint64_t part = length;
    uint32_t entry, index = split (map, offset, &part, &entry);
    if (has_base || has_table_locked (map, index)) {
      BlockQcow2Table *table = get_table_locked (map, index, error);
      if (table == NULL)
        return false;
      zero_in_table_locked (table, entry, part >> map->cluster_bits, has_base);
    }
    offset += part;
    length -= part;
  }
  return true;
}

bool
block_qcow2_map_write_tables (BlockQcow2Map *map, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&map->lock);

  for (unsigned i = 0; i < map->tables_length; i++) {
    BlockQcow2Table *table = &map->tables[i];
    if (table->entries != NULL && table->dirty && !write_table_locked (map, table, error))
      return false;
  }
  return true;
}
