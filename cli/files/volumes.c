/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/volumes.h"

#include <string.h>

/* --- file systems ----------------------------------------------------------------------------- */

static void
volume_free (gpointer data)
{
  Volume *volume = data;

  g_free (volume->device);
  g_free (volume->name);
  g_free (volume->type);
  g_free (volume);
}

/* Takes @text of libguestfs, where "" and NULL mean that there is none. */
static char *
unless_empty (char *text)
{
  if (text == NULL || *text != '\0')
    return text;
  g_free (text);
  return NULL;
}

void
volume_look (Guest *guest, const Volume *volume, VolumeDetails *details)
{
  details->label = unless_empty (guestfs_vfs_label (guest->g, volume->device));
  details->uuid = unless_empty (guestfs_vfs_uuid (guest->g, volume->device));
  details->size = -1;
  if (g_str_has_prefix (volume->device, "/"))
    details->size = guestfs_blockdev_getsize64 (guest->g, volume->device);
}

void
volume_details_clear (VolumeDetails *details)
{
  g_free (details->label);
  g_free (details->uuid);
}

static Volume *
volume_new (Guest *guest, const char *device, const char *type)
{
  Volume *volume = g_new0 (Volume, 1);

  volume->device = g_strdup (device);
  volume->name = guest_show_device (guest, device);
  volume->type = g_strdup (type);
  return volume;
}

GPtrArray *
volumes_find (Guest *guest, GError **error)
{
  g_autoptr (GPtrArray) volumes = g_ptr_array_new_with_free_func (volume_free);
  g_auto (GStrv) found = guestfs_list_filesystems (guest->g);

  if (found == NULL) {
    guest_throw (guest, VARVE_ERROR_FAILED, error, "The file systems cannot be listed");
    return NULL;
  }
  for (char **pair = found; pair[0] != NULL; pair += 2)
    g_ptr_array_add (volumes, volume_new (guest, pair[0], pair[1]));
  return g_steal_pointer (&volumes);
}

/* --- operating systems ------------------------------------------------------------------------ */

static void
system_free (gpointer data)
{
  System *system = data;

  g_free (system->root);
  g_free (system->name);
  g_clear_pointer (&system->mounts, g_hash_table_unref);
  g_free (system);
}

/* A system may know its disks by other names, such as /dev/vda1. */
static char *
canonical (Guest *guest, const char *device)
{
  char *name = guestfs_canonical_device_name (guest->g, device);

  return name ? name : g_strdup (device);
}

static System *
system_new (Guest *guest, const char *root)
{
  System *system = g_new0 (System, 1);
  g_auto (GStrv) mounts = guestfs_inspect_get_mountpoints (guest->g, root);

  system->root = g_strdup (root);
  system->name = guestfs_inspect_get_product_name (guest->g, root);
  system->mounts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  for (char **pair = mounts; pair && pair[0] != NULL; pair += 2)
    g_hash_table_insert (system->mounts, g_strdup (pair[0]), canonical (guest, pair[1]));
  return system;
}

GPtrArray *
systems_find (Guest *guest, GError **error)
{
  g_autoptr (GPtrArray) systems = g_ptr_array_new_with_free_func (system_free);
  g_auto (GStrv) roots = guestfs_inspect_os (guest->g);

  if (roots == NULL) {
    guest_throw (guest, VARVE_ERROR_FAILED, error, "Operating systems cannot be looked for");
    return NULL;
  }
  for (char **root = roots; *root != NULL; root++)
    g_ptr_array_add (systems, system_new (guest, *root));
  return g_steal_pointer (&systems);
}

/* --- mounting --------------------------------------------------------------------------------- */

static bool
mount_at (Guest *guest, const char *device, const char *path, GError **error)
{
  g_autofree char *name = guest_show_device (guest, device);

  if (guestfs_mount_ro (guest->g, device, path) == 0)
    return true;
  return guest_throw (guest, VARVE_ERROR_UNSUPPORTED, error, "The file system on %s cannot be read",
                      name);
}

static int
compare_paths (gconstpointer a, gconstpointer b)
{
  return strcmp (a, b);
}

/* "/" first, and each directory before those in it. What is missing besides is told, and does no harm to the rest. */
static bool
mount_system (Guest *guest, const System *system, GError **error)
{
  g_autoptr (GList) paths = g_hash_table_get_keys (system->mounts);

  paths = g_list_sort (paths, compare_paths);
  if (paths == NULL || strcmp (paths->data, "/") != 0)
    return mount_at (guest, system->root, "/", error);
  for (GList *path = paths; path != NULL; path = path->next) {
    g_autoptr (GError) failed = NULL;

    if (mount_at (guest, g_hash_table_lookup (system->mounts, path->data), path->data, &failed))
      continue;
    if (path == paths) {
      g_propagate_error (error, g_steal_pointer (&failed));
      return false;
    }
    guest_warn (guest, "What is at %s is left out. %s", (const char *)path->data, failed->message);
  }
  return true;
}

static bool
holds_files (const Volume *volume)
{
  static const char *const without[] = { "unknown", "swap", "crypto_LUKS", "BitLocker",
                                         "LVM2_member" };

  for (size_t i = 0; i < G_N_ELEMENTS (without); i++)
    if (strcmp (volume->type, without[i]) == 0)
      return false;
  return true;
}

/* "vda1 (ext4), vdb (xfs)" */
static char *
name_all (GPtrArray *volumes)
{
  g_autoptr (GString) names = g_string_new (NULL);

  for (guint i = 0; i < volumes->len; i++) {
    const Volume *volume = g_ptr_array_index (volumes, i);

    g_string_append_printf (names, "%s%s (%s)", i ? ", " : "", volume->name, volume->type);
  }
  return g_string_free (g_steal_pointer (&names), FALSE);
}

static bool
is_among (GPtrArray *volumes, const char *device)
{
  for (guint i = 0; i < volumes->len; i++)
    if (strcmp (((const Volume *)g_ptr_array_index (volumes, i))->device, device) == 0)
      return true;
  return false;
}

static bool
mount_only (Guest *guest, GError **error)
{
  g_autoptr (GPtrArray) volumes = volumes_find (guest, error);
  g_autofree char *names = volumes ? name_all (volumes) : NULL;
  const Volume *only = NULL;
  guint count = 0;

  if (volumes == NULL)
    return false;
  for (guint i = 0; i < volumes->len; i++)
    if (holds_files (g_ptr_array_index (volumes, i))) {
      only = g_ptr_array_index (volumes, i);
      count++;
    }
  if (count == 1)
    return mount_at (guest, only->device, "/", error);
  if (count == 0)
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND,
                 "There is no file system that can be read: %s.", *names ? names : "none at all");
  else
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_USAGE,
                 "No operating system was found that says where its file systems belong: name one "
                 "of them by --filesystem: %s.",
                 names);
  return false;
}

/* What there is, is only asked where it did not do: that takes as long as all else. */
static bool
mount_named (Guest *guest, const char *name, GError **error)
{
  g_autofree char *device = guest_find_device (guest, name);
  g_autofree char *names = NULL;
  g_autoptr (GPtrArray) volumes = NULL;
  g_autoptr (GError) failed = NULL;

  if (mount_at (guest, device, "/", &failed))
    return true;
  volumes = failed->domain == VARVE_ERROR ? volumes_find (guest, NULL) : NULL;
  if (volumes == NULL || is_among (volumes, device)) {
    g_propagate_error (error, g_steal_pointer (&failed));
    return false;
  }
  names = name_all (volumes);
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "There is no file system '%s', but %s.",
               name, *names ? names : "none at all");
  return false;
}

static bool
several_systems (Guest *guest, GPtrArray *systems, GError **error)
{
  g_autoptr (GString) names = g_string_new (NULL);

  for (guint i = 0; i < systems->len; i++) {
    const System *system = g_ptr_array_index (systems, i);
    g_autofree char *root = guest_show_device (guest, system->root);

    g_string_append_printf (names, "%s%s (%s)", i ? ", " : "", root, system->name);
  }
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_USAGE,
               "There are several operating systems: name a file system by --filesystem: %s.",
               names->str);
  return false;
}

bool
volumes_mount (Guest *guest, const char *name, GError **error)
{
  g_autoptr (GPtrArray) systems = NULL;

  if (name != NULL)
    return mount_named (guest, name, error);
  systems = systems_find (guest, error);
  if (systems == NULL)
    return false;
  if (systems->len > 1)
    return several_systems (guest, systems, error);
  if (systems->len == 1)
    return mount_system (guest, g_ptr_array_index (systems, 0), error);
  return mount_only (guest, error);
}
