/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How the library hands events up: function, data, destroy. Destroy runs exactly once. */
#pragma once

#include "util/varve-event.h"

typedef struct {
  VarveEventFunc func;
  gpointer data;
  GDestroyNotify destroy;
} VarveEventSink;

/* A sink may be NULL or have no function: then nothing is told. */
void varve_event_emit (const VarveEventSink *sink, const VarveEvent *event);
void varve_event_sink_clear (VarveEventSink *sink);
