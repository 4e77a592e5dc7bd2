/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Strict reading and plain writing of XML, over libxml2.
 *
 * A reading never stops at the first mistake of a document: whatever is wrong becomes a problem
 * with the node that it was found at, and the reader goes on with a harmless value. A document is
 * good when no problem was noted. Nothing here changes a setting of the process or of the thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <libxml/tree.h>

#define VARVE_XML_MAX_BYTES (1024 * 1024)
/* Nobody reads more, and a document of nothing else must not cost more. */
#define VARVE_XML_MAX_PROBLEMS 100

typedef struct {
  const xmlNode *node; /* NULL where the document could not be taken apart */
  long line;
  char *message; /* a sentence */
} VarveXmlProblem;

typedef struct {
  char *file;          /* what messages call it */
  xmlDoc *doc;         /* NULL when it is not well-formed, or refused */
  GPtrArray *problems; /* of VarveXmlProblem, in the order found */
} VarveXml;

/* Takes the text apart: UTF-8 only, no DOCTYPE, hence no entities of its own, no network, at most
 * VARVE_XML_MAX_BYTES, and nested as deeply as libxml2 allows by default. Never NULL. */
VarveXml *varve_xml_new (const char *data, size_t length, const char *file);
void varve_xml_free (VarveXml *xml);

/* --- problems ------------------------------------------------------------------------------------
 */
void varve_xml_problem (VarveXml *xml, const xmlNode *node, const char *format, ...)
    G_GNUC_PRINTF (3, 4);
/* Valid UTF-8 in one line: control characters are spelt out. (transfer full) */
char *varve_xml_printable (const char *text);
/* Further problems would not be noted: a reader may stop. */
bool varve_xml_is_full (const VarveXml *xml);
VarveXmlProblem *varve_xml_problem_new (const xmlNode *node, long line, const char *message);
void varve_xml_problem_free (VarveXmlProblem *problem);
/* A GCompareFunc for g_ptr_array_sort(). */
int varve_xml_problem_compare (const void *a, const void *b);
/* "FILE:LINE: message". (transfer full) */
char *varve_xml_problem_format (const VarveXmlProblem *problem, const char *file);

/* --- elements ------------------------------------------------------------------------------------
 */
/* Holds an element against its grammar: names with a blank between them, each with '?' behind it
 * when it may be missing, '*' for any number, '+' for one or more. @children "": the element is
 * empty; NULL: it holds text alone. What is unknown, missing, too many, in a namespace, or stray
 * text is a problem that names what is allowed. */
void varve_xml_shape (VarveXml *xml, const xmlNode *node, const char *attributes,
                      const char *children);

/* The first child element, or the next element behind it, that is called @name; or NULL. */
const xmlNode *varve_xml_child (const xmlNode *node, const char *name);
const xmlNode *varve_xml_next (const xmlNode *node, const char *name);
/* The first and next of any name. */
const xmlNode *varve_xml_element (const xmlNode *first);
bool varve_xml_is (const xmlNode *node, const char *name);

/* --- values --------------------------------------------------------------------------------------
 */
/* (transfer full); NULL when it is not there. */
char *varve_xml_attribute (const xmlNode *node, const char *name);
/* (transfer full): the text without blanks at its ends. @node may be NULL: NULL. */
char *varve_xml_text (const xmlNode *node);

/* These note a problem, and give @otherwise, when the attribute is there and says something else.
 */
bool varve_xml_yes_no (VarveXml *xml, const xmlNode *node, const char *name, bool otherwise);
unsigned varve_xml_unsigned (VarveXml *xml, const xmlNode *node, const char *name,
                             unsigned otherwise);
/* "'a', 'b' or 'c'", of words with a blank between them. (transfer full) */
char *varve_xml_list_choices (const char *choices);
/* One of the words of @choices. (transfer full) */
char *varve_xml_choice (VarveXml *xml, const xmlNode *node, const char *name, const char *choices,
                        const char *otherwise);

/* A decimal number without a sign, at most @max. @what is the subject of the message. */
bool varve_xml_parse_number (VarveXml *xml, const xmlNode *node, const char *what, const char *text,
                             uint64_t max, uint64_t *out);
/* The same times the element's attribute 'unit' (default: B), checked. */
bool varve_xml_parse_bytes (VarveXml *xml, const xmlNode *node, const char *what, const char *text,
                            uint64_t *out);

/* --- writing -------------------------------------------------------------------------------------
 */
/* " name='value'", escaped; nothing for NULL. */
void varve_xml_append_attribute (GString *out, const char *name, const char *value);
void varve_xml_append_number (GString *out, const char *name, uint64_t value);
/* Splits @bytes into a number and the largest unit that leaves no remainder. */
uint64_t varve_xml_split_bytes (uint64_t bytes, const char **out_unit);
/* Escaped text; nothing for NULL. */
void varve_xml_append_text (GString *out, const char *text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveXml, varve_xml_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveXmlProblem, varve_xml_problem_free)
