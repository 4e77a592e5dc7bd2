/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* From libvirt's definition of a domain to a machine that proves a backup of it.
 *
 *   taken     whether it is emulated, machine type (the newest of its kind), firmware, kernel, memory, processors, clock,
 *             uuid, disks: bus, order, serial number, sector size
 *   not       interfaces, devices and directories of the host, channels, removable media, the model of the processor
 *
 * The document is read as documents of others are, without a schema: what is not understood has its default. */
#include "config.h"
#include "virt/machine.h"

#include <string.h>

#include "util/checked.h"
#include "util/error.h"
#include "util/xml.h"

#define MIB            UINT64_C (1048576)
#define PLAIN_MEMORY   (1024 * MIB)
#define PROCESSORS_MAX 255
#define SECTOR_MAX     32768

static void note (GPtrArray *notes, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
note (GPtrArray *notes, const char *format, ...)
{
  va_list ap;

  va_start (ap, format);
  g_ptr_array_add (notes, g_strdup_vprintf (format, ap));
  va_end (ap);
}

/* --- values ----------------------------------------------------------------------------------- */

/* By several steps; NULL as soon as one is not there. */
static const xmlNode *
find (const xmlNode *node, const char *path)
{
  g_auto (GStrv) steps = g_strsplit (path, "/", -1);

  for (gsize i = 0; node && steps[i]; i++)
    node = varve_xml_child (node, steps[i]);
  return node;
}

/* NULL for an empty text too. (transfer full) */
static char *
text_of (const xmlNode *node)
{
  g_autofree char *text = varve_xml_text (node);

  return text && *text ? g_steal_pointer (&text) : NULL;
}

/* NULL where there is no such node. (transfer full) */
static char *
attribute_of (const xmlNode *node, const char *name)
{
  return node ? varve_xml_attribute (node, name) : NULL;
}

static bool
attribute_is (const xmlNode *node, const char *name, const char *value)
{
  g_autofree char *found = attribute_of (node, name);

  return g_strcmp0 (found, value) == 0;
}

static uint64_t
number (const char *text, uint64_t max, uint64_t otherwise)
{
  guint64 value;

  return text && g_ascii_string_to_unsigned (text, 10, 0, max, &value, NULL) ? value : otherwise;
}

static unsigned
small_attribute (const xmlNode *node, const char *name, unsigned max)
{
  g_autofree char *text = attribute_of (node, name);

  return (unsigned)number (text, max, 0);
}

/* libvirt writes KiB, whatever it was given. */
static uint64_t
parse_memory (const xmlNode *node)
{
  static const struct {
    const char *unit;
    uint64_t bytes;
  } units[] = {
    { "b", 1 },     { "bytes", 1 },        { "KiB", 1024 },       { "k", 1024 },
    { "MiB", MIB }, { "M", MIB },          { "GiB", 1024 * MIB }, { "G", 1024 * MIB },
    { "KB", 1000 }, { "MB", 1000 * 1000 }, { "GB", 1000000000 },
  };
  g_autofree char *text = node ? text_of (node) : NULL;
  g_autofree char *unit = attribute_of (node, "unit");
  uint64_t value = number (text, UINT64_MAX, 0);
  uint64_t bytes = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (units); i++)
    if (g_str_equal (units[i].unit, unit ? unit : "KiB") &&
        varve_mul (value, units[i].bytes, &bytes))
      return bytes;
  return 0;
}

/* --- disks ------------------------------------------------------------------------------------ */

static const struct {
  const char *name;
  VarveMachineBus bus;
} buses[] = {
  { "virtio", VARVE_MACHINE_VIRTIO }, { "scsi", VARVE_MACHINE_SCSI },
  { "sata", VARVE_MACHINE_SATA },     { "ide", VARVE_MACHINE_IDE },
  { "usb", VARVE_MACHINE_USB },       { "nvme", VARVE_MACHINE_NVME },
};

static VarveMachineBus
bus_of (const xmlNode *target)
{
  for (gsize i = 0; i < G_N_ELEMENTS (buses); i++)
    if (attribute_is (target, "bus", buses[i].name))
      return buses[i].bus;
  return VARVE_MACHINE_VIRTIO;
}

static bool
has (GPtrArray *names, const char *name)
{
  return g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL);
}

static bool
has_disk (const VarveMachineSpec *spec, const char *name)
{
  for (guint i = 0; i < spec->disks->len; i++)
    if (g_str_equal (((VarveMachineDisk *)g_ptr_array_index (spec->disks, i))->name, name))
      return true;
  return false;
}

static void
take_disk (const xmlNode *node, const char *name, VarveMachineSpec *spec)
{
  const xmlNode *blocks = find (node, "blockio");
  VarveMachineDisk *disk =
      varve_machine_spec_add_disk (spec, name, bus_of (varve_xml_child (node, "target")));
  const xmlNode *serial = varve_xml_child (node, "serial");

  disk->serial = serial ? text_of (serial) : NULL;
  disk->order = small_attribute (find (node, "boot"), "order", G_MAXUINT16);
  disk->logical = small_attribute (blocks, "logical_block_size", SECTOR_MAX);
  disk->physical = small_attribute (blocks, "physical_block_size", SECTOR_MAX);
}

/* A medium in a drive is nothing that a backup has. */
static bool
is_fixed (const xmlNode *node)
{
  return !attribute_is (node, "device", "cdrom") && !attribute_is (node, "device", "floppy");
}

static void
take_disks (const xmlNode *devices, GPtrArray *names, VarveMachineSpec *spec, GPtrArray *notes)
{
  for (const xmlNode *node = varve_xml_child (devices, "disk"); node;
       node = varve_xml_next (node, "disk")) {
    g_autofree char *name = attribute_of (find (node, "target"), "dev");

    if (name && has (names, name) && !has_disk (spec, name))
      take_disk (node, name, spec);
    else if (name && is_fixed (node))
      note (notes, "Disk '%s' is no part of the backup: the machine starts without it.", name);
  }
}

/* Those that were attached for one run only, or of whose domain nothing is known. */
static void
add_others (GPtrArray *names, VarveMachineSpec *spec)
{
  for (guint i = 0; i < names->len; i++)
    if (!has_disk (spec, g_ptr_array_index (names, i)))
      varve_machine_spec_add_disk (spec, g_ptr_array_index (names, i), VARVE_MACHINE_VIRTIO);
}

/* Where no device has a place in the order of booting, the disks have, as they stand. */
static void
order_disks (VarveMachineSpec *spec)
{
  for (guint i = 0; i < spec->disks->len; i++)
    if (((VarveMachineDisk *)g_ptr_array_index (spec->disks, i))->order)
      return;
  for (guint i = 0; i < spec->disks->len; i++)
    ((VarveMachineDisk *)g_ptr_array_index (spec->disks, i))->order = i + 1;
}

static char *
scsi_controller (const xmlNode *devices)
{
  static const struct {
    const char *model, *device;
  } models[] = {
    { "lsilogic", "lsi53c895a" },
    { "lsisas1068", "mptsas1068" },
    { "lsisas1078", "megasas" },
    { "vmpvscsi", "pvscsi" },
  };

  for (const xmlNode *node = varve_xml_child (devices, "controller"); node;
       node = varve_xml_next (node, "controller"))
    for (gsize i = 0; i < G_N_ELEMENTS (models); i++)
      if (attribute_is (node, "type", "scsi") && attribute_is (node, "model", models[i].model))
        return g_strdup (models[i].device);
  return NULL;
}

/* --- the machine ------------------------------------------------------------------------------ */

static bool
take_type (const xmlNode *root, VarveMachineSpec *spec, GError **error)
{
  const xmlNode *type = find (root, "os/type");
  g_autofree char *arch = attribute_of (type, "arch");
  g_autofree char *machine = attribute_of (type, "machine");
  const char *name = machine ? machine : "pc";

  if (arch && !g_str_equal (arch, "x86_64") && !g_str_equal (arch, "i686"))
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The domain's processor is '%s': only machines of x86 can be started to "
                        "prove a backup.",
                        arch);
  if (strstr (name, "q35") == NULL && !g_str_has_prefix (name, "pc"))
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The domain's machine type is '%s': only 'pc' and 'q35' can be started to "
                        "prove a backup.",
                        name);
  spec->i440fx = strstr (name, "q35") == NULL;
  return true;
}

static bool
take_firmware (const xmlNode *os, VarveMachineSpec *spec, GError **error)
{
  const xmlNode *loader = find (os, "loader");
  const xmlNode *variables = find (os, "nvram");

  spec->loader = loader ? text_of (loader) : NULL;
  if (spec->loader == NULL)
    return !attribute_is (os, "firmware", "efi") ||
           varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The definition that the backup keeps does not say which file the UEFI "
                        "firmware of its domain is.");
  spec->loader_format = attribute_of (loader, "format");
  spec->loader_is_rom = !attribute_is (loader, "type", "pflash");
  spec->secure = attribute_is (loader, "secure", "yes");
  spec->variables_template = attribute_of (variables, "template");
  spec->variables_format = attribute_of (variables, "format");
  return true;
}

static void
take_kernel (const xmlNode *os, VarveMachineSpec *spec)
{
  const xmlNode *kernel = find (os, "kernel");
  const xmlNode *initrd = find (os, "initrd");
  const xmlNode *append = find (os, "cmdline");

  spec->kernel = kernel ? text_of (kernel) : NULL;
  spec->initrd = initrd ? text_of (initrd) : NULL;
  spec->append = append ? text_of (append) : NULL;
}

static void
take_rest (const xmlNode *root, VarveMachineSpec *spec)
{
  const xmlNode *uuid = find (root, "uuid");
  const xmlNode *name = find (root, "name");
  const xmlNode *processors = find (root, "vcpu");
  g_autofree char *count = processors ? text_of (processors) : NULL;

  spec->emulated = attribute_is (root, "type", "qemu");
  spec->uuid = uuid ? text_of (uuid) : NULL;
  spec->title = name ? text_of (name) : NULL;
  spec->memory = parse_memory (find (root, "memory"));
  if (spec->memory == 0)
    spec->memory = PLAIN_MEMORY;
  spec->processors = (unsigned)MAX (number (count, PROCESSORS_MAX, 1), 1);
  spec->local_time = attribute_is (find (root, "clock"), "offset", "localtime");
}

static void
tell_of_missing (const xmlNode *devices, GPtrArray *notes)
{
  if (varve_xml_child (devices, "tpm"))
    note (notes, "The machine has no TPM: what needs the keys in that of the domain stays locked.");
  if (varve_xml_child (devices, "hostdev"))
    note (notes, "The machine does not have the devices of a host that the domain had.");
  if (varve_xml_child (devices, "filesystem"))
    note (notes, "The machine does not have the directories of a host that the domain had.");
}

static VarveMachineSpec *
plain_machine (GPtrArray *disks, GPtrArray *notes)
{
  VarveMachineSpec *spec = varve_machine_spec_new ();

  spec->memory = PLAIN_MEMORY;
  add_others (disks, spec);
  order_disks (spec);
  note (notes, "The backup has no definition of its domain: it is started as a plain machine, with "
               "BIOS, and its disks as virtio.");
  return spec;
}

static bool
take_all (const xmlNode *root, GPtrArray *disks, GPtrArray *notes, VarveMachineSpec *spec,
          GError **error)
{
  const xmlNode *os = varve_xml_child (root, "os");
  const xmlNode *devices = varve_xml_child (root, "devices");

  take_rest (root, spec);
  if (!take_type (root, spec, error) || (os && !take_firmware (os, spec, error)))
    return false;
  if (os)
    take_kernel (os, spec);
  if (devices) {
    take_disks (devices, disks, spec, notes);
    spec->scsi_controller = scsi_controller (devices);
    tell_of_missing (devices, notes);
  }
  add_others (disks, spec);
  order_disks (spec);
  return true;
}

VarveMachineSpec *
varve_machine_describe (const char *xml, GPtrArray *disks, GPtrArray *notes, GError **error)
{
  g_autoptr (VarveXml) document = xml ? varve_xml_new (xml, strlen (xml), "domain.xml") : NULL;
  g_autoptr (VarveMachineSpec) spec = NULL;
  const xmlNode *root = document && document->doc ? xmlDocGetRootElement (document->doc) : NULL;

  if (xml == NULL)
    return plain_machine (disks, notes);
  if (root == NULL || !varve_xml_is (root, "domain")) {
    varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                 "What the backup keeps as the definition of its domain is none: 'varve verify' "
                 "without --boot tells what else is damaged.");
    return NULL;
  }
  spec = varve_machine_spec_new ();
  return take_all (root, disks, notes, spec, error) ? g_steal_pointer (&spec) : NULL;
}
