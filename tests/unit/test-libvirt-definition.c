/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What is read out of a domain's document, and which of its disks are refused. */
#include "config.h"

#include <string.h>

#include "util/error.h"
#include "virt/libvirt/libvirt-xml.h"

static const char document[] =
    "<domain type='kvm' id='3'>\n"
    "  <name>web&amp;01</name>\n"
    "  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n"
    "    <nvram "
    "template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/nvram/web.fd</nvram></os>\n"
    "  <devices>\n"
    "    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2' iothread='1'/>\n"
    "      <source file='/srv/a &amp; b.qcow2' index='2'/><backingStore/>\n"
    "      <target dev='vda' bus='virtio'/></disk>\n"
    "    <disk type='block' device='disk'><driver name='qemu' type='raw'/>\n"
    "      <source dev='/dev/vg/lv'/><target dev='vdb' bus='virtio'/></disk>\n"
    "    <disk type='network' device='disk'><driver name='qemu' type='raw'/>\n"
    "      <source protocol='rbd' name='pool/image'/><target dev='vdc' bus='virtio'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\n"
    "      <source file='/srv/sda.qcow2'/><target dev='sda' bus='scsi'/>\n"
    "      <address type='drive' controller='1' bus='0' target='0' unit='0'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\n"
    "      <source file='/srv/sdb.qcow2'/><target dev='sdb' bus='scsi'/>\n"
    "      <address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>\n"
    "    <disk type='file' device='disk'><source file='/srv/plain'/><target dev='vde'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\n"
    "      <source file='/srv/luks.qcow2'><encryption format='luks'/></source>\n"
    "      <target dev='vdf' bus='virtio'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='raw'/>\n"
    "      <source file='/srv/ro'/><target dev='vdg' bus='virtio'/><readonly/></disk>\n"
    "    <disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2'><iothreads>\n"
    "      <iothread id='2'/></iothreads></driver>\n"
    "      <source file='/srv/vdh.qcow2'/><target dev='vdh' bus='virtio'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='raw'/>\n"
    "      <target dev='vdi' bus='virtio'/></disk>\n"
    "    <controller type='scsi' index='0' model='virtio-scsi'/>\n"
    "    <controller type='scsi' index='1' model='virtio-scsi'><driver "
    "iothread='2'/></controller>\n"
    "  </devices>\n"
    "  <seclabel type='dynamic' model='apparmor' "
    "relabel='yes'><label>libvirt-x</label></seclabel>\n"
    "  <seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+109</label></seclabel>\n"
    "</domain>\n";

static VarveLibvirtDefinition *
parse (void)
{
  GError *error = NULL;
  VarveLibvirtDefinition *definition = varve_libvirt_definition_parse (document, &error);

  g_assert_no_error (error);
  return definition;
}

static void
test_domain (void)
{
  g_autoptr (VarveLibvirtDefinition) definition = parse ();

  g_assert_cmpstr (definition->type, ==, "kvm");
  g_assert_cmpstr (definition->arch, ==, "x86_64");
  g_assert_cmpstr (definition->machine, ==, "pc-q35-7.2");
  g_assert_cmpstr (definition->emulator, ==, "/usr/bin/qemu-system-x86_64");
  g_assert_cmpstr (definition->nvram, ==, "/var/lib/libvirt/nvram/web.fd");
  g_assert_cmpstr (definition->dac_label, ==, "+64055:+109");
  g_assert_cmpuint (definition->disks->len, ==, 11);
}

static VarveLibvirtDefinition *
parse_devices (const char *devices)
{
  g_autofree char *xml = g_strdup_printf ("<domain><devices>%s</devices></domain>", devices);
  GError *error = NULL;
  VarveLibvirtDefinition *definition = varve_libvirt_definition_parse (xml, &error);

  g_assert_no_error (error);
  return definition;
}

static void
test_tpm (void)
{
  g_autoptr (VarveLibvirtDefinition) none = parse ();
  g_autoptr (VarveLibvirtDefinition) host =
      parse_devices ("<tpm model='tpm-tis'><backend type='passthrough'><device "
                     "path='/dev/tpm0'/></backend></tpm>");
  g_autoptr (VarveLibvirtDefinition) both =
      parse_devices ("<tpm model='spapr-tpm-proxy'><backend type='passthrough'/></tpm>"
                     "<tpm model='tpm-crb'><backend type='emulator' version='2.0'>"
                     "<encryption secret='5'/></backend></tpm>");
  g_autoptr (VarveLibvirtDefinition) placed =
      parse_devices ("<tpm model='tpm-tis'><backend type='emulator' version='1.2'>"
                     "<source type='dir' path='/srv/tpm'/></backend></tpm>");
  g_autoptr (VarveLibvirtDefinition) file =
      parse_devices ("<tpm model='tpm-tis'><backend type='emulator' version='2.0'>"
                     "<source type='file' path='/srv/tpm'/></backend></tpm>");

  g_assert_null (none->tpm);
  g_assert_null (host->tpm);
  g_assert_cmpstr (both->tpm->model, ==, "tpm-crb");
  g_assert_cmpstr (both->tpm->version, ==, "2.0");
  g_assert_cmpstr (both->tpm->secret, ==, "5");
  g_assert_null (both->tpm->place);
  g_assert_cmpstr (placed->tpm->place, ==, "/srv/tpm");
  g_assert_null (placed->tpm->secret);
  g_assert_false (placed->tpm->is_file);
  g_assert_true (file->tpm->is_file);
}

static void
test_disks (void)
{
  g_autoptr (VarveLibvirtDefinition) definition = parse ();
  const VarveLibvirtDisk *disk = varve_libvirt_definition_find (definition, "vda");

  g_assert_cmpstr (disk->path, ==, "/srv/a & b.qcow2");
  g_assert_cmpstr (disk->format, ==, "qcow2");
  disk = varve_libvirt_definition_find (definition, "vdb");
  g_assert_cmpstr (disk->path, ==, "/dev/vg/lv");
  g_assert_cmpstr (disk->type, ==, "block");
  disk = varve_libvirt_definition_find (definition, "vdc");
  g_assert_null (disk->path);
  g_assert_true (disk->has_medium);
  g_assert_true (varve_libvirt_definition_find (definition, "vdf")->encrypted);
  g_assert_false (varve_libvirt_definition_find (definition, "vdi")->has_medium);
  g_assert_null (varve_libvirt_definition_find (definition, "vde")->format);
  g_assert_null (varve_libvirt_definition_find (definition, "vdz"));
}

static void
test_iothreads (void)
{
  static const struct {
    const char *disk;
    bool iothread;
  } expected[] = { { "vda", true },  { "vdb", false }, { "sda", true },
                   { "sdb", false }, { "vdh", true },  { "hda", false } };
  g_autoptr (VarveLibvirtDefinition) definition = parse ();

  for (size_t i = 0; i < G_N_ELEMENTS (expected); i++) {
    const VarveLibvirtDisk *disk = varve_libvirt_definition_find (definition, expected[i].disk);

    g_test_message ("%s", expected[i].disk);
    g_assert_cmpint (disk->iothread, ==, expected[i].iothread);
  }
}

static void
assert_why_not (const VarveLibvirtDefinition *definition, const char *disk, bool stopped,
                const char *part)
{
  g_autofree char *why =
      varve_libvirt_disk_why_not (varve_libvirt_definition_find (definition, disk), stopped);

  g_test_message ("%s, %s: %s", disk, stopped ? "off" : "running", why ? why : "can");
  if (!part) {
    g_assert_null (why);
    return;
  }
  g_assert_nonnull (why);
  g_assert_nonnull (strstr (why, part));
}

static void
test_why_not (void)
{
  g_autoptr (VarveLibvirtDefinition) definition = parse ();

  assert_why_not (definition, "vda", false, NULL);
  assert_why_not (definition, "vda", true, NULL);
  assert_why_not (definition, "vdb", true, NULL);
  assert_why_not (definition, "vdc", false, NULL);
  assert_why_not (definition, "vdc", true, "type 'network'");
  assert_why_not (definition, "vde", true, "never guessed");
  assert_why_not (definition, "vdf", false, NULL);
  assert_why_not (definition, "vdf", true, "encrypted");
  assert_why_not (definition, "vdg", false, "read-only");
  assert_why_not (definition, "hda", false, "cdrom");
  assert_why_not (definition, "vdi", false, "no medium");
}

static void
test_nvram_forms (void)
{
  static const char with_source[] =
      "<domain><os><nvram type='file'><source file='/nv/x.fd'/></nvram></os></domain>";
  g_autoptr (VarveLibvirtDefinition) source = varve_libvirt_definition_parse (with_source, NULL);
  g_autoptr (VarveLibvirtDefinition) none =
      varve_libvirt_definition_parse ("<domain><os><nvram template='/t'/></os></domain>", NULL);

  g_assert_cmpstr (source->nvram, ==, "/nv/x.fd");
  g_assert_null (none->nvram);
  g_assert_cmpuint (none->disks->len, ==, 0);
}

static void
test_invalid (void)
{
  static const char *const invalid[] = {
    "",
    "<domain>",
    "<other/>",
    "no XML at all",
    "<domain><devices><disk type='file'><source file='/x'/></disk></devices></domain>",
    "<domain><devices><disk><target dev=''/></disk></devices></domain>",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (invalid); i++) {
    g_autoptr (GError) error = NULL;

    g_test_message ("%s", invalid[i]);
    g_assert_null (varve_libvirt_definition_parse (invalid[i], &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  }
}

/* An entity that names a file of the host stays unexpanded. */
static void
test_no_entities (void)
{
  static const char evil[] = "<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"
                             "<domain><devices><emulator>&e;</emulator></devices></domain>";
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition_parse (evil, NULL);

  g_assert_nonnull (definition);
  g_assert_null (definition->emulator);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-definition/domain", test_domain);
  g_test_add_func ("/libvirt-definition/disks", test_disks);
  g_test_add_func ("/libvirt-definition/iothreads", test_iothreads);
  g_test_add_func ("/libvirt-definition/why-not", test_why_not);
  g_test_add_func ("/libvirt-definition/tpm", test_tpm);
  g_test_add_func ("/libvirt-definition/nvram", test_nvram_forms);
  g_test_add_func ("/libvirt-definition/invalid", test_invalid);
  g_test_add_func ("/libvirt-definition/no-entities", test_no_entities);
  return g_test_run ();
}
