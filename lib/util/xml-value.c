/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Values of elements and attributes: out of a document, and into one. */
#include "config.h"
#include "util/xml.h"

#include <string.h>

#include "util/checked.h"

/* By size, so that the largest that fits is the last. */
static const struct {
  const char *name;
  uint64_t bytes;
} units[] = {
  { "B", 1 },
  { "KiB", UINT64_C (1) << 10 },
  { "MiB", UINT64_C (1) << 20 },
  { "GiB", UINT64_C (1) << 30 },
  { "TiB", UINT64_C (1) << 40 },
};

#define UNITS "B KiB MiB GiB TiB"

char *
varve_xml_attribute (const xmlNode *node, const char *name)
{
  xmlChar *value = xmlGetNoNsProp (node, (const xmlChar *)name);
  char *copy = g_strdup ((const char *)value);

  xmlFree (value);
  return copy;
}

/* Comments and processing instructions between the words are not text. */
char *
varve_xml_text (const xmlNode *node)
{
  if (!node)
    return NULL;

  GString *text = g_string_new (NULL);
  for (const xmlNode *child = node->children; child; child = child->next) {
    if ((child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE) && child->content)
      g_string_append (text, (const char *)child->content);
  }
  return g_strstrip (g_string_free (text, FALSE));
}

static bool
is_one_of (const char *word, const char *choices)
{
  g_auto (GStrv) words = g_strsplit (choices, " ", -1);

  return g_strv_contains ((const char *const *)words, word);
}

char *
varve_xml_list_choices (const char *choices)
{
  g_auto (GStrv) words = g_strsplit (choices, " ", -1);
  GString *text = g_string_new (NULL);

  for (guint i = 0; words[i]; i++)
    g_string_append_printf (text, "%s'%s'", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
  return g_string_free (text, FALSE);
}

char *
varve_xml_choice (VarveXml *xml, const xmlNode *node, const char *name, const char *choices,
                  const char *otherwise)
{
  g_autofree char *value = varve_xml_attribute (node, name);

  if (value && is_one_of (value, choices))
    return g_steal_pointer (&value);
  if (value) {
    g_autofree char *allowed = varve_xml_list_choices (choices);

    varve_xml_problem (xml, node, "The attribute '%s' of <%s> is '%s': it can be %s.", name,
                       node->name, value, allowed);
  }
  return g_strdup (otherwise);
}

bool
varve_xml_yes_no (VarveXml *xml, const xmlNode *node, const char *name, bool otherwise)
{
  g_autofree char *value = varve_xml_choice (xml, node, name, "yes no", otherwise ? "yes" : "no");

  return g_str_equal (value, "yes");
}

bool
varve_xml_parse_number (VarveXml *xml, const xmlNode *node, const char *what, const char *text,
                        uint64_t max, uint64_t *out)
{
  if (text[0] == '\0' || strspn (text, "0123456789") != strlen (text)) {
    varve_xml_problem (xml, node, "%s is '%s': it must be a whole number, in digits alone.", what,
                       text);
    return false;
  }
  if (!g_ascii_string_to_unsigned (text, 10, 0, max, out, NULL)) {
    varve_xml_problem (xml, node, "%s is %s: it can be at most %" G_GUINT64_FORMAT ".", what, text,
                       max);
    return false;
  }
  return true;
}

unsigned
varve_xml_unsigned (VarveXml *xml, const xmlNode *node, const char *name, unsigned otherwise)
{
  g_autofree char *text = varve_xml_attribute (node, name);
  g_autofree char *what = g_strdup_printf ("The attribute '%s' of <%s>", name, node->name);
  uint64_t value;

  if (!text || !varve_xml_parse_number (xml, node, what, text, UINT_MAX, &value))
    return otherwise;
  return (unsigned)value;
}

bool
varve_xml_parse_bytes (VarveXml *xml, const xmlNode *node, const char *what, const char *text,
                       uint64_t *out)
{
  g_autofree char *unit = varve_xml_choice (xml, node, "unit", UNITS, "B");
  uint64_t number;

  if (!varve_xml_parse_number (xml, node, what, text, UINT64_MAX, &number))
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (units); i++) {
    if (g_str_equal (unit, units[i].name) && varve_mul (number, units[i].bytes, out))
      return true;
  }
  varve_xml_problem (xml, node, "%s is %s %s: that is more than can be counted in bytes.", what,
                     text, unit);
  return false;
}

uint64_t
varve_xml_split_bytes (uint64_t bytes, const char **out_unit)
{
  size_t i = G_N_ELEMENTS (units) - 1;

  while (i > 0 && bytes % units[i].bytes != 0)
    i--;
  *out_unit = units[i].name;
  return bytes / units[i].bytes;
}

void
varve_xml_append_text (GString *out, const char *text)
{
  if (!text)
    return;

  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autofree char *escaped = g_markup_escape_text (valid, -1);
  g_string_append (out, escaped);
}

void
varve_xml_append_attribute (GString *out, const char *name, const char *value)
{
  if (!value)
    return;
  g_string_append_printf (out, " %s='", name);
  varve_xml_append_text (out, value);
  g_string_append_c (out, '\'');
}

void
varve_xml_append_number (GString *out, const char *name, uint64_t value)
{
  g_string_append_printf (out, " %s='%" G_GUINT64_FORMAT "'", name, value);
}
