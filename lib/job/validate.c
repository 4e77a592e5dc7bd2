/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A document against the RelaxNG schema, and then against the reader. The reader knows all that the
 * schema knows and says it better: what it finds goes first, and the schema's words about the same
 * line, or about an element around it, are left out. What remains of the schema's words is where it
 * is stricter, so that the two can never drift apart unseen.
 *
 * The schema's own files are read by libxml2 with handlers that are the process's; so each is read
 * here first, by the careful reader, and one that is missing or broken never gets there. */
#include "config.h"
#include "job/element.h"

#include <string.h>
#include <libxml/relaxng.h>

#include "util/durable.h"
#include "util/error.h"

#define SCHEMA_FILE "job.rng"

static void
relaxng_parser_free (xmlRelaxNGParserCtxt *context)
{
  xmlRelaxNGFreeParserCtxt (context);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (xmlRelaxNGParserCtxt, relaxng_parser_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (xmlRelaxNG, xmlRelaxNGFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (xmlRelaxNGValidCtxt, xmlRelaxNGFreeValidCtxt)

static char *
default_schema (void)
{
  const char *directory = g_getenv ("VARVE_SCHEMA_DIR");

  return g_build_filename (directory ? directory : VARVE_SCHEMA_DIR, SCHEMA_FILE, NULL);
}

static void
collect (void *data, xmlError *error)
{
  GPtrArray *problems = data;
  const xmlNode *at = error->node;
  const xmlNode *node = at && at->type == XML_ELEMENT_NODE ? at : NULL;
  long line = node ? xmlGetLineNo (node) : error->line;

  g_ptr_array_add (
      problems, varve_xml_problem_new (node, line, error->message ? error->message : "not valid"));
}

/* --- the schema ----------------------------------------------------------------------------------
 */

static VarveXml *
open_schema_file (const char *path, GError **error)
{
  g_autofree char *data = NULL;
  g_autoptr (VarveXml) xml = NULL;
  size_t length = 0;

  if (!varve_read_file (path, VARVE_XML_MAX_BYTES, &data, &length, error)) {
    varve_prefix (error, "The schema cannot be read");
    return NULL;
  }
  xml = varve_xml_new (data, length, path);
  if (xml->doc)
    return g_steal_pointer (&xml);

  g_autofree char *problem = varve_xml_problem_format (g_ptr_array_index (xml->problems, 0), path);
  varve_throw (error, VARVE_ERROR_DOCUMENT, "The schema cannot be read: %s", problem);
  return NULL;
}

/* Schemas include files of their own directory, by name, and those include nothing. */
static bool
check_includes (VarveXml *schema, GError **error)
{
  g_autofree char *directory = g_path_get_dirname (schema->file);

  for (const xmlNode *node = varve_xml_element (xmlDocGetRootElement (schema->doc)->children); node;
       node = varve_xml_element (node->next)) {
    g_autofree char *name = varve_xml_attribute (node, "href");
    g_autofree char *path = name ? g_build_filename (directory, name, NULL) : NULL;
    g_autoptr (VarveXml) included = NULL;

    if (!name)
      continue;
    if (strpbrk (name, "/:%"))
      return varve_throw (error, VARVE_ERROR_DOCUMENT,
                          "The schema '%s' includes '%s', which is no plain file name.",
                          schema->file, name);
    included = open_schema_file (path, error);
    if (!included)
      return false;
  }
  return true;
}

static xmlRelaxNG *
load_schema (const char *path, GError **error)
{
  g_autoptr (VarveXml) xml = open_schema_file (path, error);
  g_autoptr (GPtrArray) problems =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_xml_problem_free);

  if (!xml || !check_includes (xml, error))
    return NULL;

  g_autoptr (xmlRelaxNGParserCtxt) context = xmlRelaxNGNewDocParserCtxt (xml->doc);
  if (context)
    xmlRelaxNGSetParserStructuredErrors (context, collect, problems);
  xmlRelaxNG *schema = context ? xmlRelaxNGParse (context) : NULL;
  if (schema)
    return schema;

  const VarveXmlProblem *first = problems->len > 0 ? g_ptr_array_index (problems, 0) : NULL;
  varve_throw (error, VARVE_ERROR_DOCUMENT, "'%s' is not a RelaxNG schema: %s", path,
               first ? first->message : "no reason is given");
  return NULL;
}

/* --- the document --------------------------------------------------------------------------------
 */

static bool
run_schema (const char *path, VarveXml *document, GPtrArray *problems, GError **error)
{
  g_autoptr (xmlRelaxNG) schema = load_schema (path, error);

  if (!schema)
    return false;
  if (!document->doc)
    return true;

  g_autoptr (xmlRelaxNGValidCtxt) context = xmlRelaxNGNewValidCtxt (schema);
  if (!context)
    return varve_throw (error, VARVE_ERROR_FAILED, "libxml2 has no memory to validate '%s'.",
                        document->file);
  xmlRelaxNGSetValidStructuredErrors (context, collect, problems);
  int result = xmlRelaxNGValidateDoc (context, document->doc);
  if (result < 0)
    return varve_throw (error, VARVE_ERROR_FAILED, "libxml2 failed to validate '%s'.",
                        document->file);
  if (result > 0 && problems->len == 0)
    g_ptr_array_add (problems, varve_xml_problem_new (NULL, 1, "The schema does not allow this."));
  return true;
}

static bool
is_around (const xmlNode *outer, const xmlNode *inner)
{
  while (inner && inner != outer)
    inner = inner->parent;
  return outer && inner == outer;
}

/* libxml2 gives its vaguest words ("extra element in interleave") without a place. */
static bool
is_said_better (const VarveXmlProblem *problem, GPtrArray *better)
{
  if (!problem->node && better->len > 0)
    return true;
  for (guint i = 0; i < better->len; i++) {
    const VarveXmlProblem *other = g_ptr_array_index (better, i);

    if (problem->line == other->line || is_around (problem->node, other->node))
      return true;
  }
  return false;
}

static GPtrArray *
merge (VarveXml *document, GPtrArray *from_schema)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new ();
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < document->problems->len; i++)
    g_ptr_array_add (all, g_ptr_array_index (document->problems, i));
  for (guint i = 0; i < from_schema->len; i++) {
    if (!is_said_better (g_ptr_array_index (from_schema, i), document->problems))
      g_ptr_array_add (all, g_ptr_array_index (from_schema, i));
  }

  g_ptr_array_sort (all, varve_xml_problem_compare);
  for (guint i = 0; i < all->len; i++)
    g_ptr_array_add (lines, varve_xml_problem_format (g_ptr_array_index (all, i), document->file));
  return lines;
}

gboolean
varve_job_validate (const char *path, const char *schema, GPtrArray **out_problems, GError **error)
{
  g_return_val_if_fail (path != NULL && out_problems != NULL, FALSE);

  g_autoptr (VarveXml) document = NULL;
  g_autoptr (VarveJob) job = NULL;
  g_autofree char *schema_path = schema ? g_strdup (schema) : default_schema ();
  g_autoptr (GPtrArray) from_schema =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_xml_problem_free);

  if (!varve_job_open (path, &document, error) ||
      !run_schema (schema_path, document, from_schema, error))
    return FALSE;
  job = varve_job_read (document);
  *out_problems = merge (document, from_schema);
  return TRUE;
}
