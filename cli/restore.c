/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

static bool
add_disks (VarveRestoreAction *action, char **disks, GError **error)
{
  for (char **text = disks; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_disk_parse (*text, error);

    if (disk == NULL)
      return false;
    if (disk->key_file)
      return cli_usage (error, "key-file= has no meaning for a restore.");
    varve_restore_action_add_disk (action, disk->name, disk->path,
                                   disk->format ? disk->format : "raw");
  }
  return true;
}

bool
cli_restore (Cli *cli, int argc, char **argv, GError **error)
{
  g_autofree char *from = NULL;
  g_autofree char *to = NULL;
  g_autofree char *format = NULL;
  g_autofree char *define = NULL;
  g_autofree char *uri = NULL;
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
    { "format", 0, 0, G_OPTION_ARG_STRING, &format, "of the files in that directory (default: raw)",
      "FORMAT" },
    { "force", 0, 0, G_OPTION_ARG_NONE, &force, "replace existing files, overwrite devices", NULL },
    { "over", 0, 0, G_OPTION_ARG_NONE, &over, "write into what exists, and only what differs",
      NULL },
    { "define", 0, 0, G_OPTION_ARG_STRING, &define,
      "define a domain of this name with the disks that are restored", "NAME" },
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &uri,
      "the libvirt that it is defined at (default: qemu:///system)", "URI" },
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
  if (uri != NULL && define == NULL)
    return cli_usage (error, "--connect goes with --define: a restore itself asks no hypervisor.");
  if (force && over)
    return cli_usage (error, "--force and --over exclude each other.");
  store = cli_store (from);
  job = varve_job_new ("varve");
  action = varve_job_add_restore (job, store, argv[1]);
  if (!add_disks (action, disks, error))
    return false;
  if (to) {
    g_autofree char *directory = g_canonicalize_filename (to, NULL);

    varve_restore_action_set_directory (action, directory, format ? format : "raw");
  }
  if (define)
    varve_restore_action_set_define (action, define, uri ? uri : "qemu:///system");
  varve_restore_action_set_force (action, force);
  varve_restore_action_set_over (action, over);
  return cli_run_job (cli, job, NULL, print_xml, error);
}
