/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which thread serves a disk. It matters because some QEMUs abort when a client of an NBD export of
 * such a disk goes away; so what cannot be told counts as "an iothread does".
 *
 * A virtio-blk device has the link itself; a SCSI disk is served by its controller's. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <string.h>

#include "qemu/json-get.h"

typedef enum { LINK_ABSENT, LINK_EMPTY, LINK_SET } Link;

char *
varve_qmp_property (VarveQmpDomain *domain, const char *device, const char *property,
                    GCancellable *cancellable)
{
  g_autoptr (JsonNode) value = varve_qmp_execute (
      domain->qmp, "qom-get", varve_qmp_args ("{'path':%s,'property':%s}", device, property),
      cancellable, NULL);

  if (!value)
    return NULL;
  if (JSON_NODE_HOLDS_VALUE (value) && json_node_get_value_type (value) == G_TYPE_STRING)
    return g_strdup (json_node_get_string (value));
  return json_to_string (value, FALSE);
}

static bool
has_property (JsonArray *properties, const char *name)
{
  for (guint i = 0; i < json_array_get_length (properties); i++) {
    JsonObject *property = varve_json_array_object (properties, i);

    if (g_strcmp0 (varve_json_string (property, "name"), name) == 0)
      return true;
  }
  return false;
}

static Link
read_link (VarveQmpDomain *domain, JsonArray *properties, const char *device, const char *name,
           GCancellable *cancellable)
{
  if (!has_property (properties, name))
    return LINK_ABSENT;
  g_autofree char *value = varve_qmp_property (domain, device, name, cancellable);
  bool empty = value && (!*value || g_str_equal (value, "null") || g_str_equal (value, "[]"));
  return empty ? LINK_EMPTY : LINK_SET;
}

static Link
device_link (VarveQmpDomain *domain, const char *device, GCancellable *cancellable)
{
  g_autoptr (JsonNode) reply = varve_qmp_execute (
      domain->qmp, "qom-list", varve_qmp_args ("{'path':%s}", device), cancellable, NULL);
  if (!reply || !JSON_NODE_HOLDS_ARRAY (reply))
    return LINK_SET;

  JsonArray *properties = json_node_get_array (reply);
  Link one = read_link (domain, properties, device, "iothread", cancellable);
  Link many = read_link (domain, properties, device, "iothread-vq-mapping", cancellable);
  return MAX (one, many);
}

bool
varve_qmp_uses_iothread (VarveQmpDomain *domain, const char *device, GCancellable *cancellable)
{
  Link link = device_link (domain, device, cancellable);

  if (link != LINK_ABSENT)
    return link == LINK_SET;

  g_autofree char *bus = varve_qmp_property (domain, device, "parent_bus", cancellable);
  char *slash = bus ? strrchr (bus, '/') : NULL;
  if (!slash || slash == bus)
    return true;
  *slash = '\0';
  return device_link (domain, bus, cancellable) == LINK_SET;
}
