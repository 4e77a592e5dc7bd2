/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* <target> and <source>: a store as an element in documents, as "images:DIRECTORY" everywhere else.
 * Each kind of store is one element; its name is the prefix of the text. */
#include "config.h"
#include "job/element.h"

#include <string.h>

char *
varve_job_parse_store (VarveXml *xml, const xmlNode *node, unsigned *out_max_chain)
{
  const xmlNode *images = varve_xml_child (node, "images");

  varve_xml_shape (xml, node, "", "images");
  if (!images)
    return NULL;
  varve_xml_shape (xml, images, out_max_chain ? "directory max-chain?" : "directory", "");
  if (out_max_chain)
    *out_max_chain = varve_xml_unsigned (xml, images, "max-chain", *out_max_chain);

  g_autofree char *directory = varve_xml_attribute (images, "directory");
  return directory ? g_strconcat (VARVE_JOB_IMAGES, directory, NULL) : NULL;
}

void
varve_job_format_store (GString *out, const char *element, const char *store, unsigned max_chain)
{
  const char *directory = store;

  if (store && g_str_has_prefix (store, VARVE_JOB_IMAGES))
    directory += strlen (VARVE_JOB_IMAGES);
  g_string_append_printf (out, "    <%s>\n      <images", element);
  varve_xml_append_attribute (out, "directory", directory);
  if (max_chain != 0)
    varve_xml_append_number (out, "max-chain", max_chain);
  g_string_append_printf (out, "/>\n    </%s>\n", element);
}
