/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The schema of QMP, as query-qmp-schema gives it: a list of entities that name each other. Types
 * have made-up names there ("42"), so that an argument is found only by way of its command:
 *
 *   { "name": "blockdev-add", "meta-type": "command", "arg-type": "42", … }
 *   { "name": "42", "meta-type": "object", "members": [ { "name": "driver", … }, … ],
 *     "tag": "driver", "variants": [ { "case": "qcow2", "type": "43" }, … ] }
 *
 * (QEMU: qapi/introspect.json.) Whatever is not there or of another shape is "no".
 */
#include "config.h"
#include "qemu/schema.h"

#include "qemu/json-get.h"

struct VarveQmpSchema {
  GHashTable *entities; /* name → JsonObject, both of the reply below */
  JsonArray *reply;
};

void
varve_qmp_schema_free (VarveQmpSchema *schema)
{
  if (!schema)
    return;
  g_hash_table_unref (schema->entities);
  json_array_unref (schema->reply);
  g_free (schema);
}

VarveQmpSchema *
varve_qmp_schema_query (VarveQmp *qmp, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) array =
      varve_qmp_execute_list (qmp, "query-qmp-schema", NULL, cancellable, error);

  if (!array)
    return NULL;

  VarveQmpSchema *schema = g_new0 (VarveQmpSchema, 1);
  schema->entities = g_hash_table_new (g_str_hash, g_str_equal);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *entity = varve_json_array_object (array, i);
    const char *name = varve_json_string (entity, "name");

    if (name)
      g_hash_table_insert (schema->entities, (gpointer)name, entity);
  }
  schema->reply = g_steal_pointer (&array);
  return schema;
}

static JsonObject *
entity_of (const VarveQmpSchema *schema, const char *name, const char *meta_type)
{
  JsonObject *entity = name ? g_hash_table_lookup (schema->entities, name) : NULL;

  return g_strcmp0 (varve_json_string (entity, "meta-type"), meta_type) == 0 ? entity : NULL;
}

/* The element of @list whose @key is @value. */
static JsonObject *
find_in (JsonArray *list, const char *key, const char *value)
{
  for (guint i = 0; list && i < json_array_get_length (list); i++) {
    JsonObject *element = varve_json_array_object (list, i);

    if (g_strcmp0 (varve_json_string (element, key), value) == 0)
      return element;
  }
  return NULL;
}

static JsonObject *
arguments_of (const VarveQmpSchema *schema, const char *command)
{
  JsonObject *entity = entity_of (schema, command, "command");

  return entity_of (schema, varve_json_string (entity, "arg-type"), "object");
}

static JsonObject *
variant_of (const VarveQmpSchema *schema, const char *command, const char *variant)
{
  JsonObject *arguments = arguments_of (schema, command);

  return find_in (varve_json_array (arguments, "variants"), "case", variant);
}

bool
varve_qmp_schema_has_command (const VarveQmpSchema *schema, const char *command)
{
  return entity_of (schema, command, "command") != NULL;
}

bool
varve_qmp_schema_has_variant (const VarveQmpSchema *schema, const char *command,
                              const char *variant)
{
  return variant_of (schema, command, variant) != NULL;
}

bool
varve_qmp_schema_has_argument (const VarveQmpSchema *schema, const char *command,
                               const char *variant, const char *member)
{
  JsonObject *type = arguments_of (schema, command);

  if (variant) {
    JsonObject *branch = variant_of (schema, command, variant);

    type = entity_of (schema, varve_json_string (branch, "type"), "object");
  }
  return find_in (varve_json_array (type, "members"), "name", member) != NULL;
}
