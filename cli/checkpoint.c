/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The verbs on checkpoints. Each has the options that say which domain and whose, and its own. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct {
  char *uri;
  char *uuid;
  char *owner;
  char **stores;
  char **images;
  char **qdevs;
  char **disks;
  gboolean size;
  gboolean foreign;
  gboolean repair;
  int wait;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->uri);
  g_free (options->uuid);
  g_free (options->owner);
  g_strfreev (options->stores);
  g_strfreev (options->images);
  g_strfreev (options->qdevs);
  g_strfreev (options->disks);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

typedef bool (*Action) (Cli *cli, VarveCheckpoints *checkpoints, const Options *options,
                        char **arguments, GError **error);

typedef struct {
  const char *name;
  const char *parameters; /* behind the options */
  const char *summary;
  int least, most; /* arguments behind the domain */
  Action act;
} Verb;

/* --- what is printed -------------------------------------------------------------------------- */

static const char *
disk_fault (const VarveCheckpointDisk *disk)
{
  if (disk->missing)
    return "missing";
  if (disk->inconsistent)
    return "broken";
  if (!disk->recording)
    return "disabled";
  if (!disk->persistent)
    return "dies with QEMU";
  return NULL;
}

/* "vda 1.5 MiB, vdb (broken)" (transfer full) */
static char *
describe_disks (VarveCheckpoint *checkpoint, bool size)
{
  GPtrArray *disks = varve_checkpoint_get_disks (checkpoint);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < disks->len; i++) {
    const VarveCheckpointDisk *disk = g_ptr_array_index (disks, i);
    const char *fault = disk_fault (disk);

    g_string_append_printf (text, "%s%s", i ? ", " : "", disk->name);
    if (size && !disk->inconsistent) {
      g_autofree char *changed =
          disk->changed == G_MAXUINT64 ? g_strdup ("?") : cli_format_size (disk->changed);

      g_string_append_printf (text, " %s", changed);
    }
    if (fault)
      g_string_append_printf (text, " (%s)", fault);
  }
  return g_strdup (text->str);
}

static void
json_disk (JsonBuilder *object, const VarveCheckpointDisk *disk, bool size)
{
  json_builder_begin_object (object);
  cli_json_string (object, "disk", disk->name);
  if (size && disk->changed != G_MAXUINT64)
    cli_json_number (object, "changed", (gint64)disk->changed);
  if (disk->granularity)
    cli_json_number (object, "granularity", disk->granularity);
  cli_json_flag (object, "recording", disk->recording);
  cli_json_flag (object, "persistent", disk->persistent);
  cli_json_flag (object, "inconsistent", disk->inconsistent);
  cli_json_flag (object, "missing", disk->missing);
  json_builder_end_object (object);
}

static void
print_json (Cli *cli, VarveCheckpoint *checkpoint, bool size)
{
  GPtrArray *disks = varve_checkpoint_get_disks (checkpoint);
  g_autoptr (JsonBuilder) object = cli_json_begin ("checkpoint");

  cli_json_string (object, "checkpoint", varve_checkpoint_get_name (checkpoint));
  cli_json_string (object, "state", varve_checkpoint_get_state (checkpoint));
  cli_json_string (object, "owner", varve_checkpoint_get_owner (checkpoint));
  cli_json_string (object, "backup", varve_checkpoint_get_backup (checkpoint));
  if (varve_checkpoint_get_time (checkpoint) >= 0)
    cli_json_number (object, "time", varve_checkpoint_get_time (checkpoint));
  json_builder_set_member_name (object, "disks");
  json_builder_begin_array (object);
  for (guint i = 0; i < disks->len; i++)
    json_disk (object, g_ptr_array_index (disks, i), size);
  json_builder_end_array (object);
  cli_output_json (&cli->output, object);
}

static void
print_names (Cli *cli, const char *event, GPtrArray *names)
{
  for (guint i = 0; i < names->len; i++) {
    g_autoptr (JsonBuilder) object = cli_json_begin (event);

    cli_json_string (object, "checkpoint", g_ptr_array_index (names, i));
    cli_output_json (&cli->output, object);
    cli_output_line (&cli->output, "%s %s", event, (char *)g_ptr_array_index (names, i));
  }
}

/* --- list ------------------------------------------------------------------------------------- */

static int
longest_name (GPtrArray *found)
{
  size_t longest = strlen ("CHECKPOINT");

  for (guint i = 0; i < found->len; i++)
    longest = MAX (longest, strlen (varve_checkpoint_get_name (g_ptr_array_index (found, i))));
  return (int)longest;
}

static bool
list (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments, GError **error)
{
  g_autoptr (GPtrArray) found = varve_checkpoints_list (checkpoints, cli->cancellable, error);
  int width;

  if (found == NULL)
    return false;
  width = longest_name (found);
  if (found->len > 0)
    cli_output_line (&cli->output, "%-*s  %-9s  %s", width, "CHECKPOINT", "STATE",
                     o->size ? "CHANGED SINCE" : "DISKS");
  else
    cli_output_line (&cli->output, "The domain has no checkpoint.");
  for (guint i = 0; i < found->len; i++) {
    VarveCheckpoint *checkpoint = g_ptr_array_index (found, i);
    g_autofree char *disks = describe_disks (checkpoint, o->size);

    print_json (cli, checkpoint, o->size);
    cli_output_line (&cli->output, "%-*s  %-9s  %s", width, varve_checkpoint_get_name (checkpoint),
                     varve_checkpoint_get_state (checkpoint), disks);
  }
  return true;
}

/* --- create, delete, merge, redefine ---------------------------------------------------------- */

static bool
create (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments, GError **error)
{
  g_autoptr (VarveCheckpoint) made = NULL;
  g_autofree char *disks = NULL;

  if (o->owner == NULL)
    return cli_usage (error, "Say by --owner LABEL whose the checkpoint is.");
  made = varve_checkpoints_create (checkpoints, (const char *const *)o->disks, cli->cancellable,
                                   error);
  if (made == NULL)
    return false;
  disks = describe_disks (made, false);
  print_json (cli, made, false);
  cli_output_line (&cli->output, "created %s: %s", varve_checkpoint_get_name (made), disks);
  return true;
}

static bool delete (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments,
                    GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  char *name = NULL;

  if (!varve_checkpoints_delete (checkpoints, arguments[0], &name, cli->cancellable, error))
    return false;
  g_ptr_array_add (names, name);
  print_names (cli, "deleted", names);
  return true;
}

static bool
merge (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments, GError **error)
{
  g_autoptr (GPtrArray) removed = NULL;

  if (!varve_checkpoints_merge (checkpoints, (const char *const *)arguments, o->foreign, &removed,
                                cli->cancellable, error))
    return false;
  print_names (cli, "merged", removed);
  cli_output_line (&cli->output, "%s has every change since", arguments[0]);
  return true;
}

static bool
redefine (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments,
          GError **error)
{
  g_autoptr (GPtrArray) names =
      varve_checkpoints_redefine (checkpoints, arguments[0], cli->cancellable, error);

  if (names == NULL)
    return false;
  print_names (cli, "redefined", names);
  if (names->len == 0)
    cli_output_line (&cli->output, "There is nothing that the hypervisor does not know.");
  return true;
}

/* --- check ------------------------------------------------------------------------------------ */

/* What is done about it, for people. */
static const char *
state_words (const char *state)
{
  static const char *const words[][2] = { { "mendable", "--repair" },
                                          { "left", "no repair" },
                                          { "mended", "mended" },
                                          { "failed", "the repair failed" } };

  for (size_t i = 0; i < G_N_ELEMENTS (words); i++)
    if (strcmp (words[i][0], state) == 0)
      return words[i][1];
  return state;
}

static void
print_finding (Cli *cli, VarveFinding *finding)
{
  const char *state = varve_finding_get_state (finding);
  const char *failure = varve_finding_get_failure (finding);
  const char *checkpoint = varve_finding_get_checkpoint (finding);
  g_autoptr (JsonBuilder) object = cli_json_begin ("finding");

  cli_json_string (object, "kind", varve_finding_get_kind (finding));
  cli_json_flag (object, "damage", varve_finding_is_damage (finding));
  cli_json_string (object, "state", state);
  cli_json_string (object, "checkpoint", checkpoint);
  cli_json_string (object, "disk", varve_finding_get_disk (finding));
  cli_json_string (object, "session", varve_finding_get_session (finding));
  cli_json_string (object, "text", varve_finding_get_text (finding));
  cli_json_string (object, "meaning", varve_finding_get_meaning (finding));
  cli_json_string (object, "cure", varve_finding_get_cure (finding));
  cli_json_string (object, "failure", failure);
  cli_output_json (&cli->output, object);
  cli_output_line (
      &cli->output, "%s: %s%s%s", varve_finding_is_damage (finding) ? "damage" : "note",
      varve_finding_get_kind (finding), checkpoint ? " " : "", checkpoint ? checkpoint : "");
  cli_output_line (&cli->output, "  %s", varve_finding_get_text (finding));
  cli_output_line (&cli->output, "  %s", varve_finding_get_meaning (finding));
  cli_output_line (&cli->output, "  %s: %s", state_words (state),
                   failure ? failure : varve_finding_get_cure (finding));
}

static bool
was_mended (GPtrArray *findings)
{
  for (guint i = 0; i < findings->len; i++)
    if (strcmp (varve_finding_get_state (g_ptr_array_index (findings, i)), "mended") == 0)
      return true;
  return false;
}

static bool
check (Cli *cli, VarveCheckpoints *checkpoints, const Options *o, char **arguments, GError **error)
{
  g_autoptr (GPtrArray) findings =
      varve_checkpoints_check (checkpoints, o->repair, cli->cancellable, error);

  if (findings == NULL)
    return false;
  for (guint i = 0; i < findings->len; i++)
    print_finding (cli, g_ptr_array_index (findings, i));
  if (!varve_checkpoints_judge (checkpoints, findings, o->repair, error))
    return false;
  cli_output_line (&cli->output, "%s",
                   was_mended (findings) ? "All of the damage is mended."
                                         : "The checkpoints are in good health.");
  return true;
}

/* --- the command line ------------------------------------------------------------------------- */

static const Verb verbs[] = {
  { "list", "DOMAIN", "Lists the checkpoints and bitmaps of a domain.", 0, 0, list },
  { "create", "DOMAIN", "Makes a checkpoint without a backup.", 0, 0, create },
  { "delete", "DOMAIN CHECKPOINT", "Removes one checkpoint.", 1, 1, delete },
  { "merge", "DOMAIN FROM TO", "Makes one checkpoint of several: FROM has all of it.", 2, G_MAXINT,
    merge },
  { "redefine", "DOMAIN [CHECKPOINT]", "Tells libvirt of checkpoints that it has forgotten.", 0, 1,
    redefine },
  { "check", "DOMAIN", "Finds what is wrong with the checkpoints of a domain.", 0, 0, check },
};

#define COMMON 8

static bool
parse (Cli *cli, const Verb *verb, int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry common[COMMON] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &o->uri,
      "qemu:///system (default), qmp+unix:///SOCKET, or image:", "URI" },
    { "owner", 0, 0, G_OPTION_ARG_STRING, &o->owner, "whose checkpoints (default: varve)",
      "LABEL" },
    { "from", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->stores,
      "a store to ask for their backups: images:DIR (repeat)", "STORE" },
    { "uuid", 0, 0, G_OPTION_ARG_STRING, &o->uuid, "of the domain, where no hypervisor can tell it",
      "UUID" },
    { "image", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->images,
      "a stopped disk's image: NAME=PATH,format=F[,key-file=K] (repeat)", "IMAGE" },
    { "qdev", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->qdevs,
      "names a disk of a bare QEMU: NAME=ID (repeat)", "DEVICE" },
    { "wait", 0, 0, G_OPTION_ARG_INT, &o->wait, "wait so long for a busy domain", "SECONDS" },
    G_OPTION_ENTRY_NULL,
  };
  const struct {
    const char *verb;
    GOptionEntry entry;
  } own[] = {
    { "list",
      { "size", 0, 0, G_OPTION_ARG_NONE, &o->size, "and how much has changed since each", NULL } },
    { "create",
      { "disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->disks, "on this disk only (repeat)",
        "NAME" } },
    { "merge",
      { "foreign", 0, 0, G_OPTION_ARG_NONE, &o->foreign,
        "bitmaps of another program, oldest first: all go into the first", NULL } },
    { "check",
      { "repair", 0, 0, G_OPTION_ARG_NONE, &o->repair, "mend what can be mended safely", NULL } },
  };
  GOptionEntry entries[COMMON + 1] = { 0 };
  size_t n = 0;

  for (size_t i = 0; i < G_N_ELEMENTS (own); i++)
    if (strcmp (own[i].verb, verb->name) == 0)
      entries[n++] = own[i].entry;
  memcpy (&entries[n], common, sizeof common);
  return cli_parse (cli, argc, argv, entries, verb->parameters, verb->summary, error);
}

static bool
add_images (VarveCheckpoints *checkpoints, const Options *o, GError **error)
{
  for (char **text = o->images; text && *text; text++) {
    g_autoptr (CliDisk) disk = cli_disk_parse (*text, error);

    if (disk == NULL)
      return false;
    if (disk->format == NULL)
      return cli_usage (error, "--image %s needs ',format=F': a format is never guessed.", *text);
    varve_checkpoints_set_image (checkpoints, disk->name, disk->path, disk->format, disk->key_file);
  }
  return true;
}

static bool
add_qdevs (VarveCheckpoints *checkpoints, const Options *o, GError **error)
{
  for (char **text = o->qdevs; text && *text; text++) {
    const char *equals = strchr (*text, '=');
    g_autofree char *name = equals ? g_strndup (*text, (gsize)(equals - *text)) : NULL;

    if (name == NULL || *name == '\0' || equals[1] == '\0')
      return cli_usage (error, "--qdev %s must be written NAME=ID.", *text);
    varve_checkpoints_set_qdev (checkpoints, name, equals + 1);
  }
  return true;
}

static VarveCheckpoints *
make (Cli *cli, const char *domain, const Options *o, GError **error)
{
  g_autoptr (VarveCheckpoints) checkpoints =
      varve_checkpoints_new (o->uri ? o->uri : "qemu:///system", domain);

  if (o->wait < 0) {
    cli_usage (error, "--wait must not be negative.");
    return NULL;
  }
  for (char **store = o->stores; store && *store; store++) {
    g_autofree char *name = cli_store (*store);

    varve_checkpoints_add_store (checkpoints, name);
  }
  varve_checkpoints_set_owner (checkpoints, o->owner);
  varve_checkpoints_set_uuid (checkpoints, o->uuid);
  varve_checkpoints_set_wait (checkpoints, (guint)o->wait);
  varve_checkpoints_set_event_func (checkpoints, cli_output_event, &cli->output, NULL);
  if (!add_images (checkpoints, o, error) || !add_qdevs (checkpoints, o, error))
    return NULL;
  return g_steal_pointer (&checkpoints);
}

static bool
run (Cli *cli, const Verb *verb, int argc, char **argv, GError **error)
{
  g_auto (Options) o = { NULL };
  g_autofree char *name = g_strconcat ("checkpoint ", verb->name, NULL);
  g_autoptr (VarveCheckpoints) checkpoints = NULL;

  argv[0] = name;
  if (!parse (cli, verb, &argc, &argv, &o, error))
    return false;
  if (argc < 2 + verb->least || argc - 2 > verb->most)
    return cli_usage (error, "Write: varve checkpoint %s [OPTION…] %s", verb->name,
                      verb->parameters);
  checkpoints = make (cli, argv[1], &o, error);
  return checkpoints && verb->act (cli, checkpoints, &o, argv + 2, error);
}

static void
print_help (void)
{
  puts ("Usage: varve checkpoint VERB [OPTION…] DOMAIN …\n\nVerbs:");
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    printf ("  %-10s %s\n", verbs[i].name, verbs[i].summary);
  puts ("\n'varve checkpoint VERB --help' tells more; so does varve-checkpoint(1).");
}

bool
cli_checkpoint (Cli *cli, int argc, char **argv, GError **error)
{
  if (argc < 2)
    return cli_usage (error, "Name a verb: list, create, delete, merge, redefine, check.");
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0) {
    print_help ();
    return true;
  }
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++)
    if (strcmp (argv[1], verbs[i].name) == 0)
      return run (cli, &verbs[i], argc - 1, argv + 1, error);
  return cli_usage (error,
                    "There is no verb 'checkpoint %s': list, create, delete, merge, redefine "
                    "and check are.",
                    argv[1]);
}
