/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The element <verify>: reading, checking and writing. What has its default is not written. */
#include "config.h"
#include "job/element.h"

/* A firmware finds its way in less, but no system does. */
#define MEMORY_MIN  (UINT64_C (16) << 20)
#define TIMEOUT_MAX (24 * 3600)

VarveVerifyDef *
varve_verify_def_new (void)
{
  VarveVerifyDef *def = g_new0 (VarveVerifyDef, 1);

  def->timeout = VARVE_JOB_BOOT_TIMEOUT;
  return def;
}

void
varve_verify_def_free (VarveVerifyDef *def)
{
  if (!def)
    return;
  g_free (def->name);
  g_free (def->store);
  g_free (def->backup);
  g_free (def->console);
  g_free (def->mounted);
  g_free (def->screenshot);
  g_free (def);
}

static void
parse_memory (VarveXml *xml, const xmlNode *node, VarveVerifyDef *def)
{
  g_autofree char *text = varve_xml_text (node);

  varve_xml_shape (xml, node, "unit?", NULL);
  varve_xml_parse_bytes (xml, node, "The memory", text, &def->memory);
}

static void
parse_sign (VarveXml *xml, const xmlNode *boot, VarveVerifyDef *def)
{
  const xmlNode *agent = varve_xml_child (boot, "agent");
  const xmlNode *console = varve_xml_child (boot, "console");
  const xmlNode *mounted = varve_xml_child (boot, "mounted");

  if (agent)
    varve_xml_shape (xml, agent, "", "");
  if (console)
    varve_xml_shape (xml, console, "", NULL);
  if (mounted)
    varve_xml_shape (xml, mounted, "", NULL);
  if ((agent != NULL) + (console != NULL) + (mounted != NULL) > 1)
    varve_xml_problem (xml, boot,
                       "<boot> waits for one sign: it has <agent>, <console> or <mounted>.");
  def->console = varve_xml_text (console);
  def->mounted = varve_xml_text (mounted);
}

static void
parse_boot (VarveXml *xml, const xmlNode *node, VarveVerifyDef *def)
{
  const xmlNode *screenshot = varve_xml_child (node, "screenshot");
  const xmlNode *memory = varve_xml_child (node, "memory");

  varve_xml_shape (xml, node, "timeout?", "agent? console? mounted? screenshot? memory?");
  def->boot = true;
  def->timeout = varve_xml_unsigned (xml, node, "timeout", def->timeout);
  parse_sign (xml, node, def);
  if (screenshot) {
    varve_xml_shape (xml, screenshot, "file", "");
    def->screenshot = varve_xml_attribute (screenshot, "file");
  }
  if (memory)
    parse_memory (xml, memory, def);
}

VarveVerifyDef *
varve_verify_def_parse (VarveXml *xml, const xmlNode *node)
{
  VarveVerifyDef *def = varve_verify_def_new ();
  const xmlNode *source = varve_xml_child (node, "source");
  const xmlNode *backup = varve_xml_child (node, "backup");
  const xmlNode *boot = varve_xml_child (node, "boot");

  varve_xml_shape (xml, node, "name?", "source backup? boot?");
  def->name = varve_xml_attribute (node, "name");
  if (source)
    def->store = varve_job_parse_store (xml, source, NULL);
  if (backup) {
    varve_xml_shape (xml, backup, "", NULL);
    def->backup = varve_xml_text (backup);
  }
  if (boot)
    parse_boot (xml, boot, def);
  return def;
}

static void
check_boot (const VarveVerifyDef *def, const VarveJobChecker *checker)
{
  if (!def->backup)
    varve_job_complain (checker, "boot",
                        "It is one backup that is started: name it, in the element <backup>.");
  if (def->console)
    varve_job_check_value (checker, "boot/console", VARVE_JOB_VALUE_SIGN,
                           "The text that is waited for", def->console);
  if (def->mounted)
    varve_job_check_value (checker, "boot/mounted", VARVE_JOB_VALUE_SIGN, "The mount point",
                           def->mounted);
  if (def->console && def->mounted)
    varve_job_complain (checker, "boot",
                        "One sign is waited for: a text on the console, or a mount point.");
  varve_job_check_range (checker, "boot", "The number of seconds of the timeout", def->timeout, 1,
                         TIMEOUT_MAX);
  if (def->memory && def->memory < MEMORY_MIN)
    varve_job_complain (checker, "boot/memory",
                        "The memory is %" G_GUINT64_FORMAT " bytes: it must be at least 16 MiB.",
                        def->memory);
}

void
varve_verify_def_check (const VarveVerifyDef *def, const VarveJobChecker *checker)
{
  if (def->name)
    varve_job_check_value (checker, "", VARVE_JOB_VALUE_NAME, "The action's name", def->name);
  varve_job_check_value (checker, "source/images", VARVE_JOB_VALUE_STORE, "The store", def->store);
  if (def->backup)
    varve_job_check_value (checker, "backup", VARVE_JOB_VALUE_BACKUP, "The backup", def->backup);
  if (def->screenshot)
    varve_job_check_value (checker, "boot/screenshot", VARVE_JOB_VALUE_PATH, "The screenshot",
                           def->screenshot);
  if (def->boot)
    check_boot (def, checker);
  else if (def->console || def->mounted || def->screenshot || def->memory)
    varve_job_complain (checker, "",
                        "A sign, a screenshot and a size of memory are of a backup that is "
                        "started: without that only sums are compared.");
}

static void
format_text (GString *out, const char *element, const char *text)
{
  g_string_append_printf (out, "<%s>", element);
  varve_xml_append_text (out, text);
  g_string_append_printf (out, "</%s>\n", element);
}

static void
format_memory (GString *out, uint64_t memory)
{
  const char *unit;
  uint64_t value = varve_xml_split_bytes (memory, &unit);

  g_string_append (out, "      <memory");
  varve_xml_append_attribute (out, "unit", unit);
  g_string_append_printf (out, ">%" G_GUINT64_FORMAT "</memory>\n", value);
}

static void
format_boot (const VarveVerifyDef *def, GString *out)
{
  g_string_append (out, "    <boot");
  if (def->timeout != VARVE_JOB_BOOT_TIMEOUT)
    varve_xml_append_number (out, "timeout", def->timeout);
  g_string_append (out, ">\n      ");
  if (def->console)
    format_text (out, "console", def->console);
  else if (def->mounted)
    format_text (out, "mounted", def->mounted);
  else
    g_string_append (out, "<agent/>\n");
  if (def->screenshot) {
    g_string_append (out, "      <screenshot");
    varve_xml_append_attribute (out, "file", def->screenshot);
    g_string_append (out, "/>\n");
  }
  if (def->memory)
    format_memory (out, def->memory);
  g_string_append (out, "    </boot>\n");
}

void
varve_verify_def_format (const VarveVerifyDef *def, GString *out)
{
  g_string_append (out, "  <verify");
  varve_xml_append_attribute (out, "name", def->name);
  g_string_append (out, ">\n");
  varve_job_format_store (out, "source", def->store, 0);
  if (def->backup) {
    g_string_append (out, "    ");
    format_text (out, "backup", def->backup);
  }
  if (def->boot)
    format_boot (def, out);
  g_string_append (out, "  </verify>\n");
}
