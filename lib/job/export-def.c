/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The element <export>: what is said of the source is what a <backup> says (backup-def.c); of its own it has where
 * readers connect, for how long, and what is run. What has its default is not written. */
#include "config.h"
#include "job/element.h"

#include <string.h>

#define MAX_AGE_MAX   (7 * 24 * 3600)
#define MODE_MAX      0666u
#define NO_CHECKPOINT "never"

VarveExportDef *
varve_export_def_new (void)
{
  VarveExportDef *def = g_new0 (VarveExportDef, 1);

  def->source = varve_backup_def_new ();
  g_free (def->source->incremental);
  def->source->incremental = g_strdup (NO_CHECKPOINT);
  def->mode = VARVE_JOB_SOCKET_MODE;
  def->max_age = VARVE_JOB_MAX_AGE;
  return def;
}

void
varve_export_def_free (VarveExportDef *def)
{
  if (!def)
    return;
  varve_backup_def_free (def->source);
  g_free (def->socket);
  g_free (def->group);
  g_free (def->host);
  g_free (def->credentials);
  g_free (def->command);
  g_free (def);
}

/* --- reading -------------------------------------------------------------------------------------
 */

/* Three digits, perhaps with a 0 before them. */
static void
parse_mode (VarveXml *xml, const xmlNode *node, VarveExportDef *def)
{
  g_autofree char *text = varve_xml_attribute (node, "mode");
  guint64 mode;

  if (!text)
    return;
  if (strlen (text) == (text[0] == '0' && strlen (text) > 3 ? 4 : 3) &&
      g_ascii_string_to_unsigned (text, 8, 0, MODE_MAX, &mode, NULL) && !(mode & ~MODE_MAX))
    def->mode = (unsigned)mode;
  else
    varve_xml_problem (xml, node,
                       "The attribute 'mode' is '%s': it must be an octal number that gives rights "
                       "to read and write alone, such as 0660.",
                       text);
}

static void
parse_server (VarveXml *xml, const xmlNode *node, VarveExportDef *def)
{
  g_autofree char *transport = varve_xml_choice (xml, node, "transport", "unix tcp", "unix");
  bool tcp = g_str_equal (transport, "tcp");

  varve_xml_shape (xml, node,
                   tcp ? "transport name port? tls? credentials? trim?"
                       : "transport socket? mode? group? tls? credentials? trim?",
                   "");
  def->credentials = varve_xml_attribute (node, "credentials");
  def->allow_trim = varve_xml_yes_no (xml, node, "trim", false);
  if (tcp) {
    def->host = varve_xml_attribute (node, "name");
    def->port = varve_xml_unsigned (xml, node, "port", 0);
    def->clear_text = !varve_xml_yes_no (xml, node, "tls", true);
    return;
  }
  def->socket = varve_xml_attribute (node, "socket");
  def->group = varve_xml_attribute (node, "group");
  parse_mode (xml, node, def);
  if (varve_xml_yes_no (xml, node, "tls", def->credentials != NULL) != (def->credentials != NULL))
    varve_xml_problem (xml, node,
                       "TLS and credentials go together: <server> has only one of both.");
}

static void
parse_max_age (VarveXml *xml, const xmlNode *node, VarveExportDef *def)
{
  g_autofree char *text = varve_xml_text (node);
  uint64_t seconds;

  varve_xml_shape (xml, node, "", NULL);
  if (varve_xml_parse_number (xml, node, "The max-age", text, UINT_MAX, &seconds))
    def->max_age = (unsigned)seconds;
}

static void
parse_run (VarveXml *xml, const xmlNode *node, VarveExportDef *def)
{
  varve_xml_shape (xml, node, "", NULL);
  def->command = varve_xml_text (node);
}

static const struct {
  const char *name;
  void (*parse) (VarveXml *, const xmlNode *, VarveExportDef *);
} children[] = {
  { "server", parse_server },
  { "max-age", parse_max_age },
  { "run", parse_run },
};

VarveExportDef *
varve_export_def_parse (VarveXml *xml, const xmlNode *node)
{
  VarveExportDef *def = varve_export_def_new ();

  varve_xml_shape (
      xml, node, "name? owner",
      "domain disks? incremental? quiesce? guard? scratch? checkpoints? wait? max-age? "
      "server? run?");
  varve_source_parse (xml, node, def->source);
  for (size_t i = 0; i < G_N_ELEMENTS (children); i++) {
    const xmlNode *child = varve_xml_child (node, children[i].name);

    if (child)
      children[i].parse (xml, child, def);
  }
  return def;
}

/* --- checking ------------------------------------------------------------------------------------
 */

static void
check_tcp (const VarveExportDef *def, const VarveJobChecker *checker)
{
  varve_job_check_value (checker, "server", VARVE_JOB_VALUE_HOST, "The server's name", def->host);
  varve_job_check_range (checker, "server", "The server's port", def->port, 0, 65535);
  if (!def->credentials && !def->clear_text)
    varve_job_complain (checker, "server",
                        "A server on TCP needs TLS credentials. (Without them, in clear text, it "
                        "must say tls='no', and its address be a loopback one.)");
  if (def->credentials && def->clear_text)
    varve_job_complain (checker, "server", "The server has credentials, and is to use no TLS.");
}

static void
check_unix (const VarveExportDef *def, const VarveJobChecker *checker)
{
  varve_job_check_value (checker, "server", VARVE_JOB_VALUE_PATH, "The server's socket",
                         def->socket);
  if (def->mode & ~MODE_MAX)
    varve_job_complain (checker, "server",
                        "The socket's mode is 0%o: it can give rights to read and write alone, as "
                        "0660 does.",
                        def->mode);
  if (def->group)
    varve_job_check_value (checker, "server", VARVE_JOB_VALUE_GROUP, "The socket's group",
                           def->group);
}

static void
check_server (const VarveExportDef *def, const VarveJobChecker *checker)
{
  if (def->host && def->socket)
    varve_job_complain (checker, "server",
                        "The server has a socket and an address: it can have one of both.");
  else if (def->host)
    check_tcp (def, checker);
  else if (def->socket)
    check_unix (def, checker);
  else if (!def->command)
    varve_job_complain (checker, "",
                        "Nobody could read what is exported: it needs a server, or a command to "
                        "run.");
  if (!def->host && def->clear_text)
    varve_job_complain (checker, "server", "Clear text is for a server on TCP to be chosen.");
  if (def->credentials)
    varve_job_check_value (checker, "server", VARVE_JOB_VALUE_PATH, "The directory of credentials",
                           def->credentials);
}

void
varve_export_def_check (const VarveExportDef *def, const VarveJobChecker *checker)
{
  if (!def->source->owner)
    varve_job_check_value (checker, "", VARVE_JOB_VALUE_OWNER, "The owner", NULL);
  varve_source_check (def->source, checker);
  if (varve_backup_targets_check (def->source, checker))
    varve_job_complain (checker, "disks",
                        "A disk has a target, which is for a backup: what is exported is read by "
                        "others. Remove it.");
  if (g_strcmp0 (def->source->incremental, "auto") == 0)
    varve_job_complain (checker, "incremental",
                        "The incremental is 'auto': an export has no store to tell by. Name a "
                        "checkpoint, or leave it out.");
  varve_job_check_range (checker, "max-age", "The max-age", def->max_age, 1, MAX_AGE_MAX);
  check_server (def, checker);
  if (def->command)
    varve_job_check_value (checker, "run", VARVE_JOB_VALUE_COMMAND, "The command", def->command);
}

/* --- writing -------------------------------------------------------------------------------------
 */

static void
format_server (const VarveExportDef *def, GString *out)
{
  if (!def->host && !def->socket && !def->credentials && !def->allow_trim)
    return;
  g_string_append_printf (out, "    <server transport='%s'", def->host ? "tcp" : "unix");
  varve_xml_append_attribute (out, "name", def->host);
  varve_xml_append_attribute (out, "socket", def->socket);
  if (def->port != 0)
    varve_xml_append_number (out, "port", def->port);
  if (def->mode != VARVE_JOB_SOCKET_MODE)
    g_string_append_printf (out, " mode='0%o'", def->mode);
  varve_xml_append_attribute (out, "group", def->group);
  varve_xml_append_attribute (out, "tls", def->clear_text ? "no" : NULL);
  varve_xml_append_attribute (out, "credentials", def->credentials);
  varve_xml_append_attribute (out, "trim", def->allow_trim ? "yes" : NULL);
  g_string_append (out, "/>\n");
}

void
varve_export_def_format (const VarveExportDef *def, GString *out)
{
  g_string_append (out, "  <export");
  varve_source_format (def->source, NO_CHECKPOINT, out);
  if (def->max_age != VARVE_JOB_MAX_AGE)
    g_string_append_printf (out, "    <max-age>%u</max-age>\n", def->max_age);
  format_server (def, out);
  if (def->command) {
    g_string_append (out, "    <run>");
    varve_xml_append_text (out, def->command);
    g_string_append (out, "</run>\n");
  }
  g_string_append (out, "  </export>\n");
}
