/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "cli.h"

#include <string.h>

bool
cli_usage (GError **error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error)
    *error = g_error_new_valist (VARVE_ERROR, VARVE_ERROR_USAGE, format, args);
  va_end (args);
  return false;
}

void
cli_server_clear (CliServer *server)
{
  g_free (server->socket);
  g_free (server->listen);
  g_free (server->credentials);
}

void
cli_disk_free (CliDisk *disk)
{
  if (disk == NULL)
    return;
  g_free (disk->name);
  g_free (disk->path);
  g_free (disk->format);
  g_free (disk->key_file);
  g_free (disk);
}

/* The text up to a single comma, with double ones made single; @text is moved behind the comma. */
static char *
next_word (const char **text)
{
  g_autoptr (GString) word = g_string_new (NULL);
  const char *p = *text;

  for (; *p; p++) {
    if (*p == ',' && p[1] != ',')
      break;
    if (*p == ',')
      p++;
    g_string_append_c (word, *p);
  }
  *text = *p ? p + 1 : p;
  return g_strdup (word->str);
}

static bool
take_option (CliDisk *disk, const char *word, const char *text, GError **error)
{
  if (g_str_has_prefix (word, "format=")) {
    g_free (disk->format);
    disk->format = g_strdup (word + strlen ("format="));
  } else if (g_str_has_prefix (word, "key-file=")) {
    g_free (disk->key_file);
    disk->key_file = g_canonicalize_filename (word + strlen ("key-file="), NULL);
  } else
    return cli_usage (
        error,
        "'%s' in '%s' is not understood: format=F and key-file=PATH are. A comma in a "
        "path is written twice.",
        word, text);
  return true;
}

static bool
is_nbd (const char *path)
{
  return g_str_has_prefix (path, "nbd") && strstr (path, "://") != NULL;
}

/* As a path it would be one below the working directory, which nobody means. */
static bool
is_other_uri (const char *path)
{
  return !is_nbd (path) && g_uri_peek_scheme (path) && strstr (path, "://");
}

CliDisk *
cli_disk_parse (const char *text, GError **error)
{
  g_autoptr (CliDisk) disk = g_new0 (CliDisk, 1);
  const char *equals = strchr (text, '='), *rest;
  g_autofree char *path = NULL;

  if (equals == NULL || equals == text || equals[1] == '\0') {
    cli_usage (error, "'%s' must be written NAME=PATH[,format=F].", text);
    return NULL;
  }
  rest = equals + 1;
  disk->name = g_strndup (text, (gsize)(equals - text));
  path = next_word (&rest);
  if (is_other_uri (path)) {
    cli_usage (error,
               "'%s' of disk '%s' is neither a path nor the URI of an NBD export (nbd://, nbds://, "
               "nbd+unix://, nbds+unix://).",
               path, disk->name);
    return NULL;
  }
  disk->path = is_nbd (path) ? g_strdup (path) : g_canonicalize_filename (path, NULL);
  while (*rest) {
    g_autofree char *word = next_word (&rest);

    if (!take_option (disk, word, text, error))
      return NULL;
  }
  return g_steal_pointer (&disk);
}

CliDisk *
cli_image_parse (const char *text, GError **error)
{
  g_autoptr (CliDisk) disk = cli_disk_parse (text, error);

  if (disk == NULL || disk->format != NULL)
    return g_steal_pointer (&disk);
  cli_usage (error,
             "--image %s needs ',format=F': a format is never guessed, as a guest could write a "
             "header that names a file of the host.",
             text);
  return NULL;
}

CliDisk *
cli_target_parse (const char *text, GError **error)
{
  g_autoptr (CliDisk) disk = cli_disk_parse (text, error);

  if (disk == NULL || disk->key_file == NULL)
    return g_steal_pointer (&disk);
  cli_usage (error, "key-file= has no meaning for a target.");
  return NULL;
}

bool
cli_parse_seconds (const char *text, guint *out, GError **error)
{
  static const struct {
    const char *name;
    guint seconds;
  } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
  char *end = NULL;
  guint64 value = g_ascii_strtoull (text, &end, 10);

  for (size_t i = 0; g_ascii_isdigit (text[0]) && i < G_N_ELEMENTS (units); i++) {
    if (strcmp (end, units[i].name) != 0 || value > G_MAXUINT / units[i].seconds)
      continue;
    *out = (guint)value * units[i].seconds;
    return true;
  }
  return cli_usage (error, "'%s' is no time: write seconds, or a number with s, m, h or d.", text);
}

bool
cli_parse_address (const char *text, char **out_host, guint *out_port, GError **error)
{
  const char *colon = strrchr (text, ':');
  guint64 port;

  if (!colon || colon == text ||
      !g_ascii_string_to_unsigned (colon + 1, 10, 0, 65535, &port, NULL) ||
      (text[0] == '[') != (colon[-1] == ']'))
    return cli_usage (error, "'%s' is no address to listen at: write HOST:PORT, or [ADDRESS]:PORT.",
                      text);
  *out_host = text[0] == '[' ? g_strndup (text + 1, (gsize)(colon - text) - 2)
                             : g_strndup (text, (gsize)(colon - text));
  *out_port = (guint)port;
  return true;
}

bool
cli_parse_size (const char *text, guint64 *out, GError **error)
{
  static const char units[] = "KMGT";
  char *end = NULL;
  guint64 value = g_ascii_strtoull (text, &end, 10);
  const char *unit = *end ? strchr (units, g_ascii_toupper (*end)) : NULL;
  unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
  const char *rest = unit ? end + 1 : end;

  if (end == text || !g_ascii_isdigit (text[0]) ||
      (*rest && strcmp (rest, "iB") != 0 && strcmp (rest, "B") != 0) ||
      value > G_MAXUINT64 >> shift || value == 0)
    return cli_usage (
        error, "'%s' is no size: write bytes, or a number with K, M, G or T (powers of 1024).",
        text);
  *out = value << shift;
  return true;
}

char *
cli_store (const char *store)
{
  g_autofree char *path = NULL;

  if (!g_str_has_prefix (store, "images:") || store[strlen ("images:")] == '\0')
    return g_strdup (store);
  path = g_canonicalize_filename (store + strlen ("images:"), NULL);
  return g_strconcat ("images:", path, NULL);
}

bool
cli_parse (Cli *cli, int *argc, char ***argv, const GOptionEntry *entries, const char *parameters,
           const char *summary, GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new (parameters);
  g_autofree char *name = g_strconcat ("varve ", (*argv)[0], NULL);
  g_autoptr (GError) local = NULL;
  gboolean json = FALSE;
  const GOptionEntry common[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print one JSON object a line", NULL },
    G_OPTION_ENTRY_NULL,
  };

  (*argv)[0] = name;
  g_option_context_set_summary (context, summary);
  if (entries)
    g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_main_entries (context, common, NULL);
  g_set_prgname (name);
  if (!g_option_context_parse (context, argc, argv, &local))
    return cli_usage (error, "%s. '%s --help' tells what there is.", local->message, name);
  cli->output.json = json;
  return true;
}

bool
cli_run_job (Cli *cli, VarveJob *job, const char *only, bool print_xml, GError **error)
{
  g_autoptr (VarveRun) run = NULL;

  if (print_xml) {
    g_autofree char *xml = varve_job_to_xml (job);
    g_autoptr (VarveJob) again = varve_job_parse (xml, strlen (xml), "the job", error);

    if (again != NULL)
      cli_output_line (&cli->output, "%s", g_strchomp (xml));
    return again != NULL;
  }
  run = varve_run_new (job);
  varve_run_set_only (run, only);
  varve_run_set_event_func (run, cli_output_event, &cli->output, NULL);
  return varve_run_execute (run, cli->cancellable, error);
}
