/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Type-checked reading of JSON that came from QEMU and its tools: see the header for why. */
#include "config.h"
#include "qemu/json-get.h"

#include <gio/gio.h>
#include <string.h>

#define MAX_NESTING 1024 /* QEMU's own limit (qobject/json-parser-int) */

static JsonNode *
member_of_type (JsonObject *object, const char *member, JsonNodeType type)
{
  JsonNode *node = object ? json_object_get_member (object, member) : NULL;

  return node && json_node_get_node_type (node) == type ? node : NULL;
}

static JsonNode *
value_of_type (JsonObject *object, const char *member, GType type)
{
  JsonNode *node = member_of_type (object, member, JSON_NODE_VALUE);

  return node && json_node_get_value_type (node) == type ? node : NULL;
}

const char *
varve_json_string (JsonObject *object, const char *member)
{
  JsonNode *node = value_of_type (object, member, G_TYPE_STRING);

  return node ? json_node_get_string (node) : NULL;
}

JsonObject *
varve_json_object (JsonObject *object, const char *member)
{
  JsonNode *node = member_of_type (object, member, JSON_NODE_OBJECT);

  return node ? json_node_get_object (node) : NULL;
}

JsonArray *
varve_json_array (JsonObject *object, const char *member)
{
  JsonNode *node = member_of_type (object, member, JSON_NODE_ARRAY);

  return node ? json_node_get_array (node) : NULL;
}

bool
varve_json_bool (JsonObject *object, const char *member, bool fallback)
{
  JsonNode *node = value_of_type (object, member, G_TYPE_BOOLEAN);

  return node ? json_node_get_boolean (node) : fallback;
}

int64_t
varve_json_int (JsonObject *object, const char *member, int64_t fallback)
{
  JsonNode *node = value_of_type (object, member, G_TYPE_INT64);

  return node ? json_node_get_int (node) : fallback;
}

JsonObject *
varve_json_array_object (JsonArray *array, unsigned i)
{
  if (!array || i >= json_array_get_length (array))
    return NULL;

  JsonNode *node = json_array_get_element (array, i);
  return JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

bool
varve_json_array_has_string (JsonArray *array, const char *text)
{
  for (unsigned i = 0; array && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);

    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING &&
        g_str_equal (json_node_get_string (node), text))
      return true;
  }
  return false;
}

/* Counts brackets outside of strings. json-glib also takes comments and other quotes, within which
 * this count would be wrong: no JSON has those characters outside of a string, so they are refused.
 */
static bool
nesting_is_sane (const char *text, size_t length)
{
  size_t depth = 0;
  bool in_string = false;

  for (size_t i = 0; i < length; i++) {
    if (in_string && text[i] == '\\')
      i++;
    else if (text[i] == '"')
      in_string = !in_string;
    else if (in_string)
      continue;
    else if (text[i] == '{' || text[i] == '[')
      depth++;
    else if ((text[i] == '}' || text[i] == ']') && depth > 0)
      depth--;
    else if (strchr ("/#'`", text[i]))
      return false;
    if (depth > MAX_NESTING)
      return false;
  }
  return true;
}

static JsonObject *
invalid (GError **error, const char *why)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s", why);
  return NULL;
}

JsonObject *
varve_json_parse_object (const char *text, size_t length, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) inner = NULL;

  if (!g_utf8_validate_len (text, length, NULL))
    return invalid (error, "it is not UTF-8");
  if (!nesting_is_sane (text, length))
    return invalid (error, "it is nested too deeply, or has a character that no JSON has");
  if (!json_parser_load_from_data (parser, text, (gssize)length, &inner))
    return invalid (error, inner->message);

  JsonNode *root = json_parser_get_root (parser);
  if (!root || !JSON_NODE_HOLDS_OBJECT (root))
    return invalid (error, "it is not a JSON object");
  return json_object_ref (json_node_get_object (root));
}
