/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Elements held against the small grammars that their readers state: "domain disks? note*". */
#include "config.h"
#include "util/xml.h"

#include <string.h>

/* One word of a grammar. */
typedef struct {
  char *name;
  bool required;
  bool repeats;
} Rule;

static void
rule_clear (void *data)
{
  g_free (((Rule *)data)->name);
}

static GArray *
rules_parse (const char *grammar)
{
  GArray *rules = g_array_new (FALSE, TRUE, sizeof (Rule));
  g_auto (GStrv) words = g_strsplit (grammar, " ", -1);

  g_array_set_clear_func (rules, rule_clear);
  for (char **word = words; *word; word++) {
    size_t length = strcspn (*word, "?*+");
    char mark = (*word)[length];
    Rule rule = { g_strndup (*word, length), mark == '\0' || mark == '+',
                  mark == '*' || mark == '+' };

    if (length > 0)
      g_array_append_val (rules, rule);
    else
      rule_clear (&rule);
  }
  return rules;
}

static const Rule *
rules_find (GArray *rules, const char *name)
{
  for (guint i = 0; i < rules->len; i++) {
    const Rule *rule = &g_array_index (rules, Rule, i);

    if (g_str_equal (rule->name, name))
      return rule;
  }
  return NULL;
}

/* "<a>, <b> and <c>", each between @open and @close. (transfer full) */
static char *
rules_list (GArray *rules, const char *open, const char *close)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < rules->len; i++) {
    const char *before = i == 0 ? "" : i + 1 == rules->len ? " and " : ", ";

    g_string_append_printf (text, "%s%s%s%s", before, open, g_array_index (rules, Rule, i).name,
                            close);
  }
  return g_string_free (text, FALSE);
}

bool
varve_xml_is (const xmlNode *node, const char *name)
{
  return node && node->type == XML_ELEMENT_NODE && !node->ns &&
         g_str_equal ((const char *)node->name, name);
}

const xmlNode *
varve_xml_element (const xmlNode *first)
{
  while (first && first->type != XML_ELEMENT_NODE)
    first = first->next;
  return first;
}

static const xmlNode *
find (const xmlNode *first, const char *name)
{
  while (first && !varve_xml_is (first, name))
    first = first->next;
  return first;
}

const xmlNode *
varve_xml_child (const xmlNode *node, const char *name)
{
  return find (node->children, name);
}

const xmlNode *
varve_xml_next (const xmlNode *node, const char *name)
{
  return find (node->next, name);
}

static void
check_attributes (VarveXml *xml, const xmlNode *node, GArray *rules)
{
  g_autofree char *allowed = rules_list (rules, "'", "'");

  for (const xmlAttr *attr = node->properties; attr && !varve_xml_is_full (xml);
       attr = attr->next) {
    if (!attr->ns && rules_find (rules, (const char *)attr->name))
      continue;
    varve_xml_problem (xml, node, "<%s> has no attribute '%s%s%s': it takes %s.", node->name,
                       attr->ns && attr->ns->prefix ? (const char *)attr->ns->prefix : "",
                       attr->ns ? ":" : "", attr->name, rules->len > 0 ? allowed : "none");
  }

  for (guint i = 0; i < rules->len; i++) {
    const Rule *rule = &g_array_index (rules, Rule, i);

    if (rule->required && !xmlHasNsProp (node, (const xmlChar *)rule->name, NULL))
      varve_xml_problem (xml, node, "<%s> needs the attribute '%s'.", node->name, rule->name);
  }
}

static void
unknown_child (VarveXml *xml, const xmlNode *node, const xmlNode *child, GArray *rules)
{
  g_autofree char *allowed = rules_list (rules, "<", ">");

  if (child->ns)
    varve_xml_problem (xml, child, "<%s> is in the namespace '%s': documents use none.",
                       child->name, child->ns->href ? (const char *)child->ns->href : "");
  else if (rules->len == 0)
    varve_xml_problem (xml, child, "<%s> is not known in <%s>, which holds no elements.",
                       child->name, node->name);
  else
    varve_xml_problem (xml, child, "<%s> is not known in <%s>, which holds %s.", child->name,
                       node->name, allowed);
}

static void
check_children (VarveXml *xml, const xmlNode *node, GArray *rules)
{
  for (const xmlNode *child = varve_xml_element (node->children); child && !varve_xml_is_full (xml);
       child = varve_xml_element (child->next)) {
    const Rule *rule = child->ns ? NULL : rules_find (rules, (const char *)child->name);

    if (!rule)
      unknown_child (xml, node, child, rules);
    else if (!rule->repeats && varve_xml_child (node, rule->name) != child)
      varve_xml_problem (xml, child, "<%s> stands twice in <%s>: once is allowed.", rule->name,
                         node->name);
  }

  for (guint i = 0; i < rules->len; i++) {
    const Rule *rule = &g_array_index (rules, Rule, i);

    if (rule->required && !varve_xml_child (node, rule->name))
      varve_xml_problem (xml, node, "<%s> has no <%s>: it needs one.", node->name, rule->name);
  }
}

static void
check_no_text (VarveXml *xml, const xmlNode *node)
{
  for (const xmlNode *child = node->children; child; child = child->next) {
    bool text = (child->type == XML_CDATA_SECTION_NODE || child->type == XML_TEXT_NODE) &&
                !xmlIsBlankNode (child);

    if (text) {
      g_autofree char *words = g_strdup ((const char *)child->content);

      varve_xml_problem (xml, node, "<%s> holds no text, and '%s' is text.", node->name,
                         g_strstrip (words));
      return;
    }
  }
}

void
varve_xml_shape (VarveXml *xml, const xmlNode *node, const char *attributes, const char *children)
{
  g_autoptr (GArray) attribute_rules = rules_parse (attributes);
  g_autoptr (GArray) child_rules = rules_parse (children ? children : "");

  check_attributes (xml, node, attribute_rules);
  check_children (xml, node, child_rules);
  if (children)
    check_no_text (xml, node);
}
