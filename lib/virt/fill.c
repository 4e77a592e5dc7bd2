/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "virt/fill.h"

#include "qemu/image-node.h"
#include "util/error.h"

static void
disk_free (gpointer data)
{
  VarveFillDisk *disk = data;

  g_free (disk->disk);
  g_free (disk->path);
  g_free (disk);
}

VarveFill *
varve_fill_new (const char *session, const char *socket)
{
  VarveFill *fill = g_new0 (VarveFill, 1);

  fill->session = g_strdup (session);
  fill->socket = g_strdup (socket);
  fill->disks = g_ptr_array_new_with_free_func (disk_free);
  return fill;
}

VarveFillDisk *
varve_fill_add_disk (VarveFill *fill, const char *disk, const char *path)
{
  VarveFillDisk *added = g_new0 (VarveFillDisk, 1);

  added->disk = g_strdup (disk);
  added->path = g_strdup (path);
  g_ptr_array_add (fill->disks, added);
  return added;
}

VarveFillDisk *
varve_fill_disk (const VarveFill *fill, guint i)
{
  return g_ptr_array_index (fill->disks, i);
}

void
varve_fill_free (VarveFill *fill)
{
  if (fill == NULL)
    return;
  g_free (fill->session);
  g_free (fill->socket);
  g_ptr_array_unref (fill->disks);
  g_free (fill);
}

bool
varve_fill_is_ready (const VarveFill *fill)
{
  for (guint i = 0; i < fill->disks->len; i++)
    if (!varve_fill_disk (fill, i)->progress.ready)
      return false;
  return true;
}

char *
varve_fill_node (const VarveFill *fill, guint i)
{
  return g_strdup_printf ("restored-%.8s-%u", fill->session, i);
}

uint64_t
varve_fill_disk_speed (const VarveFill *fill)
{
  return fill->speed == 0 ? 0 : MAX (1, fill->speed / fill->disks->len);
}

bool
varve_fill_step_all (VarveQmp *qmp, VarveFill *fill, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < fill->disks->len; i++) {
    VarveFillDisk *disk = varve_fill_disk (fill, i);
    g_autofree char *node = varve_fill_node (fill, i);

    if (!disk->progress.ready && !varve_fill_step (qmp, node, varve_fill_disk_speed (fill),
                                                   &disk->progress, cancellable, error))
      return varve_prefix (error, "Disk '%s'", disk->disk);
  }
  return true;
}

VarveStorageDaemon *
varve_fill_stopped (const VarveFill *fill, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStorageDaemon) daemon =
      varve_storage_daemon_start (NULL, NULL, 0, cancellable, error);

  if (daemon == NULL)
    return NULL;
  varve_storage_daemon_will_write (daemon);
  for (guint i = 0; i < fill->disks->len; i++) {
    const VarveFillDisk *disk = varve_fill_disk (fill, i);
    g_autofree char *node = varve_fill_node (fill, i);
    g_autoptr (GError) local = NULL;

    if (disk->progress.ready ||
        varve_fill_open (varve_storage_daemon_qmp (daemon), node, disk->path, fill->socket,
                         disk->disk, cancellable, &local))
      continue;
    if (varve_is_lock_failure (local->message))
      varve_throw_locked (error, disk->path, "Filling", local->message);
    else
      g_propagate_error (error, g_steal_pointer (&local));
    return NULL;
  }
  return g_steal_pointer (&daemon);
}
