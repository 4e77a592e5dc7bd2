/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveJob: the root of a document: a name, and actions in their order. The two ways to get one, by
 * reading and by calls, meet in check_job(); so a run never sees a job that no document could give.
 */
#include "config.h"
#include "job/element.h"

#include <string.h>

#include "util/durable.h"
#include "util/error.h"

struct _VarveJob {
  GObject parent;
  char *name;
  GPtrArray *actions; /* of the kinds in readers */
};

G_DEFINE_FINAL_TYPE (VarveJob, varve_job, G_TYPE_OBJECT)

static void
varve_job_finalize (GObject *object)
{
  VarveJob *self = VARVE_JOB (object);

  g_free (self->name);
  g_ptr_array_unref (self->actions);
  G_OBJECT_CLASS (varve_job_parent_class)->finalize (object);
}

static void
varve_job_class_init (VarveJobClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_job_finalize;
}

static void
varve_job_init (VarveJob *self)
{
  self->actions = g_ptr_array_new_with_free_func (g_object_unref);
}

VarveJob *
varve_job_new (const char *name)
{
  VarveJob *self = g_object_new (VARVE_TYPE_JOB, NULL);

  self->name = g_strdup (name);
  return self;
}

const char *
varve_job_get_name (VarveJob *job)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);
  return job->name;
}

GPtrArray *
varve_job_get_actions (VarveJob *job)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);
  return job->actions;
}

VarveBackupAction *
varve_job_add_backup (VarveJob *job, const char *domain, const char *uri, const char *store)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  VarveBackupDef *def = varve_backup_def_new ();
  VarveBackupAction *action = varve_backup_action_new (def);
  def->domain = g_strdup (domain);
  def->uri = g_strdup (uri);
  def->store = g_strdup (store);
  g_ptr_array_add (job->actions, action);
  return action;
}

VarveRestoreAction *
varve_job_add_restore (VarveJob *job, const char *store, const char *backup)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  VarveRestoreDef *def = varve_restore_def_new ();
  VarveRestoreAction *action = varve_restore_action_new (def);
  def->store = g_strdup (store);
  def->backup = g_strdup (backup);
  g_ptr_array_add (job->actions, action);
  return action;
}

VarveExportAction *
varve_job_add_export (VarveJob *job, const char *domain, const char *uri, const char *owner)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  VarveExportDef *def = varve_export_def_new ();
  VarveExportAction *action = varve_export_action_new (def);
  def->source->domain = g_strdup (domain);
  def->source->uri = g_strdup (uri);
  def->source->owner = g_strdup (owner);
  g_ptr_array_add (job->actions, action);
  return action;
}

VarveRevertAction *
varve_job_add_revert (VarveJob *job, const char *domain, const char *uri, const char *store,
                      const char *backup)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  VarveRevertDef *def = varve_revert_def_new ();
  VarveRevertAction *action = varve_revert_action_new (def);
  def->source->domain = g_strdup (domain);
  def->source->uri = g_strdup (uri);
  def->source->store = g_strdup (store);
  def->backup = g_strdup (backup);
  g_ptr_array_add (job->actions, action);
  return action;
}

VarveVerifyAction *
varve_job_add_verify (VarveJob *job, const char *store, const char *backup)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  VarveVerifyDef *def = varve_verify_def_new ();
  VarveVerifyAction *action = varve_verify_action_new (def);
  def->store = g_strdup (store);
  def->backup = g_strdup (backup);
  g_ptr_array_add (job->actions, action);
  return action;
}

/* --- the kinds of actions ------------------------------------------------------------------------
 */

static GObject *
read_backup (VarveXml *xml, const xmlNode *node)
{
  return G_OBJECT (varve_backup_action_new (varve_backup_def_parse (xml, node)));
}

static GObject *
read_restore (VarveXml *xml, const xmlNode *node)
{
  return G_OBJECT (varve_restore_action_new (varve_restore_def_parse (xml, node)));
}

static GObject *
read_export (VarveXml *xml, const xmlNode *node)
{
  return G_OBJECT (varve_export_action_new (varve_export_def_parse (xml, node)));
}

static GObject *
read_revert (VarveXml *xml, const xmlNode *node)
{
  return G_OBJECT (varve_revert_action_new (varve_revert_def_parse (xml, node)));
}

static GObject *
read_verify (VarveXml *xml, const xmlNode *node)
{
  return G_OBJECT (varve_verify_action_new (varve_verify_def_parse (xml, node)));
}

static const struct {
  const char *element;
  GObject *(*read) (VarveXml *xml, const xmlNode *node);
} readers[] = {
  { "backup", read_backup }, { "restore", read_restore }, { "export", read_export },
  { "revert", read_revert }, { "verify", read_verify },
};

const char *
varve_action_element (GObject *action)
{
  if (VARVE_IS_BACKUP_ACTION (action))
    return "backup";
  if (VARVE_IS_REVERT_ACTION (action))
    return "revert";
  if (VARVE_IS_VERIFY_ACTION (action))
    return "verify";
  return VARVE_IS_RESTORE_ACTION (action) ? "restore" : "export";
}

const char *
varve_action_name (GObject *action)
{
  if (VARVE_IS_BACKUP_ACTION (action))
    return varve_backup_action_def (VARVE_BACKUP_ACTION (action))->name;
  if (VARVE_IS_RESTORE_ACTION (action))
    return varve_restore_action_def (VARVE_RESTORE_ACTION (action))->name;
  if (VARVE_IS_REVERT_ACTION (action))
    return varve_revert_action_def (VARVE_REVERT_ACTION (action))->source->name;
  if (VARVE_IS_VERIFY_ACTION (action))
    return varve_verify_action_def (VARVE_VERIFY_ACTION (action))->name;
  return varve_export_action_def (VARVE_EXPORT_ACTION (action))->source->name;
}

/* --- checking ------------------------------------------------------------------------------------
 */

static void
check_action (GObject *action, const VarveJobChecker *checker)
{
  if (VARVE_IS_BACKUP_ACTION (action))
    varve_backup_def_check (varve_backup_action_def (VARVE_BACKUP_ACTION (action)), checker);
  else if (VARVE_IS_RESTORE_ACTION (action))
    varve_restore_def_check (varve_restore_action_def (VARVE_RESTORE_ACTION (action)), checker);
  else if (VARVE_IS_REVERT_ACTION (action))
    varve_revert_def_check (varve_revert_action_def (VARVE_REVERT_ACTION (action)), checker);
  else if (VARVE_IS_VERIFY_ACTION (action))
    varve_verify_def_check (varve_verify_action_def (VARVE_VERIFY_ACTION (action)), checker);
  else
    varve_export_def_check (varve_export_action_def (VARVE_EXPORT_ACTION (action)), checker);
}

/* What concerns the job as a whole; @action is the one complained of, or NULL. */
static void
check_job (VarveJob *self, const VarveJobChecker *checker, GObject **action)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);

  varve_job_check_value (checker, "", VARVE_JOB_VALUE_NAME, "The job's name", self->name);
  if (self->actions->len == 0)
    varve_job_complain (checker, "",
                        "The job has no action: it needs a <backup>, a <restore>, a <revert>, "
                        "an <export> or a <verify>.");

  for (guint i = 0; i < self->actions->len; i++) {
    *action = g_ptr_array_index (self->actions, i);
    const char *name = varve_action_name (*action);

    if (name && !g_hash_table_add (names, (char *)name))
      varve_job_complain (checker, "", "Two actions are named '%s'.", name);
  }
  *action = NULL;
}

typedef struct {
  VarveJob *job;
  GObject *action;
  GError **error;
  bool failed;
} CallCheck;

static void
complain_to_error (void *data, const char *place, const char *message)
{
  CallCheck *check = data;
  guint index = 0;

  if (check->failed)
    return;
  check->failed = true;
  varve_throw (check->error, VARVE_ERROR_USAGE, "%s", message);
  if (!check->action)
    return;
  g_ptr_array_find (check->job->actions, check->action, &index);
  varve_prefix (check->error, "Action %u (%s)", index + 1, varve_action_element (check->action));
}

bool
varve_job_check (VarveJob *job, GError **error)
{
  CallCheck check = { .job = job, .error = error };
  VarveJobChecker checker = { complain_to_error, &check };

  check_job (job, &checker, &check.action);
  for (guint i = 0; i < job->actions->len; i++) {
    check.action = g_ptr_array_index (job->actions, i);
    check_action (check.action, &checker);
  }
  return !check.failed;
}

/* --- reading -------------------------------------------------------------------------------------
 */

typedef struct {
  VarveXml *xml;
  VarveJob *job;
  GPtrArray *nodes; /* of xmlNode: what each of the job's actions was read from */
  GObject *action;  /* the one that is checked, or NULL: the job */
} DocumentCheck;

static const xmlNode *
checked_node (DocumentCheck *check)
{
  guint index;

  if (check->action && g_ptr_array_find (check->job->actions, check->action, &index))
    return g_ptr_array_index (check->nodes, index);
  return xmlDocGetRootElement (check->xml->doc);
}

/* Follows a place down as far as the document goes: what a default broke has no element. */
static const xmlNode *
resolve (const xmlNode *node, const char *place)
{
  g_auto (GStrv) steps = g_strsplit (place, "/", -1);

  for (char **step = steps; *step; step++) {
    g_auto (GStrv) parts = g_strsplit (*step, ":", 2);
    const char *name = parts[0];
    guint64 count = 1;

    if (parts[1])
      g_ascii_string_to_unsigned (parts[1], 10, 1, G_MAXUINT, &count, NULL);
    const xmlNode *child = varve_xml_child (node, name);

    while (child && --count > 0)
      child = varve_xml_next (child, name);
    if (!child)
      return node;
    node = child;
  }
  return node;
}

static void
complain_to_document (void *data, const char *place, const char *message)
{
  DocumentCheck *check = data;

  /* Finding the element takes longer than noting it. */
  if (varve_xml_is_full (check->xml))
    return;
  varve_xml_problem (check->xml, resolve (checked_node (check), place), "%s", message);
}

/* An element that is malformed has defaults where the document says something else; so it is not
 * checked further. */
static void
read_action (DocumentCheck *check, const xmlNode *node, const VarveJobChecker *checker)
{
  guint before = check->xml->problems->len;

  check->action = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (readers); i++) {
    if (varve_xml_is (node, readers[i].element))
      check->action = readers[i].read (check->xml, node);
  }
  if (!check->action)
    return;

  g_ptr_array_add (check->job->actions, check->action);
  g_ptr_array_add (check->nodes, (xmlNode *)node);
  if (check->xml->problems->len == before)
    check_action (check->action, checker);
}

static void
read_job (DocumentCheck *check, const xmlNode *root)
{
  VarveXml *xml = check->xml;
  VarveJobChecker checker = { complain_to_document, check };
  guint before = xml->problems->len;

  varve_xml_shape (xml, root, "name", "backup* restore* export* revert* verify*");
  bool sound = xml->problems->len == before;
  check->job->name = varve_xml_attribute (root, "name");
  for (const xmlNode *node = varve_xml_element (root->children); node && !varve_xml_is_full (xml);
       node = varve_xml_element (node->next))
    read_action (check, node, &checker);

  check->action = NULL;
  if (sound)
    check_job (check->job, &checker, &check->action);
}

VarveJob *
varve_job_read (VarveXml *xml)
{
  g_autoptr (VarveJob) job = varve_job_new (NULL);
  g_autoptr (GPtrArray) nodes = g_ptr_array_new ();
  DocumentCheck check = { .xml = xml, .job = job, .nodes = nodes };
  const xmlNode *root = xml->doc ? xmlDocGetRootElement (xml->doc) : NULL;

  if (!root)
    return NULL;
  if (varve_xml_is (root, "job"))
    read_job (&check, root);
  else
    varve_xml_problem (xml, root, "The root element is <%s>%s: it must be <job>.", root->name,
                       root->ns ? " in a namespace" : "");
  return xml->problems->len == 0 ? g_steal_pointer (&job) : NULL;
}

static bool
throw_problems (VarveXml *xml, GError **error)
{
  g_autofree char *first = NULL;

  g_ptr_array_sort (xml->problems, varve_xml_problem_compare);
  first = varve_xml_problem_format (g_ptr_array_index (xml->problems, 0), xml->file);
  if (xml->problems->len == 1)
    return varve_throw (error, VARVE_ERROR_DOCUMENT, "%s", first);
  return varve_throw (error, VARVE_ERROR_DOCUMENT, "%s (%u more: 'varve validate' lists them.)",
                      first, xml->problems->len - 1);
}

VarveJob *
varve_job_parse (const char *data, gsize length, const char *name, GError **error)
{
  g_return_val_if_fail (data != NULL || length == 0, NULL);
  g_return_val_if_fail (name != NULL, NULL);

  g_autoptr (VarveXml) xml = varve_xml_new (data, length, name);
  VarveJob *job = varve_job_read (xml);

  if (!job)
    throw_problems (xml, error);
  return job;
}

bool
varve_job_open (const char *path, VarveXml **out, GError **error)
{
  g_autofree char *data = NULL;
  size_t length = 0;

  if (!varve_read_file (path, VARVE_XML_MAX_BYTES, &data, &length, error)) {
    varve_reclassify (error, VARVE_ERROR_DOCUMENT);
    return varve_prefix (error, "The document cannot be read");
  }
  *out = varve_xml_new (data, length, path);
  return true;
}

VarveJob *
varve_job_load (const char *path, GError **error)
{
  g_autoptr (VarveXml) xml = NULL;

  g_return_val_if_fail (path != NULL, NULL);
  if (!varve_job_open (path, &xml, error))
    return NULL;

  VarveJob *job = varve_job_read (xml);
  if (!job)
    throw_problems (xml, error);
  return job;
}

/* --- writing -------------------------------------------------------------------------------------
 */

char *
varve_job_to_xml (VarveJob *job)
{
  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);

  GString *out = g_string_new ("<job");
  varve_xml_append_attribute (out, "name", job->name);
  g_string_append (out, job->actions->len > 0 ? ">\n" : "/>\n");
  for (guint i = 0; i < job->actions->len; i++) {
    GObject *action = g_ptr_array_index (job->actions, i);

    if (VARVE_IS_BACKUP_ACTION (action))
      varve_backup_def_format (varve_backup_action_def (VARVE_BACKUP_ACTION (action)), out);
    else if (VARVE_IS_RESTORE_ACTION (action))
      varve_restore_def_format (varve_restore_action_def (VARVE_RESTORE_ACTION (action)), out);
    else if (VARVE_IS_REVERT_ACTION (action))
      varve_revert_def_format (varve_revert_action_def (VARVE_REVERT_ACTION (action)), out);
    else if (VARVE_IS_VERIFY_ACTION (action))
      varve_verify_def_format (varve_verify_action_def (VARVE_VERIFY_ACTION (action)), out);
    else
      varve_export_def_format (varve_export_action_def (VARVE_EXPORT_ACTION (action)), out);
  }
  if (job->actions->len > 0)
    g_string_append (out, "</job>\n");
  return g_string_free (out, FALSE);
}
