/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The command: what its verbs share. It sees the public headers only. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include <varve.h>

/* --- what is printed (output.c) --------------------------------------------------------------- */

typedef struct {
  bool json;     /* one object a line on stdout, and nothing else there */
  bool terminal; /* stderr is one: a progress bar */
  bool drawn;    /* a bar stands on the current line */
  gint64 begun;  /* monotonic us: of this action, and of the disk that is copied */
  gint64 disk_begun;
  char *disk;
  /* Of the action that was done last: */
  char *backup;
  bool unchanged; /* it found that there is nothing to write */
} CliOutput;

/* A VarveEventFunc; @output is a CliOutput. */
void cli_output_event (const VarveEvent *event, gpointer output);
/* A line for people; nothing with --json. */
void cli_output_line (CliOutput *output, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* An object for programs; nothing without --json. Adds "version" and takes the builder's root, an
 * object that has been begun and not ended. */
void cli_output_json (CliOutput *output, JsonBuilder *object);
JsonBuilder *cli_json_begin (const char *event);
void cli_json_string (JsonBuilder *object, const char *name, const char *value);
void cli_json_flag (JsonBuilder *object, const char *name, bool value);
void cli_json_number (JsonBuilder *object, const char *name, gint64 value);
void cli_output_error (CliOutput *output, const GError *error, int status);
/* For programs only (describe.c): a backup with its disks; something that is wrong. */
void cli_output_backup (CliOutput *output, VarveBackup *backup);
void cli_output_problem (CliOutput *output, const char *text);
/* "12.3 GiB" (transfer full) */
char *cli_format_size (guint64 bytes);

/* --- words of the command line (options.c) ---------------------------------------------------- */

/* NAME=PATH[,KEY=VALUE]…; a comma in a value is written twice. */
typedef struct {
  char *name;
  char *path; /* made absolute */
  char *format;
  char *key_file;
} CliDisk;

CliDisk *cli_disk_parse (const char *text, GError **error);
/* As above, with a format, that of a stopped disk's image. */
CliDisk *cli_image_parse (const char *text, GError **error);
/* As the first, and no key has a meaning. */
CliDisk *cli_target_parse (const char *text, GError **error);
void cli_disk_free (CliDisk *disk);
/* "100", "100M", "100MiB": bytes, powers of 1024. */
bool cli_parse_size (const char *text, guint64 *out, GError **error);
/* "90", "90s", "30m", "4h", "2d". */
bool cli_parse_seconds (const char *text, guint *out, GError **error);
/* "HOST:PORT", "[ADDRESS]:PORT". */
bool cli_parse_address (const char *text, char **out_host, guint *out_port, GError **error);

/* Where the readers of what varve serves connect. */
typedef struct {
  char *socket;
  char *listen;
  char *credentials;
  gboolean no_tls;
} CliServer;

/* clang-format off */
#define CLI_SERVER_ENTRIES(server)                                                                 \
  { "socket", 0, 0, G_OPTION_ARG_FILENAME, &(server)->socket,                                     \
    "readers connect to this UNIX socket", "PATH" },                                               \
  { "listen", 0, 0, G_OPTION_ARG_STRING, &(server)->listen, "readers connect by TCP",              \
    "HOST:PORT" },                                                                                 \
  { "tls-creds", 0, 0, G_OPTION_ARG_FILENAME, &(server)->credentials,                              \
    "readers must use TLS; the server's x509 or PSK files", "DIR" },                               \
  { "no-tls", 0, 0, G_OPTION_ARG_NONE, &(server)->no_tls,                                          \
    "clear text by TCP, on a loopback address only", NULL }
/* clang-format on */
void cli_server_clear (CliServer *server);

bool cli_usage (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* STORE with its directory made absolute. (transfer full) */
char *cli_store (const char *store);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CliDisk, cli_disk_free)

/* --- nbdkit, which serves a backup (nbdkit.c) ------------------------------------------------- */

/* The backup that is to be served, with a disk @disk unless that is NULL. What else it takes is there, too. */
VarveBackup *cli_nbdkit_find (const char *store, const char *name, const char *disk,
                              GCancellable *cancellable, GError **error);
/* Its command line: begun, with whatever options are added, and ended by what is served. @store is absolute. */
GPtrArray *cli_nbdkit_begin (void);
void cli_nbdkit_add (GPtrArray *arguments, const char *name, const char *value);
void cli_nbdkit_add_path (GPtrArray *arguments, const char *name, const char *path);
void cli_nbdkit_end (GPtrArray *arguments, const char *store, VarveBackup *backup,
                     const char *disk);
/* Before it is started: each layer of each disk is an open file. */
void cli_nbdkit_raise_file_limit (void);
bool cli_nbdkit_not_started (const char *why, GError **error);

/* --- verbs ------------------------------------------------------------------------------------ */

typedef struct {
  CliOutput output;
  GCancellable *cancellable; /* fires on SIGINT and SIGTERM */
} Cli;

/* Parses @argv, of which [0] is the verb, by @entries; --json is added. @parameters: what stands
 * behind the options in the help. */
bool cli_parse (Cli *cli, int *argc, char ***argv, const GOptionEntry *entries,
                const char *parameters, const char *summary, GError **error);
/* Runs @job, or prints it when @print_xml. */
bool cli_run_job (Cli *cli, VarveJob *job, const char *only, bool print_xml, GError **error);

/* --- the domain whose disks it is about (source.c) ------------------------------------------------------- */

/* What the command line says of it. */
typedef struct {
  char *uri;
  char *uuid;
  char *owner;
  char *agent;
  char **disks;
  char **exclude;
  char **images;
  gboolean quiesce;
  gboolean print_xml;
  int wait;
} CliSource;

/* How a verb is told of it. */
typedef struct {
  const GOptionEntry *own; /* the verb's own options */
  const char *parameters;  /* what stands behind the options in the help */
  const char *summary;
  bool off; /* the domain is: no guest is asked to freeze anything */
} CliSourceUsage;

/* The calls that tell it to an action of one kind. */
typedef struct {
  void (*uuid) (gpointer action, const char *uuid);
  void (*add_disk) (gpointer action, const char *name, gboolean include);
  void (*image) (gpointer action, const char *disk, const char *path, const char *format,
                 const char *key_file);
  void (*quiesce) (gpointer action, gboolean required, guint timeout);
  void (*agent) (gpointer action, const char *path);
  void (*wait) (gpointer action, guint seconds);
} CliSourceSetters;

#define CLI_SOURCE_SETTERS(prefix)                                                                 \
  .uuid = (void (*) (gpointer, const char *))prefix##_set_uuid,                                    \
  .add_disk = (void (*) (gpointer, const char *, gboolean))prefix##_add_disk,                      \
  .image = (void (*) (gpointer, const char *, const char *, const char *,                          \
                      const char *))prefix##_set_image,                                            \
  .wait = (void (*) (gpointer, guint))prefix##_set_wait

/* Of a domain that may run. */
#define CLI_QUIESCE_SETTERS(prefix)                                                                \
  .quiesce = (void (*) (gpointer, gboolean, guint))prefix##_set_quiesce,                           \
  .agent = (void (*) (gpointer, const char *))prefix##_set_agent

/* Parses @argv by the options of every source, and by the verb's own. */
bool cli_source_parse (CliSource *source, Cli *cli, int *argc, char ***argv,
                       const CliSourceUsage *usage, GError **error);
const char *cli_source_uri (const CliSource *source);
/* All but the owner, who is said to each kind in its own way. */
bool cli_source_fill (const CliSource *source, const CliSourceSetters *set, gpointer action,
                      GError **error);
void cli_source_clear (CliSource *source);

typedef bool (*CliVerb) (Cli *cli, int argc, char **argv, GError **error);

/* What a program does before all else, and then; the exit status (verb.c). */
void cli_begin (void);
int cli_run_verb (CliVerb verb, int argc, char **argv);

bool cli_backup (Cli *cli, int argc, char **argv, GError **error);
bool cli_checkpoint (Cli *cli, int argc, char **argv, GError **error);
bool cli_delete (Cli *cli, int argc, char **argv, GError **error);
bool cli_export (Cli *cli, int argc, char **argv, GError **error);
bool cli_files (Cli *cli, int argc, char **argv, GError **error);
bool cli_list (Cli *cli, int argc, char **argv, GError **error);
bool cli_recover (Cli *cli, int argc, char **argv, GError **error);
bool cli_restore (Cli *cli, int argc, char **argv, GError **error);
bool cli_revert (Cli *cli, int argc, char **argv, GError **error);
bool cli_run (Cli *cli, int argc, char **argv, GError **error);
bool cli_serve (Cli *cli, int argc, char **argv, GError **error);
bool cli_show (Cli *cli, int argc, char **argv, GError **error);
bool cli_validate (Cli *cli, int argc, char **argv, GError **error);
bool cli_verify (Cli *cli, int argc, char **argv, GError **error);
