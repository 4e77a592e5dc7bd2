/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A snapshot of stopped images. The instant is QEMU's lock: while the storage daemon has the images
 * open, nobody can write to them. One that only reads a raw image locks out nobody, so that this is
 * done here.
 *
 *   bitmaps added in a short read-write open ─▶ daemon, read-only ─▶ the bitmaps read back through
 * it
 *
 * In this order, as a daemon that has an image open read-only says yes to a new bitmap and never
 * stores it, and one that has it open for writing loses all bitmaps of the image when it is killed.
 * A domain that is started in between makes the next increment larger, no more, as the bitmap is
 * there first.
 *
 * The daemon dies with this process, so a snapshot that is attached to has nothing left but files.
 */
#include "config.h"
#include "virt/image/image-domain.h"

#include <unistd.h>

#include "qemu/image-lock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"
#include "virt/qemu-push.h"

typedef struct {
  VarveSnapshot base;
  VarveStorageDaemon *daemon; /* NULL when attached to, and after the end */
  GArray *locks;              /* of int: descriptors; likewise */
} ImageSnapshot;

static ImageSnapshot *
snapshot_new (VarveDomain *domain, const VarveStart *start)
{
  ImageSnapshot *snapshot = g_new0 (ImageSnapshot, 1);

  snapshot->base.domain = domain;
  snapshot->base.start = varve_start_copy (start);
  return snapshot;
}

void
varve_image_snapshot_free (VarveSnapshot *base)
{
  ImageSnapshot *snapshot = (ImageSnapshot *)base;

  g_clear_pointer (&snapshot->daemon, varve_storage_daemon_free);
  g_clear_pointer (&snapshot->locks, g_array_unref);
  varve_start_free (base->start);
  g_free (snapshot);
}

bool
varve_image_domain_attach (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                           GCancellable *cancellable, GError **error)
{
  *out = &snapshot_new (base, start)->base;
  return true;
}

bool
varve_image_check_start (VarveImageDomain *domain, const VarveStart *start,
                         GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStartReport) report = NULL;

  return varve_image_domain_check (&domain->base, start, &report, cancellable, error) &&
         varve_start_report_allows (report, error);
}

static void
close_lock (gpointer data)
{
  int fd = *(int *)data;

  if (fd >= 0)
    close (fd);
}

/* The locks that go with the daemon: of the raw images, which it shares with writers. */
static GArray *
lock_raw (VarveImageDomain *domain, const VarveStart *start, GError **error)
{
  g_autoptr (GArray) locks = g_array_new (FALSE, FALSE, sizeof (int));

  g_array_set_clear_func (locks, close_lock);
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    const VarveImage *image = varve_image_domain_image (domain, disk->disk, error);
    int fd = -1;

    if (!image)
      return NULL;
    if (!g_str_equal (image->format, "raw"))
      continue;
    if (!varve_image_lock (image->path, &fd, error)) {
      varve_prefix (error, "Disk '%s' of domain '%s'", disk->disk, domain->base.name);
      return NULL;
    }
    g_array_append_val (locks, fd);
  }
  return g_steal_pointer (&locks);
}

/* *out_added counts the disks of the start that have been dealt with. */
static bool
add_bitmaps (VarveImageDomain *domain, const VarveStart *start, guint *out_added,
             GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < start->disks->len; i++, ++*out_added) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    const VarveImage *image = varve_image_domain_image (domain, disk->disk, error);

    if (!image || (disk->checkpoint &&
                   !varve_image_bitmap_add (image, start->checkpoint, VARVE_BITMAP_GRANULARITY,
                                            cancellable, error)))
      return varve_prefix (error, "Disk '%s'", disk->disk);
  }
  return varve_failpoint ("image-start-bitmap", error);
}

static void
remove_added (VarveImageDomain *domain, const VarveStart *start, guint added)
{
  for (guint i = 0; i < added; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    g_autoptr (GError) error = NULL;

    if (disk->checkpoint &&
        !varve_image_bitmap_remove (g_hash_table_lookup (domain->images, disk->disk),
                                    start->checkpoint, NULL, &error))
      g_debug ("The bitmap of a start that failed was left: %s", error->message);
  }
}

/* A new bitmap counts when the image itself has it: stored, recording, sound. */
static bool
read_back (VarveStorageDaemon *daemon, const VarveStart *start, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (GPtrArray) disks = varve_start_marked_disks (start);
  g_autoptr (GPtrArray) bitmaps = varve_image_domain_loaded (daemon, disks, cancellable, error);
  for (guint i = 0; bitmaps && i < disks->len; i++) {
    if (!varve_qemu_check_added (bitmaps, g_ptr_array_index (disks, i), start->checkpoint, true,
                                 error))
      return false;
  }
  return bitmaps != NULL;
}

static bool
start_steps (VarveImageDomain *domain, const VarveStart *start, guint *out_added,
             VarveStorageDaemon **out_daemon, GCancellable *cancellable, GError **error)
{
  if (!add_bitmaps (domain, start, out_added, cancellable, error))
    return false;
  *out_daemon = varve_image_serve (domain, start, false, cancellable, error);
  return *out_daemon && varve_failpoint ("image-start-daemon", error) &&
         read_back (*out_daemon, start, cancellable, error) &&
         (!start->push || varve_image_push_start (*out_daemon, start, cancellable, error));
}

bool
varve_image_domain_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                          uint64_t *out_pause_us, GCancellable *cancellable, GError **error)
{
  VarveImageDomain *domain = (VarveImageDomain *)base;
  VarveStorageDaemon *daemon = NULL;
  g_autoptr (GArray) locks = NULL;
  guint added = 0;

  *out = NULL;
  *out_pause_us = 0;
  if (!varve_image_check_start (domain, start, cancellable, error))
    return false;
  locks = lock_raw (domain, start, error);
  if (!locks)
    return false;
  if (!start_steps (domain, start, &added, &daemon, cancellable, error)) {
    g_clear_pointer (&daemon, varve_storage_daemon_free);
    remove_added (domain, start, added);
    return false;
  }

  ImageSnapshot *snapshot = snapshot_new (base, start);
  snapshot->daemon = daemon;
  snapshot->locks = g_steal_pointer (&locks);
  *out = &snapshot->base;
  return true;
}

static bool
is_alive (const ImageSnapshot *snapshot)
{
  return snapshot->daemon && varve_storage_daemon_alive (snapshot->daemon);
}

static bool
throw_lost (const ImageSnapshot *snapshot, GError **error)
{
  return varve_throw (
      error, VARVE_ERROR_SOURCE_LOST,
      "The storage daemon that held the images of domain '%s' has exited before all "
      "was read: what was read is discarded; take the backup again.",
      snapshot->base.domain->name);
}

bool
varve_image_snapshot_endpoint (VarveSnapshot *base, const char *disk, VarveEndpoint *out,
                               GCancellable *cancellable, GError **error)
{
  ImageSnapshot *snapshot = (ImageSnapshot *)base;
  const VarveStartDisk *found = varve_start_find_disk (base->start, disk);

  if (!found)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "Disk '%s' is not part of this snapshot of domain '%s'.", disk,
                        base->domain->name);
  if (!is_alive (snapshot))
    return throw_lost (snapshot, error);
  varve_image_endpoint (snapshot->daemon, base->start, found, false, out);
  return true;
}

static VarveQmp *
qmp_of (const VarveSnapshot *base)
{
  return varve_storage_daemon_qmp (((const ImageSnapshot *)base)->daemon);
}

bool
varve_image_snapshot_progress (VarveSnapshot *base, GArray **out, GCancellable *cancellable,
                               GError **error)
{
  if (!is_alive ((ImageSnapshot *)base))
    return throw_lost ((ImageSnapshot *)base, error);
  return varve_qemu_push_progress (qmp_of (base), base->start, out, cancellable, error);
}

bool
varve_image_snapshot_set_speed (VarveSnapshot *base, uint64_t speed, GCancellable *cancellable,
                                GError **error)
{
  if (!is_alive ((ImageSnapshot *)base))
    return throw_lost ((ImageSnapshot *)base, error);
  return varve_qemu_push_set_speed (qmp_of (base), base->start, speed, cancellable, error);
}

bool
varve_image_snapshot_poll (VarveSnapshot *base, VarveSnapshotStatus *out, GCancellable *cancellable,
                           GError **error)
{
  *out = (VarveSnapshotStatus){ 0 };
  if (is_alive ((ImageSnapshot *)base))
    return !base->start->push ||
           varve_qemu_push_poll (qmp_of (base), base->start, out, cancellable, error);
  out->state = VARVE_SNAPSHOT_GONE;
  out->why = g_strdup ("its storage daemon has exited");
  return true;
}

bool
varve_image_snapshot_finish (VarveSnapshot *base, GCancellable *cancellable, GError **error)
{
  ImageSnapshot *snapshot = (ImageSnapshot *)base;

  if (!is_alive (snapshot))
    return throw_lost (snapshot, error);
  return !base->start->push ||
         varve_image_push_finish (snapshot->daemon, base->start, cancellable, error);
}

/* The files are those of a start on the QEMU of this domain, which has exited since. */
static bool
remove_files (const VarveStart *start, GError **error)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->scratch && !varve_durable_unlink (disk->scratch, error))
      return false;
  }
  return true;
}

bool
varve_image_snapshot_end (VarveSnapshot *base, bool start_was_cut, GCancellable *cancellable,
                          GError **error)
{
  ImageSnapshot *snapshot = (ImageSnapshot *)base;

  g_autoptr (GError) local = NULL;

  /* Read-only, it may have ended in any way, as long as it has. */
  if (snapshot->daemon && !varve_storage_daemon_quit (snapshot->daemon, &local) &&
      varve_storage_daemon_alive (snapshot->daemon)) {
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  g_clear_pointer (&snapshot->daemon, varve_storage_daemon_free);
  g_clear_pointer (&snapshot->locks, g_array_unref);
  return remove_files (base->start, error);
}
