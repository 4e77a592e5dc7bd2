/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The few steps through a libxml2 tree that reading libvirt's documents takes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <libxml/tree.h>

/* The document, whose root must be <@root>. No network, no entities, nothing printed. */
xmlDoc *varve_libvirt_tree_parse (const char *xml, const char *root, GError **error);
void varve_libvirt_tree_free (xmlDoc *doc);

/* The first child element of that name, or NULL; a NULL @node has none. */
xmlNode *varve_libvirt_tree_child (xmlNode *node, const char *name);
/* The next sibling element of the same name, or NULL. */
xmlNode *varve_libvirt_tree_next (xmlNode *node);
/* By several steps: "os/nvram". */
xmlNode *varve_libvirt_tree_find (xmlNode *node, const char *path);

/* NULL when it is not there. (transfer full) */
char *varve_libvirt_tree_attribute (xmlNode *node, const char *name);
bool varve_libvirt_tree_attribute_is (xmlNode *node, const char *name, const char *value);
/* The text inside, stripped; NULL when there is none. (transfer full) */
char *varve_libvirt_tree_text (xmlNode *node);

/* The <tpm> of a domain's <devices> that swtpm plays, or NULL. */
xmlNode *varve_libvirt_tree_tpm (xmlNode *devices);

typedef xmlDoc VarveLibvirtTree;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveLibvirtTree, varve_libvirt_tree_free)
