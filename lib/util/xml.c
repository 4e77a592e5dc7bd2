/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* From text to a tree, and the problems on the way. All that makes XML dangerous is shut out before
 * libxml2 gets to it: other encodings before the parser starts, DOCTYPE in its first callback, so
 * that no entity is ever declared. What is left is libxml2's own limit on depth (256) and length.
 */
#include "config.h"
#include "util/xml.h"

#include <string.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>

/* Long names and values come from outside; a message stays readable. */
#define MESSAGE_MAX 700

char *
varve_xml_printable (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *out = g_string_new (NULL);

  for (const char *p = valid; *p; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (g_unichar_iscntrl (c))
      g_string_append_printf (out, "\\x%02x", c);
    else
      g_string_append_unichar (out, c);
  }
  return g_string_free (out, FALSE);
}

VarveXmlProblem *
varve_xml_problem_new (const xmlNode *node, long line, const char *message)
{
  VarveXmlProblem *problem = g_new0 (VarveXmlProblem, 1);
  g_autofree char *chomped = g_strchomp (g_strdup (message));
  g_autofree char *text = varve_xml_printable (chomped);

  problem->node = node;
  problem->line = MAX (line, 1);
  if (strlen (text) <= MESSAGE_MAX) {
    problem->message = g_steal_pointer (&text);
    return problem;
  }
  *g_utf8_find_prev_char (text, text + MESSAGE_MAX) = '\0';
  problem->message = g_strconcat (text, "…", NULL);
  return problem;
}

void
varve_xml_problem_free (VarveXmlProblem *problem)
{
  if (!problem)
    return;
  g_free (problem->message);
  g_free (problem);
}

int
varve_xml_problem_compare (const void *a, const void *b)
{
  const VarveXmlProblem *first = *(VarveXmlProblem *const *)a;
  const VarveXmlProblem *second = *(VarveXmlProblem *const *)b;

  return (first->line > second->line) - (first->line < second->line);
}

char *
varve_xml_problem_format (const VarveXmlProblem *problem, const char *file)
{
  return g_strdup_printf ("%s:%ld: %s", file, problem->line, problem->message);
}

static void
note (VarveXml *xml, const xmlNode *node, long line, const char *message)
{
  if (varve_xml_is_full (xml))
    return;
  if (xml->problems->len == VARVE_XML_MAX_PROBLEMS - 1)
    message = "The document has more problems than are listed.";
  g_ptr_array_add (xml->problems, varve_xml_problem_new (node, line, message));
}

bool
varve_xml_is_full (const VarveXml *xml)
{
  return xml->problems->len >= VARVE_XML_MAX_PROBLEMS;
}

void
varve_xml_problem (VarveXml *xml, const xmlNode *node, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  note (xml, node, node ? xmlGetLineNo (node) : 1, message);
}

/* libxml2 tells errors to the context's own handler when there is one, and only then not to the
 * process's. The context is the first argument, since it is also the tree builder's. */
static void
on_error (void *data, xmlError *error)
{
  xmlParserCtxt *context = data;
  VarveXml *xml = context->_private;
  g_autofree char *message = NULL;

  if (error->level < XML_ERR_ERROR)
    return;
  message = g_strdup_printf ("This is not well-formed XML: %s",
                             error->message ? error->message : "no reason is given.");
  note (xml, NULL, error->line, message);
}

/* Runs before the first declaration of a DOCTYPE is read. */
static void
refuse_doctype (void *data, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
  xmlParserCtxt *context = data;

  note (context->_private, NULL, xmlSAX2GetLineNumber (context),
        "A DOCTYPE is not allowed: documents use no entities and no DTD. Remove it.");
  xmlStopParser (context);
}

static long
line_of (const char *data, const char *at)
{
  long line = 1;

  for (const char *p = data; p < at; p++)
    line += *p == '\n';
  return line;
}

/* XML readers guess an encoding from the first bytes and the declaration. This one reads UTF-8, and
 * says so where a document claims something else. */
static bool
is_plain_utf8 (VarveXml *xml, const char *data, size_t length)
{
  const char *end;

  if (!g_utf8_validate (data, (gssize)length, &end)) {
    g_autofree char *message = g_strdup_printf (
        "Byte 0x%02x is not UTF-8 text. Documents are UTF-8, and have no NUL bytes.",
        (unsigned char)*end);
    note (xml, NULL, line_of (data, end), message);
    return false;
  }

  g_autoptr (GRegex) regex =
      g_regex_new ("^\\x{FEFF}?<\\?xml\\s[^>]*encoding\\s*=\\s*[\"']([^\"'>]*)", 0, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  if (!g_regex_match_full (regex, data, (gssize)MIN (length, 512), 0, 0, &match, NULL))
    return true;
  g_autofree char *encoding = g_match_info_fetch (match, 1);
  if (g_ascii_strcasecmp (encoding, "UTF-8") == 0 || g_ascii_strcasecmp (encoding, "US-ASCII") == 0)
    return true;

  g_autofree char *message = g_strdup_printf (
      "The declared encoding '%s' is not read: write the document in UTF-8.", encoding);
  note (xml, NULL, 1, message);
  return false;
}

static void
take_apart (VarveXml *xml, const char *data, size_t length)
{
  xmlParserCtxt *context = xmlNewParserCtxt ();

  if (!context) {
    note (xml, NULL, 1, "The document cannot be read: libxml2 has no memory.");
    return;
  }
  context->_private = xml;
  context->sax->serror = on_error;
  context->sax->internalSubset = refuse_doctype;
  xml->doc = xmlCtxtReadMemory (context, data, (int)length, xml->file, NULL,
                                XML_PARSE_NONET | XML_PARSE_BIG_LINES | XML_PARSE_IGNORE_ENC);
  xmlFreeParserCtxt (context);

  if (xml->problems->len == 0 && (!xml->doc || !xmlDocGetRootElement (xml->doc)))
    note (xml, NULL, 1, "The document is empty.");
  if (xml->problems->len > 0)
    g_clear_pointer (&xml->doc, xmlFreeDoc);
}

VarveXml *
varve_xml_new (const char *data, size_t length, const char *file)
{
  VarveXml *xml = g_new0 (VarveXml, 1);

  xml->file = g_strdup (file);
  xml->problems = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_xml_problem_free);
  if (length > VARVE_XML_MAX_BYTES) {
    g_autofree char *message = g_strdup_printf (
        "The document is larger than %d bytes, which no job needs.", VARVE_XML_MAX_BYTES);
    note (xml, NULL, 1, message);
  } else if (length == 0) {
    note (xml, NULL, 1, "The document is empty.");
  } else if (is_plain_utf8 (xml, data, length)) {
    take_apart (xml, data, length);
  }
  return xml;
}

void
varve_xml_free (VarveXml *xml)
{
  if (!xml)
    return;
  g_clear_pointer (&xml->doc, xmlFreeDoc);
  g_ptr_array_unref (xml->problems);
  g_free (xml->file);
  g_free (xml);
}
