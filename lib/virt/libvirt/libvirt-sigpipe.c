/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "virt/libvirt/libvirt-sigpipe.h"

#include <pthread.h>
#include <time.h>

static bool
is_pending (void)
{
  sigset_t pending;

  return sigpending (&pending) == 0 && sigismember (&pending, SIGPIPE) == 1;
}

VarveSigpipe
varve_sigpipe_block (void)
{
  VarveSigpipe guard = { .was_pending = is_pending () };
  sigset_t pipe_only;

  sigemptyset (&pipe_only);
  sigaddset (&pipe_only, SIGPIPE);
  pthread_sigmask (SIG_BLOCK, &pipe_only, &guard.old);
  return guard;
}

void
varve_sigpipe_restore (VarveSigpipe *guard)
{
  static const struct timespec at_once = { 0 };
  sigset_t pipe_only;

  sigemptyset (&pipe_only);
  sigaddset (&pipe_only, SIGPIPE);
  if (!guard->was_pending && is_pending ())
    sigtimedwait (&pipe_only, NULL, &at_once);
  pthread_sigmask (SIG_SETMASK, &guard->old, NULL);
}
