/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "virt/libvirt/libvirt-tree.h"

#include <string.h>
#include <libxml/parser.h>

#include "util/error.h"

xmlDoc *
varve_libvirt_tree_parse (const char *xml, const char *root, GError **error)
{
  const int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA;
  size_t length = strlen (xml);
  g_autoptr (VarveLibvirtTree) doc = NULL;
  xmlNode *top;

  if (length > G_MAXINT) {
    varve_throw (error, VARVE_ERROR_HYPERVISOR, "A <%s> document from libvirt is too long.", root);
    return NULL;
  }
  doc = xmlReadMemory (xml, (int)length, NULL, NULL, options);
  top = doc ? xmlDocGetRootElement (doc) : NULL;
  if (!top || strcmp ((const char *)top->name, root) != 0) {
    varve_throw (error, VARVE_ERROR_HYPERVISOR,
                 "libvirt answered with something that is no <%s> document.", root);
    return NULL;
  }
  return g_steal_pointer (&doc);
}

void
varve_libvirt_tree_free (xmlDoc *doc)
{
  if (doc)
    xmlFreeDoc (doc);
}

static xmlNode *
first_named (xmlNode *node, const char *name)
{
  for (; node; node = node->next)
    if (node->type == XML_ELEMENT_NODE && strcmp ((const char *)node->name, name) == 0)
      return node;
  return NULL;
}

xmlNode *
varve_libvirt_tree_child (xmlNode *node, const char *name)
{
  return node ? first_named (node->children, name) : NULL;
}

xmlNode *
varve_libvirt_tree_next (xmlNode *node)
{
  return first_named (node->next, (const char *)node->name);
}

xmlNode *
varve_libvirt_tree_find (xmlNode *node, const char *path)
{
  g_auto (GStrv) steps = g_strsplit (path, "/", -1);

  for (size_t i = 0; steps[i]; i++)
    node = varve_libvirt_tree_child (node, steps[i]);
  return node;
}

char *
varve_libvirt_tree_attribute (xmlNode *node, const char *name)
{
  xmlChar *value = node ? xmlGetNoNsProp (node, (const xmlChar *)name) : NULL;
  char *copy = g_strdup ((const char *)value);

  xmlFree (value);
  return copy;
}

bool
varve_libvirt_tree_attribute_is (xmlNode *node, const char *name, const char *value)
{
  g_autofree char *found = varve_libvirt_tree_attribute (node, name);

  return g_strcmp0 (found, value) == 0;
}

char *
varve_libvirt_tree_text (xmlNode *node)
{
  xmlChar *value = node ? xmlNodeGetContent (node) : NULL;
  g_autofree char *copy = g_strdup ((const char *)value);

  xmlFree (value);
  if (!copy || !*g_strstrip (copy))
    return NULL;
  return g_steal_pointer (&copy);
}

xmlNode *
varve_libvirt_tree_tpm (xmlNode *devices)
{
  xmlNode *tpm = varve_libvirt_tree_child (devices, "tpm");

  while (tpm && !varve_libvirt_tree_attribute_is (varve_libvirt_tree_child (tpm, "backend"), "type",
                                                  "emulator"))
    tpm = varve_libvirt_tree_next (tpm);
  return tpm;
}
