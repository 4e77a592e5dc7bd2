/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/backup-server.h"
#include "run/restore-define.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/failpoint.h"
#include "util/xml.h"
#include "virt/machine.h"

#define DIRECTORY_PREFIX "boot-"
#define LOOK_MS          200
#define LAST_WORDS       200 /* bytes of the console's last line that an error quotes */

typedef struct {
  const VarveRunContext *context;
  const VarveVerifyDef *def;
  const VarveManifest *manifest;
  char *screenshot;
  VarveLock *lock; /* on the directory's name */
  char *directory; /* of the server's socket, until QEMU has connected to it; NULL: gone */
  VarveBackupServer *server;
  int server_log;    /* what it says; -1: none */
  off_t server_said; /* of that, before the machine ran */
  VarveMachine *machine;
} Boot;

/* Nobody connects to the server any more, who might find it: so nothing is left if we are killed. */
static void
remove_directory (Boot *boot)
{
  g_autofree char *directory = g_steal_pointer (&boot->directory);

  if (directory)
    varve_remove_tree (directory, NULL);
}

static void
boot_clear (Boot *boot)
{
  g_clear_pointer (&boot->machine, varve_machine_free);
  g_clear_pointer (&boot->server, varve_backup_server_end);
  remove_directory (boot);
  g_clear_pointer (&boot->lock, varve_lock_free);
  if (boot->server_log >= 0)
    close (boot->server_log);
  g_free (boot->screenshot);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Boot, boot_clear)

static void
emit (const Boot *boot, VarveEvent event)
{
  event.action = "verify";
  event.domain = boot->manifest->domain;
  event.backup = boot->manifest->id;
  varve_event_emit (boot->context->events, &event);
}

static void tell (const Boot *boot, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
tell (const Boot *boot, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list ap;

  va_start (ap, format);
  text = g_strdup_vprintf (format, ap);
  va_end (ap);
  emit (boot, (VarveEvent){ .type = VARVE_EVENT_NOTE, .text = text });
}

/* --- its disks -------------------------------------------------------------------------------- */

/* Of a varve that was killed before QEMU had connected: its nbdkit has died with it. */
static void
remove_left (const VarveStateDir *state)
{
  g_autofree char *sockets = g_build_filename (varve_state_dir_path (state), "sockets", NULL);
  g_autoptr (GDir) dir = g_dir_open (sockets, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (sockets, name, NULL);

    if (g_str_has_prefix (name, DIRECTORY_PREFIX) && !varve_lock_is_held (state, name, NULL))
      varve_remove_tree (path, NULL);
  }
}

/* Locked before it is there, so that nobody takes it for one that is left. */
static bool
make_directory (Boot *boot, GCancellable *cancellable, GError **error)
{
  const VarveStateDir *state = boot->context->state;
  g_autofree char *nonce = varve_random_hex (4);
  g_autofree char *name = g_strconcat (DIRECTORY_PREFIX, nonce, NULL);
  g_autofree char *directory = varve_state_dir_file (state, "sockets", name);

  boot->lock = varve_lock_take (state, name, "a backup that is started", boot->manifest->id, 0,
                                cancellable, error);
  if (boot->lock == NULL)
    return false;
  if (mkdir (directory, 0700) != 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "The directory '%s', for the socket of a server, cannot be made",
                              directory);
  boot->directory = g_steal_pointer (&directory);
  return true;
}

/* What cannot be read is told better than by the server. */
static bool
check_disks (const Boot *boot, VarveStoreImpl *store, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < boot->manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (boot->manifest->disks, i);
    VarveStoreRead *read = NULL;

    if (!store->ops->read (store, boot->manifest, disk->name, &read, cancellable, error))
      return varve_prefix (error, "Disk '%s' of backup %s", disk->name, boot->manifest->id);
    varve_store_read_free (read);
  }
  return true;
}

static bool
serve (Boot *boot, VarveStoreImpl *store, GCancellable *cancellable, GError **error)
{
  VarveBackupServerOptions options = { .store = boot->def->store,
                                       .backup = boot->manifest->id,
                                       .kind = VARVE_CHILD_DIES_WITH_US };
  g_autofree char *log = NULL;

  remove_left (boot->context->state);
  if (!check_disks (boot, store, cancellable, error) || !make_directory (boot, cancellable, error))
    return false;
  options.directory = boot->directory;
  boot->server = varve_backup_server_begin (&options, cancellable, error);
  log = g_build_filename (boot->directory, "backup.log", NULL);
  boot->server_log = open (log, O_RDONLY | O_CLOEXEC);
  return boot->server != NULL && varve_failpoint ("boot-served", error);
}

/* --- the machine ------------------------------------------------------------------------------ */

static VarveMachineSpec *
describe (const Boot *boot, VarveStoreImpl *store, GError **error)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *xml = NULL;
  VarveMachineSpec *spec;

  if (boot->manifest->has_domain_xml) {
    xml = varve_run_read_definition (store, boot->manifest, error);
    if (xml == NULL)
      return NULL;
  }
  for (guint i = 0; i < boot->manifest->disks->len; i++)
    g_ptr_array_add (disks,
                     ((VarveManifestDisk *)g_ptr_array_index (boot->manifest->disks, i))->name);
  spec = varve_machine_describe (xml, disks, notes, error);
  for (guint i = 0; spec && i < notes->len; i++)
    tell (boot, "%s", (const char *)g_ptr_array_index (notes, i));
  if (spec && boot->def->memory)
    spec->memory = boot->def->memory;
  return spec;
}

static bool
start_machine (Boot *boot, VarveStoreImpl *store, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveMachineSpec) spec = describe (boot, store, error);
  g_autoptr (GBytes) variables = NULL;

  if (spec == NULL)
    return false;
  if (spec->loader && !spec->loader_is_rom && boot->manifest->has_nvram) {
    variables = varve_run_read_variables (store, boot->manifest, error);
    if (variables == NULL)
      return false;
  }
  if (!serve (boot, store, cancellable, error))
    return false;
  boot->machine = varve_machine_start (spec, varve_backup_server_socket (boot->server), variables,
                                       cancellable, error);
  boot->server_said = MAX (lseek (boot->server_log, 0, SEEK_END), 0);
  remove_directory (boot);
  if (boot->machine && !varve_machine_has_kvm (boot->machine))
    tell (boot, "The machine is emulated, and slow: it runs without KVM.");
  return boot->machine != NULL;
}

/* --- the sign --------------------------------------------------------------------------------- */

static bool
sign_is_given (const Boot *boot)
{
  if (boot->def->console)
    return strstr (varve_machine_console (boot->machine), boot->def->console) != NULL;
  return varve_machine_agent_answers (boot->machine, boot->def->mounted);
}

/* " Its console's last words: …", or "". (transfer full) */
static char *
last_words (const Boot *boot)
{
  g_autofree char *said = g_strdup (varve_machine_console (boot->machine));
  g_autofree char *words = NULL;
  char *line = strrchr (g_strchomp (said), '\n');

  line = g_strstrip (line ? line : said);
  if (strlen (line) > LAST_WORDS)
    line += strlen (line) - LAST_WORDS;
  words = varve_xml_printable (line);
  return *words ? g_strdup_printf (" The last that its serial console said is: '%s'.", words)
                : g_strdup (" It said nothing on its serial console.");
}

/* "was started, and WHAT before …". (transfer full) */
static char *
wanted_sign (const VarveVerifyDef *def)
{
  if (def->console)
    return g_strdup_printf ("it had said '%s' on its serial console", def->console);
  if (def->mounted)
    return g_strdup_printf ("its guest agent had told of a file system mounted at '%s'",
                            def->mounted);
  return g_strdup ("its guest agent had answered");
}

/* (transfer full) */
static char *
given_sign (const VarveVerifyDef *def, int64_t after_us)
{
  double seconds = (double)after_us / G_USEC_PER_SEC;

  if (def->console)
    return g_strdup_printf ("it said '%s' on its serial console after %.1f s", def->console,
                            seconds);
  if (def->mounted)
    return g_strdup_printf ("its guest agent told of a file system mounted at '%s' after %.1f s",
                            def->mounted, seconds);
  return g_strdup_printf ("its guest agent answered after %.1f s", seconds);
}

static bool
throw_no_sign (const Boot *boot, const char *what, GError **error)
{
  g_autofree char *words = last_words (boot);
  g_autofree char *sign = wanted_sign (boot->def);

  return varve_throw (error, VARVE_ERROR_NOT_PROVED,
                      "Backup %s of '%s' was started, and %s before %s.%s", boot->manifest->id,
                      boot->manifest->domain, what, sign, words);
}

/* The first line that the server has said since the machine ran, without a full stop; or "". (transfer full) */
static char *
server_words (const Boot *boot)
{
  g_autofree char *words = varve_child_complaint (boot->server_log, boot->server_said);
  char *end = strchr (words, '\n');

  if (end)
    *end = '\0';
  if (g_str_has_suffix (words, "."))
    words[strlen (words) - 1] = '\0';
  return *words ? g_strconcat (": ", words, NULL) : g_strdup ("");
}

static bool
throw_unread (const Boot *boot, GError **error)
{
  g_autofree char *words = server_words (boot);

  if (!varve_backup_server_alive (boot->server))
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE,
                        "Backup %s of '%s' was started, and nbdkit, which served it, has gone%s.",
                        boot->manifest->id, boot->manifest->domain, words);
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                      "Backup %s of '%s' was started, and a disk of it could not be read%s. 'varve "
                      "verify' without --boot tells what is damaged.",
                      boot->manifest->id, boot->manifest->domain, words);
}

static bool
throw_unwritten (const Boot *boot, GError **error)
{
  return varve_throw (error, VARVE_ERROR_NO_SPACE,
                      "Backup %s of '%s' was started, and what it writes could not be kept: is "
                      "there room in the directory for temporary files ($TMPDIR, else /var/tmp)?",
                      boot->manifest->id, boot->manifest->domain);
}

static bool
throw_state (const Boot *boot, VarveMachineState state, GError **error)
{
  switch (state) {
  case VARVE_MACHINE_UNREAD:
    return throw_unread (boot, error);
  case VARVE_MACHINE_UNWRITTEN:
    return throw_unwritten (boot, error);
  case VARVE_MACHINE_OFF:
    return throw_no_sign (boot, "turned itself off", error);
  case VARVE_MACHINE_STUCK:
  case VARVE_MACHINE_RUNS:
    break;
  }
  return throw_no_sign (boot, "came to a stop", error);
}

static bool
throw_time_out (const Boot *boot, GError **error)
{
  g_autofree char *what = g_strdup_printf ("its time of %u s was over", boot->def->timeout);

  return throw_no_sign (boot, what, error);
}

static void
tell_progress (const Boot *boot, uint64_t seconds, uint64_t *told)
{
  if (seconds == *told)
    return;
  *told = seconds;
  emit (boot,
        (VarveEvent){ .type = VARVE_EVENT_PROGRESS, .done = seconds, .total = boot->def->timeout });
}

static bool
await_sign (const Boot *boot, char **out_sign, GCancellable *cancellable, GError **error)
{
  int64_t begun = g_get_monotonic_time ();
  uint64_t told = 0;

  for (;;) {
    VarveMachineState state;
    int64_t passed;

    if (!varve_machine_look (boot->machine, LOOK_MS, &state, cancellable, error) ||
        g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    passed = g_get_monotonic_time () - begun;
    if (sign_is_given (boot)) {
      *out_sign = given_sign (boot->def, passed);
      return true;
    }
    if (state != VARVE_MACHINE_RUNS)
      return throw_state (boot, state, error);
    if (passed >= (int64_t)boot->def->timeout * G_USEC_PER_SEC)
      return throw_time_out (boot, error);
    tell_progress (boot, (uint64_t)passed / G_USEC_PER_SEC, &told);
  }
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Of no consequence to what was proved. */
static void
keep_screenshot (const Boot *boot, GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;

  if (varve_machine_screenshot (boot->machine, boot->screenshot, cancellable, &error))
    tell (boot, "The last picture of its screen is kept in '%s'.", boot->screenshot);
  else if (!g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    emit (boot, (VarveEvent){ .type = VARVE_EVENT_WARNING, .text = error->message });
}

static char *
screenshot_path (const VarveRunContext *context, const VarveVerifyDef *def,
                 const VarveManifest *manifest)
{
  g_autofree char *name = g_strconcat (manifest->uuid, ".png", NULL);

  return def->screenshot ? g_strdup (def->screenshot)
                         : varve_state_dir_file (context->state, "screenshots", name);
}

bool
varve_run_boot (const VarveRunContext *context, const VarveVerifyDef *def, VarveStore *store,
                VarveBackup *backup, char **out_sign, GCancellable *cancellable, GError **error)
{
  g_auto (Boot) boot = {
    .context = context, .def = def, .manifest = varve_backup_manifest (backup), .server_log = -1
  };
  g_autoptr (GError) local = NULL;

  boot.screenshot = screenshot_path (context, def, boot.manifest);
  if (!start_machine (&boot, varve_store_get_impl (store), cancellable, error) ||
      !varve_machine_run (boot.machine, cancellable, error))
    return false;
  await_sign (&boot, out_sign, cancellable, &local);
  /* QEMU that has gone has no picture. */
  if (!varve_error_matches (local, VARVE_ERROR_HYPERVISOR))
    keep_screenshot (&boot, cancellable);
  if (local == NULL)
    return true;
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}
