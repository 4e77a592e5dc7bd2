/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What libvirt tells of jobs, checkpoints and the host. */
#include "config.h"

#include "virt/libvirt/libvirt-xml.h"

#include <string.h>

#include "util/error.h"
#include "virt/libvirt/libvirt-tree.h"

#define EXPORT_PREFIX "varve-"
#define SESSION_CHARS 16

/* The session of an export bitmap's name; NULL when it is not one of ours. */
static char *
session_of (const char *bitmap)
{
  const char *session;

  if (!bitmap || !g_str_has_prefix (bitmap, EXPORT_PREFIX))
    return NULL;
  session = bitmap + strlen (EXPORT_PREFIX);
  if (strlen (session) != SESSION_CHARS || strspn (session, "0123456789abcdef") != SESSION_CHARS)
    return NULL;
  return g_strdup (session);
}

static void
read_backup_disk (VarveLibvirtBackup *backup, xmlNode *node)
{
  g_autofree char *bitmap = varve_libvirt_tree_attribute (node, "exportbitmap");
  char *name = varve_libvirt_tree_attribute (node, "name");
  char *scratch = varve_libvirt_tree_attribute (varve_libvirt_tree_child (node, "scratch"), "file");
  xmlNode *written = varve_libvirt_tree_child (node, "target");
  char *target = varve_libvirt_tree_attribute (written, "file");

  if (!target)
    target = varve_libvirt_tree_attribute (written, "dev");
  if (name)
    g_ptr_array_add (backup->disks, name);
  if (target)
    g_ptr_array_add (backup->targets, target);
  if (scratch)
    g_ptr_array_add (backup->scratch, scratch);
  if (!backup->session)
    backup->session = session_of (bitmap);
}

VarveLibvirtBackup *
varve_libvirt_backup_parse (const char *xml, GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domainbackup", error);
  VarveLibvirtBackup *backup;
  xmlNode *root, *node;

  if (!doc)
    return NULL;
  root = xmlDocGetRootElement (doc);
  backup = g_new0 (VarveLibvirtBackup, 1);
  backup->disks = g_ptr_array_new_with_free_func (g_free);
  backup->scratch = g_ptr_array_new_with_free_func (g_free);
  backup->targets = g_ptr_array_new_with_free_func (g_free);
  backup->mode = varve_libvirt_tree_attribute (root, "mode");
  backup->socket =
      varve_libvirt_tree_attribute (varve_libvirt_tree_child (root, "server"), "socket");
  node = varve_libvirt_tree_find (root, "disks/disk");
  for (; node; node = varve_libvirt_tree_next (node))
    if (!varve_libvirt_tree_attribute_is (node, "backup", "no"))
      read_backup_disk (backup, node);
  return backup;
}

void
varve_libvirt_backup_free (VarveLibvirtBackup *backup)
{
  if (!backup)
    return;
  g_free (backup->mode);
  g_free (backup->session);
  g_free (backup->socket);
  g_clear_pointer (&backup->disks, g_ptr_array_unref);
  g_clear_pointer (&backup->scratch, g_ptr_array_unref);
  g_clear_pointer (&backup->targets, g_ptr_array_unref);
  g_free (backup);
}

static void
checkpoint_disk_free (gpointer data)
{
  VarveLibvirtCheckpointDisk *disk = data;

  g_free (disk->disk);
  g_free (disk->bitmap);
  g_free (disk);
}

static bool
read_checkpoint_disk (VarveLibvirtCheckpoint *checkpoint, xmlNode *node, GError **error)
{
  g_autofree char *size = varve_libvirt_tree_attribute (node, "size");
  VarveLibvirtCheckpointDisk *disk = g_new0 (VarveLibvirtCheckpointDisk, 1);

  g_ptr_array_add (checkpoint->disks, disk);
  disk->disk = varve_libvirt_tree_attribute (node, "name");
  disk->bitmap = varve_libvirt_tree_attribute (node, "bitmap");
  if (!disk->bitmap)
    disk->bitmap = g_strdup (checkpoint->name);
  if (!disk->disk)
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "libvirt's checkpoint '%s' lists a disk without a name.", checkpoint->name);
  if (!size)
    return true;
  disk->has_size = true;
  return g_ascii_string_to_unsigned (size, 10, 0, G_MAXINT64, &disk->size, error) ||
         varve_prefix (error, "Size of disk '%s' in libvirt's checkpoint '%s'", disk->disk,
                       checkpoint->name);
}

static bool
read_checkpoint (VarveLibvirtCheckpoint *checkpoint, xmlNode *root, GError **error)
{
  g_autofree char *created =
      varve_libvirt_tree_text (varve_libvirt_tree_child (root, "creationTime"));
  xmlNode *node = varve_libvirt_tree_find (root, "disks/disk");

  checkpoint->name = varve_libvirt_tree_text (varve_libvirt_tree_child (root, "name"));
  checkpoint->description =
      varve_libvirt_tree_text (varve_libvirt_tree_child (root, "description"));
  if (!checkpoint->name)
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "libvirt lists a checkpoint without a name.");
  if (created &&
      !g_ascii_string_to_signed (created, 10, 0, G_MAXINT64, &checkpoint->created, error))
    return varve_prefix (error, "Creation time of libvirt's checkpoint '%s'", checkpoint->name);
  for (; node; node = varve_libvirt_tree_next (node))
    if (!varve_libvirt_tree_attribute_is (node, "checkpoint", "no") &&
        !read_checkpoint_disk (checkpoint, node, error))
      return false;
  return true;
}

VarveLibvirtCheckpoint *
varve_libvirt_checkpoint_parse (const char *xml, GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domaincheckpoint", error);
  g_autoptr (VarveLibvirtCheckpoint) checkpoint = NULL;

  if (!doc)
    return NULL;
  checkpoint = g_new0 (VarveLibvirtCheckpoint, 1);
  checkpoint->disks = g_ptr_array_new_with_free_func (checkpoint_disk_free);
  if (!read_checkpoint (checkpoint, xmlDocGetRootElement (doc), error))
    return NULL;
  return g_steal_pointer (&checkpoint);
}

void
varve_libvirt_checkpoint_free (VarveLibvirtCheckpoint *checkpoint)
{
  if (!checkpoint)
    return;
  g_free (checkpoint->name);
  g_free (checkpoint->description);
  g_clear_pointer (&checkpoint->disks, g_ptr_array_unref);
  g_free (checkpoint);
}

static char *
label_of_type (xmlNode *secmodel, const char *type)
{
  xmlNode *node = varve_libvirt_tree_child (secmodel, "baselabel");

  for (; node; node = varve_libvirt_tree_next (node))
    if (varve_libvirt_tree_attribute_is (node, "type", type))
      return varve_libvirt_tree_text (node);
  return NULL;
}

bool
varve_libvirt_capabilities_label (const char *xml, const char *type, char **out_label,
                                  GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "capabilities", error);
  xmlNode *node;

  *out_label = NULL;
  if (!doc)
    return false;
  node = varve_libvirt_tree_find (xmlDocGetRootElement (doc), "host/secmodel");
  for (; node && !*out_label; node = varve_libvirt_tree_next (node)) {
    g_autofree char *model = varve_libvirt_tree_text (varve_libvirt_tree_child (node, "model"));

    if (g_strcmp0 (model, "dac") == 0)
      *out_label = label_of_type (node, type);
  }
  return true;
}

/* A list that libvirt does not give yet says nothing. */
static bool
enum_has (xmlNode *node, const char *name, const char *value, bool otherwise)
{
  xmlNode *list = varve_libvirt_tree_child (node, "enum");
  xmlNode *entry;

  while (list && !varve_libvirt_tree_attribute_is (list, "name", name))
    list = varve_libvirt_tree_next (list);
  if (!list || !value)
    return otherwise;
  for (entry = varve_libvirt_tree_child (list, "value"); entry;
       entry = varve_libvirt_tree_next (entry)) {
    g_autofree char *text = varve_libvirt_tree_text (entry);

    if (g_strcmp0 (text, value) == 0)
      return true;
  }
  return false;
}

bool
varve_libvirt_capabilities_tpm (const char *xml, const VarveLibvirtTpm *tpm)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domainCapabilities", NULL);
  xmlNode *node = doc ? varve_libvirt_tree_find (xmlDocGetRootElement (doc), "devices/tpm") : NULL;

  return varve_libvirt_tree_attribute_is (node, "supported", "yes") &&
         enum_has (node, "backendModel", "emulator", false) &&
         enum_has (node, "model", tpm->model, true) &&
         enum_has (node, "backendVersion", tpm->version, true);
}

bool
varve_libvirt_features_parse (const char *xml, VarveLibvirtFeatures *out, GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domainCapabilities", error);
  xmlNode *root;

  if (!doc)
    return false;
  root = xmlDocGetRootElement (doc);
  out->emulator = varve_libvirt_tree_text (varve_libvirt_tree_child (root, "path"));
  out->backup = varve_libvirt_tree_attribute_is (varve_libvirt_tree_find (root, "features/backup"),
                                                 "supported", "yes");
  return true;
}

void
varve_libvirt_features_clear (VarveLibvirtFeatures *features)
{
  g_clear_pointer (&features->emulator, g_free);
}
