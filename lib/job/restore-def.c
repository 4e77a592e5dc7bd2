/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The element <restore>: reading, checking and writing. What has its default is not written. */
#include "config.h"
#include "job/element.h"

#include <string.h>

#define DEFAULT_FORMAT "raw"
#define FORMATS        "raw qcow2"

static void
disk_free (void *data)
{
  VarveRestoreDisk *disk = data;

  g_free (disk->name);
  g_free (disk->path);
  g_free (disk->format);
  g_free (disk);
}

VarveRestoreDef *
varve_restore_def_new (void)
{
  VarveRestoreDef *def = g_new0 (VarveRestoreDef, 1);

  def->disks = g_ptr_array_new_with_free_func (disk_free);
  def->directory_format = g_strdup (DEFAULT_FORMAT);
  return def;
}

void
varve_restore_def_free (VarveRestoreDef *def)
{
  if (!def)
    return;
  g_free (def->name);
  g_free (def->store);
  g_free (def->backup);
  g_ptr_array_unref (def->disks);
  g_free (def->directory);
  g_free (def->directory_format);
  g_free (def->define);
  g_free (def->define_uri);
  g_free (def->instant_uri);
  g_free (def);
}

VarveRestoreDisk *
varve_restore_def_add_disk (VarveRestoreDef *def, const char *name)
{
  VarveRestoreDisk *disk = g_new0 (VarveRestoreDisk, 1);

  disk->name = g_strdup (name);
  disk->format = g_strdup (DEFAULT_FORMAT);
  g_ptr_array_add (def->disks, disk);
  return disk;
}

/* file='' and dev='' differ for the eye of a reader only: dev says that a device is meant, and
 * takes no path that cannot be one. */
void
varve_job_parse_target (VarveXml *xml, const xmlNode *node, char **out_path, char **out_format)
{
  g_autofree char *file = varve_xml_attribute (node, "file");
  g_autofree char *device = varve_xml_attribute (node, "dev");
  g_autofree char *nbd = varve_xml_attribute (node, "nbd");

  varve_xml_shape (xml, node, "file? dev? nbd? format?", "");
  if ((file != NULL) + (device != NULL) + (nbd != NULL) != 1)
    varve_xml_problem (xml, node, "<target> needs one of the attributes 'file', 'dev' and 'nbd'.");
  if (file && varve_job_is_nbd (file))
    varve_xml_problem (xml, node,
                       "The attribute 'file' of <target> is '%s': an NBD export is named by 'nbd'.",
                       file);
  if (nbd && !varve_job_is_nbd (nbd))
    varve_xml_problem (
        xml, node,
        "The attribute 'nbd' of <target> is '%s': it must be the URI of an NBD export, "
        "such as nbd+unix:///NAME?socket=PATH.",
        nbd);
  if (device && !g_str_has_prefix (device, "/dev/"))
    varve_xml_problem (xml, node,
                       "The attribute 'dev' of <target> is '%s': it must be below /dev/.", device);
  *out_path = g_strdup (file ? file : device ? device : nbd);
  g_free (*out_format);
  *out_format = varve_xml_choice (xml, node, "format", FORMATS, DEFAULT_FORMAT);
}

static void
parse_disks (VarveXml *xml, const xmlNode *node, VarveRestoreDef *def)
{
  varve_xml_shape (xml, node, "force? over?", "disk*");
  def->force = varve_xml_yes_no (xml, node, "force", false);
  def->over = varve_xml_yes_no (xml, node, "over", false);
  for (const xmlNode *child = varve_xml_child (node, "disk"); child;
       child = varve_xml_next (child, "disk")) {
    g_autofree char *name = varve_xml_attribute (child, "name");
    VarveRestoreDisk *disk = varve_restore_def_add_disk (def, name);
    const xmlNode *target = varve_xml_child (child, "target");

    varve_xml_shape (xml, child, "name", "target");
    if (target)
      varve_job_parse_target (xml, target, &disk->path, &disk->format);
  }
}

static void
parse_directory (VarveXml *xml, const xmlNode *node, VarveRestoreDef *def)
{
  varve_xml_shape (xml, node, "format?", NULL);
  def->directory = varve_xml_text (node);
  g_free (def->directory_format);
  def->directory_format = varve_xml_choice (xml, node, "format", FORMATS, DEFAULT_FORMAT);
}

static void
parse_define (VarveXml *xml, const xmlNode *node, VarveRestoreDef *def)
{
  varve_xml_shape (xml, node, "uri", NULL);
  def->define = varve_xml_text (node);
  g_free (def->define_uri);
  def->define_uri = varve_xml_attribute (node, "uri");
}

static void
parse_speed (VarveXml *xml, const xmlNode *node, VarveRestoreDef *def)
{
  g_autofree char *text = varve_xml_text (node);

  varve_xml_shape (xml, node, "unit?", NULL);
  varve_xml_parse_bytes (xml, node, "The speed", text, &def->speed);
}

static void
parse_instant (VarveXml *xml, const xmlNode *node, VarveRestoreDef *def)
{
  varve_xml_shape (xml, node, "uri?", "");
  def->instant = true;
  def->instant_uri = varve_xml_attribute (node, "uri");
}

VarveRestoreDef *
varve_restore_def_parse (VarveXml *xml, const xmlNode *node)
{
  VarveRestoreDef *def = varve_restore_def_new ();
  const xmlNode *source = varve_xml_child (node, "source");
  const xmlNode *backup = varve_xml_child (node, "backup");
  const xmlNode *disks = varve_xml_child (node, "disks");
  const xmlNode *directory = varve_xml_child (node, "directory");
  const xmlNode *define = varve_xml_child (node, "define");
  const xmlNode *instant = varve_xml_child (node, "instant");
  const xmlNode *speed = varve_xml_child (node, "speed");

  varve_xml_shape (xml, node, "name?", "source backup disks? directory? define? instant? speed?");
  def->name = varve_xml_attribute (node, "name");
  if (source)
    def->store = varve_job_parse_store (xml, source, NULL);
  if (backup) {
    varve_xml_shape (xml, backup, "", NULL);
    def->backup = varve_xml_text (backup);
  }
  if (disks)
    parse_disks (xml, disks, def);
  if (directory)
    parse_directory (xml, directory, def);
  if (define)
    parse_define (xml, define, def);
  if (instant)
    parse_instant (xml, instant, def);
  if (speed)
    parse_speed (xml, speed, def);
  return def;
}

static void
check_disks (const VarveRestoreDef *def, const VarveJobChecker *checker)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GHashTable) paths = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveRestoreDisk *disk = g_ptr_array_index (def->disks, i);
    g_autofree char *place = g_strdup_printf ("disks/disk:%u", i + 1);
    g_autofree char *target = g_strconcat (place, "/target", NULL);

    varve_job_check_value (checker, place, VARVE_JOB_VALUE_DISK, "The disk's name", disk->name);
    varve_job_check_value (checker, target,
                           disk->path && varve_job_is_nbd (disk->path) ? VARVE_JOB_VALUE_NBD
                                                                       : VARVE_JOB_VALUE_PATH,
                           "The target", disk->path);
    varve_job_check_word (checker, target, "The target's format", disk->format, FORMATS);
    if (disk->name && !g_hash_table_add (names, disk->name))
      varve_job_complain (checker, place, "Disk '%s' is named twice.", disk->name);
    if (disk->path && !g_hash_table_add (paths, disk->path))
      varve_job_complain (checker, target, "Two disks are to be restored to '%s'.", disk->path);
  }
}

/* By libvirt: nobody else keeps definitions. */
static void
check_define (const VarveRestoreDef *def, const VarveJobChecker *checker)
{
  varve_job_check_value (checker, "define", VARVE_JOB_VALUE_DOMAIN, "The new domain's name",
                         def->define);
  varve_job_check_value (checker, "define", VARVE_JOB_VALUE_URI, "The new domain's URI",
                         def->define_uri);
  if (def->define_uri &&
      (g_str_has_prefix (def->define_uri, "qmp") || g_str_has_prefix (def->define_uri, "image:")))
    varve_job_complain (checker, "define",
                        "A domain is defined by libvirt (qemu:///system), and not at '%s'.",
                        def->define_uri);
  for (guint i = 0; i < def->disks->len; i++) {
    const VarveRestoreDisk *disk = g_ptr_array_index (def->disks, i);
    g_autofree char *place = g_strdup_printf ("disks/disk:%u/target", i + 1);

    if (disk->path && varve_job_is_nbd (disk->path))
      varve_job_complain (checker, place,
                          "The new domain is to have the disk as a file or device of this host, "
                          "and not as the NBD export '%s'.",
                          disk->path);
  }
}

/* Who has the disks while they are filled. */
static void
check_instant_domain (const VarveRestoreDef *def, const VarveJobChecker *checker)
{
  if (!def->define && !def->instant_uri)
    varve_job_complain (checker, "instant",
                        "It does not say which guest is to run at once: a domain that is defined "
                        "(<define>), or that of a bare QEMU (uri).");
  if (def->define && def->instant_uri)
    varve_job_complain (checker, "instant",
                        "The guest that runs at once is that of the domain that is defined, or of "
                        "the QEMU at '%s': it can be one of both.",
                        def->instant_uri);
  if (!def->instant_uri)
    return;
  varve_job_check_value (checker, "instant", VARVE_JOB_VALUE_URI, "The guest's URI",
                         def->instant_uri);
  if (!g_str_has_prefix (def->instant_uri, "qmp+unix:"))
    varve_job_complain (checker, "instant",
                        "The guest that runs at once is at '%s': it must be a bare QEMU "
                        "(qmp+unix:///PATH); with libvirt a domain is defined for it.",
                        def->instant_uri);
}

/* Images of their own, which can lie above others and hold bitmaps. */
static void
check_instant (const VarveRestoreDef *def, const VarveJobChecker *checker)
{
  static const char *const wanted = "A guest that runs at once has its disks in new files of "
                                    "format qcow2";

  check_instant_domain (def, checker);
  if (def->force || def->over)
    varve_job_complain (checker, "disks",
                        "%s: nothing that exists is replaced (force) or written over (over).",
                        wanted);
  for (guint i = 0; i < def->disks->len; i++) {
    const VarveRestoreDisk *disk = g_ptr_array_index (def->disks, i);
    g_autofree char *place = g_strdup_printf ("disks/disk:%u/target", i + 1);

    if (g_strcmp0 (disk->format, "qcow2") != 0 || varve_job_is_device (disk->path) ||
        (disk->path && varve_job_is_nbd (disk->path)))
      varve_job_complain (checker, place, "%s, and '%s' is none.", wanted,
                          disk->path ? disk->path : "");
  }
  if (def->directory && g_strcmp0 (def->directory_format, "qcow2") != 0)
    varve_job_complain (checker, "directory", "%s: say format='qcow2'.", wanted);
}

void
varve_restore_def_check (const VarveRestoreDef *def, const VarveJobChecker *checker)
{
  if (def->name)
    varve_job_check_value (checker, "", VARVE_JOB_VALUE_NAME, "The action's name", def->name);
  varve_job_check_value (checker, "source/images", VARVE_JOB_VALUE_STORE, "The store", def->store);
  varve_job_check_value (checker, "backup", VARVE_JOB_VALUE_BACKUP, "The backup", def->backup);
  check_disks (def, checker);
  if (def->directory)
    varve_job_check_value (checker, "directory", VARVE_JOB_VALUE_DIRECTORY, "The directory",
                           def->directory);
  varve_job_check_word (checker, "directory", "The directory's format", def->directory_format,
                        FORMATS);
  if (def->define)
    check_define (def, checker);
  if (def->instant)
    check_instant (def, checker);
  else if (def->speed != 0)
    varve_job_complain (checker, "speed",
                        "Only a guest that runs at once (<instant>) has its disks filled at a "
                        "limited speed.");
  if (def->force && def->over)
    varve_job_complain (checker, "disks",
                        "What exists is to be replaced (force), and to be written over where it "
                        "differs (over): it can be one of both.");
  if (def->disks->len == 0 && !def->directory)
    varve_job_complain (checker, "",
                        "The restore does not say where to: name disks with their targets, or a "
                        "directory for all of them.");
}

bool
varve_job_is_device (const char *path)
{
  return path && g_str_has_prefix (path, "/dev/") && !g_str_has_prefix (path, "/dev/shm/");
}

static const char *
target_attribute (const char *path)
{
  if (path && varve_job_is_nbd (path))
    return "nbd";
  return varve_job_is_device (path) ? "dev" : "file";
}

static const char *
unless_default (const char *format)
{
  return g_strcmp0 (format, DEFAULT_FORMAT) == 0 ? NULL : format;
}

void
varve_job_format_target (GString *out, const char *path, const char *format)
{
  g_string_append (out, "        <target");
  varve_xml_append_attribute (out, target_attribute (path), path);
  varve_xml_append_attribute (out, "format", unless_default (format));
  g_string_append (out, "/>\n");
}

static void
format_disks (const VarveRestoreDef *def, GString *out)
{
  g_string_append (out, "    <disks");
  varve_xml_append_attribute (out, "force", def->force ? "yes" : NULL);
  varve_xml_append_attribute (out, "over", def->over ? "yes" : NULL);
  g_string_append (out, def->disks->len > 0 ? ">\n" : "/>\n");

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveRestoreDisk *disk = g_ptr_array_index (def->disks, i);

    g_string_append (out, "      <disk");
    varve_xml_append_attribute (out, "name", disk->name);
    g_string_append (out, ">\n");
    varve_job_format_target (out, disk->path, disk->format);
    g_string_append (out, "      </disk>\n");
  }
  if (def->disks->len > 0)
    g_string_append (out, "    </disks>\n");
}

static void
format_speed (const VarveRestoreDef *def, GString *out)
{
  const char *unit;
  uint64_t number = varve_xml_split_bytes (def->speed, &unit);

  if (def->speed != 0)
    g_string_append_printf (out, "    <speed unit='%s'>%" G_GUINT64_FORMAT "</speed>\n", unit,
                            number);
}

void
varve_restore_def_format (const VarveRestoreDef *def, GString *out)
{
  g_string_append (out, "  <restore");
  varve_xml_append_attribute (out, "name", def->name);
  g_string_append (out, ">\n");
  varve_job_format_store (out, "source", def->store, 0);
  g_string_append (out, "    <backup>");
  varve_xml_append_text (out, def->backup);
  g_string_append (out, "</backup>\n");
  if (def->disks->len > 0 || def->force || def->over)
    format_disks (def, out);
  if (def->directory) {
    g_string_append (out, "    <directory");
    varve_xml_append_attribute (out, "format", unless_default (def->directory_format));
    g_string_append_c (out, '>');
    varve_xml_append_text (out, def->directory);
    g_string_append (out, "</directory>\n");
  }
  if (def->define) {
    g_string_append (out, "    <define");
    varve_xml_append_attribute (out, "uri", def->define_uri);
    g_string_append_c (out, '>');
    varve_xml_append_text (out, def->define);
    g_string_append (out, "</define>\n");
  }
  if (def->instant) {
    g_string_append (out, "    <instant");
    varve_xml_append_attribute (out, "uri", def->instant_uri);
    g_string_append (out, "/>\n");
  }
  format_speed (def, out);
  g_string_append (out, "  </restore>\n");
}
