/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The element <revert>: which domain, and whose checkpoints, is said as in a <backup> (backup-def.c);
 * of its own it has the backup that is put back, and three attributes. What has its default is not written. */
#include "config.h"
#include "job/element.h"

VarveRevertDef *
varve_revert_def_new (void)
{
  VarveRevertDef *def = g_new0 (VarveRevertDef, 1);

  def->source = varve_backup_def_new ();
  def->keep_present = true;
  return def;
}

void
varve_revert_def_free (VarveRevertDef *def)
{
  if (!def)
    return;
  varve_backup_def_free (def->source);
  g_free (def->backup);
  g_free (def);
}

VarveRevertDef *
varve_revert_def_parse (VarveXml *xml, const xmlNode *node)
{
  VarveRevertDef *def = varve_revert_def_new ();
  const xmlNode *source = varve_xml_child (node, "source");
  const xmlNode *backup = varve_xml_child (node, "backup");

  varve_xml_shape (xml, node, "name? owner? dry-run? keep? restart?",
                   "domain disks? source backup checkpoints? wait?");
  varve_source_parse (xml, node, def->source);
  def->dry_run = varve_xml_yes_no (xml, node, "dry-run", false);
  def->keep_present = varve_xml_yes_no (xml, node, "keep", true);
  def->restart = varve_xml_yes_no (xml, node, "restart", false);
  if (source)
    def->source->store = varve_job_parse_store (xml, source, NULL);
  if (backup) {
    varve_xml_shape (xml, backup, "", NULL);
    def->backup = varve_xml_text (backup);
  }
  return def;
}

void
varve_revert_def_check (const VarveRevertDef *def, const VarveJobChecker *checker)
{
  varve_source_check (def->source, checker);
  if (varve_backup_targets_check (def->source, checker))
    varve_job_complain (checker, "disks",
                        "A disk has a target, which is for a backup: what is put back goes to the "
                        "disk itself. Remove it.");
  varve_job_check_value (checker, "source/images", VARVE_JOB_VALUE_STORE, "The store",
                         def->source->store);
  varve_job_check_value (checker, "backup", VARVE_JOB_VALUE_BACKUP, "The backup", def->backup);
}

void
varve_revert_def_format (const VarveRevertDef *def, GString *out)
{
  g_string_append (out, "  <revert");
  varve_xml_append_attribute (out, "dry-run", def->dry_run ? "yes" : NULL);
  varve_xml_append_attribute (out, "keep", def->keep_present ? NULL : "no");
  varve_xml_append_attribute (out, "restart", def->restart ? "yes" : NULL);
  varve_source_format (def->source, "auto", out);
  varve_job_format_store (out, "source", def->source->store, 0);
  g_string_append (out, "    <backup>");
  varve_xml_append_text (out, def->backup);
  g_string_append (out, "</backup>\n  </revert>\n");
}
