/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What every kind of store promises to those who read: any range of any backup, where it has data, and
 * how two backups differ. Through the vtable alone, so that each kind passes the same: a tree of
 * backups, two disks, held against bytes in memory. */
#include "config.h"
#include "store/store.h"

#include <string.h>

#include "util/durable.h"
#include "util/error.h"

#define DOMAIN  "web01"
#define UUID    "11111111-2222-3333-4444-555555555555"
#define SIZE    (3u << 20)
#define BIGGER  (SIZE + 100352) /* no multiple of a cluster */
#define CLUSTER 65536u
#define BACKUPS 7u

typedef struct {
  const char *kind; /* "images:" */
  char *dir;
  VarveStoreImpl *store;
  GRand *rand;
  VarveManifest *manifests[BACKUPS];
  uint8_t *bytes[BACKUPS];
  uint64_t sizes[BACKUPS];
} Fixture;

/* Which backup each one builds on, -1: a full one. Two forks, and a tree of its own. */
static const int bases[BACKUPS] = { -1, 0, 1, 1, 2, -1, 4 };

static VarveManifest *
new_manifest (unsigned i, uint64_t size)
{
  g_autofree char *id = g_strdup_printf ("2026010%uT000000Z-00000000000000aa", i + 1);
  VarveManifest *manifest = varve_manifest_new (id);

  manifest->domain = g_strdup (DOMAIN);
  manifest->uuid = g_strdup (UUID);
  manifest->uri = g_strdup ("image:");
  manifest->owner = g_strdup ("nightly-1f0c77ab");
  manifest->consistency = g_strdup ("off");
  manifest->started = manifest->finished = 1767225600 + i;
  for (unsigned j = 0; j < 2; j++) {
    VarveManifestDisk *disk = varve_manifest_add_disk (manifest, j == 0 ? "vda" : "vdb");

    disk->size = j == 0 ? size : CLUSTER;
    disk->decision = g_strdup (bases[i] < 0 ? "full" : "incremental");
    disk->reason = g_strdup ("as the test wants it");
  }
  return manifest;
}

/* Whole clusters; now and then what is there already, so that a layer holds what does not differ. */
static void
write_some (Fixture *f, BlockSink *sink, uint8_t *bytes, uint64_t size)
{
  uint64_t clusters = (size + CLUSTER - 1) / CLUSTER;
  uint64_t at = (uint64_t)g_rand_int_range (f->rand, 0, (gint32)clusters) * CLUSTER;
  uint64_t length = MIN (CLUSTER, size - at);
  g_autoptr (GError) error = NULL;
  int what = g_rand_int_range (f->rand, 0, 4);

  if (what == 0) {
    memset (bytes + at, 0, length);
    g_assert_true (block_sink_zero (sink, at, length, &error));
  } else {
    for (uint64_t i = 0; what > 1 && i < length; i++)
      bytes[at + i] = (uint8_t)g_rand_int_range (f->rand, 1, 256);
    g_assert_true (block_sink_write (sink, at, bytes + at, length, &error));
  }
  g_assert_no_error (error);
}

static void
add_disk (Fixture *f, VarveStoreWrite *write, unsigned i, VarveManifestDisk *disk)
{
  const VarveManifest *base = bases[i] < 0 ? NULL : f->manifests[bases[i]];
  bool second = g_str_equal (disk->name, "vdb");
  g_autofree uint8_t *other = g_malloc0 (CLUSTER);
  g_autoptr (GError) error = NULL;
  BlockSumFunc sum;
  gpointer sum_data;
  BlockSink *sink;

  f->store->ops->add_disk (write, disk, base, &sink, &sum, &sum_data, NULL, &error);
  g_assert_no_error (error);
  for (unsigned j = 0; j < (second ? 1 : 12); j++)
    write_some (f, sink, second ? other : f->bytes[i], disk->size);
  f->store->ops->finish_disk (write, disk, NULL, &error);
  g_assert_no_error (error);
}

static void
add_backup (Fixture *f, unsigned i)
{
  g_autoptr (VarveStoreWrite) write = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t before = bases[i] < 0 ? 0 : f->sizes[bases[i]];

  f->sizes[i] = i == BACKUPS - 1 ? BIGGER : SIZE;
  f->bytes[i] = g_malloc0 (f->sizes[i]);
  if (before > 0)
    memcpy (f->bytes[i], f->bytes[bases[i]], before);
  f->manifests[i] = new_manifest (i, f->sizes[i]);
  f->store->ops->begin (f->store, DOMAIN, UUID, f->manifests[i]->id, &write, NULL, &error);
  g_assert_no_error (error);
  for (guint j = 0; j < f->manifests[i]->disks->len; j++)
    add_disk (f, write, i, g_ptr_array_index (f->manifests[i]->disks, j));
  f->store->ops->commit (write, f->manifests[i], NULL, &error);
  g_assert_no_error (error);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autofree char *name = NULL;
  g_autoptr (GError) error = NULL;

  f->kind = data;
  f->dir = g_dir_make_tmp ("varve-store-reads-XXXXXX", &error);
  g_assert_no_error (error);
  f->rand = g_rand_new_with_seed (20260101);
  name = g_strconcat (f->kind, f->dir, NULL);
  f->store = varve_store_impl_open (name, true, &error);
  g_assert_no_error (error);
  for (unsigned i = 0; i < BACKUPS; i++)
    add_backup (f, i);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  for (unsigned i = 0; i < BACKUPS; i++) {
    varve_manifest_unref (f->manifests[i]);
    g_free (f->bytes[i]);
  }
  varve_store_impl_free (f->store);
  g_rand_free (f->rand);
  varve_remove_tree (f->dir, &error);
  g_assert_no_error (error);
  g_free (f->dir);
}

static void
assert_reads (Fixture *f, BlockSource *source, unsigned i)
{
  g_autofree uint8_t *got = g_malloc (f->sizes[i]);
  g_autoptr (GError) error = NULL;

  g_assert_cmpuint (source->size, ==, f->sizes[i]);
  for (unsigned n = 0; n < 30; n++) {
    uint64_t at = (uint64_t)g_rand_int_range (f->rand, 0, (gint32)f->sizes[i]);
    uint64_t length = (uint64_t)g_rand_int_range (f->rand, 0, (gint32)(f->sizes[i] - at) + 1);

    g_assert_true (block_source_read (source, at, got, length, &error));
    g_assert_no_error (error);
    g_assert_cmpmem (got, length, f->bytes[i] + at, length);
  }
}

static bool
is_zero (const uint8_t *bytes, uint64_t length)
{
  for (uint64_t i = 0; i < length; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

/* Any range; what the map calls zero is zero; nothing is clean. */
static void
test_read (Fixture *f, gconstpointer data)
{
  for (unsigned i = 0; i < BACKUPS; i++) {
    g_autoptr (VarveStoreRead) read = NULL;
    g_autoptr (VarveExtents) map = varve_extents_new ();
    g_autoptr (GError) error = NULL;

    f->store->ops->read (f->store, f->manifests[i], "vda", &read, NULL, &error);
    g_assert_no_error (error);
    assert_reads (f, read->source, i);
    g_assert_true (block_source_extents (read->source, 0, f->sizes[i], map, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (varve_extents_bytes (map, VARVE_EXTENT_CLEAN), ==, 0);
    for (size_t j = 0; j < varve_extents_count (map); j++) {
      const VarveExtent *extent = varve_extents_get (map, j);

      g_assert_true (extent->state == VARVE_EXTENT_DATA ||
                     is_zero (f->bytes[i] + extent->offset, extent->length));
    }
  }
}

/* Clusters that differ in the bytes. */
static uint64_t
differing (const Fixture *f, unsigned from, unsigned to)
{
  uint64_t n = 0;

  for (uint64_t at = 0; at < f->sizes[to]; at += CLUSTER) {
    uint64_t length = MIN (CLUSTER, f->sizes[to] - at);

    if (at + length > f->sizes[from] || memcmp (f->bytes[from] + at, f->bytes[to] + at, length))
      n++;
  }
  return n;
}

static void
check_clean (const Fixture *f, const VarveExtents *map, unsigned from, unsigned to)
{
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    const uint8_t *wanted = f->bytes[to] + extent->offset;

    if (extent->state == VARVE_EXTENT_ZERO)
      g_assert_true (is_zero (wanted, extent->length));
    if (extent->state != VARVE_EXTENT_CLEAN)
      continue;
    g_assert_cmpuint (extent->offset + extent->length, <=, f->sizes[from]);
    g_assert_cmpmem (wanted, extent->length, f->bytes[from] + extent->offset, extent->length);
  }
}

/* Whether they have a full backup in common. */
static bool
are_related (unsigned a, unsigned b)
{
  while (bases[a] >= 0)
    a = (unsigned)bases[a];
  while (bases[b] >= 0)
    b = (unsigned)bases[b];
  return a == b;
}

/* Every pair, in both directions: reads are those of the one, what is clean is the same in both, and
 * it is not all called different: no more than all that was written since they parted. */
static void
test_difference (Fixture *f, gconstpointer data)
{
  for (unsigned from = 0; from < BACKUPS; from++)
    for (unsigned to = 0; to < BACKUPS; to++) {
      g_autoptr (VarveStoreRead) read = NULL;
      g_autoptr (VarveExtents) map = varve_extents_new ();
      g_autoptr (GError) error = NULL;
      uint64_t told;

      g_assert_true (f->store->ops->difference (f->store, f->manifests[from], f->manifests[to],
                                                "vda", &read, NULL, &error));
      g_assert_no_error (error);
      if (!are_related (from, to) && read == NULL)
        continue;
      g_assert_nonnull (read);
      assert_reads (f, read->source, to);
      g_assert_true (block_source_extents (read->source, 0, f->sizes[to], map, &error));
      g_assert_no_error (error);
      check_clean (f, map, from, to);
      told = f->sizes[to] - varve_extents_bytes (map, VARVE_EXTENT_CLEAN);
      if (from == to)
        g_assert_cmpuint (told, ==, 0);
      g_test_message ("%u to %u: %" G_GUINT64_FORMAT " bytes told, %" G_GUINT64_FORMAT " clusters",
                      from, to, told, differing (f, from, to));
      if (are_related (from, to))
        g_assert_cmpuint (told, <=, 6 * 12 * CLUSTER + BIGGER - SIZE);
      g_assert_cmpuint (told, <=, f->sizes[to]);
    }
}

/* A neighbour: one step of the chain is told as no more than what its layer holds. */
static void
test_one_step (Fixture *f, gconstpointer data)
{
  for (unsigned i = 0; i < BACKUPS - 1; i++) {
    g_autoptr (VarveStoreRead) back = NULL;
    g_autoptr (VarveExtents) map = varve_extents_new ();
    g_autoptr (GError) error = NULL;

    if (bases[i] < 0)
      continue;
    g_assert_true (f->store->ops->difference (f->store, f->manifests[i], f->manifests[bases[i]],
                                              "vda", &back, NULL, &error));
    g_assert_no_error (error);
    g_assert_true (block_source_extents (back->source, 0, SIZE, map, &error));
    g_assert_cmpuint (SIZE - varve_extents_bytes (map, VARVE_EXTENT_CLEAN), <=, 12 * CLUSTER);
    g_assert_cmpuint (SIZE - varve_extents_bytes (map, VARVE_EXTENT_CLEAN), >=,
                      differing (f, i, (unsigned)bases[i]));
  }
}

/* A layer that is gone is told, and never taken for what does not differ. */
static void
test_damaged (Fixture *f, gconstpointer data)
{
  g_autofree char *directory = f->store->ops->directory (f->store, f->manifests[1]);
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_remove_tree (directory, &error));
  g_assert_false (f->store->ops->difference (f->store, f->manifests[2], f->manifests[3], "vda",
                                             &read, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
  g_assert_null (read);
}

static void
add (const char *kind, const char *what, void (*test) (Fixture *, gconstpointer))
{
  g_autofree char *name = g_strdup_printf ("/store-reads/%s%s", kind, what);

  g_test_add (name, Fixture, kind, set_up, test, tear_down);
}

int
main (int argc, char **argv)
{
  static const char *const kinds[] = { "images:" };

  g_test_init (&argc, &argv, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (kinds); i++) {
    add (kinds[i], "/read", test_read);
    add (kinds[i], "/difference", test_difference);
    add (kinds[i], "/one-step", test_one_step);
    add (kinds[i], "/damaged", test_damaged);
  }
  return g_test_run ();
}
