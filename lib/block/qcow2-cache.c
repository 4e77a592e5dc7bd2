/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A hash table by link and position, and a queue by use. The file is read without the lock: two
 * threads that miss the same slice both read it, and the one that comes second takes the other's.
 */
#include "config.h"
#include "block/qcow2-cache.h"

#include "util/error.h"

typedef struct {
  uint64_t key;
  BlockQcow2Slice *slice;
  GList node; /* in by_use; its data is this */
} Entry;

struct BlockQcow2Cache {
  GMutex lock;        /* for all that follows */
  GHashTable *by_key; /* of Entry, which it owns */
  GQueue by_use;      /* of Entry, the latest first */
  size_t bytes;
  size_t limit;
};

static void
entry_free (gpointer data)
{
  Entry *entry = data;

  block_qcow2_slice_unref (entry->slice);
  g_free (entry);
}

void
block_qcow2_slice_unref (BlockQcow2Slice *slice)
{
  if (slice != NULL && g_atomic_ref_count_dec (&slice->references))
    g_free (slice);
}

static BlockQcow2Slice *
slice_ref (BlockQcow2Slice *slice)
{
  g_atomic_ref_count_inc (&slice->references);
  return slice;
}

BlockQcow2Cache *
block_qcow2_cache_new (size_t bytes)
{
  BlockQcow2Cache *cache = g_new0 (BlockQcow2Cache, 1);

  g_mutex_init (&cache->lock);
  cache->by_key = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, entry_free);
  g_queue_init (&cache->by_use);
  cache->limit = bytes;
  return cache;
}

void
block_qcow2_cache_free (BlockQcow2Cache *cache)
{
  if (cache == NULL)
    return;
  g_hash_table_unref (cache->by_key);
  g_mutex_clear (&cache->lock);
  g_free (cache);
}

size_t
block_qcow2_cache_bytes (BlockQcow2Cache *cache)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&cache->lock);

  return cache->bytes;
}

static BlockQcow2Slice *
find_locked (BlockQcow2Cache *cache, uint64_t key)
{
  Entry *entry = g_hash_table_lookup (cache->by_key, &key);

  if (entry == NULL)
    return NULL;
  if (cache->by_use.head != &entry->node) {
    g_queue_unlink (&cache->by_use, &entry->node);
    g_queue_push_head_link (&cache->by_use, &entry->node);
  }
  return slice_ref (entry->slice);
}

static BlockQcow2Slice *
find (BlockQcow2Cache *cache, uint64_t key)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&cache->lock);

  return find_locked (cache, key);
}

static void
make_room_locked (BlockQcow2Cache *cache, size_t bytes)
{
  while (cache->bytes + bytes > cache->limit && cache->by_use.tail != NULL) {
    Entry *oldest = cache->by_use.tail->data;
    g_queue_unlink (&cache->by_use, &oldest->node);
    cache->bytes -= oldest->slice->length * 8;
    g_hash_table_remove (cache->by_key, &oldest->key);
  }
}

/* Takes @slice; gives the one that is then in the cache. */
static BlockQcow2Slice *
insert (BlockQcow2Cache *cache, uint64_t key, BlockQcow2Slice *slice)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&cache->lock);
  BlockQcow2Slice *other = find_locked (cache, key);
  Entry *entry;

  if (other != NULL) {
    block_qcow2_slice_unref (slice);
    return other;
  }
  make_room_locked (cache, slice->length * 8);
  entry = g_new0 (Entry, 1);
  entry->key = key;
  entry->slice = slice_ref (slice);
  entry->node.data = entry;
  g_queue_push_head_link (&cache->by_use, &entry->node);
  g_hash_table_insert (cache->by_key, &entry->key, entry);
  cache->bytes += slice->length * 8;
  return slice;
}

BlockQcow2Slice *
block_qcow2_cache_get (BlockQcow2Cache *cache, const BlockQcow2Link *link, uint32_t number,
                       uint64_t guest, GError **error)
{
  uint32_t cluster_bits = link->header.cluster_bits;
  uint64_t slice_number = guest >> (cluster_bits + link->slice_bits);
  uint64_t key = (uint64_t)number << 32 | slice_number; /* L1 tables are bounded: it fits */
  g_autoptr (BlockQcow2Slice) slice = find (cache, key);
  size_t length = (size_t)1 << link->slice_bits;
  uint64_t table, skip;

  if (slice != NULL)
    return g_steal_pointer (&slice);
  table = link->l1[guest >> (2 * cluster_bits - 3)];
  skip = slice_number & ((UINT64_C (1) << (cluster_bits - 3 - link->slice_bits)) - 1);
  slice = g_malloc (sizeof *slice + length * 8);
  g_atomic_ref_count_init (&slice->references);
  slice->length = length;
  if (!block_qcow2_link_pread (link, slice->entries, length * 8, table + skip * length * 8, guest,
                               error))
    return NULL;
  return insert (cache, key, g_steal_pointer (&slice));
}
