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

/* The names are those that programs see: in varve's JSON, and as nicks in other languages. */
G_DEFINE_ENUM_TYPE (VarveEventType, varve_event_type,
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_RUN_STARTED, "run-started"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_DISK_PLANNED, "disk-planned"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_SNAPSHOT_STARTED, "snapshot-started"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_PROGRESS, "progress"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_DISK_DONE, "disk-done"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_NOTE, "note"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_WARNING, "warning"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_RECOVERED, "recovered"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_RUN_DONE, "run-done"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_EXPORT_READY, "export-ready"),
                    G_DEFINE_ENUM_VALUE (VARVE_EVENT_PROBLEM, "problem"))

const char *
varve_event_type_get_name (VarveEventType type)
{
  g_autoptr (GEnumClass) names = g_type_class_ref (VARVE_TYPE_EVENT_TYPE);
  const GEnumValue *value = g_enum_get_value (names, (int)type);

  return value ? value->value_nick : "unknown";
}

/* --- events that outlive their call ----------------------------------------------------------- */

G_DEFINE_BOXED_TYPE (VarveEvent, varve_event, varve_event_copy, varve_event_free)

VarveEvent *
varve_event_copy (const VarveEvent *event)
{
  VarveEvent *copy;

  g_return_val_if_fail (event != NULL, NULL);
  copy = g_memdup2 (event, sizeof *event);
  copy->action = g_strdup (event->action);
  copy->domain = g_strdup (event->domain);
  copy->disk = g_strdup (event->disk);
  copy->backup = g_strdup (event->backup);
  copy->decision = g_strdup (event->decision);
  copy->text = g_strdup (event->text);
  copy->session = g_strdup (event->session);
  return copy;
}

void
varve_event_free (VarveEvent *event)
{
  if (event == NULL)
    return;
  g_free ((char *)event->action);
  g_free ((char *)event->domain);
  g_free ((char *)event->disk);
  g_free ((char *)event->backup);
  g_free ((char *)event->decision);
  g_free ((char *)event->text);
  g_free ((char *)event->session);
  g_free (event);
}
