/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Children of ours: QEMU's programs, and our own. Never a shell, never a translated message (LC_ALL=C), and in a
 * process group of their own, so that a terminal's ^C reaches them by way of us or not at all. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

typedef enum {
  VARVE_CHILD_FINISHES,     /* writes to an image: never ended half way, also when we are gone */
  VARVE_CHILD_MAY_BE_ENDED, /* only reads: a fired cancellable kills it */
  VARVE_CHILD_DIES_WITH_US, /* SIGTERM when the thread that started it ends */
  VARVE_CHILD_OUTLIVES_US, /* in a session of its own: neither our end nor the terminal's reaches it */
} VarveChildKind;

/* A launcher for children of @kind, with stdin from /dev/null. (transfer full) */
GSubprocessLauncher *varve_child_launcher (VarveChildKind kind, GSubprocessFlags flags);

/* Starts @argv. A program that is not installed is VARVE_ERROR_UNSUPPORTED. */
GSubprocess *varve_child_spawn (GSubprocessLauncher *launcher, const char *const *argv,
                                GError **error);

typedef struct {
  int status;      /* exit status; 128 + N after signal N */
  char *output;    /* stdout */
  char *complaint; /* stderr, without white space around it */
} VarveChildResult;

/* Runs @argv to its end. Fails only where it could not be run or was cancelled: its own failure is
 * for the caller to judge. */
VarveChildResult *varve_child_run (const char *const *argv, VarveChildKind kind,
                                   GCancellable *cancellable, GError **error);
void varve_child_result_free (VarveChildResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveChildResult, varve_child_result_free)
