/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How the process that hosts an export session is talked to: lines over a UNIX socket (exports/SESSION.sock in the state
 * directory, for its owner alone).
 *
 *   client  hold          "the session is mine: it ends without me"; no answer
 *   client  end keep | end discard
 *   host    ok | error CODE TEXT     when the session has ended; CODE is a VarveError
 */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

/* --- the host --------------------------------------------------------------------------------- */

typedef struct VarveExportControl VarveExportControl;

typedef enum {
  VARVE_EXPORT_ASKED_NOTHING,
  VARVE_EXPORT_ASKED_KEEP,
  VARVE_EXPORT_ASKED_DISCARD,
  VARVE_EXPORT_HOLDER_LEFT,
} VarveExportAsked;

VarveExportControl *varve_export_control_new (const char *path, GError **error);
void varve_export_control_free (VarveExportControl *control);
/* Waits for somebody to ask for something, at most @timeout_ms. */
VarveExportAsked varve_export_control_wait (VarveExportControl *control, int timeout_ms,
                                            GCancellable *cancellable);
/* To all who asked for the end. @error NULL: ok. */
void varve_export_control_answer (VarveExportControl *control, const GError *error);

/* --- others ----------------------------------------------------------------------------------- */

/* A connection, or -1 with VARVE_ERROR_NOT_FOUND where nobody listens. */
int varve_export_control_connect (const char *path, GError **error);
bool varve_export_control_hold (int fd, GError **error);
/* Asks for the end, and waits for it. */
bool varve_export_control_end (int fd, bool keep, GCancellable *cancellable, GError **error);
/* Waits, for some seconds at most, until the host that was told so has removed all that there was of it. */
void varve_export_control_see_off (int fd);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportControl, varve_export_control_free)
