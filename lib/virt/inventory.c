/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The plain data of a domain. Nothing here knows a hypervisor; the only invariant is that whatever
 * a struct points to belongs to it. */
#include "config.h"
#include "virt/inventory.h"

#include "util/error.h"

VarveDisk *
varve_disk_new (const char *name)
{
  VarveDisk *disk = g_new0 (VarveDisk, 1);

  disk->name = g_strdup (name);
  return disk;
}

void
varve_disk_free (VarveDisk *disk)
{
  if (!disk)
    return;
  g_free (disk->name);
  g_free (disk->format);
  g_free (disk->path);
  g_free (disk->why_not_persist);
  g_free (disk->why_not);
  g_free (disk);
}

VarveBitmap *
varve_bitmap_new (const char *disk, const char *name)
{
  VarveBitmap *bitmap = g_new0 (VarveBitmap, 1);

  bitmap->disk = g_strdup (disk);
  bitmap->name = g_strdup (name);
  bitmap->dirty = UINT64_MAX;
  return bitmap;
}

void
varve_bitmap_free (VarveBitmap *bitmap)
{
  if (!bitmap)
    return;
  g_free (bitmap->disk);
  g_free (bitmap->name);
  g_free (bitmap);
}

VarveCheckpointMetadata *
varve_checkpoint_metadata_new (const char *name)
{
  VarveCheckpointMetadata *metadata = g_new0 (VarveCheckpointMetadata, 1);

  metadata->name = g_strdup (name);
  metadata->disks = g_ptr_array_new_with_free_func (g_free);
  return metadata;
}

void
varve_checkpoint_metadata_free (VarveCheckpointMetadata *metadata)
{
  if (!metadata)
    return;
  g_free (metadata->name);
  g_free (metadata->description);
  g_ptr_array_unref (metadata->disks);
  g_free (metadata);
}

VarveLeftOver *
varve_left_over_new (const char *session, const char *directory)
{
  VarveLeftOver *over = g_new0 (VarveLeftOver, 1);

  over->session = g_strdup (session);
  over->directory = g_strdup (directory);
  return over;
}

void
varve_left_over_free (VarveLeftOver *over)
{
  if (!over)
    return;
  g_free (over->session);
  g_free (over->directory);
  g_free (over);
}

VarveDisk *
varve_disk_find (GPtrArray *disks, const char *name)
{
  for (guint i = 0; i < disks->len; i++) {
    VarveDisk *disk = g_ptr_array_index (disks, i);

    if (g_str_equal (disk->name, name))
      return disk;
  }
  return NULL;
}

VarveBitmap *
varve_bitmap_find (GPtrArray *bitmaps, const char *disk, const char *name)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);

    if (g_str_equal (bitmap->disk, disk) && g_str_equal (bitmap->name, name))
      return bitmap;
  }
  return NULL;
}

VarveCheckpointMetadata *
varve_checkpoint_metadata_find (GPtrArray *metadata, const char *name)
{
  for (guint i = 0; i < metadata->len; i++) {
    VarveCheckpointMetadata *found = g_ptr_array_index (metadata, i);

    if (g_str_equal (found->name, name))
      return found;
  }
  return NULL;
}

static void
start_disk_free (gpointer data)
{
  VarveStartDisk *disk = data;

  g_free (disk->disk);
  g_free (disk->since);
  g_clear_pointer (&disk->since_also, g_ptr_array_unref);
  g_free (disk->scratch);
  g_free (disk->target);
  g_free (disk);
}

VarveStart *
varve_start_new (const char *session)
{
  VarveStart *start = g_new0 (VarveStart, 1);

  start->session = g_strdup (session);
  start->policy.write_timeout = 4;
  start->disks = g_ptr_array_new_with_free_func (start_disk_free);
  return start;
}

VarveStart *
varve_start_copy (const VarveStart *start)
{
  VarveStart *copy = varve_start_new (start->session);

  copy->checkpoint = g_strdup (start->checkpoint);
  copy->description = g_strdup (start->description);
  copy->directory = g_strdup (start->directory);
  copy->push = start->push;
  copy->fleece = start->fleece;
  copy->compress = start->compress;
  copy->workers = start->workers;
  copy->chunk = start->chunk;
  copy->target_root = g_strdup (start->target_root);
  copy->speed = start->speed;
  copy->policy = start->policy;
  copy->server = (VarveServer){ g_strdup (start->server.host), start->server.port,
                                g_strdup (start->server.credentials) };
  copy->foreign_readers = start->foreign_readers;
  copy->allow_trim = start->allow_trim;
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *from = g_ptr_array_index (start->disks, i);
    VarveStartDisk *to = varve_start_add_disk (copy, from->disk);

    to->since = g_strdup (from->since);
    for (guint j = 0; from->since_also && j < from->since_also->len; j++)
      varve_start_disk_also (to, g_ptr_array_index (from->since_also, j));
    to->checkpoint = from->checkpoint;
    to->transient = from->transient;
    to->scratch = g_strdup (from->scratch);
    to->target = g_strdup (from->target);
    to->target_form = from->target_form;
    to->target_size = from->target_size;
    to->target_in_place = from->target_in_place;
  }
  return copy;
}

void
varve_start_free (VarveStart *start)
{
  if (!start)
    return;
  g_free (start->session);
  g_free (start->checkpoint);
  g_free (start->description);
  g_free (start->directory);
  g_free (start->target_root);
  g_free (start->server.host);
  g_free (start->server.credentials);
  g_ptr_array_unref (start->disks);
  g_free (start);
}

VarveStartDisk *
varve_start_add_disk (VarveStart *start, const char *disk)
{
  VarveStartDisk *added = g_new0 (VarveStartDisk, 1);

  added->disk = g_strdup (disk);
  g_ptr_array_add (start->disks, added);
  return added;
}

void
varve_start_disk_also (VarveStartDisk *disk, const char *bitmap)
{
  if (!disk->since_also)
    disk->since_also = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (disk->since_also, g_strdup (bitmap));
}

VarveStartDisk *
varve_start_find_disk (const VarveStart *start, const char *disk)
{
  for (guint i = 0; i < start->disks->len; i++) {
    VarveStartDisk *found = g_ptr_array_index (start->disks, i);

    if (g_str_equal (found->disk, disk))
      return found;
  }
  return NULL;
}

GPtrArray *
varve_start_marked_disks (const VarveStart *start)
{
  GPtrArray *disks = g_ptr_array_new ();

  for (guint i = 0; start->checkpoint && i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->checkpoint)
      g_ptr_array_add (disks, disk->disk);
  }
  return disks;
}

VarveStartReport *
varve_start_report_new (void)
{
  VarveStartReport *report = g_new0 (VarveStartReport, 1);

  report->weaker = g_ptr_array_new_with_free_func (g_free);
  report->refusals = g_ptr_array_new_with_free_func (g_free);
  return report;
}

void
varve_start_report_free (VarveStartReport *report)
{
  if (!report)
    return;
  g_free (report->strategy);
  g_ptr_array_unref (report->weaker);
  g_ptr_array_unref (report->refusals);
  g_free (report);
}

bool
varve_start_report_allows (const VarveStartReport *report, GError **error)
{
  g_autoptr (GString) all = g_string_new (NULL);

  if (report->refusals->len == 0)
    return true;
  for (guint i = 0; i < report->refusals->len; i++)
    g_string_append_printf (all, "%s%s", i ? " " : "",
                            (char *)g_ptr_array_index (report->refusals, i));
  return varve_throw (error, VARVE_ERROR_REFUSED, "%s", all->str);
}

void
varve_endpoint_clear (VarveEndpoint *endpoint)
{
  g_free (endpoint->uri);
  g_free (endpoint->socket);
  g_free (endpoint->export_name);
  g_free (endpoint->dirty_context);
  g_free (endpoint->allocation_context);
  g_free (endpoint->copied_uri);
  g_free (endpoint->copied_context);
  g_free (endpoint->proof_uri);
  *endpoint = (VarveEndpoint){ 0 };
}

void
varve_snapshot_status_clear (VarveSnapshotStatus *status)
{
  g_free (status->why);
  *status = (VarveSnapshotStatus){ 0 };
}
