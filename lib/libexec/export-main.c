/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* varve-export STATE-DIRECTORY SESSION
 *
 * Started by the library for each export session, which it hosts; nobody else has a use for it. It gets the job
 * document on one descriptor, says on another how the session begins (run/export-wire.h), and then lives on
 * until the session has ended. SIGTERM and SIGINT end it, and its checkpoint is dropped. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libexec/quiet.h"
#include "libexec/signals.h"
#include "run/export-host.h"
#include "run/export-wire.h"
#include "util/error.h"

#define MAX_DOCUMENT (1u << 20)

/* --- what is said to who started us ----------------------------------------------------------- */

/* False when nobody listens any more. */
static bool
say (char *line)
{
  g_autofree char *text = line;
  size_t length = strlen (text), done = 0;

  while (done < length) {
    ssize_t sent = write (VARVE_EXPORT_REPORT_FD, text + done, length - done);

    if (sent < 0 && errno != EINTR)
      return false;
    done += sent > 0 ? (size_t)sent : 0;
  }
  return true;
}

static void
on_event (const VarveEvent *event, gpointer data)
{
  say (varve_export_wire_event (event));
}

/* --- the job ---------------------------------------------------------------------------------- */

static VarveJob *
read_job (GError **error)
{
  g_autofree char *text = g_malloc (MAX_DOCUMENT);
  size_t length = 0;

  for (;;) {
    ssize_t got = read (VARVE_EXPORT_DOCUMENT_FD, text + length, MAX_DOCUMENT - length);

    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    length += (size_t)got;
  }
  close (VARVE_EXPORT_DOCUMENT_FD);
  return varve_job_parse (text, length, "the job of the export session", error);
}

static const VarveExportDef *
find_def (VarveJob *job, GError **error)
{
  GPtrArray *actions = varve_job_get_actions (job);
  GObject *action = actions->len == 1 ? g_ptr_array_index (actions, 0) : NULL;

  if (action && VARVE_IS_EXPORT_ACTION (action))
    return varve_export_action_def (VARVE_EXPORT_ACTION (action));
  varve_throw (error, VARVE_ERROR_USAGE, "The document has not one action, an export.");
  return NULL;
}

/* Nothing of it is left where it could not begin, or where nobody waits for it any more. */
static bool
host (const char *state_directory, const char *session, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStateDir) state = varve_state_dir_open (state_directory, error);
  g_autoptr (VarveJob) job = state ? read_job (error) : NULL;
  const VarveExportDef *def = job ? find_def (job, error) : NULL;
  VarveEventSink events = { on_event, NULL, NULL };
  VarveRunContext context = { job ? varve_job_get_name (job) : NULL, state, &events, -1 };
  g_autoptr (VarveExportHost) self = NULL;

  if (!def || !varve_signals_catch (cancellable, error))
    return false;
  signal (SIGHUP, SIG_IGN);
  self = varve_export_host_begin (&context, def, session, cancellable, error);
  if (!self)
    return false;
  if (!say (varve_export_wire_done ()))
    return varve_throw (error, VARVE_ERROR_FAILED, "Nobody waits for the session any more.");
  close (VARVE_EXPORT_REPORT_FD);
  varve_export_host_serve (self, cancellable);
  return true;
}

int
main (int argc, char **argv)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  struct stat st;

  if (argc != 3 || strlen (argv[2]) != 16 || fcntl (VARVE_EXPORT_REPORT_FD, F_GETFD) < 0 ||
      fstat (VARVE_EXPORT_DOCUMENT_FD, &st) < 0) {
    fprintf (stderr, "varve-export is started by varve, for each session, and by nobody else.\n");
    return 2;
  }
  prctl (PR_SET_NAME, "varve-export");
  varve_quiet_libvirt ();
  /* Neither storage daemon nor guard may keep a caller waiting. */
  fcntl (VARVE_EXPORT_REPORT_FD, F_SETFD, FD_CLOEXEC);
  fcntl (VARVE_EXPORT_DOCUMENT_FD, F_SETFD, FD_CLOEXEC);
  if (host (argv[1], argv[2], cancellable, &error))
    return 0;
  say (varve_export_wire_error (error));
  return 1;
}
