/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An <export> of a job, on the side of who runs it: the host of the session is a process of its own, that is started here
 * and listened to until the session stands. Then either it lives on, or a command is run, whose exit status decides
 * (export-command.c). */
#include "config.h"
#include "run/export.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "job/element.h"
#include "qemu/child.h"
#include "run/export-control.h"
#include "run/export-host.h"
#include "run/export-wire.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/program.h"

#define PROGRAM "varve-export"
/* Enough for all events of a start; a host that says more is out of its mind. */
#define MAX_SAID (4u << 20)
/* A host that was told to stop undoes what it has begun. */
#define UNDO_S 60

typedef struct {
  const VarveRunContext *context;
  GSubprocess *host;
  int said; /* what it says */
  GString *text;
  GError *error;
  bool done;
} Hearing;

/* --- starting --------------------------------------------------------------------------------- */

/* In memory, as it may be longer than a pipe takes at once. */
static int
write_document (const VarveRunContext *context, const VarveExportDef *def, GError **error)
{
  g_autoptr (GString) text = g_string_new ("<job");
  int fd = memfd_create ("varve-export", MFD_CLOEXEC);

  varve_xml_append_attribute (text, "name", context->job);
  g_string_append (text, ">\n");
  varve_export_def_format (def, text);
  g_string_append (text, "</job>\n");
  if (fd >= 0 && write (fd, text->str, text->len) == (ssize_t)text->len &&
      lseek (fd, 0, SEEK_SET) == 0)
    return fd;
  varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                     "The document for the host of the export session could not be written");
  if (fd >= 0)
    close (fd);
  return -1;
}

/* Both descriptors are the host's from here on. */
static GSubprocess *
spawn (const VarveRunContext *context, const char *session, int report, int document,
       GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (VARVE_CHILD_OUTLIVES_US,
                            G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_SILENCE);
  g_autofree char *program = varve_program_path (PROGRAM);
  const char *argv[] = { program, varve_state_dir_path (context->state), session, NULL };
  const char *log = g_getenv ("VARVE_EXPORT_LOG");

  g_subprocess_launcher_take_fd (launcher, report, VARVE_EXPORT_REPORT_FD);
  g_subprocess_launcher_take_fd (launcher, document, VARVE_EXPORT_DOCUMENT_FD);
  if (!g_file_test (program, G_FILE_TEST_IS_EXECUTABLE)) {
    varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                 "The host of export sessions, '%s', is not there. Install varve as a whole.",
                 program);
    return NULL;
  }
  /* For whoever looks for what went wrong in there. */
  if (log) {
    g_subprocess_launcher_set_flags (launcher, G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
    g_subprocess_launcher_set_stderr_file_path (launcher, log);
  }
  g_subprocess_launcher_set_cwd (launcher, "/");
  return varve_child_spawn (launcher, argv, error);
}

static bool
start_host (Hearing *hearing, const VarveExportDef *def, const char *session, GError **error)
{
  int document = write_document (hearing->context, def, error);
  int ends[2];

  if (document < 0)
    return false;
  if (pipe2 (ends, O_CLOEXEC) < 0) {
    close (document);
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot make a pipe");
  }
  hearing->said = ends[0];
  hearing->host = spawn (hearing->context, session, ends[1], document, error);
  return hearing->host != NULL;
}

/* --- hearing ---------------------------------------------------------------------------------- */

static void
hear_lines (Hearing *hearing)
{
  char *end;

  while (!hearing->done && !hearing->error && (end = strchr (hearing->text->str, '\n'))) {
    *end = '\0';
    hearing->done = varve_export_wire_read (hearing->text->str, hearing->context->events,
                                            &hearing->error) == VARVE_EXPORT_WIRE_DONE;
    g_string_erase (hearing->text, 0, end + 1 - hearing->text->str);
  }
}

/* False at its end. */
static bool
hear (Hearing *hearing)
{
  char buffer[4096];
  ssize_t got = read (hearing->said, buffer, sizeof buffer);

  if (got < 0)
    return errno == EINTR;
  g_string_append_len (hearing->text, buffer, got);
  hear_lines (hearing);
  return got > 0 && hearing->text->len < MAX_SAID;
}

/* Until it is done, or has failed. A caller who has had enough tells it so, and hears it out, so that all is
 * undone when he returns. */
static void
hear_out (Hearing *hearing, GCancellable *cancellable)
{
  GPollFD cancel = { .fd = -1 };
  bool made = g_cancellable_make_pollfd (cancellable, &cancel);
  struct pollfd fds[2] = { { hearing->said, POLLIN, 0 }, { made ? cancel.fd : -1, POLLIN, 0 } };
  gint64 deadline = 0;

  while (!hearing->done && !hearing->error) {
    int ready = poll (fds, 2, deadline ? 1000 : -1);

    if (fds[1].fd >= 0 && g_cancellable_is_cancelled (cancellable)) {
      g_subprocess_send_signal (hearing->host, SIGTERM);
      deadline = g_get_monotonic_time () + UNDO_S * G_USEC_PER_SEC;
      fds[1].fd = -1;
    }
    if (ready > 0 && fds[0].revents && !hear (hearing))
      break;
    if (deadline && g_get_monotonic_time () > deadline)
      break;
  }
  if (made)
    g_cancellable_release_fd (cancellable);
}

static void
hearing_clear (Hearing *hearing)
{
  g_clear_object (&hearing->host);
  if (hearing->said >= 0)
    close (hearing->said);
  if (hearing->text)
    g_string_free (hearing->text, TRUE);
  g_clear_error (&hearing->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Hearing, hearing_clear)

/* A session that stands, and is not wanted any more: behind this nothing of it is left. */
static void
take_back (Hearing *hearing, const char *session)
{
  g_autofree char *path = varve_export_file (hearing->context->state, session, "sock");
  int fd = varve_export_control_connect (path, NULL);

  g_subprocess_send_signal (hearing->host, SIGTERM);
  if (fd < 0)
    return;
  varve_export_control_end (fd, false, NULL, NULL);
  varve_export_control_see_off (fd);
  close (fd);
}

static bool
begin (const VarveRunContext *context, const VarveExportDef *def, const char *session,
       GCancellable *cancellable, GError **error)
{
  g_auto (Hearing) hearing = { .context = context, .said = -1 };

  hearing.text = g_string_new (NULL);
  if (!start_host (&hearing, def, session, error))
    return false;
  hear_out (&hearing, cancellable);
  if (hearing.done) {
    if (!g_cancellable_set_error_if_cancelled (cancellable, error))
      return true;
    take_back (&hearing, session);
    return false;
  }
  if (hearing.error)
    g_propagate_error (error, g_steal_pointer (&hearing.error));
  else
    varve_throw (error, VARVE_ERROR_FAILED,
                 "The host of export session %s died before the session stood. What it left is "
                 "ended by its guard, or by 'varve recover'.",
                 session);
  return false;
}

bool
varve_run_export (const VarveRunContext *context, const VarveExportDef *def,
                  GCancellable *cancellable, GError **error)
{
  g_autofree char *session = varve_random_hex (8);

  if (!begin (context, def, session, cancellable, error))
    return false;
  return def->command == NULL ||
         varve_export_run_command (context, def, session, cancellable, error);
}
