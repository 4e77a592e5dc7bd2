/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* varve-files, which `varve files` becomes: nbdkit serves the backup, the appliance of libguestfs reads it. All that a
 * command is told to do is done in one run of the appliance, as its boot is what takes time. */
#include "config.h"

#include <string.h>

#include "files/extract.h"
#include "files/guest.h"
#include "files/list.h"
#include "files/server.h"
#include "files/volumes.h"

typedef struct {
  char *from;
  char *disk;
  char *filesystem;
  char *to;
  gboolean force;
  /* Of the arguments: */
  const char *backup;
  GPtrArray *paths; /* absolute, without dots */
} Options;

static void
options_clear (Options *o)
{
  g_free (o->from);
  g_free (o->disk);
  g_free (o->filesystem);
  g_free (o->to);
  g_clear_pointer (&o->paths, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_STRING, &o->from, "the store: images:DIR", "STORE" },
    { "disk", 0, 0, G_OPTION_ARG_STRING, &o->disk, "look at this disk alone", "NAME" },
    { "filesystem", 0, 0, G_OPTION_ARG_STRING, &o->filesystem,
      "paths are of this file system, and not of the operating system: vda1", "NAME" },
    { "to", 0, 0, G_OPTION_ARG_FILENAME, &o->to,
      "get files instead of listing them: into this directory, by this name, or to stdout (-)",
      "PATH" },
    { "force", 0, 0, G_OPTION_ARG_NONE, &o->force, "replace files that exist", NULL },
    G_OPTION_ENTRY_NULL,
  };

  if (!cli_parse (cli, argc, argv, entries, "BACKUP [PATH…]",
                  "Lists and gets files out of a backup.", error))
    return false;
  if (*argc < 2 || o->from == NULL)
    return cli_usage (error, "Name one backup, and a store by --from images:DIR.");
  o->backup = (*argv)[1];
  o->paths = g_ptr_array_new_with_free_func (g_free);
  for (int i = 2; i < *argc; i++)
    g_ptr_array_add (o->paths, g_canonicalize_filename ((*argv)[i], "/"));
  return true;
}

static bool
is_stream (const Options *o)
{
  return o->to && strcmp (o->to, "-") == 0;
}

static bool
check (const Cli *cli, const Options *o, GError **error)
{
  if (o->to && o->paths->len == 0)
    return cli_usage (error, "Say which files --to is about: '/' is all of them.");
  if (o->filesystem && o->paths->len == 0)
    return cli_usage (error, "Say which path of '%s' it is about: '/' is its top.", o->filesystem);
  if (o->force && (!o->to || is_stream (o)))
    return cli_usage (error, "--force goes with --to: it replaces files that exist.");
  if (is_stream (o) && o->paths->len > 1)
    return cli_usage (error, "One path alone goes to stdout.");
  if (is_stream (o) && cli->output.json)
    return cli_usage (error, "With --json nothing else goes to stdout: choose another --to.");
  return true;
}

/* --- the work --------------------------------------------------------------------------------- */

static bool
do_path (Guest *guest, const Options *o, const char *path, const Target *target, GError **error)
{
  if (is_stream (o))
    return extract_stream (guest, path, error);
  if (o->to)
    return extract_path (guest, path, target, error);
  return list_path (guest, path, o->paths->len > 1, error);
}

/* Each by itself: the first error is the last word, others are told in between. */
static bool
do_paths (Guest *guest, const Options *o, const Target *targets, GError **error)
{
  g_autoptr (GError) first = NULL;

  for (guint i = 0; i < o->paths->len; i++) {
    g_autoptr (GError) failed = NULL;

    if (do_path (guest, o, g_ptr_array_index (o->paths, i), &targets[i], &failed))
      continue;
    if (first != NULL)
      guest_warn (guest, "%s", failed->message);
    else
      first = g_error_copy (failed);
    if (failed->domain != VARVE_ERROR || failed->code == VARVE_ERROR_NO_SPACE)
      break;
  }
  if (first == NULL)
    return true;
  g_propagate_error (error, g_steal_pointer (&first));
  return false;
}

static bool
work (Cli *cli, const Options *o, const Target *targets, VarveBackup *backup, const Server *server,
      GError **error)
{
  GPtrArray *all = varve_backup_get_disks (backup);
  g_autoptr (GPtrArray) disks = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (Guest) guest = NULL;

  for (guint i = 0; i < all->len; i++) {
    const VarveBackupDisk *disk = g_ptr_array_index (all, i);

    if (o->disk == NULL || strcmp (o->disk, disk->name) == 0)
      g_ptr_array_add (disks, g_strdup (disk->name));
  }
  guest = guest_start (cli, server_socket (server), disks, error);
  if (guest == NULL)
    return false;
  if (o->paths->len == 0)
    return list_volumes (guest, backup, error);
  return volumes_mount (guest, o->filesystem, error) && do_paths (guest, o, targets, error);
}

/* What the server said instead of data, behind what came of it. (transfer full) */
static char *
explain (const char *text, const char *complaint)
{
  int length = (int)strlen (text);

  return g_strdup_printf ("%.*s (the store: %s)",
                          length > 0 && text[length - 1] == '.' ? length - 1 : length, text,
                          complaint);
}

/* What the server could not give is an error, also where all went well: file systems pass over what they cannot read now
 * and then, and libguestfs does where it looks for systems. */
static bool
judge (bool ok, const Server *server, GError **error)
{
  g_autofree char *complaint = server_complaint (server);
  g_autofree char *text = NULL;

  if (complaint == NULL || (!ok && (*error)->domain != VARVE_ERROR))
    return ok;
  text = explain (ok ? "It is done, but something may be missing" : (*error)->message, complaint);
  g_clear_error (error);
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED, "%s", text);
  return false;
}

static bool
serve_and_work (Cli *cli, const Options *o, const Target *targets, GError **error)
{
  g_autofree char *store = cli_store (o->from);
  g_autoptr (VarveBackup) backup =
      cli_nbdkit_find (store, o->backup, o->disk, cli->cancellable, error);
  g_autoptr (Server) server = NULL;
  GError *failed = NULL;
  bool ok;

  if (backup == NULL)
    return false;
  server = server_start (store, backup, o->disk, cli->cancellable, error);
  if (server == NULL)
    return false;
  ok = work (cli, o, targets, backup, server, &failed);
  ok = judge (ok, server, &failed);
  if (!ok)
    g_propagate_error (error, failed);
  return ok;
}

static bool
files (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  Target *targets;
  bool ok;

  if (!parse (cli, &argc, &argv, &o, error) || !check (cli, &o, error))
    return false;
  targets = g_new0 (Target, o.paths->len + 1);
  ok = true;
  for (guint i = 0; ok && o.to && !is_stream (&o) && i < o.paths->len; i++)
    ok = target_init (&targets[i], g_ptr_array_index (o.paths, i), o.to, o.paths->len > 1, o.force,
                      error);
  ok = ok && serve_and_work (cli, &o, targets, error);
  for (guint i = 0; i < o.paths->len; i++)
    target_clear (&targets[i]);
  g_free (targets);
  return ok;
}

int
main (int argc, char **argv)
{
  cli_begin ();
  return cli_run_verb (files, argc, argv);
}
