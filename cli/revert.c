/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The plan is told first, by a run that writes nothing; what writes is a second run, of the backup that was
 * planned with, when somebody has said yes to it. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char *uri;
  char *store;
  char *owner;
  char *uuid;
  char **disks;
  char **exclude;
  char **images;
  gboolean dry_run;
  gboolean yes;
  gboolean no_keep;
  gboolean print_xml;
  int wait;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->uri);
  g_free (options->store);
  g_free (options->owner);
  g_free (options->uuid);
  g_strfreev (options->disks);
  g_strfreev (options->exclude);
  g_strfreev (options->images);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &o->uri,
      "qemu:///system (default), qmp+unix:///SOCKET, or image:", "URI" },
    { "from", 0, 0, G_OPTION_ARG_STRING, &o->store, "the store: images:DIR", "STORE" },
    { "owner", 0, 0, G_OPTION_ARG_STRING, &o->owner,
      "whose checkpoints tell what has changed (default: varve)", "LABEL" },
    { "uuid", 0, 0, G_OPTION_ARG_STRING, &o->uuid, "of the domain, where no hypervisor can tell it",
      "UUID" },
    { "disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->disks, "put this disk back only (repeat)",
      "NAME" },
    { "exclude", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->exclude, "leave this disk as it is (repeat)",
      "NAME" },
    { "image", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->images,
      "a stopped disk's image: NAME=PATH,format=F[,key-file=K] (repeat)", "IMAGE" },
    { "dry-run", 0, 0, G_OPTION_ARG_NONE, &o->dry_run, "only tell what would be written", NULL },
    { "yes", 0, 0, G_OPTION_ARG_NONE, &o->yes, "write without asking", NULL },
    { "no-keep", 0, 0, G_OPTION_ARG_NONE, &o->no_keep, "do not back up the present state first",
      NULL },
    { "wait", 0, 0, G_OPTION_ARG_INT, &o->wait, "wait so long for a busy domain", "SECONDS" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &o->print_xml, "print the job and do nothing", NULL },
    G_OPTION_ENTRY_NULL,
  };

  return cli_parse (
      cli, argc, argv, entries, "DOMAIN [BACKUP | @TIME]",
      "Puts the disks of a domain that is off back to a backup, in place; only what differs "
      "is written.",
      error);
}

static bool
fill (VarveRevertAction *action, const Options *o, bool dry_run, GError **error)
{
  if (o->wait < 0)
    return cli_usage (error, "--wait must not be negative.");
  if (o->owner)
    varve_revert_action_set_owner (action, o->owner);
  if (o->uuid)
    varve_revert_action_set_uuid (action, o->uuid);
  varve_revert_action_set_wait (action, (guint)o->wait);
  varve_revert_action_set_keep (action, !o->no_keep);
  varve_revert_action_set_dry_run (action, dry_run);
  for (char **name = o->disks; name && *name; name++)
    varve_revert_action_add_disk (action, *name, TRUE);
  for (char **name = o->exclude; name && *name; name++)
    varve_revert_action_add_disk (action, *name, FALSE);
  for (char **text = o->images; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_image_parse (*text, error);

    if (disk == NULL)
      return false;
    varve_revert_action_set_image (action, disk->name, disk->path, disk->format, disk->key_file);
  }
  return true;
}

static bool
run (Cli *cli, const Options *o, const char *domain, const char *backup, bool dry_run,
     GError **error)
{
  g_autofree char *store = cli_store (o->store);
  g_autoptr (VarveJob) job = varve_job_new ("varve");
  VarveRevertAction *action =
      varve_job_add_revert (job, domain, o->uri ? o->uri : "qemu:///system", store, backup);

  return fill (action, o, dry_run, error) && cli_run_job (cli, job, NULL, o->print_xml, error);
}

/* @TIME is said of the domain that is named anyway. */
static char *
whole_backup (const char *domain, const char *backup)
{
  if (backup == NULL)
    return g_strconcat (domain, "@latest", NULL);
  return backup[0] == '@' ? g_strconcat (domain, backup, NULL) : g_strdup (backup);
}

static bool
is_yes (const char *answer)
{
  return g_ascii_strcasecmp (answer, "y") == 0 || g_ascii_strcasecmp (answer, "yes") == 0;
}

/* Anything but a yes is a no. */
static bool
ask (Cli *cli, const char *domain, GError **error)
{
  char answer[16] = "";

  if (isatty (STDIN_FILENO) && !cli->output.json) {
    fprintf (stderr, "Write this to the disks of %s? [y/N] ", domain);
    if (fgets (answer, sizeof answer, stdin) == NULL)
      answer[0] = '\0';
    if (is_yes (g_strstrip (answer)))
      return true;
  }
  if (error)
    *error = g_error_new (VARVE_ERROR, VARVE_ERROR_REFUSED,
                          "Nothing was written to the disks of '%s'. If the plan is what is meant, "
                          "say --yes.",
                          domain);
  return false;
}

bool
cli_revert (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  g_autofree char *backup = NULL;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  if (argc < 2 || argc > 3 || o.store == NULL)
    return cli_usage (error,
                      "Name one domain, perhaps a backup, and a store by --from images:DIR.");
  if (o.yes && o.dry_run)
    return cli_usage (error, "--yes and --dry-run exclude each other.");
  backup = whole_backup (argv[1], argc > 2 ? argv[2] : NULL);
  if (o.yes || o.dry_run || o.print_xml)
    return run (cli, &o, argv[1], backup, o.dry_run, error);
  return run (cli, &o, argv[1], backup, true, error) && ask (cli, argv[1], error) &&
         run (cli, &o, argv[1], cli->output.backup, false, error);
}
