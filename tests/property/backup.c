/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "backup.h"

#include <libnbd.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "fleece/scratch.h"
#include "util/clock.h"
#include "util/error.h"

BackupCounts backup_counts;

/* --- the start -------------------------------------------------------------------------------- */

static void
read_by (VarveStartDisk *disk, GPtrArray *bitmaps, const BackupPlan *plan)
{
  const VarveBitmap *bitmap =
      plan->since ? varve_bitmap_find (bitmaps, disk->disk, plan->since) : NULL;
  g_autofree char *why_not = bitmap ? varve_checkpoint_distrust (bitmap) : NULL;

  if (!bitmap || (why_not && !plan->also))
    return;
  disk->since = g_strdup (plan->since);
  for (guint i = 0; plan->also && i < bitmaps->len; i++) {
    const VarveBitmap *other = g_ptr_array_index (bitmaps, i);

    if (g_str_equal (other->disk, disk->disk) && g_str_has_prefix (other->name, "old.") &&
        !g_str_equal (other->name, plan->since) && !other->inconsistent)
      varve_start_disk_also (disk, other->name);
  }
}

static void
add_disks (World *world, VarveStart *start, const BackupPlan *plan, unsigned *out_mask,
           unsigned *out_since)
{
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;

  *out_mask = *out_since = 0;
  varve_domain_inventory (world->domain, &disks, NULL, &error);
  g_assert_no_error (error);
  varve_domain_bitmaps (world->domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  for (unsigned i = 0; i < DISKS; i++) {
    const VarveDisk *known = varve_disk_find (disks, disk_names[i]);
    VarveStartDisk *disk = varve_start_add_disk (start, disk_names[i]);

    disk->checkpoint = plan->checkpoint && (known->can_persist || known->transient_ok);
    disk->transient = disk->checkpoint && !known->can_persist;
    *out_mask |= disk->checkpoint ? 1u << i : 0;
    read_by (disk, bitmaps, plan);
    *out_since |= disk->since ? 1u << i : 0;
  }
}

static void
plan_scratch (World *world, VarveStart *start)
{
  g_autofree char *scratch =
      g_build_filename (varve_state_dir_path (world->state), "scratch", NULL);
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (GError) error = NULL;

  varve_scratch_plan (start, scratch);
  varve_domain_check (world->domain, start, &report, NULL, &error);
  g_assert_no_error (error);
  if (report->refusals->len > 0)
    g_error ("refused: %s", (char *)g_ptr_array_index (report->refusals, 0));
  if (!report->needs_scratch)
    varve_scratch_none (start);
}

static VarveRecord *
new_record (const World *world, const char *session)
{
  VarveRecord *record = varve_record_new (session);

  record->uri = g_strdup (world->domain->uri);
  record->domain = g_strdup (world->domain->name);
  record->uuid = g_strdup (world->domain->uuid);
  record->owner = g_strdup ("prop-00000000");
  record->backup = g_strdup ("20260101T000000Z-00000000000000aa");
  record->started = 1;
  return record;
}

VarveSession *
backup_begin (World *world, const BackupPlan *plan, unsigned *out_mask, unsigned *out_since)
{
  g_autofree char *id = varve_random_hex (8);
  g_autoptr (VarveStart) start = varve_start_new (id);
  g_autoptr (GError) error = NULL;
  const VarveQuiesce quiesce = { 0 };
  uint64_t pause_us;
  bool frozen;

  start->directory = varve_state_dir_file (world->state, "sockets", id);
  start->policy.pause = plan->never_pause ? VARVE_PAUSE_NEVER : VARVE_PAUSE_BRIEF;
  add_disks (world, start, plan, out_mask, out_since);
  start->checkpoint = *out_mask ? g_strdup (plan->checkpoint) : NULL;
  plan_scratch (world, start);
  VarveSession *session =
      varve_session_begin (world->state, world->domain, start, new_record (world, id), &quiesce,
                           &pause_us, &frozen, NULL, NULL, &error);
  g_assert_no_error (error);
  return session;
}

/* --- reading ---------------------------------------------------------------------------------- */

static struct nbd_handle *
connect_to (const VarveEndpoint *endpoint, const char *context)
{
  struct nbd_handle *nbd = nbd_create ();

  if (context)
    nbd_add_meta_context (nbd, context);
  if (nbd_connect_uri (nbd, endpoint->uri) < 0)
    g_error ("%s: %s", endpoint->uri, nbd_get_error ());
  if (context)
    g_assert_cmpint (nbd_can_meta_context (nbd, context), ==, 1);
  g_assert_cmpint (nbd_get_size (nbd), ==, SIZE);
  return nbd;
}

typedef struct {
  uint64_t offset;
  bool blocks[BLOCKS]; /* any part of it is dirty */
} DirtyMap;

static int
note_extents (void *user_data, const char *context, uint64_t offset, uint32_t *entries,
              size_t n_entries, int *error)
{
  DirtyMap *map = user_data;

  for (size_t i = 0; i + 1 < n_entries; i += 2) {
    uint64_t end = map->offset + entries[i];

    for (uint64_t at = map->offset; (entries[i + 1] & 1) && at < end; at = (at / BLOCK + 1) * BLOCK)
      map->blocks[at / BLOCK] = true;
    map->offset = end;
  }
  return 0;
}

static void
read_map (const VarveEndpoint *endpoint, DirtyMap *map)
{
  struct nbd_handle *nbd = connect_to (endpoint, endpoint->dirty_context);
  nbd_extent_callback callback = { .callback = note_extents, .user_data = map };

  while (map->offset < SIZE) {
    if (nbd_block_status (nbd, SIZE - map->offset, map->offset, callback, 0) < 0)
      g_error ("block status: %s", nbd_get_error ());
  }
  nbd_close (nbd);
}

static guint8 *
read_all (const VarveEndpoint *endpoint)
{
  struct nbd_handle *nbd = connect_to (endpoint, NULL);
  guint8 *data = g_malloc (SIZE);

  for (unsigned at = 0; at < SIZE; at += BLOCK) {
    if (nbd_pread (nbd, data + at, BLOCK, at, 0) < 0)
      g_error ("read at %u: %s", at, nbd_get_error ());
  }
  nbd_close (nbd);
  return data;
}

/* --- the property ----------------------------------------------------------------------------- */

static void
compare_map (const DirtyMap *map, const guint8 *image, const guint8 *base, const char *disk)
{
  for (unsigned b = 0; b < BLOCKS; b++) {
    bool differs = memcmp (image + b * BLOCK, base + b * BLOCK, BLOCK) != 0;

    if (differs && !map->blocks[b])
      g_error ("Disk %s: block %u changed, and the map misses it.", disk, b);
    backup_counts.changed += differs;
    backup_counts.clean += !map->blocks[b];
    backup_counts.spare += map->blocks[b] && !differs;
  }
}

void
backup_check (VarveSession *session, unsigned disk, GBytes *image, GBytes *base)
{
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autoptr (GError) error = NULL;
  const guint8 *expected = g_bytes_get_data (image, NULL);

  varve_session_endpoint (session, disk_names[disk], &endpoint, NULL, &error);
  g_assert_no_error (error);
  g_assert_true ((endpoint.dirty_context != NULL) == (base != NULL));
  if (base) {
    DirtyMap map = { 0 };

    read_map (&endpoint, &map);
    compare_map (&map, expected, g_bytes_get_data (base, NULL), disk_names[disk]);
  }
  g_autofree guint8 *data = read_all (&endpoint);
  for (unsigned b = 0; b < BLOCKS; b++) {
    if (memcmp (data + b * BLOCK, expected + b * BLOCK, BLOCK) != 0)
      g_error ("Disk %s: block %u is not as it was at the instant.", disk_names[disk], b);
  }
  backup_counts.backups++;
}

void
backup_read (VarveSession *session)
{
  for (unsigned i = 0; i < DISKS; i++) {
    g_auto (VarveEndpoint) endpoint = { 0 };
    g_autoptr (GError) error = NULL;

    varve_session_endpoint (session, disk_names[i], &endpoint, NULL, &error);
    g_assert_no_error (error);
    g_free (read_all (&endpoint));
  }
}

void
backup_end (VarveSession *session, bool keep)
{
  g_autoptr (GError) error = NULL;

  varve_session_finish (session, NULL, &error);
  g_assert_no_error (error);
  varve_session_close (session, &error);
  g_assert_no_error (error);
  if (keep)
    varve_session_keep (session, &error);
  g_assert_no_error (error);
  varve_session_end (session, &error);
  g_assert_no_error (error);
}

/* --- what is left ----------------------------------------------------------------------------- */

static bool
not_committed (const VarveRecord *record, bool *out_known, gpointer data)
{
  *out_known = true;
  return false;
}

/* A storage daemon may take a moment to follow the worker that started it. */
static void
recover_patiently (World *world, const VarveRecord *record)
{
  for (int i = 0; i < 10000; i++) {
    g_autoptr (GError) error = NULL;

    if (varve_session_recover (world->state, world->domain, record, not_committed, NULL, NULL,
                               &error))
      return;
    if (!varve_error_matches (error, VARVE_ERROR_BUSY))
      g_error ("recovery: %s", error->message);
    g_usleep (10000);
  }
  g_error ("The images stay locked.");
}

void
backup_recover (World *world)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) ids = varve_record_list (world->state, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < ids->len; i++) {
    g_autoptr (VarveRecord) record =
        varve_record_load (world->state, g_ptr_array_index (ids, i), &error);

    g_assert_no_error (error);
    recover_patiently (world, record);
  }
}
