/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* varve-guard STATE-DIRECTORY SESSION WORKER-PID
 *
 * Started by the library for each session; nobody else has a use for it. It waits for the end of the
 * worker (session/guard-wait.h), and ends a session that he left, as the next run would. What it does
 * it says in the system log, and once on stderr, where the worker's user may read why his command has
 * been killed.
 *
 * Invariants: it does nothing while the worker lives and beats, it holds no lock and no connection
 * then, and nothing but SIGKILL ends it. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

#include "libexec/quiet.h"
#include "run/recover.h"
#include "session/guard-wait.h"
#include "session/guard-wire.h"
#include "util/error.h"

/* A hypervisor or an agent that does not answer may do so later (longer than VARVE_THAW_PATIENCE_S); whoever comes
 * next ends what then is left. */
#define PATIENCE_S  1200
#define PAUSE_MAX_S 15

static void
ignore_signals (void)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2 };

  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++)
    signal (signals[i], SIG_IGN);
}

G_GNUC_PRINTF (1, 2)
static void
say (const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  syslog (LOG_WARNING, "%s", text);
  fprintf (stderr, "varve-guard: %s\n", text);
}

/* Whoever reads the worker's stderr to its end waits no longer. */
static void
leave_stderr (void)
{
  int fd = open ("/dev/null", O_WRONLY | O_CLOEXEC);

  if (fd >= 0)
    dup2 (fd, STDERR_FILENO);
}

static bool
end_session (const VarveStateDir *state, const char *session)
{
  gint64 deadline = g_get_monotonic_time () + PATIENCE_S * G_USEC_PER_SEC;

  for (unsigned pause = 1;; pause = MIN (pause * 2, PAUSE_MAX_S)) {
    g_autoptr (GError) error = NULL;

    if (varve_recover_as_guard (state, session, NULL, &error))
      return true;
    /* The first failure, and the last. */
    if (pause == 1 || g_get_monotonic_time () > deadline)
      say ("Session %s could not be ended yet. %s", session, error->message);
    leave_stderr ();
    if (g_get_monotonic_time () > deadline)
      return false;
    g_usleep (pause * G_USEC_PER_SEC);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveStateDir) state = NULL;
  VarveGuardVerdict verdict;
  guint64 worker;

  ignore_signals ();
  openlog ("varve-guard", LOG_PID, LOG_DAEMON);
  /* Nor do children of ours inherit these. */
  if (argc != 4 || !g_ascii_string_to_unsigned (argv[3], 10, 1, G_MAXINT, &worker, NULL) ||
      fcntl (VARVE_GUARD_SOCKET_FD, F_SETFD, FD_CLOEXEC) < 0 ||
      fcntl (VARVE_GUARD_WORKER_FD, F_SETFD, FD_CLOEXEC) < 0) {
    fprintf (stderr, "varve-guard is started by varve, for each session, and by nobody else.\n");
    return 2;
  }
  prctl (PR_SET_NAME, "varve-guard");
  varve_quiet_libvirt ();
  state = varve_state_dir_open (argv[1], &error);
  if (state == NULL) {
    say ("%s", error->message);
    return 1;
  }
  verdict = varve_guard_wait (VARVE_GUARD_SOCKET_FD, VARVE_GUARD_WORKER_FD, (pid_t)worker);
  if (verdict == VARVE_GUARD_DISMISSED)
    return 0;
  say ("The worker (pid %d) of session %s %s: ending it.", (int)worker, argv[2],
       varve_guard_verdict_text (verdict));
  if (!end_session (state, argv[2]))
    return 1;
  syslog (LOG_NOTICE, "Session %s has been ended.", argv[2]);
  return 0;
}
