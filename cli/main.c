/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct {
  const char *name;
  CliVerb run;
  const char *summary;
} Verb;

static const Verb verbs[] = {
  { "run", cli_run, "run a job document" },
  { "validate", cli_validate, "check job documents" },
  { "backup", cli_backup, "back up a domain" },
  { "list", cli_list, "list the backups of a store" },
  { "show", cli_show, "show one backup" },
  { "verify", cli_verify, "check backups against their sums" },
  { "delete", cli_delete, "delete a backup" },
  { "restore", cli_restore, "restore disks of a backup" },
  { "serve", cli_serve, "serve a backup, read-only, over NBD" },
  { "files", cli_files, "list and get files out of a backup" },
  { "revert", cli_revert, "put the disks of a domain back, in place" },
  { "checkpoint", cli_checkpoint, "list, check and change checkpoints" },
  { "export", cli_export, "serve disks to readers that are not varve" },
  { "recover", cli_recover, "end what killed runs left behind" },
};

/* --- the command ------------------------------------------------------------------------------ */

static void
print_help (FILE *file)
{
  fprintf (file, "Usage: varve VERB [OPTION…] …\n\n"
                 "Backs up and restores the disks of QEMU/KVM virtual machines.\n\nVerbs:\n");
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    fprintf (file, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
  fprintf (file,
           "\n'varve VERB --help' tells more; so do the manual pages varve(1), varve-VERB(1), "
           "varve-job(5).\n");
}

static const Verb *
find_verb (const char *name)
{
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    if (strcmp (verbs[i].name, name) == 0)
      return &verbs[i];
  return NULL;
}

int
main (int argc, char **argv)
{
  const Verb *verb;

  cli_begin ();
  if (argc < 2) {
    print_help (stderr);
    return 2;
  }
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0 ||
      strcmp (argv[1], "help") == 0) {
    print_help (stdout);
    return 0;
  }
  if (strcmp (argv[1], "--version") == 0) {
    puts ("varve " VARVE_VERSION);
    return 0;
  }
  verb = find_verb (argv[1]);
  if (verb == NULL) {
    fprintf (stderr, "varve: There is no verb '%s'. 'varve --help' lists them.\n", argv[1]);
    return 2;
  }
  return cli_run_verb (verb->run, argc - 1, argv + 1);
}
