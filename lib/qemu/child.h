/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Children of ours: QEMU's programs, and our own. Never a shell, never a translated message (LC_ALL=C), and in a
 * process group of their own, so that a terminal's ^C reaches them by way of us or not at all. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <gio/gio.h>

typedef enum {
  VARVE_CHILD_FINISHES,     /* writes to an image: never ended half way, also when we are gone */
  VARVE_CHILD_MAY_BE_ENDED, /* only reads: a fired cancellable kills it */
  VARVE_CHILD_DIES_WITH_US, /* SIGTERM when the thread that started it ends */
  VARVE_CHILD_OUTLIVES_US, /* in a session of its own: neither our end nor the terminal's reaches it */
  /* The same for a program that asks to be ended with its parent, as nbdkit does: it gets one that lives as long as itself, and
   * may have as many files open as anybody. */
  VARVE_CHILD_KEPT,
} VarveChildKind;

/* A launcher for children of @kind, with stdin from /dev/null. (transfer full) */
GSubprocessLauncher *varve_child_launcher (VarveChildKind kind, GSubprocessFlags flags);

/* Starts @argv. A program that is not installed is VARVE_ERROR_UNSUPPORTED. */
GSubprocess *varve_child_spawn (GSubprocessLauncher *launcher, const char *const *argv,
                                GError **error);

/* Our end of a new socket pair, whose other end the child gets as @fd: nobody else can reach it, and it has no path.
 * varve_child_spawn() is followed by g_subprocess_launcher_close(), as the child's end must be open in the child alone,
 * or its death would not be heard of. (transfer full) */
GSocket *varve_child_socket (GSubprocessLauncher *launcher, int fd, GError **error);

/* A memory file for what the child says on stderr, which never blocks it. -1 on failure. */
int varve_child_complaints (GSubprocessLauncher *launcher, GError **error);
/* What is in it from @offset on, without white space around it; "" where @fd is -1. (transfer full) */
char *varve_child_complaint (int fd, off_t offset);

/* Whether @process, of which @pid was told at its start, is there: GLib hears of its end in a thread of its own, a little
 * later than the kernel. */
bool varve_child_is_alive (GSubprocess *process, pid_t pid);

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
