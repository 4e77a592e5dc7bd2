/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What of a definition becomes part of a new domain, and what it has of its own. */
#include "config.h"

#include <string.h>

#include "util/error.h"
#include "virt/libvirt/libvirt-xml.h"

#define OLD_UUID "11111111-2222-3333-4444-555555555555"
#define OLD_MAC  "52:54:00:aa:bb:cc"

static const char document[] =
    "<domain type='kvm' id='3'>\n"
    "  <name>web01</name>\n"
    "  <uuid>" OLD_UUID "</uuid>\n"
    "  <genid>99999999-2222-3333-4444-555555555555</genid>\n"
    "  <metadata><x:y xmlns:x='http://example.org/x'>kept</x:y></metadata>\n"
    "  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n"
    "    <nvram template='/t.fd'>/nv/web01_VARS.fd</nvram></os>\n"
    "  <sysinfo type='smbios'><system><entry name='serial'>S1</entry>\n"
    "    <entry name='uuid'>" OLD_UUID "</entry></system></sysinfo>\n"
    "  <devices>\n"
    "    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
    "    <disk type='network' device='disk' snapshot='external'>\n"
    "      <driver name='qemu' type='qcow2' discard='unmap'>\n"
    "        <metadata_cache><max_size unit='bytes'>65536</max_size></metadata_cache></driver>\n"
    "      <auth username='u'><secret type='ceph' uuid='" OLD_UUID "'/></auth>\n"
    "      <source protocol='rbd' name='pool/image'><host name='h'/></source>\n"
    "      <backingStore type='file'><source file='/old/base'/></backingStore>\n"
    "      <target dev='vda' bus='virtio'/><boot order='1'/></disk>\n"
    "    <disk type='file' device='disk'><source file='/old/b.raw'/>\n"
    "      <target dev='vdb' bus='virtio'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\n"
    "      <source file='/old/c.qcow2'/><target dev='vdc' bus='virtio'/></disk>\n"
    "    <disk type='file' device='disk'><driver name='qemu' type='raw'/>\n"
    "      <source file='/etc/hostname'/><target dev='vdd' bus='virtio'/><readonly/></disk>\n"
    "    <disk type='file' device='cdrom'><source file='/etc/hostname'/>\n"
    "      <target dev='sda' bus='sata'/><readonly/></disk>\n"
    "    <disk type='file' device='cdrom'><source file='/nowhere/gone.iso'/>\n"
    "      <target dev='sdb' bus='sata'/><readonly/></disk>\n"
    "    <interface type='network'><mac address='" OLD_MAC "'/><source network='default'/>\n"
    "      <target dev='tap-web01'/><model type='virtio'/></interface>\n"
    "    <interface type='bridge'><mac address='" OLD_MAC "'/><source bridge='br0'/></interface>\n"
    "    <tpm model='tpm-crb'><backend type='emulator' version='2.0'>\n"
    "      <source type='dir' path='/old/tpm'/></backend></tpm>\n"
    "    <vsock model='virtio'><cid auto='no' address='7'/></vsock>\n"
    "  </devices>\n"
    "</domain>\n";

static VarveDefinition *
clone_with (const char *xml, bool has_nvram, GArray *disks)
{
  VarveNewDomain wanted = {
    .uri = "qemu:///system", .xml = xml, .name = "web<02>", .disks = disks, .has_nvram = has_nvram
  };
  GError *error = NULL;
  VarveDefinition *definition = varve_libvirt_clone (&wanted, &error);

  g_assert_no_error (error);
  return definition;
}

static GArray *
two_disks (void)
{
  const VarveNewDisk disks[] = {
    { .disk = "vda", .path = "/new/a & b.raw", .format = "raw" },
    { .disk = "vdb", .path = "/dev/vg0/b", .format = "raw", .device = true },
    { .disk = "vdx", .path = "/new/x.raw", .format = "raw" },
  };
  GArray *array = g_array_new (FALSE, FALSE, sizeof *disks);

  return g_array_append_vals (array, disks, G_N_ELEMENTS (disks));
}

static void
assert_has (const VarveDefinition *definition, const char *text)
{
  if (strstr (definition->xml, text) == NULL)
    g_error ("not in the new definition: %s\n%s", text, definition->xml);
}

static void
assert_has_not (const VarveDefinition *definition, const char *text)
{
  if (strstr (definition->xml, text) != NULL)
    g_error ("in the new definition: %s\n%s", text, definition->xml);
}

static void
assert_note (const VarveDefinition *definition, const char *start)
{
  for (guint i = 0; i < definition->notes->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (definition->notes, i), start))
      return;
  g_error ("nothing is said that begins with: %s", start);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void
test_identity (void)
{
  g_autoptr (GArray) disks = two_disks ();
  g_autoptr (VarveDefinition) definition = clone_with (document, true, disks);
  g_autofree char *uuid = g_strdup_printf ("<uuid>%s</uuid>", definition->uuid);

  g_assert_true (g_uuid_string_is_valid (definition->uuid));
  assert_has (definition, "<name>web&lt;02&gt;</name>");
  assert_has (definition, uuid);
  assert_has (definition, "<genid/>");
  assert_has (definition, "<entry name=\"serial\">S1</entry>");
  assert_has (definition, ">kept</x:y>");
  assert_has (definition, "<source network=\"default\"/>");
  assert_has (definition, "<cid auto=\"yes\"/>");
  assert_has_not (definition, OLD_UUID);
  assert_has_not (definition, OLD_MAC);
  assert_has_not (definition, "tap-web01");
  assert_has_not (definition, "id=\"3\"");
  g_assert_null (definition->tpm);
  assert_has_not (definition, "/old/tpm");
  assert_note (definition, "The TPM of the new domain is empty, as the backup does not have");
}

static void
test_disks (void)
{
  g_autoptr (GArray) disks = two_disks ();
  g_autoptr (VarveDefinition) definition = clone_with (document, true, disks);
  g_autoptr (VarveLibvirtDefinition) parsed =
      varve_libvirt_definition_parse (definition->xml, NULL);
  const VarveLibvirtDisk *vda = varve_libvirt_definition_find (parsed, "vda");
  const VarveLibvirtDisk *vdb = varve_libvirt_definition_find (parsed, "vdb");

  g_assert_cmpuint (parsed->disks->len, ==, 5);
  g_assert_cmpstr (vda->path, ==, "/new/a & b.raw");
  g_assert_cmpstr (vda->type, ==, "file");
  g_assert_cmpstr (vda->format, ==, "raw");
  g_assert_cmpstr (vdb->path, ==, "/dev/vg0/b");
  g_assert_cmpstr (vdb->type, ==, "block");
  g_assert_cmpstr (vdb->format, ==, "raw");
  assert_has (definition, "discard=\"unmap\"");
  assert_has (definition, "<boot order=\"1\"/>");
  assert_has_not (definition, "rbd");
  assert_has_not (definition, "<auth");
  assert_has_not (definition, "backingStore");
  assert_has_not (definition, "metadata_cache");
  /* One that is not restored is the old domain's. */
  g_assert_null (varve_libvirt_definition_find (parsed, "vdc"));
  assert_note (definition, "Disk 'vdc' is no part of the new domain");
  /* What is only read may be of both. */
  g_assert_cmpstr (varve_libvirt_definition_find (parsed, "vdd")->path, ==, "/etc/hostname");
  g_assert_cmpstr (varve_libvirt_definition_find (parsed, "sda")->path, ==, "/etc/hostname");
  g_assert_false (varve_libvirt_definition_find (parsed, "sdb")->has_medium);
  assert_note (definition, "The medium of drive 'sdb', '/nowhere/gone.iso', is not there");
  assert_note (definition, "Disk 'vdx' is restored, and no part of the new domain");
}

static void
test_nvram (void)
{
  static const char source[] = "<domain type='qemu'><name>x</name><os><nvram type='file'>"
                               "<source file='/nv/x.fd'/></nvram></os><devices/></domain>";
  g_autoptr (GArray) disks = two_disks ();
  g_autoptr (VarveDefinition) with = clone_with (document, true, disks);
  g_autoptr (VarveDefinition) without = clone_with (document, false, disks);
  g_autoptr (VarveDefinition) form = clone_with (source, true, disks);
  g_autoptr (VarveDefinition) none =
      clone_with ("<domain><name>x</name><devices/></domain>", false, disks);

  g_assert_cmpstr (with->nvram, ==, "/nv/web<02>_VARS.fd");
  assert_has (with, "<nvram template=\"/t.fd\">/nv/web&lt;02&gt;_VARS.fd</nvram>");
  g_assert_null (without->nvram);
  assert_has (without, "<nvram template=\"/t.fd\"/>");
  assert_note (without, "The backup does not have the variables of the domain's firmware");
  g_assert_cmpstr (form->nvram, ==, "/nv/web<02>_VARS.fd");
  assert_has (form, "<source file=\"/nv/web&lt;02&gt;_VARS.fd\"/>");
  g_assert_null (none->nvram);
  assert_has (none, "<uuid>");
}

static VarveDefinition *
clone_with_tpm (const char *uri, const char *version)
{
  g_autoptr (GArray) disks = two_disks ();
  g_autofree char *xml = g_strdup_printf (
      "<domain><name>x</name><devices><tpm model='tpm-crb'><backend type='emulator' version='%s' "
      "persistent_state='yes'><encryption secret='5'/><source type='file' path='/old'/></backend>"
      "</tpm></devices></domain>",
      version);
  VarveNewDomain wanted = {
    .uri = uri, .xml = xml, .name = "new", .disks = disks, .has_tpm = true
  };
  GError *error = NULL;
  VarveDefinition *definition = varve_libvirt_clone (&wanted, &error);

  g_assert_no_error (error);
  return definition;
}

static void
assert_tpm (const VarveDefinition *definition, const char *base, const char *file)
{
  g_autofree char *path = g_strdup_printf ("%s/%s/%s", base, definition->uuid, file);

  g_assert_cmpstr (definition->tpm, ==, path);
  assert_has (definition, "<encryption secret=\"5\"/>");
  assert_has (definition, "persistent_state=\"yes\"");
  assert_has_not (definition, "/old");
}

static void
test_tpm (void)
{
  g_autofree char *session =
      g_build_filename (g_get_user_config_dir (), "libvirt", "qemu", "swtpm", NULL);
  g_autoptr (VarveDefinition) two = clone_with_tpm ("qemu:///system", "2.0");
  g_autoptr (VarveDefinition) one = clone_with_tpm ("qemu+unix:///system", "1.2");
  g_autoptr (VarveDefinition) own = clone_with_tpm ("qemu:///session", "2.0");
  g_autoptr (VarveDefinition) elsewhere = clone_with_tpm ("qemu:///embed?root=/x", "2.0");

  assert_tpm (two, "/var/lib/libvirt/swtpm", "tpm2/tpm2-00.permall");
  assert_tpm (one, "/var/lib/libvirt/swtpm", "tpm1.2/tpm-00.permall");
  assert_tpm (own, session, "tpm2/tpm2-00.permall");
  g_assert_cmpuint (two->notes->len, ==, 3); /* of the disks */
  g_assert_null (elsewhere->tpm);
  assert_note (elsewhere, "The TPM of the new domain is empty, as it is not known where");
}

static void
test_no_domain (void)
{
  g_autoptr (GArray) disks = two_disks ();
  VarveNewDomain wanted = { .uri = "", .xml = "<network/>", .name = "x", .disks = disks };
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_libvirt_clone (&wanted, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
}

/* The same domain again: uuid and addresses are what others know it by. */
static void
test_comes_back (void)
{
  g_autoptr (GArray) disks = two_disks ();
  VarveNewDomain wanted = {
    .uri = "qemu:///system", .xml = document, .name = "web01", .uuid = OLD_UUID, .disks = disks
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveDefinition) definition = varve_libvirt_clone (&wanted, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (definition->uuid, ==, OLD_UUID);
  g_assert_nonnull (strstr (definition->xml, "<uuid>" OLD_UUID "</uuid>"));
  g_assert_nonnull (strstr (definition->xml, "<mac address=\"" OLD_MAC "\"/>"));
  g_assert_nonnull (strstr (definition->xml, "<entry name=\"uuid\">" OLD_UUID "</entry>"));
  g_assert_nonnull (strstr (definition->xml, "<source file=\"/new/a &amp; b.raw\"/>"));
  g_assert_null (strstr (definition->xml, "99999999-2222"));
}

/* Below each disk of the fill, and no other, lies the export of its name, and libvirt waits for it. */
static void
test_run (void)
{
  g_autoptr (VarveFill) fill = varve_fill_new ("0123456789abcdef", "/run/varve/a&b/backup.sock");
  g_autoptr (GError) error = NULL;
  g_autofree char *run = NULL;
  const char *vda, *vdb;

  varve_fill_add_disk (fill, "vda", "/new/a.qcow2");
  run = varve_libvirt_format_run (document, fill, &error);
  g_assert_no_error (error);
  vda = strstr (run, "dev=\"vda\"");
  vdb = strstr (run, "dev=\"vdb\"");
  g_assert_true (vda && vdb);
  g_assert_null (strstr (run, "/old/base"));
  g_assert_nonnull (strstr (run,
                            "<backingStore type=\"network\"><format type=\"raw\"/>"
                            "<source protocol=\"nbd\" name=\"vda\">"
                            "<host transport=\"unix\" socket=\"/run/varve/a&amp;b/backup.sock\"/>"
                            "<reconnect delay=\"60\"/></source><backingStore/></backingStore>"));
  g_assert_null (strstr (vdb, "protocol=\"nbd\""));
  g_assert_nonnull (strstr (run, "discard=\"unmap\" error_policy=\"stop\" rerror_policy=\"stop\""));
  g_clear_pointer (&run, g_free);

  varve_fill_add_disk (fill, "vdx", "/new/x.qcow2");
  g_assert_null (varve_libvirt_format_run (document, fill, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-clone/identity", test_identity);
  g_test_add_func ("/libvirt-clone/disks", test_disks);
  g_test_add_func ("/libvirt-clone/nvram", test_nvram);
  g_test_add_func ("/libvirt-clone/tpm", test_tpm);
  g_test_add_func ("/libvirt-clone/no-domain", test_no_domain);
  g_test_add_func ("/libvirt-clone/comes-back", test_comes_back);
  g_test_add_func ("/libvirt-clone/run", test_run);
  return g_test_run ();
}
