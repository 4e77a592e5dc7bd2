/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-wire.h"

#include <string.h>

#include "qemu/json-get.h"
#include "util/error.h"

static const struct {
  const char *name;
  size_t offset;
} texts[] = {
  { "action", G_STRUCT_OFFSET (VarveEvent, action) },
  { "domain", G_STRUCT_OFFSET (VarveEvent, domain) },
  { "disk", G_STRUCT_OFFSET (VarveEvent, disk) },
  { "backup", G_STRUCT_OFFSET (VarveEvent, backup) },
  { "decision", G_STRUCT_OFFSET (VarveEvent, decision) },
  { "text", G_STRUCT_OFFSET (VarveEvent, text) },
  { "session", G_STRUCT_OFFSET (VarveEvent, session) },
};

static const struct {
  const char *name;
  size_t offset;
} numbers[] = {
  { "total", G_STRUCT_OFFSET (VarveEvent, total) },
  { "pause_us", G_STRUCT_OFFSET (VarveEvent, pause_us) },
};

/* Takes @object. */
static char *
to_line (JsonObject *object)
{
  g_autoptr (JsonNode) root = json_node_init_object (json_node_alloc (), object);
  g_autofree char *text = json_to_string (root, FALSE);

  json_object_unref (object);
  return g_strconcat (text, "\n", NULL);
}

char *
varve_export_wire_event (const VarveEvent *event)
{
  JsonObject *object = json_object_new ();

  json_object_set_int_member (object, "event", event->type);
  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++) {
    const char *text = G_STRUCT_MEMBER (const char *, event, texts[i].offset);

    if (text)
      json_object_set_string_member (object, texts[i].name, text);
  }
  for (size_t i = 0; i < G_N_ELEMENTS (numbers); i++)
    json_object_set_int_member (object, numbers[i].name,
                                (gint64)G_STRUCT_MEMBER (guint64, event, numbers[i].offset));
  return to_line (object);
}

char *
varve_export_wire_error (const GError *error)
{
  JsonObject *object = json_object_new ();
  bool cancelled = g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  json_object_set_string_member (object, "error", error->message);
  json_object_set_boolean_member (object, "cancelled", cancelled);
  json_object_set_int_member (object, "code",
                              error->domain == VARVE_ERROR ? error->code : VARVE_ERROR_FAILED);
  return to_line (object);
}

char *
varve_export_wire_done (void)
{
  JsonObject *object = json_object_new ();

  json_object_set_boolean_member (object, "done", TRUE);
  return to_line (object);
}

static void
tell (JsonObject *object, const VarveEventSink *events)
{
  VarveEvent event = { .type = (VarveEventType)varve_json_int (object, "event", 0) };

  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++)
    G_STRUCT_MEMBER (const char *, &event, texts[i].offset) =
        varve_json_string (object, texts[i].name);
  for (size_t i = 0; i < G_N_ELEMENTS (numbers); i++)
    G_STRUCT_MEMBER (guint64, &event, numbers[i].offset) =
        (guint64)varve_json_int (object, numbers[i].name, 0);
  varve_event_emit (events, &event);
}

VarveExportWire
varve_export_wire_read (const char *line, const VarveEventSink *events, GError **error)
{
  g_autoptr (JsonObject) object = varve_json_parse_object (line, strlen (line), NULL);
  const char *message = varve_json_string (object, "error");

  if (varve_json_bool (object, "done", false))
    return VARVE_EXPORT_WIRE_DONE;
  if (object && json_object_has_member (object, "event")) {
    tell (object, events);
    return VARVE_EXPORT_WIRE_EVENT;
  }
  if (message && varve_json_bool (object, "cancelled", false))
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, message);
  else if (message)
    varve_throw (error, (VarveError)varve_json_int (object, "code", VARVE_ERROR_FAILED), "%s",
                 message);
  else
    varve_throw (error, VARVE_ERROR_FAILED,
                 "The host of the export session said something that cannot be understood.");
  return VARVE_EXPORT_WIRE_ERROR;
}
