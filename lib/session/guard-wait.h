/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The guard's side while the worker lives: waiting, and, where it must be, killing. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <gio/gio.h>

/* A worker that owes a beat is looked at when he has been silent for so long; one that is found
 * stopped then (SIGSTOP) is killed within a second more. */
#define VARVE_GUARD_STOPPED_MS 1500

typedef enum {
  VARVE_GUARD_DISMISSED, /* the session is no more */
  VARVE_GUARD_GIVEN_UP,  /* the worker lives, and left it to us */
  VARVE_GUARD_DEAD,      /* the worker has died */
  VARVE_GUARD_STOPPED,   /* he was stopped: killed */
  VARVE_GUARD_SILENT,    /* he did not beat when he had promised to: killed */
} VarveGuardVerdict;

/* Says READY on @socket, then waits there and on @worker_fd, a pidfd of process @worker, until the
 * session is ours or over. Returns only when the worker is dead, where it says that he was killed. */
VarveGuardVerdict varve_guard_wait (int socket, int worker_fd, pid_t worker);

/* A sentence about the worker, for people. */
const char *varve_guard_verdict_text (VarveGuardVerdict verdict);
