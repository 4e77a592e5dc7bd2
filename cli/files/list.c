/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/list.h"

#include <string.h>
#include <sys/stat.h>

#include "files/tree.h"
#include "files/volumes.h"

/* --- disks ------------------------------------------------------------------------------------ */

/* Where the systems have the volume: "/", or "/, /home". (transfer full) */
static char *
mounts_of (GPtrArray *systems, const Volume *volume)
{
  g_autoptr (GString) paths = g_string_new (NULL);
  GHashTableIter iter;
  gpointer path, device;

  for (guint i = 0; i < systems->len; i++) {
    g_hash_table_iter_init (&iter, ((System *)g_ptr_array_index (systems, i))->mounts);
    while (g_hash_table_iter_next (&iter, &path, &device))
      if (strcmp (device, volume->device) == 0)
        g_string_append_printf (paths, "%s%s", paths->len ? ", " : "", (char *)path);
  }
  return paths->len ? g_string_free (g_steal_pointer (&paths), FALSE) : NULL;
}

static void
print_volume (Guest *guest, const Volume *volume, const VolumeDetails *details, const char *mounts)
{
  g_autofree char *label = details->label ? tree_printable (details->label) : NULL;
  g_autofree char *size =
      details->size < 0 ? g_strdup ("-") : cli_format_size ((guint64)details->size);

  cli_output_line (&guest->cli->output, "  %-10s %-8s %10s%s%s%s%s", volume->name, volume->type,
                   size, label ? "  label " : "", label ? label : "", mounts ? "  at " : "",
                   mounts ? mounts : "");
}

static void
volume_json (Guest *guest, const Volume *volume, const VolumeDetails *details, const char *mounts)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("filesystem");
  g_autofree char *label = details->label ? tree_printable (details->label) : NULL;

  cli_json_string (object, "filesystem", volume->name);
  cli_json_string (object, "disk", guest_disk_of (guest, volume->device));
  cli_json_string (object, "type", volume->type);
  if (details->size >= 0)
    cli_json_number (object, "size", details->size);
  cli_json_string (object, "label", label);
  cli_json_string (object, "uuid", details->uuid);
  cli_json_string (object, "mounted", mounts);
  cli_output_json (&guest->cli->output, object);
}

static void
tell_volume (Guest *guest, GPtrArray *systems, const Volume *volume)
{
  g_auto (VolumeDetails) details = { NULL };
  g_autofree char *paths = mounts_of (systems, volume);
  g_autofree char *mounts = paths ? tree_printable (paths) : NULL;

  volume_look (guest, volume, &details);
  print_volume (guest, volume, &details, mounts);
  volume_json (guest, volume, &details, mounts);
}

static void
tell_disk (Guest *guest, const VarveBackupDisk *disk)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("disk");
  g_autofree char *size = cli_format_size (disk->size);

  cli_output_line (&guest->cli->output, "%s  %s", disk->name, size);
  cli_json_string (object, "disk", disk->name);
  cli_json_number (object, "size", (gint64)disk->size);
  cli_output_json (&guest->cli->output, object);
}

static void
tell_system (Guest *guest, const System *system)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("system");
  g_autofree char *root = guest_show_device (guest, system->root);
  g_autofree char *name = tree_printable (system->name ? system->name : "an operating system");

  cli_output_line (&guest->cli->output, "%s, on %s", name, root);
  cli_json_string (object, "name", name);
  cli_json_string (object, "filesystem", root);
  cli_output_json (&guest->cli->output, object);
}

/* Those on @disk; NULL: those that are on no single disk, such as volumes of LVM. */
static guint
tell_volumes (Guest *guest, GPtrArray *systems, GPtrArray *volumes, const char *disk)
{
  guint count = 0;

  for (guint i = 0; i < volumes->len; i++) {
    const Volume *volume = g_ptr_array_index (volumes, i);

    if (g_strcmp0 (guest_disk_of (guest, volume->device), disk) != 0)
      continue;
    if (count++ == 0 && disk == NULL)
      cli_output_line (&guest->cli->output, "on several disks, or parts of one");
    tell_volume (guest, systems, volume);
  }
  return count;
}

static bool
is_shown (const Guest *guest, const VarveBackupDisk *disk)
{
  for (guint i = 0; i < guest->names->len; i++)
    if (strcmp (g_ptr_array_index (guest->names, i), disk->name) == 0)
      return true;
  return false;
}

bool
list_volumes (Guest *guest, VarveBackup *backup, GError **error)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (GPtrArray) volumes = volumes_find (guest, error);
  g_autoptr (GPtrArray) systems = volumes ? systems_find (guest, error) : NULL;

  if (systems == NULL)
    return false;
  for (guint i = 0; i < disks->len; i++) {
    const VarveBackupDisk *disk = g_ptr_array_index (disks, i);

    if (!is_shown (guest, disk))
      continue;
    tell_disk (guest, disk);
    if (tell_volumes (guest, systems, volumes, disk->name) == 0)
      cli_output_line (&guest->cli->output, "  no file system");
  }
  tell_volumes (guest, systems, volumes, NULL);
  for (guint i = 0; i < systems->len; i++)
    tell_system (guest, g_ptr_array_index (systems, i));
  return true;
}

/* --- files ------------------------------------------------------------------------------------ */

/* "drwxr-xr-x"; "?": nothing is known. */
static void
format_mode (const Entry *entry, char out[11])
{
  static const char letters[] = "?pc?d?b?-?l?s???";
  static const char bits[] = "rwxrwxrwx";
  guint32 mode = entry->mode;

  out[0] = letters[(mode & S_IFMT) >> 12];
  for (int i = 0; i < 9; i++)
    out[i + 1] = mode & (0400u >> i) ? bits[i] : '-';
  if (mode & S_ISUID)
    out[3] = mode & S_IXUSR ? 's' : 'S';
  if (mode & S_ISGID)
    out[6] = mode & S_IXGRP ? 's' : 'S';
  if (mode & S_ISVTX)
    out[9] = mode & S_IXOTH ? 't' : 'T';
  out[10] = '\0';
}

static char *
format_time (gint64 seconds)
{
  g_autoptr (GDateTime) when = g_date_time_new_from_unix_local (seconds);

  return when ? g_date_time_format (when, "%Y-%m-%d %H:%M") : g_strdup ("?");
}

static void
print_entry (Guest *guest, const Entry *entry)
{
  g_autofree char *name = tree_printable (entry->name);
  g_autofree char *target = entry->target ? tree_printable (entry->target) : NULL;
  g_autofree char *when = format_time (entry->modified.tv_sec);
  char mode[11];

  format_mode (entry, mode);
  cli_output_line (&guest->cli->output, "%s %5u %5u %12" G_GUINT64_FORMAT " %s %s%s%s", mode,
                   entry->uid, entry->gid, entry->size, when, name, target ? " -> " : "",
                   target ? target : "");
}

static void
entry_json (Guest *guest, const Entry *entry, const char *path)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("file");
  g_autofree char *shown = tree_printable (path);
  g_autofree char *target = entry->target ? tree_printable (entry->target) : NULL;
  g_autofree char *mode = g_strdup_printf ("%04o", entry->mode & 07777);

  cli_json_string (object, "path", shown);
  cli_json_string (object, "type", entry_type (entry));
  cli_json_string (object, "mode", mode);
  cli_json_number (object, "uid", entry->uid);
  cli_json_number (object, "gid", entry->gid);
  cli_json_number (object, "size", (gint64)entry->size);
  cli_json_number (object, "time", entry->modified.tv_sec);
  cli_json_string (object, "target", target);
  cli_output_json (&guest->cli->output, object);
}

static bool
list_directory (Guest *guest, const char *path, GError **error)
{
  g_autoptr (GPtrArray) entries = tree_read (guest, path, error);
  guint unknown = 0;

  if (entries == NULL)
    return false;
  for (guint i = 0; i < entries->len; i++) {
    const Entry *entry = g_ptr_array_index (entries, i);
    g_autofree char *full = tree_join (path, entry->name);

    unknown += entry->mode == 0;
    print_entry (guest, entry);
    entry_json (guest, entry, full);
  }
  if (unknown == 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_PARTIAL,
               "Of %u entries of '%s' only the names can be read.", unknown, path);
  return false;
}

bool
list_path (Guest *guest, const char *path, bool headed, GError **error)
{
  g_autoptr (Entry) entry = tree_look (guest, path, error);
  g_autofree char *shown = tree_printable (path);

  if (entry == NULL)
    return false;
  if (headed)
    cli_output_line (&guest->cli->output, "%s:", shown);
  if (S_ISDIR (entry->mode))
    return list_directory (guest, path, error);
  print_entry (guest, entry);
  entry_json (guest, entry, path);
  return true;
}
