/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <string.h>

/* What the command line said, before it becomes a job. */
typedef struct {
  CliSource source;
  char *store;
  char *mode;
  char *incremental;
  char *speed;
  char *listen;
  char *credentials;
  char *scratch;
  char *scratch_limit;
  gboolean no_verify;
  gboolean fleece;
  gboolean compress;
  gboolean force;
  char **targets;
} Options;

static void
options_clear (Options *options)
{
  cli_source_clear (&options->source);
  g_free (options->store);
  g_free (options->mode);
  g_free (options->incremental);
  g_free (options->speed);
  g_free (options->listen);
  g_free (options->credentials);
  g_free (options->scratch);
  g_free (options->scratch_limit);
  g_strfreev (options->targets);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static bool
parse (Cli *cli, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "to", 0, 0, G_OPTION_ARG_STRING, &o->store, "where backups are kept: images:DIR", "STORE" },
    { "target", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->targets,
      "instead: a disk's own, NAME=PATH[,format=raw|qcow2] or NAME=nbd://... (repeat)", "TARGET" },
    { "force", 0, 0, G_OPTION_ARG_NONE, &o->force, "write over targets that are there", NULL },
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
    G_OPTION_ENTRY_NULL,
  };

  const CliSourceUsage usage = { .own = entries,
                                 .parameters = "DOMAIN",
                                 .summary = "Backs up the disks of a domain." };

  return cli_source_parse (&o->source, cli, argc, argv, &usage, error);
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
set_targets (VarveBackupAction *action, const Options *o, GError **error)
{
  for (char **text = o->targets; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_target_parse (*text, error);

    if (disk == NULL)
      return false;
    varve_backup_action_set_target (action, disk->name, disk->path, disk->format);
  }
  varve_backup_action_set_force (action, o->force);
  return true;
}

static bool
fill (VarveBackupAction *action, const Options *o, GError **error)
{
  static const CliSourceSetters setters = { CLI_SOURCE_SETTERS (varve_backup_action),
                                            CLI_QUIESCE_SETTERS (varve_backup_action) };
  guint64 speed = 0;

  if (o->speed && !cli_parse_size (o->speed, &speed, error))
    return false;
  if (o->source.owner)
    varve_backup_action_set_owner (action, o->source.owner);
  if (o->mode)
    varve_backup_action_set_mode (action, o->mode);
  varve_backup_action_set_verify (action, !o->no_verify);
  varve_backup_action_set_fleece (action, o->fleece);
  varve_backup_action_set_compress (action, o->compress);
  if (o->incremental)
    varve_backup_action_set_incremental (action, o->incremental);
  varve_backup_action_set_speed (action, speed);
  return cli_source_fill (&o->source, &setters, action, error) && set_server (action, o, error) &&
         set_scratch (action, o, error) && set_targets (action, o, error);
}

bool
cli_backup (Cli *cli, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { { NULL } };
  g_autoptr (VarveJob) job = NULL;
  g_autofree char *store = NULL;
  VarveBackupAction *action;

  if (!parse (cli, &argc, &argv, &o, error))
    return false;
  if (argc != 2 || !o.store == !o.targets)
    return cli_usage (
        error, "Name one domain, and either a store by --to images:DIR, or a target for each "
               "disk by --target NAME=PATH.");
  store = o.store ? cli_store (o.store) : NULL;
  job = varve_job_new ("varve");
  action = varve_job_add_backup (job, argv[1], cli_source_uri (&o.source), store);
  return fill (action, &o, error) && cli_run_job (cli, job, NULL, o.source.print_xml, error);
}
