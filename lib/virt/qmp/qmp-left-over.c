/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Whose objects there are in QEMU, by their names alone: for sessions that are on no record. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <string.h>

#include "qemu/json-get.h"

#define PREFIX    "varve-"
#define ID_LENGTH 16
#define ID_END    (strlen (PREFIX) + ID_LENGTH)
#define ALL_KINDS "scajedtpwbm"

static bool
has_session (GPtrArray *left, const char *id)
{
  for (guint i = 0; i < left->len; i++)
    if (g_str_equal (((VarveLeftOver *)g_ptr_array_index (left, i))->session, id))
      return true;
  return false;
}

/* "varve-SESSION-KIND-N" */
static void
add (GPtrArray *left, const char *name)
{
  g_autofree char *id = NULL;

  if (!name || !g_str_has_prefix (name, PREFIX) || strlen (name) < ID_END + strlen ("-s-0") ||
      strspn (name + strlen (PREFIX), "0123456789abcdef") != ID_LENGTH)
    return;
  id = g_strndup (name + strlen (PREFIX), ID_LENGTH);
  if (strchr (ALL_KINDS, name[ID_END + 1]) &&
      varve_qmp_name_index (name, id, name[ID_END + 1]) >= 0 && !has_session (left, id))
    g_ptr_array_add (left, varve_left_over_new (id, NULL));
}

static void
add_node (GPtrArray *left, const char *name, JsonObject *node)
{
  JsonArray *bitmaps = varve_json_array (node, "dirty-bitmaps");

  add (left, name);
  for (guint i = 0; bitmaps && i < json_array_get_length (bitmaps); i++)
    add (left, varve_json_string (varve_json_array_object (bitmaps, i), "name"));
}

static bool
add_listed (VarveQmpDomain *domain, GPtrArray *left, const char *command, GCancellable *cancellable,
            GError **error)
{
  g_autoptr (JsonArray) listed = varve_qmp_list (domain, command, cancellable, error);

  for (guint i = 0; listed && i < json_array_get_length (listed); i++)
    add (left, varve_json_string (varve_json_array_object (listed, i), "id"));
  return listed != NULL;
}

static bool
add_all (VarveQmpDomain *domain, GPtrArray *left, GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  GHashTableIter iter;
  gpointer name, node;

  if (!nodes)
    return false;
  g_hash_table_iter_init (&iter, nodes);
  while (g_hash_table_iter_next (&iter, &name, &node))
    add_node (left, name, node);
  return add_listed (domain, left, "query-block-exports", cancellable, error) &&
         add_listed (domain, left, "query-jobs", cancellable, error);
}

bool
varve_qmp_left_overs (VarveDomain *base, GPtrArray **out, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GPtrArray) left =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_left_over_free);
  bool gone;

  if (!varve_qmp_domain_revive (domain, &gone, error) ||
      (!gone && !add_all (domain, left, cancellable, error)))
    return false;
  *out = g_steal_pointer (&left);
  return true;
}
