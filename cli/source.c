/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What `backup`, `export begin` and `revert` alike are told of the domain: the options, and how they become part of an
 * action of each kind. */
#include "config.h"

#include "cli.h"

#define QUIESCE_TIMEOUT_S 20

void
cli_source_clear (CliSource *source)
{
  g_free (source->uri);
  g_free (source->uuid);
  g_free (source->owner);
  g_free (source->agent);
  g_strfreev (source->disks);
  g_strfreev (source->exclude);
  g_strfreev (source->images);
}

bool
cli_source_parse (CliSource *source, Cli *cli, int *argc, char ***argv, const CliSourceUsage *usage,
                  GError **error)
{
  const GOptionEntry shared[] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &source->uri,
      "qemu:///system (default), qmp+unix:///SOCKET, or image:", "URI" },
    { "owner", 0, 0, G_OPTION_ARG_STRING, &source->owner,
      "whose checkpoints are used (default of a backup: varve)", "LABEL" },
    { "uuid", 0, 0, G_OPTION_ARG_STRING, &source->uuid,
      "of the domain, where no hypervisor can tell it", "UUID" },
    { "disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &source->disks, "this disk only (repeat)", "NAME" },
    { "exclude", 0, 0, G_OPTION_ARG_STRING_ARRAY, &source->exclude, "leave this disk out (repeat)",
      "NAME" },
    { "image", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &source->images,
      "a stopped disk's image: NAME=PATH,format=F[,key-file=K] (repeat)", "IMAGE" },
    { "wait", 0, 0, G_OPTION_ARG_INT, &source->wait, "wait so long for a busy domain", "SECONDS" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &source->print_xml, "print the job and do nothing",
      NULL },
  };
  const GOptionEntry guest[] = {
    { "quiesce", 0, 0, G_OPTION_ARG_NONE, &source->quiesce,
      "freeze file systems by guest agent, or fail", NULL },
    { "agent", 0, 0, G_OPTION_ARG_FILENAME, &source->agent,
      "with --quiesce: the guest agent's socket of a bare QEMU", "SOCKET" },
  };
  g_autoptr (GArray) entries = g_array_new (TRUE, FALSE, sizeof (GOptionEntry));

  g_array_append_vals (entries, shared, G_N_ELEMENTS (shared));
  if (!usage->off)
    g_array_append_vals (entries, guest, G_N_ELEMENTS (guest));
  for (const GOptionEntry *own = usage->own; own->long_name; own++)
    g_array_append_vals (entries, own, 1);
  return cli_parse (cli, argc, argv, (const GOptionEntry *)(gpointer)entries->data,
                    usage->parameters, usage->summary, error);
}

const char *
cli_source_uri (const CliSource *source)
{
  return source->uri ? source->uri : "qemu:///system";
}

static bool
add_disks (const CliSource *source, const CliSourceSetters *set, gpointer action, GError **error)
{
  for (char **name = source->disks; name && *name; name++)
    set->add_disk (action, *name, TRUE);
  for (char **name = source->exclude; name && *name; name++)
    set->add_disk (action, *name, FALSE);
  for (char **text = source->images; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_image_parse (*text, error);

    if (disk == NULL)
      return false;
    set->image (action, disk->name, disk->path, disk->format, disk->key_file);
  }
  return true;
}

bool
cli_source_fill (const CliSource *source, const CliSourceSetters *set, gpointer action,
                 GError **error)
{
  g_autofree char *agent = source->agent ? g_canonicalize_filename (source->agent, NULL) : NULL;

  if (source->wait < 0)
    return cli_usage (error, "--wait must not be negative.");
  if (agent && !source->quiesce)
    return cli_usage (error, "--agent says who is to freeze the file systems: it needs --quiesce.");
  if (source->uuid)
    set->uuid (action, source->uuid);
  if (source->quiesce)
    set->quiesce (action, TRUE, QUIESCE_TIMEOUT_S);
  if (agent)
    set->agent (action, agent);
  set->wait (action, (guint)source->wait);
  return add_disks (source, set, action, error);
}
