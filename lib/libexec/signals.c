/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A handler may only write; a thread turns what it wrote into a cancellation. Signals are not blocked instead, as
 * children would inherit that. This is linked into programs, so that what it keeps is theirs. */
#include "config.h"
#include "libexec/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <glib-unix.h>

static int signal_pipe[2] = { -1, -1 };
static volatile sig_atomic_t last_signal;

static void
on_signal (int signum)
{
  int keep = errno;

  last_signal = signum;
  if (write (signal_pipe[1], "", 1) < 0)
    _exit (128 + signum);
  errno = keep;
}

static gpointer
wait_for_signal (gpointer cancellable)
{
  char byte;

  while (read (signal_pipe[0], &byte, 1) == 1)
    g_cancellable_cancel (cancellable);
  return NULL;
}

bool
varve_signals_catch (GCancellable *cancellable, GError **error)
{
  struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

  if (!g_unix_open_pipe (signal_pipe, FD_CLOEXEC, error))
    return false;
  g_thread_unref (g_thread_new ("signals", wait_for_signal, cancellable));
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  signal (SIGPIPE, SIG_IGN);
  return true;
}

int
varve_signals_last (void)
{
  return last_signal;
}
