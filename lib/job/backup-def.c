/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The element <backup>: reading, checking and writing. What has its default is not written. An <export> says of
 * which domain it is, since when and how with the same elements: its reader calls the functions that are named
 * varve_source_*. */
#include "config.h"
#include "job/element.h"

#include <string.h>

/* QEMU's own number, which it never goes beyond. */
#define WORKERS_MAX 64
/* KiB. Less than a cluster of the target QEMU refuses. */
#define CHUNK_MIN 64
#define CHUNK_MAX 16384
/* A freeze holds up everything that the guest writes; guests give up waiting on their own. */
#define QUIESCE_TIMEOUT_MAX 300
/* copy-before-write's timeout is a 32-bit count of nanoseconds in the QEMUs at hand: 5 s wraps. */
#define WRITE_TIMEOUT_MAX 4
/* Every kept checkpoint costs the guest's host a bitmap a disk. */
#define KEEP_MAX 8
/* A reader of a chain holds every link of it open, below the usual 1024 files of a process. */
#define MAX_CHAIN_MAX 100
#define WAIT_MAX      (7 * 24 * 3600)

VarveBackupDef *
varve_backup_def_new (void)
{
  VarveBackupDef *def = g_new0 (VarveBackupDef, 1);

  def->disks = varve_backup_disks_new ();
  def->mode = g_strdup ("pull");
  def->verify = true;
  def->incremental = g_strdup ("auto");
  def->quiesce_timeout = VARVE_JOB_QUIESCE_TIMEOUT;
  def->write_timeout = VARVE_JOB_WRITE_TIMEOUT;
  def->keep = VARVE_JOB_KEEP;
  def->max_chain = VARVE_JOB_MAX_CHAIN;
  def->server_port = VARVE_JOB_SERVER_PORT;
  return def;
}

void
varve_backup_def_free (VarveBackupDef *def)
{
  if (!def)
    return;
  g_free (def->name);
  g_free (def->domain);
  g_free (def->uri);
  g_free (def->uuid);
  g_free (def->owner);
  g_free (def->store);
  g_ptr_array_unref (def->disks);
  g_free (def->mode);
  g_free (def->incremental);
  g_free (def->quiesce_agent);
  g_free (def->scratch_directory);
  g_free (def->server_host);
  g_free (def->server_credentials);
  g_free (def);
}

/* --- reading -------------------------------------------------------------------------------------
 */

static void
parse_domain (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "uri uuid?", NULL);
  def->uri = varve_xml_attribute (node, "uri");
  g_autofree char *uuid = varve_xml_attribute (node, "uuid");
  def->uuid = uuid ? g_ascii_strdown (uuid, -1) : NULL;
  def->domain = varve_xml_text (node);
}

/* 0 stands for what was not said. */
static unsigned
parse_number (VarveXml *xml, const xmlNode *node, const char *name)
{
  g_autofree char *text = varve_xml_attribute (node, name);
  unsigned number = varve_xml_unsigned (xml, node, name, 0);

  if (text && g_str_equal (text, "0"))
    varve_xml_problem (xml, node, "The %s of <mode> cannot be 0; leave it out.", name);
  return number;
}

static void
parse_mode (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "verify? compress? workers? chunk?", NULL);
  g_free (def->mode);
  def->mode = varve_xml_text (node);
  def->verify = varve_xml_yes_no (xml, node, "verify", true);
  def->compress = varve_xml_yes_no (xml, node, "compress", false);
  def->workers = parse_number (xml, node, "workers");
  def->chunk = parse_number (xml, node, "chunk");
}

static void
parse_fleece (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "", "");
  def->fleece = true;
}

static void
parse_incremental (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "", NULL);
  g_free (def->incremental);
  def->incremental = varve_xml_text (node);
}

static void
parse_quiesce (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "required? timeout? agent?", "");
  def->quiesce = true;
  def->quiesce_agent = varve_xml_attribute (node, "agent");
  def->quiesce_required = varve_xml_yes_no (xml, node, "required", false);
  def->quiesce_timeout = varve_xml_unsigned (xml, node, "timeout", def->quiesce_timeout);
}

static void
parse_guard (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  g_autofree char *limit = varve_xml_attribute (node, "scratch-limit");
  g_autofree char *unit = varve_xml_attribute (node, "unit");

  varve_xml_shape (xml, node, "on-write-error? write-timeout? scratch-limit? unit? pause?", "");
  def->write_timeout = varve_xml_unsigned (xml, node, "write-timeout", def->write_timeout);

  /* The guest's write never fails for the backup's sake, so there is nothing else to choose. */
  g_autofree char *policy =
      varve_xml_choice (xml, node, "on-write-error", "break-snapshot", "break-snapshot");
  g_autofree char *pause = varve_xml_choice (xml, node, "pause", "brief never", "brief");
  def->pause_never = g_str_equal (pause, "never");

  if (limit)
    varve_xml_parse_bytes (xml, node, "The scratch-limit", limit, &def->scratch_limit);
  else if (unit)
    varve_xml_problem (xml, node, "<guard> has a unit, and no scratch-limit for it.");
}

static void
parse_scratch (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "directory", "");
  def->scratch_directory = varve_xml_attribute (node, "directory");
}

static void
parse_speed (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  g_autofree char *text = varve_xml_text (node);

  varve_xml_shape (xml, node, "unit?", NULL);
  varve_xml_parse_bytes (xml, node, "The speed", text, &def->speed);
}

static void
parse_checkpoints (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "keep", "");
  def->keep = varve_xml_unsigned (xml, node, "keep", def->keep);
}

static void
parse_wait (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  g_autofree char *text = varve_xml_text (node);
  uint64_t seconds;

  varve_xml_shape (xml, node, "", NULL);
  if (varve_xml_parse_number (xml, node, "The wait", text, UINT_MAX, &seconds))
    def->wait = (unsigned)seconds;
}

static void
parse_target (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  def->store = varve_job_parse_store (xml, node, &def->max_chain);
}

/* Where the hypervisor serves: an <export> has a server of its own. */
static void
parse_server (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  g_autofree char *transport = varve_xml_choice (xml, node, "transport", "tcp", "tcp");

  varve_xml_shape (xml, node, "transport name port? credentials", "");
  def->server_host = varve_xml_attribute (node, "name");
  def->server_port = varve_xml_unsigned (xml, node, "port", def->server_port);
  def->server_credentials = varve_xml_attribute (node, "credentials");
}

static const struct {
  const char *name;
  void (*parse) (VarveXml *, const xmlNode *, VarveBackupDef *);
} children[] = {
  { "domain", parse_domain },
  { "disks", varve_backup_disks_parse },
  { "mode", parse_mode },
  { "fleece", parse_fleece },
  { "incremental", parse_incremental },
  { "quiesce", parse_quiesce },
  { "guard", parse_guard },
  { "scratch", parse_scratch },
  { "speed", parse_speed },
  { "checkpoints", parse_checkpoints },
  { "wait", parse_wait },
  { "target", parse_target },
};

void
varve_source_parse (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  def->name = varve_xml_attribute (node, "name");
  def->owner = varve_xml_attribute (node, "owner");
  for (size_t i = 0; i < G_N_ELEMENTS (children); i++) {
    const xmlNode *child = varve_xml_child (node, children[i].name);

    if (child)
      children[i].parse (xml, child, def);
  }
}

VarveBackupDef *
varve_backup_def_parse (VarveXml *xml, const xmlNode *node)
{
  VarveBackupDef *def = varve_backup_def_new ();
  const xmlNode *server = varve_xml_child (node, "server");

  varve_xml_shape (
      xml, node, "name? owner?",
      "domain disks? mode? fleece? incremental? quiesce? guard? scratch? server? speed? "
      "checkpoints? wait? target?");
  varve_source_parse (xml, node, def);
  if (server)
    parse_server (xml, server, def);
  return def;
}

/* --- checking ------------------------------------------------------------------------------------
 */

static void
check_agent (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  if (!def->quiesce_agent)
    return;
  varve_job_check_value (checker, "quiesce", VARVE_JOB_VALUE_PATH, "The quiesce agent",
                         def->quiesce_agent);
  if (!g_str_has_prefix (def->uri, "qmp+unix:"))
    varve_job_complain (checker, "quiesce",
                        "The quiesce has an agent, which is for qmp+unix: only: libvirt knows the "
                        "guest agent of its domains. Remove it.");
}

/* What is for QEMU to do, where varve reads. */
static void
check_mode (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  varve_job_check_word (checker, "mode", "The mode", def->mode, "pull push auto");
  if (def->workers)
    varve_job_check_range (checker, "mode", "The number of workers", def->workers, 1, WORKERS_MAX);
  if (def->chunk)
    varve_job_check_range (checker, "mode", "The chunk", def->chunk, CHUNK_MIN, CHUNK_MAX);
  if (g_strcmp0 (def->mode, "pull") != 0)
    return;
  if (!def->verify)
    varve_job_complain (checker, "mode",
                        "The mode says not to verify, which is for a push: what varve reads "
                        "itself always has sums.");
  if (def->fleece)
    varve_job_complain (checker, "fleece",
                        "The fleece is for a push: what varve reads itself is always read from "
                        "one. Remove it.");
  if (def->compress || def->workers || def->chunk)
    varve_job_complain (checker, "mode",
                        "The mode says how QEMU is to write (compress, workers, chunk), which is "
                        "for a push.");
}

void
varve_source_check (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  if (def->name)
    varve_job_check_value (checker, "", VARVE_JOB_VALUE_NAME, "The action's name", def->name);
  if (def->owner)
    varve_job_check_value (checker, "", VARVE_JOB_VALUE_OWNER, "The owner", def->owner);
  varve_job_check_value (checker, "domain", VARVE_JOB_VALUE_DOMAIN, "The domain", def->domain);
  varve_job_check_value (checker, "domain", VARVE_JOB_VALUE_URI, "The domain's uri", def->uri);
  if (def->uuid)
    varve_job_check_value (checker, "domain", VARVE_JOB_VALUE_UUID, "The domain's uuid", def->uuid);
  if (def->uuid && g_strcmp0 (def->uri, "image:") != 0 && !g_str_has_prefix (def->uri, "qmp+unix:"))
    varve_job_complain (
        checker, "domain",
        "The domain has a uuid, which is for image: and qmp+unix: only: elsewhere the "
        "hypervisor knows it. Remove it.");

  varve_backup_disks_check (def, checker);
  check_mode (def, checker);
  varve_job_check_value (checker, "incremental", VARVE_JOB_VALUE_CHECKPOINT, "The incremental",
                         def->incremental);
  varve_job_check_range (checker, "quiesce", "The quiesce timeout", def->quiesce_timeout, 1,
                         QUIESCE_TIMEOUT_MAX);
  check_agent (def, checker);
  varve_job_check_range (checker, "guard", "The guard's write-timeout", def->write_timeout, 1,
                         WRITE_TIMEOUT_MAX);
  if (def->scratch_directory)
    varve_job_check_value (checker, "scratch", VARVE_JOB_VALUE_PATH, "The scratch directory",
                           def->scratch_directory);
  varve_job_check_range (checker, "checkpoints", "The number of checkpoints to keep", def->keep, 1,
                         KEEP_MAX);
  varve_job_check_range (checker, "wait", "The wait", def->wait, 0, WAIT_MAX);
}

static void
check_server (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  varve_job_check_value (checker, "server", VARVE_JOB_VALUE_HOST, "The server's name",
                         def->server_host);
  varve_job_check_range (checker, "server", "The server's port", def->server_port, 1, 65535);
  varve_job_check_value (checker, "server", VARVE_JOB_VALUE_PATH, "The directory of credentials",
                         def->server_credentials);
  if (def->uri && !g_str_has_prefix (def->uri, "qemu:") && !g_str_has_prefix (def->uri, "qemu+"))
    varve_job_complain (checker, "server",
                        "The server is on TCP, which is for domains of libvirt: bare QEMU and "
                        "images are read by sockets of this host. Remove it.");
}

static void
check_no_store (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  if (def->store)
    varve_job_complain (checker, "target",
                        "The disks have targets of their own, so that there is nothing for a store "
                        "to keep. Remove the one or the other.");
  if (!def->verify)
    varve_job_complain (checker, "mode",
                        "The mode says not to verify, but targets of the disks' own have no sums "
                        "that anything could be verified by. Remove it.");
}

void
varve_backup_def_check (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  varve_source_check (def, checker);
  if (def->server_host || def->server_credentials)
    check_server (def, checker);
  if (varve_backup_targets_check (def, checker)) {
    check_no_store (def, checker);
    return;
  }
  if (!def->store) {
    varve_job_complain (
        checker, "target",
        "The backup goes nowhere: it needs a store (a <target> of its own), or each "
        "of its disks a target.");
    return;
  }
  varve_job_check_value (checker, "target/images", VARVE_JOB_VALUE_STORE, "The store", def->store);
  varve_job_check_range (checker, "target/images", "The max-chain", def->max_chain, 1,
                         MAX_CHAIN_MAX);
}

/* --- writing -------------------------------------------------------------------------------------
 */

static void
format_domain (const VarveBackupDef *def, GString *out)
{
  g_string_append (out, "    <domain");
  varve_xml_append_attribute (out, "uri", def->uri);
  varve_xml_append_attribute (out, "uuid", def->uuid);
  g_string_append_c (out, '>');
  varve_xml_append_text (out, def->domain);
  g_string_append (out, "</domain>\n");
}

static void
format_mode (const VarveBackupDef *def, GString *out)
{
  if (g_str_equal (def->mode, "pull"))
    return;
  g_string_append (out, "    <mode");
  varve_xml_append_attribute (out, "verify", def->verify ? NULL : "no");
  varve_xml_append_attribute (out, "compress", def->compress ? "yes" : NULL);
  if (def->workers)
    varve_xml_append_number (out, "workers", def->workers);
  if (def->chunk)
    varve_xml_append_number (out, "chunk", def->chunk);
  g_string_append_printf (out, ">%s</mode>\n", def->mode);
  if (def->fleece)
    g_string_append (out, "    <fleece/>\n");
}

static void
format_quiesce (const VarveBackupDef *def, GString *out)
{
  if (!def->quiesce)
    return;
  g_string_append (out, "    <quiesce");
  varve_xml_append_attribute (out, "required", def->quiesce_required ? "yes" : NULL);
  if (def->quiesce_timeout != VARVE_JOB_QUIESCE_TIMEOUT)
    varve_xml_append_number (out, "timeout", def->quiesce_timeout);
  varve_xml_append_attribute (out, "agent", def->quiesce_agent);
  g_string_append (out, "/>\n");
}

static void
format_guard (const VarveBackupDef *def, GString *out)
{
  const char *unit;
  uint64_t number = varve_xml_split_bytes (def->scratch_limit, &unit);

  if (def->write_timeout == VARVE_JOB_WRITE_TIMEOUT && def->scratch_limit == 0 && !def->pause_never)
    return;
  g_string_append (out, "    <guard");
  if (def->write_timeout != VARVE_JOB_WRITE_TIMEOUT)
    varve_xml_append_number (out, "write-timeout", def->write_timeout);
  if (def->scratch_limit != 0) {
    varve_xml_append_number (out, "scratch-limit", number);
    varve_xml_append_attribute (out, "unit", unit);
  }
  varve_xml_append_attribute (out, "pause", def->pause_never ? "never" : NULL);
  g_string_append (out, "/>\n");
}

static void
format_pace (const VarveBackupDef *def, GString *out)
{
  const char *unit;
  uint64_t number = varve_xml_split_bytes (def->speed, &unit);

  if (def->speed != 0)
    g_string_append_printf (out, "    <speed unit='%s'>%" G_GUINT64_FORMAT "</speed>\n", unit,
                            number);
  if (def->keep != VARVE_JOB_KEEP)
    g_string_append_printf (out, "    <checkpoints keep='%u'/>\n", def->keep);
  if (def->wait != 0)
    g_string_append_printf (out, "    <wait>%u</wait>\n", def->wait);
}

void
varve_source_format (const VarveBackupDef *def, const char *incremental, GString *out)
{
  varve_xml_append_attribute (out, "name", def->name);
  varve_xml_append_attribute (out, "owner", def->owner);
  g_string_append (out, ">\n");
  format_domain (def, out);
  varve_backup_disks_format (def, out);
  format_mode (def, out);
  if (!g_str_equal (def->incremental, incremental)) {
    g_string_append (out, "    <incremental>");
    varve_xml_append_text (out, def->incremental);
    g_string_append (out, "</incremental>\n");
  }
  format_quiesce (def, out);
  format_guard (def, out);
  if (def->scratch_directory) {
    g_string_append (out, "    <scratch");
    varve_xml_append_attribute (out, "directory", def->scratch_directory);
    g_string_append (out, "/>\n");
  }
  format_pace (def, out);
}

static void
format_server (const VarveBackupDef *def, GString *out)
{
  if (!def->server_host)
    return;
  g_string_append (out, "    <server transport='tcp'");
  varve_xml_append_attribute (out, "name", def->server_host);
  if (def->server_port != VARVE_JOB_SERVER_PORT)
    varve_xml_append_number (out, "port", def->server_port);
  varve_xml_append_attribute (out, "credentials", def->server_credentials);
  g_string_append (out, "/>\n");
}

void
varve_backup_def_format (const VarveBackupDef *def, GString *out)
{
  g_string_append (out, "  <backup");
  varve_source_format (def, "auto", out);
  format_server (def, out);
  if (def->store)
    varve_job_format_store (out, "target", def->store,
                            def->max_chain != VARVE_JOB_MAX_CHAIN ? def->max_chain : 0);
  g_string_append (out, "  </backup>\n");
}
