/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <string.h>

/* What the command line said, before it becomes a job. */
typedef struct {
  char *uri;
  char *store;
  char *mode;
  char *incremental;
  char *owner;
  char *uuid;
  char *speed;
  char *listen;
  char *credentials;
  char *scratch;
  char *scratch_limit;
  char **disks;
  char **exclude;
  char **images;
  gboolean quiesce;
  gboolean no_verify;
  gboolean fleece;
  gboolean compress;
  char *agent;
  gboolean print_xml;
  int wait;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->uri);
  g_free (options->store);
  g_free (options->mode);
  g_free (options->incremental);
  g_free (options->owner);
  g_free (options->uuid);
  g_free (options->speed);
  g_free (options->listen);
  g_free (options->credentials);
  g_free (options->scratch);
  g_free (options->scratch_limit);
  g_free (options->agent);
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
    { "to", 0, 0, G_OPTION_ARG_STRING, &o->store, "where backups are kept: images:DIR", "STORE" },
    { "mode", 0, 0, G_OPTION_ARG_STRING, &o->mode,
      "pull (default), push: QEMU writes the backup itself, or auto", "MODE" },
    { "no-verify", 0, 0, G_OPTION_ARG_NONE, &o->no_verify, "push: do not read back what QEMU wrote",
      NULL },
    { "fleece", 0, 0, G_OPTION_ARG_NONE, &o->fleece,
      "push: write from a frozen view; the guest waits for scratch, not for the store", NULL },
    { "compress", 0, 0, G_OPTION_ARG_NONE, &o->compress, "push: have QEMU compress what it writes",
      NULL },
    { "incremental", 0, 0, G_OPTION_ARG_STRING, &o->incremental,
      "auto (default), never, or a checkpoint", "WHAT" },
    { "owner", 0, 0, G_OPTION_ARG_STRING, &o->owner, "whose checkpoints are used (default: varve)",
      "LABEL" },
    { "uuid", 0, 0, G_OPTION_ARG_STRING, &o->uuid, "of the domain, where no hypervisor can tell it",
      "UUID" },
    { "disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->disks, "back up this disk only (repeat)",
      "NAME" },
    { "exclude", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->exclude, "leave this disk out (repeat)",
      "NAME" },
    { "image", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->images,
      "a stopped disk's image: NAME=PATH,format=F[,key-file=K] (repeat)", "IMAGE" },
    { "quiesce", 0, 0, G_OPTION_ARG_NONE, &o->quiesce,
      "freeze file systems by guest agent, or fail", NULL },
    { "agent", 0, 0, G_OPTION_ARG_FILENAME, &o->agent,
      "with --quiesce: the guest agent's socket of a bare QEMU", "SOCKET" },
    { "speed", 0, 0, G_OPTION_ARG_STRING, &o->speed, "read at most so much a second: 100M",
      "RATE" },
    { "scratch", 0, 0, G_OPTION_ARG_FILENAME, &o->scratch,
      "for what the guest overwrites meanwhile; the hypervisor's path", "DIR" },
    { "scratch-limit", 0, 0, G_OPTION_ARG_STRING, &o->scratch_limit,
      "give up when scratch holds so much: 20G", "SIZE" },
    { "listen", 0, 0, G_OPTION_ARG_STRING, &o->listen,
      "have libvirt serve there, by TLS (its host may be another)", "HOST:PORT" },
    { "tls-creds", 0, 0, G_OPTION_ARG_FILENAME, &o->credentials,
      "with --listen: our client's x509 files", "DIR" },
    { "wait", 0, 0, G_OPTION_ARG_INT, &o->wait, "wait so long for a busy domain", "SECONDS" },
    { "print-xml", 0, 0, G_OPTION_ARG_NONE, &o->print_xml, "print the job and do nothing", NULL },
    G_OPTION_ENTRY_NULL,
  };

  return cli_parse (cli, argc, argv, entries, "DOMAIN", "Backs up the disks of a domain.", error);
}

static bool
add_disks (VarveBackupAction *action, const Options *o, GError **error)
{
  for (char **name = o->disks; name && *name; name++)
    varve_backup_action_add_disk (action, *name, TRUE);
  for (char **name = o->exclude; name && *name; name++)
    varve_backup_action_add_disk (action, *name, FALSE);
  for (char **text = o->images; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_image_parse (*text, error);

    if (disk == NULL)
      return false;
    varve_backup_action_set_image (action, disk->name, disk->path, disk->format, disk->key_file);
  }
  return true;
}

static bool
set_server (VarveBackupAction *action, const Options *o, GError **error)
{
  g_autofree char *host = NULL;
  g_autofree char *credentials = NULL;
  guint port;

  if (!o->listen && !o->credentials)
    return true;
  if (!o->listen || !o->credentials)
    return cli_usage (error, "--listen and --tls-creds go together: there is no clear text.");
  if (!cli_parse_address (o->listen, &host, &port, error))
    return false;
  credentials = g_canonicalize_filename (o->credentials, NULL);
  varve_backup_action_set_server (action, host, port, credentials);
  return true;
}

static bool
set_scratch (VarveBackupAction *action, const Options *o, GError **error)
{
  guint64 limit = 0;

  if (o->scratch_limit && !cli_parse_size (o->scratch_limit, &limit, error))
    return false;
  if (o->scratch && !g_path_is_absolute (o->scratch))
    return cli_usage (error, "--scratch %s: write an absolute path, as it is the hypervisor's.",
                      o->scratch);
  varve_backup_action_set_scratch (action, o->scratch, limit);
  return true;
}

static bool
fill (VarveBackupAction *action, const Options *o, GError **error)
{
  g_autofree char *agent = o->agent ? g_canonicalize_filename (o->agent, NULL) : NULL;
  guint64 speed = 0;

  if (o->speed && !cli_parse_size (o->speed, &speed, error))
    return false;
  if (o->wait < 0)
    return cli_usage (error, "--wait must not be negative.");
  if (o->agent && !o->quiesce)
    return cli_usage (error, "--agent says who is to freeze the file systems: it needs --quiesce.");
  if (o->owner)
    varve_backup_action_set_owner (action, o->owner);
  if (o->mode)
    varve_backup_action_set_mode (action, o->mode);
  varve_backup_action_set_verify (action, !o->no_verify);
  varve_backup_action_set_fleece (action, o->fleece);
  varve_backup_action_set_compress (action, o->compress);
  if (o->incremental)
    varve_backup_action_set_incremental (action, o->incremental);
  if (o->uuid)
    varve_backup_action_set_uuid (action, o->uuid);
  if (o->quiesce)
    varve_backup_action_set_quiesce (action, TRUE, 20);
  if (agent)
    varve_backup_action_set_agent (action, agent);
  varve_backup_action_set_speed (action, speed);
  varve_backup_action_set_wait (action, (guint)o->wait);
  return set_server (action, o, error) && set_scratch (action, o, error) &&
         add_disks (action, o, error);
}

bool
cli_backup (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  g_autoptr (VarveJob) job = NULL;
  g_autofree char *store = NULL;
  VarveBackupAction *action;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  if (argc != 2 || o.store == NULL)
    return cli_usage (error, "Name one domain, and a store by --to images:DIR.");
  store = cli_store (o.store);
  job = varve_job_new ("varve");
  action = varve_job_add_backup (job, argv[1], o.uri ? o.uri : "qemu:///system", store);
  return fill (action, &o, error) && cli_run_job (cli, job, NULL, o.print_xml, error);
}
