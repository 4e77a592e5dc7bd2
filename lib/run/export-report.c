/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-report.h"

#include "qemu/json-get.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/xml.h"

G_DEFINE_BOXED_TYPE (VarveExportDisk, varve_export_disk, varve_export_disk_copy,
                     varve_export_disk_free)

VarveExportDisk *
varve_export_disk_copy (const VarveExportDisk *disk)
{
  VarveExportDisk *copy = g_new0 (VarveExportDisk, 1);

  copy->name = g_strdup (disk->name);
  copy->size = disk->size;
  copy->uri = g_strdup (disk->uri);
  copy->export_name = g_strdup (disk->export_name);
  copy->contexts = g_strdupv (disk->contexts);
  copy->dirty_context = g_strdup (disk->dirty_context);
  copy->decision = g_strdup (disk->decision);
  copy->reason = g_strdup (disk->reason);
  copy->checkpoint = disk->checkpoint;
  return copy;
}

void
varve_export_disk_free (VarveExportDisk *disk)
{
  if (!disk)
    return;
  g_free (disk->name);
  g_free (disk->uri);
  g_free (disk->export_name);
  g_strfreev (disk->contexts);
  g_free (disk->dirty_context);
  g_free (disk->decision);
  g_free (disk->reason);
  g_free (disk);
}

VarveExportReport *
varve_export_report_new (const char *session)
{
  VarveExportReport *report = g_new0 (VarveExportReport, 1);

  report->session = g_strdup (session);
  report->notes = g_ptr_array_new_with_free_func (g_free);
  report->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_export_disk_free);
  return report;
}

void
varve_export_report_free (VarveExportReport *report)
{
  if (!report)
    return;
  g_free (report->session);
  g_free (report->domain);
  g_free (report->uuid);
  g_free (report->uri);
  g_free (report->owner);
  g_free (report->checkpoint);
  g_free (report->since);
  g_free (report->strategy);
  g_free (report->consistency);
  g_free (report->tls);
  g_free (report->trouble);
  g_ptr_array_unref (report->notes);
  g_ptr_array_unref (report->disks);
  g_free (report);
}

VarveExportDisk *
varve_export_report_add_disk (VarveExportReport *report, const char *name)
{
  VarveExportDisk *disk = g_new0 (VarveExportDisk, 1);

  disk->name = g_strdup (name);
  g_ptr_array_add (report->disks, disk);
  return disk;
}

/* The texts of a report, in the order in which they are written. */
static const struct {
  const char *name;
  size_t offset;
} texts[] = {
  { "session", G_STRUCT_OFFSET (VarveExportReport, session) },
  { "domain", G_STRUCT_OFFSET (VarveExportReport, domain) },
  { "uuid", G_STRUCT_OFFSET (VarveExportReport, uuid) },
  { "uri", G_STRUCT_OFFSET (VarveExportReport, uri) },
  { "owner", G_STRUCT_OFFSET (VarveExportReport, owner) },
  { "checkpoint", G_STRUCT_OFFSET (VarveExportReport, checkpoint) },
  { "since", G_STRUCT_OFFSET (VarveExportReport, since) },
  { "strategy", G_STRUCT_OFFSET (VarveExportReport, strategy) },
  { "consistency", G_STRUCT_OFFSET (VarveExportReport, consistency) },
  { "tls", G_STRUCT_OFFSET (VarveExportReport, tls) },
  { "trouble", G_STRUCT_OFFSET (VarveExportReport, trouble) },
};

static const struct {
  const char *name;
  size_t offset;
} disk_texts[] = {
  { "name", G_STRUCT_OFFSET (VarveExportDisk, name) },
  { "uri", G_STRUCT_OFFSET (VarveExportDisk, uri) },
  { "export", G_STRUCT_OFFSET (VarveExportDisk, export_name) },
  { "dirty_context", G_STRUCT_OFFSET (VarveExportDisk, dirty_context) },
  { "decision", G_STRUCT_OFFSET (VarveExportDisk, decision) },
  { "reason", G_STRUCT_OFFSET (VarveExportDisk, reason) },
};

/* --- JSON ------------------------------------------------------------------------------------- */

static void
set_text (JsonObject *object, const char *name, const char *text)
{
  if (text)
    json_object_set_string_member (object, name, text);
}

static void
set_time (JsonObject *object, const char *name, int64_t time)
{
  g_autofree char *text = varve_format_time (time);

  set_text (object, name, text);
}

static JsonObject *
disk_to_json (const VarveExportDisk *disk)
{
  JsonObject *object = json_object_new ();
  JsonArray *contexts = json_array_new ();

  for (size_t i = 0; i < G_N_ELEMENTS (disk_texts); i++)
    set_text (object, disk_texts[i].name,
              G_STRUCT_MEMBER (const char *, disk, disk_texts[i].offset));
  json_object_set_int_member (object, "size", (gint64)disk->size);
  for (char **context = disk->contexts; context && *context; context++)
    json_array_add_string_element (contexts, *context);
  json_object_set_array_member (object, "contexts", contexts);
  json_object_set_boolean_member (object, "checkpoint", disk->checkpoint);
  return object;
}

char *
varve_export_report_to_json (const VarveExportReport *report)
{
  JsonObject *object = json_object_new ();
  JsonArray *notes = json_array_new (), *disks = json_array_new ();
  g_autoptr (JsonNode) root = json_node_init_object (json_node_alloc (), object);

  json_object_set_int_member (object, "version", VARVE_EXPORT_REPORT_VERSION);
  json_object_set_string_member (object, "event", "export");
  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++)
    set_text (object, texts[i].name, G_STRUCT_MEMBER (const char *, report, texts[i].offset));
  json_object_set_string_member (object, "state", report->trouble ? "broken" : "serving");
  set_time (object, "started", report->started);
  set_time (object, "expires", report->expires);
  json_object_set_int_member (object, "pause_us", (gint64)report->pause_us);
  json_object_set_boolean_member (object, "trim", report->trim);
  for (guint i = 0; i < report->notes->len; i++)
    json_array_add_string_element (notes, g_ptr_array_index (report->notes, i));
  json_object_set_array_member (object, "notes", notes);
  for (guint i = 0; i < report->disks->len; i++)
    json_array_add_object_element (disks, disk_to_json (g_ptr_array_index (report->disks, i)));
  json_object_set_array_member (object, "disks", disks);
  json_object_unref (object);
  return json_to_string (root, FALSE);
}

static void
parse_disk (VarveExportReport *report, JsonObject *object)
{
  VarveExportDisk *disk = varve_export_report_add_disk (report, NULL);
  JsonArray *contexts = varve_json_array (object, "contexts");
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();

  for (size_t i = 0; i < G_N_ELEMENTS (disk_texts); i++)
    G_STRUCT_MEMBER (char *, disk, disk_texts[i].offset) =
        g_strdup (varve_json_string (object, disk_texts[i].name));
  disk->size = (guint64)varve_json_int (object, "size", 0);
  disk->checkpoint = varve_json_bool (object, "checkpoint", false);
  for (guint i = 0; contexts && i < json_array_get_length (contexts); i++) {
    JsonNode *node = json_array_get_element (contexts, i);

    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
      g_strv_builder_add (builder, json_node_get_string (node));
  }
  disk->contexts = g_strv_builder_end (builder);
}

static int64_t
get_time (JsonObject *object, const char *name)
{
  const char *text = varve_json_string (object, name);

  return text ? varve_parse_time (text) : 0;
}

VarveExportReport *
varve_export_report_parse (const char *json, size_t length, GError **error)
{
  g_autoptr (JsonObject) object = varve_json_parse_object (json, length, error);
  g_autoptr (VarveExportReport) report = NULL;
  JsonArray *notes, *disks;

  if (!object)
    return NULL;
  if (varve_json_int (object, "version", 0) != VARVE_EXPORT_REPORT_VERSION ||
      !varve_json_string (object, "session")) {
    varve_throw (error, VARVE_ERROR_FAILED, "It does not describe an export session.");
    return NULL;
  }
  report = varve_export_report_new (NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++)
    G_STRUCT_MEMBER (char *, report, texts[i].offset) =
        g_strdup (varve_json_string (object, texts[i].name));
  report->started = get_time (object, "started");
  report->expires = get_time (object, "expires");
  report->pause_us = (uint64_t)varve_json_int (object, "pause_us", 0);
  report->trim = varve_json_bool (object, "trim", false);
  notes = varve_json_array (object, "notes");
  for (guint i = 0; notes && i < json_array_get_length (notes); i++) {
    JsonNode *node = json_array_get_element (notes, i);

    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
      g_ptr_array_add (report->notes, g_strdup (json_node_get_string (node)));
  }
  disks = varve_json_array (object, "disks");
  for (guint i = 0; disks && i < json_array_get_length (disks); i++)
    parse_disk (report, varve_json_array_object (disks, i));
  return g_steal_pointer (&report);
}

/* --- XML -------------------------------------------------------------------------------------- */

static void
append_element (GString *out, const char *indent, const char *name, const char *text)
{
  if (!text)
    return;
  g_string_append_printf (out, "%s<%s>", indent, name);
  varve_xml_append_text (out, text);
  g_string_append_printf (out, "</%s>\n", name);
}

static void
append_disk (GString *out, const VarveExportDisk *disk)
{
  g_string_append (out, "    <disk");
  varve_xml_append_attribute (out, "name", disk->name);
  varve_xml_append_number (out, "size", disk->size);
  varve_xml_append_attribute (out, "checkpoint", disk->checkpoint ? "yes" : "no");
  g_string_append (out, ">\n");
  append_element (out, "      ", "uri", disk->uri);
  append_element (out, "      ", "export", disk->export_name);
  for (char **context = disk->contexts; context && *context; context++)
    append_element (out, "      ", "context", *context);
  append_element (out, "      ", "dirty-context", disk->dirty_context);
  g_string_append (out, "      <decision");
  varve_xml_append_attribute (out, "type", disk->decision);
  g_string_append_c (out, '>');
  varve_xml_append_text (out, disk->reason);
  g_string_append (out, "</decision>\n    </disk>\n");
}

static void
append_instant (GString *out, const VarveExportReport *report)
{
  g_autofree char *started = varve_format_time (report->started);
  g_autofree char *expires = varve_format_time (report->expires);

  g_string_append (out, "  <instant");
  varve_xml_append_attribute (out, "started", started);
  varve_xml_append_attribute (out, "expires", expires);
  varve_xml_append_attribute (out, "consistency", report->consistency);
  varve_xml_append_attribute (out, "strategy", report->strategy);
  varve_xml_append_number (out, "pause-us", report->pause_us);
  g_string_append (out, "/>\n  <server");
  varve_xml_append_attribute (out, "tls", report->tls);
  varve_xml_append_attribute (out, "trim", report->trim ? "yes" : "no");
  g_string_append (out, "/>\n");
}

char *
varve_export_report_to_xml (const VarveExportReport *report)
{
  GString *out = g_string_new ("<exportsession version='1'");

  varve_xml_append_attribute (out, "id", report->session);
  varve_xml_append_attribute (out, "state", report->trouble ? "broken" : "serving");
  g_string_append (out, ">\n  <domain");
  varve_xml_append_attribute (out, "uri", report->uri);
  varve_xml_append_attribute (out, "uuid", report->uuid);
  g_string_append_c (out, '>');
  varve_xml_append_text (out, report->domain);
  g_string_append (out, "</domain>\n");
  append_element (out, "  ", "owner", report->owner);
  append_element (out, "  ", "checkpoint", report->checkpoint);
  append_element (out, "  ", "incremental", report->since);
  append_instant (out, report);
  append_element (out, "  ", "trouble", report->trouble);
  for (guint i = 0; i < report->notes->len; i++)
    append_element (out, "  ", "note", g_ptr_array_index (report->notes, i));
  g_string_append (out, "  <disks>\n");
  for (guint i = 0; i < report->disks->len; i++)
    append_disk (out, g_ptr_array_index (report->disks, i));
  g_string_append (out, "  </disks>\n</exportsession>");
  return g_string_free (out, FALSE);
}
