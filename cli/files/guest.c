/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/guest.h"

#include <errno.h>
#include <string.h>

/* --- errors ----------------------------------------------------------------------------------- */

/* The first line of what it says is about the matter, what follows is about libguestfs. */
bool
guest_throw (Guest *guest, VarveError code, GError **error, const char *format, ...)
{
  const char *said = guestfs_last_error (guest->g);
  g_autofree char *doing = NULL;
  va_list args;

  if (g_cancellable_set_error_if_cancelled (guest->cli->cancellable, error))
    return false;
  if (said == NULL)
    said = "libguestfs does not say why";
  va_start (args, format);
  doing = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, VARVE_ERROR, (int)code, "%s: %.*s", doing, (int)strcspn (said, "\n"), said);
  return false;
}

void
guest_warn (Guest *guest, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  const VarveEvent event = { .type = VARVE_EVENT_WARNING, .action = "files", .text = text };

  cli_output_event (&event, &guest->cli->output);
}

/* --- names of devices ------------------------------------------------------------------------- */

/* The disk that @device, "/dev/sda2", belongs to, and what is behind the disk's device in it. */
static bool
find_disk (const Guest *guest, const char *device, guint *out_index, const char **out_rest)
{
  for (guint i = 0; i < guest->devices->len; i++) {
    const char *disk = g_ptr_array_index (guest->devices, i);
    const char *rest = device + strlen (disk);

    if (!g_str_has_prefix (device, disk) || g_ascii_isalpha (*rest))
      continue;
    *out_index = i;
    *out_rest = rest;
    return true;
  }
  return false;
}

/* As Linux does it: a "p" keeps a number apart from a name that ends with one. */
static char *
join (const char *disk, const char *rest)
{
  size_t length = strlen (disk);
  bool apart = g_ascii_isdigit (rest[0]) && length > 0 && g_ascii_isdigit (disk[length - 1]);

  return g_strconcat (disk, apart ? "p" : "", rest, NULL);
}

char *
guest_show_device (const Guest *guest, const char *device)
{
  static const char subvolume[] = "btrfsvol:";
  bool is_subvolume = g_str_has_prefix (device, subvolume);
  const char *rest;
  g_autofree char *shown = NULL;
  guint i;

  if (!find_disk (guest, is_subvolume ? device + strlen (subvolume) : device, &i, &rest))
    return g_strdup (device);
  shown = join (g_ptr_array_index (guest->names, i), rest);
  return g_strconcat (is_subvolume ? subvolume : "", shown, NULL);
}

/* What is behind the name of a disk in @name, "vda2", if that is a partition, or all of it; NULL: it is neither. */
static const char *
partition_of (const char *name, const char *disk)
{
  const char *rest = name + strlen (disk);
  bool apart = *disk != '\0' && g_ascii_isdigit (disk[strlen (disk) - 1]);

  if (!g_str_has_prefix (name, disk))
    return NULL;
  if (apart && *rest != '\0' && *rest++ != 'p')
    return NULL;
  return strspn (rest, "0123456789") == strlen (rest) ? rest : NULL;
}

char *
guest_find_device (const Guest *guest, const char *name)
{
  for (guint i = 0; i < guest->names->len; i++) {
    const char *rest = partition_of (name, g_ptr_array_index (guest->names, i));

    if (rest != NULL)
      return g_strconcat (g_ptr_array_index (guest->devices, i), rest, NULL);
  }
  return g_strdup (name);
}

const char *
guest_disk_of (const Guest *guest, const char *device)
{
  const char *path = strchr (device, '/');
  const char *rest;
  guint i;

  return path && find_disk (guest, path, &i, &rest) ? g_ptr_array_index (guest->names, i) : NULL;
}

/* --- the appliance ---------------------------------------------------------------------------- */

/* What libguestfs takes for a label is letters alone: "a", "b", … "z", "ba". */
static char *
make_label (guint i)
{
  GString *label = g_string_new (NULL);

  do {
    g_string_prepend_c (label, (char)('a' + i % 26));
    i /= 26;
  } while (i > 0);
  return g_string_free (label, FALSE);
}

static bool
add_disk (Guest *guest, guint i, const char *server, GError **error)
{
  g_autofree char *label = make_label (i);
  const char *name = g_ptr_array_index (guest->names, i);
  char *servers[] = { (char *)server, NULL };
  const struct guestfs_add_drive_opts_argv options = {
    .bitmask = GUESTFS_ADD_DRIVE_OPTS_READONLY_BITMASK | GUESTFS_ADD_DRIVE_OPTS_FORMAT_BITMASK |
               GUESTFS_ADD_DRIVE_OPTS_PROTOCOL_BITMASK | GUESTFS_ADD_DRIVE_OPTS_SERVER_BITMASK |
               GUESTFS_ADD_DRIVE_OPTS_LABEL_BITMASK,
    .readonly = 1,
    .format = "raw",
    .protocol = "nbd",
    .server = servers,
    .label = label,
  };

  if (guestfs_add_drive_opts_argv (guest->g, name, &options) == 0)
    return true;
  return guest_throw (guest, VARVE_ERROR_FAILED, error, "Disk '%s' cannot be shown to libguestfs",
                      name);
}

/* By its label: in which order the appliance finds its disks is its own affair. */
static bool
find_device (Guest *guest, guint i, char **labels, GError **error)
{
  g_autofree char *label = make_label (i);

  for (char **pair = labels; pair[0] != NULL; pair += 2)
    if (strcmp (pair[0], label) == 0) {
      g_ptr_array_add (guest->devices, g_strdup (pair[1]));
      return true;
    }
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_FAILED,
               "Disk '%s' is not there in the appliance of libguestfs.",
               (const char *)g_ptr_array_index (guest->names, i));
  return false;
}

static bool
find_devices (Guest *guest, GError **error)
{
  g_auto (GStrv) labels = guestfs_list_disk_labels (guest->g);

  if (labels == NULL)
    return guest_throw (guest, VARVE_ERROR_FAILED, error, "The appliance tells of no disks");
  for (guint i = 0; i < guest->names->len; i++)
    if (!find_device (guest, i, labels, error))
      return false;
  return true;
}

static void
cancelled (GCancellable *cancellable, gpointer g)
{
  guestfs_user_cancel (g);
}

static bool
launch (Guest *guest, const char *socket, GError **error)
{
  g_autofree char *server = g_strconcat ("unix:", socket, NULL);

  for (guint i = 0; i < guest->names->len; i++)
    if (!add_disk (guest, i, server, error))
      return false;
  if (guestfs_launch (guest->g) != 0)
    return guest_throw (guest, VARVE_ERROR_UNSUPPORTED, error,
                        "The appliance of libguestfs does not start (try libguestfs-test-tool; it "
                        "takes QEMU, a kernel in /boot that you may read, and a KVM that works or "
                        "LIBGUESTFS_BACKEND_SETTINGS=force_tcg)");
  return find_devices (guest, error);
}

/* The backend is QEMU as a child: one that libvirt starts has another user, who cannot reach our socket. */
static Guest *
guest_new (Cli *cli, GPtrArray *disks, GError **error)
{
  g_autoptr (Guest) guest = g_new0 (Guest, 1);

  guest->g = guestfs_create ();
  if (guest->g == NULL) {
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_FAILED, "libguestfs cannot be used: %s",
                 g_strerror (errno));
    return NULL;
  }
  guest->names = g_ptr_array_ref (disks);
  guest->devices = g_ptr_array_new_with_free_func (g_free);
  guest->cli = cli;
  guest->cancel_id =
      g_cancellable_connect (cli->cancellable, G_CALLBACK (cancelled), guest->g, NULL);
  guestfs_set_error_handler (guest->g, NULL, NULL);
  guestfs_set_program (guest->g, "varve");
  if (g_getenv ("LIBGUESTFS_BACKEND") == NULL)
    guestfs_set_backend (guest->g, "direct");
  return g_steal_pointer (&guest);
}

Guest *
guest_start (Cli *cli, const char *socket, GPtrArray *disks, GError **error)
{
  g_autoptr (Guest) guest = guest_new (cli, disks, error);

  if (guest == NULL || !launch (guest, socket, error) ||
      g_cancellable_set_error_if_cancelled (cli->cancellable, error))
    return NULL;
  return g_steal_pointer (&guest);
}

void
guest_free (Guest *guest)
{
  if (guest == NULL)
    return;
  if (guest->cancel_id)
    g_cancellable_disconnect (guest->cli->cancellable, guest->cancel_id);
  if (guest->g)
    guestfs_close (guest->g);
  g_clear_pointer (&guest->names, g_ptr_array_unref);
  g_clear_pointer (&guest->devices, g_ptr_array_unref);
  g_free (guest);
}
