/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A <domain>, as far as a backup is concerned. */
#include "config.h"

#include "virt/libvirt/libvirt-xml.h"

#include "util/error.h"
#include "virt/libvirt/libvirt-tree.h"

static void
disk_free (gpointer data)
{
  VarveLibvirtDisk *disk = data;

  g_free (disk->name);
  g_free (disk->device);
  g_free (disk->type);
  g_free (disk->format);
  g_free (disk->path);
  g_free (disk);
}

static void
tpm_free (VarveLibvirtTpm *tpm)
{
  g_free (tpm->model);
  g_free (tpm->version);
  g_free (tpm->place);
  g_free (tpm->secret);
  g_free (tpm);
}

void
varve_libvirt_definition_free (VarveLibvirtDefinition *definition)
{
  if (!definition)
    return;
  g_free (definition->type);
  g_free (definition->arch);
  g_free (definition->machine);
  g_free (definition->emulator);
  g_free (definition->nvram);
  g_free (definition->dac_label);
  g_clear_pointer (&definition->tpm, tpm_free);
  g_clear_pointer (&definition->disks, g_ptr_array_unref);
  g_free (definition);
}

const VarveLibvirtDisk *
varve_libvirt_definition_find (const VarveLibvirtDefinition *definition, const char *disk)
{
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *candidate = g_ptr_array_index (definition->disks, i);

    if (g_str_equal (candidate->name, disk))
      return candidate;
  }
  return NULL;
}

/* Either a number (iothread=) or a list of them (<iothreads>, since libvirt 10.0). */
static bool
driver_has_iothread (xmlNode *driver)
{
  g_autofree char *iothread = varve_libvirt_tree_attribute (driver, "iothread");

  return iothread != NULL || varve_libvirt_tree_child (driver, "iothreads") != NULL;
}

/* A SCSI disk is served by the iothread of the controller that its address names. */
static bool
controller_has_iothread (xmlNode *devices, xmlNode *disk)
{
  g_autofree char *bus =
      varve_libvirt_tree_attribute (varve_libvirt_tree_child (disk, "target"), "bus");
  g_autofree char *index =
      varve_libvirt_tree_attribute (varve_libvirt_tree_child (disk, "address"), "controller");
  xmlNode *node = varve_libvirt_tree_child (devices, "controller");

  if (g_strcmp0 (bus, "scsi") != 0)
    return false;
  for (; node; node = varve_libvirt_tree_next (node))
    if (varve_libvirt_tree_attribute_is (node, "type", "scsi") &&
        varve_libvirt_tree_attribute_is (node, "index", index ? index : "0"))
      return driver_has_iothread (varve_libvirt_tree_child (node, "driver"));
  return false;
}

static char *
source_path (xmlNode *source, const char *type)
{
  if (g_str_equal (type, "file"))
    return varve_libvirt_tree_attribute (source, "file");
  if (g_str_equal (type, "block"))
    return varve_libvirt_tree_attribute (source, "dev");
  return NULL;
}

static VarveLibvirtDisk *
read_disk (xmlNode *devices, xmlNode *node)
{
  xmlNode *driver = varve_libvirt_tree_child (node, "driver");
  xmlNode *source = varve_libvirt_tree_child (node, "source");
  VarveLibvirtDisk *disk = g_new0 (VarveLibvirtDisk, 1);

  disk->name = varve_libvirt_tree_attribute (varve_libvirt_tree_child (node, "target"), "dev");
  disk->device = varve_libvirt_tree_attribute (node, "device");
  if (!disk->device)
    disk->device = g_strdup ("disk");
  disk->type = varve_libvirt_tree_attribute (node, "type");
  if (!disk->type)
    disk->type = g_strdup ("file");
  disk->format = varve_libvirt_tree_attribute (driver, "type");
  disk->path = source_path (source, disk->type);
  disk->has_medium =
      source &&
      (disk->path || !g_strv_contains ((const char *const[]){ "file", "block", NULL }, disk->type));
  disk->readonly = varve_libvirt_tree_child (node, "readonly") != NULL;
  disk->encrypted = varve_libvirt_tree_child (node, "encryption") ||
                    varve_libvirt_tree_child (source, "encryption");
  disk->stops_on_error = varve_libvirt_tree_attribute_is (driver, "error_policy", "stop");
  disk->iothread = driver_has_iothread (driver) || controller_has_iothread (devices, node);
  return disk;
}

static bool
read_disks (VarveLibvirtDefinition *definition, xmlNode *devices, GError **error)
{
  xmlNode *node = varve_libvirt_tree_child (devices, "disk");

  for (; node; node = varve_libvirt_tree_next (node)) {
    VarveLibvirtDisk *disk = read_disk (devices, node);

    g_ptr_array_add (definition->disks, disk);
    if (!disk->name || !*disk->name)
      return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                          "libvirt's domain document has a disk without a target.");
  }
  return true;
}

/* <nvram>PATH</nvram>, or since libvirt 8.5 also <nvram type='file'><source file='PATH'/>. */
static char *
read_nvram (xmlNode *root)
{
  xmlNode *nvram = varve_libvirt_tree_find (root, "os/nvram");
  g_autofree char *path =
      varve_libvirt_tree_attribute (varve_libvirt_tree_child (nvram, "source"), "file");

  if (path)
    return g_steal_pointer (&path);
  return varve_libvirt_tree_text (nvram);
}

static char *
read_dac_label (xmlNode *root)
{
  xmlNode *node = varve_libvirt_tree_child (root, "seclabel");

  for (; node; node = varve_libvirt_tree_next (node))
    if (varve_libvirt_tree_attribute_is (node, "model", "dac"))
      return varve_libvirt_tree_text (varve_libvirt_tree_child (node, "label"));
  return NULL;
}

/* libvirt states the version of each that it has defined. */
static VarveLibvirtTpm *
read_tpm (xmlNode *devices)
{
  xmlNode *node = varve_libvirt_tree_tpm (devices);
  xmlNode *backend = varve_libvirt_tree_child (node, "backend");
  xmlNode *source = varve_libvirt_tree_child (backend, "source");
  VarveLibvirtTpm *tpm;

  if (!node)
    return NULL;
  tpm = g_new0 (VarveLibvirtTpm, 1);
  tpm->model = varve_libvirt_tree_attribute (node, "model");
  tpm->version = varve_libvirt_tree_attribute (backend, "version");
  tpm->place = varve_libvirt_tree_attribute (source, "path");
  tpm->is_file = varve_libvirt_tree_attribute_is (source, "type", "file");
  tpm->secret =
      varve_libvirt_tree_attribute (varve_libvirt_tree_child (backend, "encryption"), "secret");
  return tpm;
}

VarveLibvirtDefinition *
varve_libvirt_definition_parse (const char *xml, GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domain", error);
  g_autoptr (VarveLibvirtDefinition) definition = NULL;
  xmlNode *root, *type, *devices;

  if (!doc)
    return NULL;
  root = xmlDocGetRootElement (doc);
  type = varve_libvirt_tree_find (root, "os/type");
  devices = varve_libvirt_tree_child (root, "devices");
  definition = g_new0 (VarveLibvirtDefinition, 1);
  definition->disks = g_ptr_array_new_with_free_func (disk_free);
  definition->type = varve_libvirt_tree_attribute (root, "type");
  definition->arch = varve_libvirt_tree_attribute (type, "arch");
  definition->machine = varve_libvirt_tree_attribute (type, "machine");
  definition->emulator = varve_libvirt_tree_text (varve_libvirt_tree_child (devices, "emulator"));
  definition->nvram = read_nvram (root);
  definition->dac_label = read_dac_label (root);
  definition->tpm = read_tpm (devices);
  if (!read_disks (definition, devices, error))
    return NULL;
  return g_steal_pointer (&definition);
}

static char *
why_not_from_image (const VarveLibvirtDisk *disk)
{
  if (!disk->path)
    return g_strdup_printf ("its source of type '%s' is no file or device of this host, and can "
                            "be read only while the domain runs",
                            disk->type);
  if (!disk->format)
    return g_strdup ("the domain does not state its format (<driver type=…>), and it is never "
                     "guessed");
  if (disk->encrypted)
    return g_strdup ("it is encrypted with a secret that libvirt keeps, and can be read only while "
                     "the domain runs");
  return NULL;
}

char *
varve_libvirt_disk_why_not (const VarveLibvirtDisk *disk, bool stopped)
{
  static const char *const no_block_layer[] = { "dir", "vhostuser", "vhostvdpa", NULL };

  if (!g_str_equal (disk->device, "disk"))
    return g_strdup_printf ("it is a device of kind '%s', not a disk", disk->device);
  if (!disk->has_medium)
    return g_strdup ("it has no medium");
  if (disk->readonly)
    return g_strdup ("it is read-only");
  if (g_strv_contains (no_block_layer, disk->type))
    return g_strdup_printf ("a source of type '%s' does not pass through QEMU's block layer",
                            disk->type);
  return stopped ? why_not_from_image (disk) : NULL;
}
