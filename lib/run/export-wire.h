/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the host of an export session says to who started it, until the session stands: one JSON object a line, each
 * an event, the last an error or "done". The host gets the job document in a memory file. */
#pragma once

#include "util/event.h"

/* Descriptors that the host inherits. */
#define VARVE_EXPORT_REPORT_FD   3
#define VARVE_EXPORT_DOCUMENT_FD 4

/* With the end of the line. (transfer full) */
char *varve_export_wire_event (const VarveEvent *event);
char *varve_export_wire_error (const GError *error);
char *varve_export_wire_done (void);

typedef enum {
  VARVE_EXPORT_WIRE_EVENT,
  VARVE_EXPORT_WIRE_DONE,
  VARVE_EXPORT_WIRE_ERROR
} VarveExportWire;

/* Takes a line apart: an event is told to @events, an error becomes @error. What cannot be understood is an error, too. */
VarveExportWire varve_export_wire_read (const char *line, const VarveEventSink *events,
                                        GError **error);
