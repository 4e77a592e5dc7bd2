/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The <disks> of a <backup>: which disks are meant, and how those are found that no hypervisor
 * tells of. What a URI's driver would not look at is refused there, so that no document says
 * something that is silently without effect:
 *
 *                 libvirt    qmp+unix:           image:
 *   qdev          -          a disk's device     -
 *   <image>       -          while QEMU is off   every disk that is backed up
 *
 * <target> is where a disk goes that goes to no store.
 */
#include "config.h"
#include "job/element.h"

#include <string.h>

static void
disk_free (void *data)
{
  VarveJobDisk *disk = data;

  g_free (disk->name);
  g_free (disk->qdev);
  g_free (disk->image_path);
  g_free (disk->image_format);
  g_free (disk->image_key_file);
  g_free (disk->target);
  g_free (disk->target_format);
  g_free (disk);
}

GPtrArray *
varve_backup_disks_new (void)
{
  return g_ptr_array_new_with_free_func (disk_free);
}

VarveJobDisk *
varve_backup_def_find_disk (const VarveBackupDef *def, const char *name)
{
  for (guint i = 0; i < def->disks->len; i++) {
    VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (g_strcmp0 (disk->name, name) == 0)
      return disk;
  }
  return NULL;
}

VarveJobDisk *
varve_backup_def_add_disk (VarveBackupDef *def, const char *name)
{
  VarveJobDisk *disk = g_new0 (VarveJobDisk, 1);

  disk->name = g_strdup (name);
  disk->backup = true;
  g_ptr_array_add (def->disks, disk);
  return disk;
}

static void
parse_image (VarveXml *xml, const xmlNode *node, VarveJobDisk *disk)
{
  varve_xml_shape (xml, node, "file format key-file?", "");
  disk->image_path = varve_xml_attribute (node, "file");
  disk->image_format = varve_xml_attribute (node, "format");
  disk->image_key_file = varve_xml_attribute (node, "key-file");
}

void
varve_backup_disks_parse (VarveXml *xml, const xmlNode *node, VarveBackupDef *def)
{
  varve_xml_shape (xml, node, "force?", "disk+");
  def->force = varve_xml_yes_no (xml, node, "force", false);
  for (const xmlNode *child = varve_xml_child (node, "disk"); child;
       child = varve_xml_next (child, "disk")) {
    g_autofree char *name = varve_xml_attribute (child, "name");
    VarveJobDisk *disk = varve_backup_def_add_disk (def, name);
    const xmlNode *image = varve_xml_child (child, "image");
    const xmlNode *target = varve_xml_child (child, "target");

    varve_xml_shape (xml, child, "name backup? qdev?", "image? target?");
    disk->backup = varve_xml_yes_no (xml, child, "backup", true);
    disk->qdev = varve_xml_attribute (child, "qdev");
    if (image)
      parse_image (xml, image, disk);
    if (target)
      varve_job_parse_target (xml, target, &disk->target, &disk->target_format);
  }
}

static void
check_image (const VarveJobDisk *disk, const VarveJobChecker *checker, const char *place)
{
  g_autofree char *image = g_strconcat (place, "/image", NULL);

  varve_job_check_value (checker, image, VARVE_JOB_VALUE_PATH, "The image's file",
                         disk->image_path);
  varve_job_check_word (checker, image, "The image's format", disk->image_format, "raw qcow2 luks");
  if (disk->image_key_file)
    varve_job_check_value (checker, image, VARVE_JOB_VALUE_PATH, "The image's key-file",
                           disk->image_key_file);
  else if (g_strcmp0 (disk->image_format, "luks") == 0)
    varve_job_complain (checker, image,
                        "The image of disk '%s' is of format luks, and has no key-file.",
                        disk->name);
}

static bool
has_image (const VarveJobDisk *disk)
{
  return disk->image_path || disk->image_format || disk->image_key_file;
}

static void
check_disk (const VarveBackupDef *def, const VarveJobDisk *disk, const VarveJobChecker *checker,
            const char *place)
{
  const char *uri = def->uri ? def->uri : "";
  bool stopped = g_str_equal (uri, "image:");
  bool qemu = g_str_has_prefix (uri, "qmp+");

  varve_job_check_value (checker, place, VARVE_JOB_VALUE_DISK, "The disk's name", disk->name);
  if (disk->qdev && qemu)
    varve_job_check_value (checker, place, VARVE_JOB_VALUE_QDEV, "The disk's qdev", disk->qdev);
  else if (disk->qdev)
    varve_job_complain (checker, place,
                        "Disk '%s' has a qdev, which only a domain at qmp+unix: has. Remove it.",
                        disk->name);

  if (has_image (disk) && (qemu || stopped))
    check_image (disk, checker, place);
  else if (has_image (disk))
    varve_job_complain (
        checker, place,
        "Disk '%s' has an image, but libvirt tells how its disks are opened. Remove it.",
        disk->name);
  else if (stopped && disk->backup)
    varve_job_complain (checker, place,
                        "Disk '%s' of an image: domain needs an image: say its file and format.",
                        disk->name);
}

void
varve_backup_disks_check (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  bool any = false;

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);
    g_autofree char *place = g_strdup_printf ("disks/disk:%u", i + 1);

    check_disk (def, disk, checker, place);
    any = any || disk->backup;
    if (disk->name && !g_hash_table_add (seen, disk->name))
      varve_job_complain (checker, place, "Disk '%s' is named twice.", disk->name);
  }
  if (!any && g_strcmp0 (def->uri, "image:") == 0)
    varve_job_complain (
        checker, "disks",
        "An image: domain has the disks that are named, and none is to be backed up.");
}

/* What QEMU is told of how to write. */
static void
check_writer (const VarveBackupDef *def, const VarveJobDisk *disk, const VarveJobChecker *checker)
{
  if (def->compress && g_strcmp0 (disk->target_format, "qcow2") != 0)
    varve_job_complain (checker, "mode",
                        "QEMU is to compress what it writes, and the target of disk '%s' is raw: "
                        "use format qcow2, or leave it uncompressed.",
                        disk->name);
  if ((def->workers || def->chunk) && varve_job_is_nbd (disk->target))
    varve_job_complain (checker, "mode",
                        "The mode says how QEMU is to write (workers, chunk), and QEMU does not "
                        "write to the target of disk '%s', which is an NBD export. Remove it.",
                        disk->name);
}

static void
check_target (const VarveBackupDef *def, const VarveJobDisk *disk, const VarveJobChecker *checker,
              const char *place)
{
  g_autofree char *target = g_strconcat (place, "/target", NULL);

  varve_job_check_value (
      checker, target, varve_job_is_nbd (disk->target) ? VARVE_JOB_VALUE_NBD : VARVE_JOB_VALUE_PATH,
      "The target", disk->target);
  varve_job_check_word (checker, target, "The target's format", disk->target_format, "raw qcow2");
  check_writer (def, disk, checker);
}

bool
varve_backup_targets_check (const VarveBackupDef *def, const VarveJobChecker *checker)
{
  guint with = 0, without = 0;

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);
    g_autofree char *place = g_strdup_printf ("disks/disk:%u", i + 1);

    if (disk->target && disk->backup)
      check_target (def, disk, checker, place);
    else if (disk->target)
      varve_job_complain (checker, place, "Disk '%s' is left out, and has a target. Remove it.",
                          disk->name);
    with += disk->target != NULL;
    without += disk->backup && !disk->target;
  }
  if (with && without)
    varve_job_complain (checker, "disks",
                        "Some disks have a target, and others none: each that is backed up needs "
                        "one.");
  if (!with && def->force)
    varve_job_complain (checker, "disks",
                        "What is there is to be written over (force), but no disk has a target. "
                        "Remove it.");
  return with > 0;
}

static void
format_image (const VarveJobDisk *disk, GString *out)
{
  g_string_append (out, "        <image");
  varve_xml_append_attribute (out, "file", disk->image_path);
  varve_xml_append_attribute (out, "format", disk->image_format);
  varve_xml_append_attribute (out, "key-file", disk->image_key_file);
  g_string_append (out, "/>\n");
}

void
varve_backup_disks_format (const VarveBackupDef *def, GString *out)
{
  if (def->disks->len == 0)
    return;

  g_string_append (out, "    <disks");
  varve_xml_append_attribute (out, "force", def->force ? "yes" : NULL);
  g_string_append (out, ">\n");
  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    g_string_append (out, "      <disk");
    varve_xml_append_attribute (out, "name", disk->name);
    varve_xml_append_attribute (out, "backup", disk->backup ? NULL : "no");
    varve_xml_append_attribute (out, "qdev", disk->qdev);
    g_string_append (out, has_image (disk) || disk->target ? ">\n" : "/>\n");
    if (has_image (disk))
      format_image (disk, out);
    if (disk->target)
      varve_job_format_target (out, disk->target, disk->target_format);
    if (has_image (disk) || disk->target)
      g_string_append (out, "      </disk>\n");
  }
  g_string_append (out, "    </disks>\n");
}
