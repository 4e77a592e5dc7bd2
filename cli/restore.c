/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

static bool
add_disks (VarveRestoreAction *action, char **disks, const char *format, GError **error)
{
  for (char **text = disks; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_disk_parse (*text, error);

    if (disk == NULL)
      return false;
    if (disk->key_file)
      return cli_usage (error, "key-file= has no meaning for a restore.");
    varve_restore_action_add_disk (action, disk->name, disk->path,
                                   disk->format ? disk->format : format);
  }
  return true;
}

/* Where the guest runs, and where it is defined. */
typedef struct {
  char *define;
  char *uri;
  char *speed;
  gboolean instant;
} Guest;

static void
guest_clear (Guest *guest)
{
  g_free (guest->define);
  g_free (guest->uri);
  g_free (guest->speed);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Guest, guest_clear)

static bool
check_guest (const Guest *guest, GError **error)
{
  if (guest->uri && !guest->define && !guest->instant)
    return cli_usage (error, "--connect goes with --define or --instant: a restore itself asks no "
                             "hypervisor.");
  if (guest->instant && !guest->uri && !guest->define)
    return cli_usage (error, "--instant needs to know which guest runs: --define NAME, of libvirt, "
                             "or --connect qmp+unix:///SOCKET.");
  if (guest->speed && !guest->instant)
    return cli_usage (error, "--speed goes with --instant.");
  return true;
}

static bool
add_guest (VarveRestoreAction *action, const Guest *guest, GError **error)
{
  guint64 speed = 0;

  if (guest->speed && !cli_parse_size (guest->speed, &speed, error))
    return false;
  if (guest->define)
    varve_restore_action_set_define (action, guest->define,
                                     guest->uri ? guest->uri : "qemu:///system");
  if (guest->instant)
    varve_restore_action_set_instant (action, TRUE, guest->define ? NULL : guest->uri, speed);
  return true;
}

bool
cli_restore (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *to = NULL;
  g_autofree char *format = NULL;
  g_auto (Guest) guest = { NULL };
  g_auto (GStrv) disks = NULL;
  g_autofree char *store = NULL;
  g_autoptr (VarveJob) job = NULL;
  gboolean force = FALSE, over = FALSE, print_xml = FALSE;
  VarveRestoreAction *action;
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, "the store: images:DIR", "STORE" },
    { "disk", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &disks,
      "restore a disk: NAME=PATH[,format=raw|qcow2], or NAME=NBD-URI (repeat)", "TARGET" },
    { "to", 0, 0, G_OPTION_ARG_FILENAME, &to, "restore all disks into this directory", "DIR" },
    { "format", 0, 0, G_OPTION_ARG_STRING, &format,
      "of the files in that directory (default: raw; of an instant restore qcow2)", "FORMAT" },
    { "force", 0, 0, G_OPTION_ARG_NONE, &force, "replace existing files, overwrite devices", NULL },
    { "over", 0, 0, G_OPTION_ARG_NONE, &over, "write into what exists, and only what differs",
      NULL },
    { "define", 0, 0, G_OPTION_ARG_STRING, &guest.define,
      "define a domain of this name with the disks that are restored", "NAME" },
    { "instant", 0, 0, G_OPTION_ARG_NONE, &guest.instant,
      "run the guest at once, and fill its disks meanwhile", NULL },
    { "speed", 0, 0, G_OPTION_ARG_STRING, &guest.speed,
      "with --instant: fill at most so much a second: 100M", "BYTES" },
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &guest.uri,
      "the libvirt that it is defined at (default: qemu:///system), or the QEMU that runs it "
      "(qmp+unix:///SOCKET)",
      "URI" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &print_xml, "print the job and do nothing", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, &argc, &argv, entries, "BACKUP", "Restores disks of a backup.", error))
    return false;
  if (argc != 2 || from == NULL)
    return cli_usage (error, "Name one backup, and a store by --from images:DIR.");
  if (disks == NULL && to == NULL)
    return cli_usage (error, "Say where to: --disk NAME=PATH, or --to DIR.");
  if (format != NULL && to == NULL)
    return cli_usage (error, "--format goes with --to; of a single disk it is --disk "
                             "NAME=PATH,format=FORMAT.");
  if (force && over)
    return cli_usage (error, "--force and --over exclude each other.");
  if (!check_guest (&guest, error))
    return false;
  store = cli_store (from);
  job = varve_job_new ("varve");
  action = varve_job_add_restore (job, store, argv[1]);
  if (!add_disks (action, disks, guest.instant ? "qcow2" : "raw", error))
    return false;
  if (to) {
    g_autofree char *directory = g_canonicalize_filename (to, NULL);

    varve_restore_action_set_directory (action, directory,
                                        format          ? format
                                        : guest.instant ? "qcow2"
                                                        : "raw");
  }
  if (!add_guest (action, &guest, error))
    return false;
  varve_restore_action_set_force (action, force);
  varve_restore_action_set_over (action, over);
  return cli_run_job (cli, job, NULL, print_xml, error);
}
