/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Handing events up. Events are told in the thread that called the library: whoever copies in other
 * threads brings its figures to that thread first. */
#include "config.h"
#include "util/event.h"

void
varve_event_emit (const VarveEventSink *sink, const VarveEvent *event)
{
  if (sink && sink->func)
    sink->func (event, sink->data);
}

void
varve_event_sink_clear (VarveEventSink *sink)
{
  GDestroyNotify destroy = sink->destroy;
  gpointer data = sink->data;

  /* Emptied first, so that a destroy that comes back here finds nothing to do. */
  *sink = (VarveEventSink){ 0 };
  if (destroy)
    destroy (data);
}

const char *
varve_event_type_get_name (VarveEventType type)
{
  switch (type) {
  case VARVE_EVENT_RUN_STARTED:
    return "run-started";
  case VARVE_EVENT_DISK_PLANNED:
    return "disk-planned";
  case VARVE_EVENT_SNAPSHOT_STARTED:
    return "snapshot-started";
  case VARVE_EVENT_PROGRESS:
    return "progress";
  case VARVE_EVENT_DISK_DONE:
    return "disk-done";
  case VARVE_EVENT_NOTE:
    return "note";
  case VARVE_EVENT_WARNING:
    return "warning";
  case VARVE_EVENT_RECOVERED:
    return "recovered";
  case VARVE_EVENT_RUN_DONE:
    return "run-done";
  }
  return "unknown";
}
