/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The documents of backup and checkpoint, written and read: golden texts, the read ones as
 * libvirt 9.0 gave them. */
#include "config.h"

#include "util/error.h"
#include "virt/libvirt/libvirt-xml.h"

#define SESSION "0123456789abcdef"

static VarveLibvirtDefinition *
definition (void)
{
  static const char xml[] =
      "<domain type='kvm'><devices>"
      "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"
      "<disk type='file'><source file='/b'/><target dev='vdb'/></disk>"
      "<disk type='file' device='cdrom'><target dev='hda'/></disk></devices></domain>";
  GError *error = NULL;
  VarveLibvirtDefinition *read = varve_libvirt_definition_parse (xml, &error);

  g_assert_no_error (error);
  return read;
}

static VarveStartDisk *
add (VarveStart *start, const char *name, const char *since, const char *scratch)
{
  VarveStartDisk *disk = varve_start_add_disk (start, name);

  disk->since = g_strdup (since);
  disk->scratch = g_strdup (scratch);
  return disk;
}

static VarveStart *
new_start (void)
{
  VarveStart *start = varve_start_new (SESSION);

  start->directory = g_strdup ("/run/varve/it's");
  return start;
}

static void
test_backup_full (void)
{
  g_autoptr (VarveLibvirtDefinition) domain = definition ();
  g_autoptr (VarveStart) start = new_start ();
  g_autofree char *text = NULL;

  add (start, "vda", NULL, "/scratch/<1>.qcow2");
  text = varve_libvirt_format_backup (start, domain);
  g_assert_cmpstr (
      text, ==,
      "<domainbackup mode='pull'>\n"
      "  <server transport='unix' socket='/run/varve/it&apos;s/0123456789abcdef.nbd'/>\n"
      "  <disks>\n"
      "    <disk name='vda' backup='yes' type='file' backupmode='full' exportname='vda' "
      "exportbitmap='varve-0123456789abcdef'>\n"
      "      <driver type='qcow2'/>\n"
      "      <scratch file='/scratch/&lt;1&gt;.qcow2'/>\n"
      "    </disk>\n"
      "    <disk name='vdb' backup='no'/>\n"
      "    <disk name='hda' backup='no'/>\n"
      "  </disks>\n"
      "</domainbackup>\n");
}

static void
test_backup_incremental (void)
{
  g_autoptr (VarveLibvirtDefinition) domain = definition ();
  g_autoptr (VarveStart) start = new_start ();
  g_autofree char *text = NULL;

  add (start, "vdb", "varve.o-1.b.n", "/s/b");
  text = varve_libvirt_format_backup (start, domain);
  g_assert_cmpstr (
      text, ==,
      "<domainbackup mode='pull'>\n"
      "  <server transport='unix' socket='/run/varve/it&apos;s/0123456789abcdef.nbd'/>\n"
      "  <disks>\n"
      "    <disk name='vda' backup='no'/>\n"
      "    <disk name='vdb' backup='yes' type='file' backupmode='incremental' "
      "incremental='varve.o-1.b.n' exportname='vdb' exportbitmap='varve-0123456789abcdef'>\n"
      "      <driver type='qcow2'/>\n"
      "      <scratch file='/s/b'/>\n"
      "    </disk>\n"
      "    <disk name='hda' backup='no'/>\n"
      "  </disks>\n"
      "</domainbackup>\n");
}

/* No server, no export: a target, which is there already. */
static void
test_backup_push (void)
{
  g_autoptr (VarveLibvirtDefinition) domain = definition ();
  g_autoptr (VarveStart) start = new_start ();
  g_autofree char *text = NULL;

  start->push = true;
  add (start, "vda", NULL, NULL)->target = g_strdup ("/store/<1>.qcow2");
  VarveStartDisk *device = add (start, "vdb", "varve.o-1.b.n", NULL);
  device->target = g_strdup ("/dev/vg/b");
  device->target_form = VARVE_PUSH_DEVICE;
  text = varve_libvirt_format_backup (start, domain);
  g_assert_cmpstr (text, ==,
                   "<domainbackup mode='push'>\n"
                   "  <disks>\n"
                   "    <disk name='vda' backup='yes' type='file' backupmode='full'>\n"
                   "      <driver type='qcow2'/>\n"
                   "      <target file='/store/&lt;1&gt;.qcow2'/>\n"
                   "    </disk>\n"
                   "    <disk name='vdb' backup='yes' type='block' backupmode='incremental' "
                   "incremental='varve.o-1.b.n'>\n"
                   "      <driver type='raw'/>\n"
                   "      <target dev='/dev/vg/b'/>\n"
                   "    </disk>\n"
                   "    <disk name='hda' backup='no'/>\n"
                   "  </disks>\n"
                   "</domainbackup>\n");
}

static void
test_checkpoint (void)
{
  g_autoptr (VarveLibvirtDefinition) domain = definition ();
  g_autoptr (VarveStart) start = new_start ();
  g_autofree char *none = NULL;
  g_autofree char *text = NULL;

  start->checkpoint = g_strdup ("varve.o-1.b2.n2");
  start->description = g_strdup ("after <b>");
  add (start, "vda", NULL, "/s/a");
  none = varve_libvirt_format_checkpoint (start, domain);
  g_assert_null (none);
  add (start, "vdb", NULL, "/s/b")->checkpoint = true;
  text = varve_libvirt_format_checkpoint (start, domain);
  g_assert_cmpstr (text, ==,
                   "<domaincheckpoint>\n"
                   "  <name>varve.o-1.b2.n2</name>\n"
                   "  <description>after &lt;b&gt;</description>\n"
                   "  <disks>\n"
                   "    <disk name='vda' checkpoint='no'/>\n"
                   "    <disk name='vdb' checkpoint='bitmap'/>\n"
                   "    <disk name='hda' checkpoint='no'/>\n"
                   "  </disks>\n"
                   "</domaincheckpoint>\n");
}

static void
test_redefine (void)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();
  g_autofree char *text = NULL;

  g_ptr_array_add (disks, (char *)"vda");
  g_ptr_array_add (disks, (char *)"vdb");
  text = varve_libvirt_format_redefine ("c1", NULL, 1795243052, disks);
  g_assert_cmpstr (text, ==,
                   "<domaincheckpoint>\n"
                   "  <name>c1</name>\n"
                   "  <creationTime>1795243052</creationTime>\n"
                   "  <disks>\n"
                   "    <disk name='vda' checkpoint='bitmap' bitmap='c1'/>\n"
                   "    <disk name='vdb' checkpoint='bitmap' bitmap='c1'/>\n"
                   "  </disks>\n"
                   "</domaincheckpoint>\n");
}

static void
test_read_backup (void)
{
  static const char xml[] =
      "<domainbackup mode='pull'>\n"
      "  <server transport='unix' socket='/var/tmp/run/0123456789abcdef.sock'/>\n"
      "  <disks>\n"
      "    <disk name='vda' backup='yes' type='file' backupmode='full' exportname='vda' "
      "exportbitmap='varve-0123456789abcdef' index='5'>\n"
      "      <driver type='qcow2'/>\n"
      "      <scratch file='/var/tmp/run/s-vda.qcow2'/>\n"
      "    </disk>\n"
      "    <disk name='vdb' backup='no'/>\n"
      "  </disks>\n"
      "</domainbackup>\n";
  g_autoptr (VarveLibvirtBackup) backup = varve_libvirt_backup_parse (xml, NULL);

  g_assert_nonnull (backup);
  g_assert_cmpstr (backup->mode, ==, "pull");
  g_assert_cmpstr (backup->session, ==, SESSION);
  g_assert_cmpstr (backup->socket, ==, "/var/tmp/run/0123456789abcdef.sock");
  g_assert_cmpuint (backup->disks->len, ==, 1);
  g_assert_cmpstr (g_ptr_array_index (backup->disks, 0), ==, "vda");
  g_assert_cmpstr (g_ptr_array_index (backup->scratch, 0), ==, "/var/tmp/run/s-vda.qcow2");
}

static void
test_read_push (void)
{
  static const char xml[] = "<domainbackup mode='push'>\n  <disks>\n"
                            "    <disk name='vda' backup='yes' type='file' backupmode='full' "
                            "index='5'>\n      <driver type='qcow2'/>\n"
                            "      <target file='/store/a.partial/vda.qcow2'/>\n    </disk>\n"
                            "    <disk name='vdb' backup='yes' type='block' backupmode='full' "
                            "index='6'>\n      <driver type='raw'/>\n"
                            "      <target dev='/dev/vg/b'/>\n    </disk>\n"
                            "    <disk name='vdc' backup='no'/>\n  </disks>\n</domainbackup>\n";
  g_autoptr (VarveLibvirtBackup) backup = varve_libvirt_backup_parse (xml, NULL);

  g_assert_nonnull (backup);
  g_assert_cmpstr (backup->mode, ==, "push");
  g_assert_null (backup->session);
  g_assert_cmpuint (backup->targets->len, ==, 2);
  g_assert_cmpstr (g_ptr_array_index (backup->targets, 0), ==, "/store/a.partial/vda.qcow2");
  g_assert_cmpstr (g_ptr_array_index (backup->targets, 1), ==, "/dev/vg/b");
}

/* Names that only look like ours must not make a job ours. */
static void
test_foreign_backup (void)
{
  static const char *const bitmaps[] = { "backup-vda",
                                         "varve-0123456789abcde",
                                         "varve-0123456789abcdef0",
                                         "varve-0123456789ABCDEF",
                                         "xvarve-0123456789abcdef",
                                         "" };

  for (size_t i = 0; i < G_N_ELEMENTS (bitmaps); i++) {
    g_autofree char *xml = g_strdup_printf (
        "<domainbackup mode='push'><disks><disk name='vda' exportbitmap='%s'/></disks>"
        "</domainbackup>",
        bitmaps[i]);
    g_autoptr (VarveLibvirtBackup) backup = varve_libvirt_backup_parse (xml, NULL);

    g_test_message ("%s", bitmaps[i]);
    g_assert_null (backup->session);
    g_assert_cmpstr (backup->mode, ==, "push");
  }
}

static void
test_read_checkpoint (void)
{
  static const char xml[] =
      "<domaincheckpoint>\n  <name>varve.x-t.1.1</name>\n  <description>hello</description>\n"
      "  <creationTime>1795243052</creationTime>\n  <disks>\n"
      "    <disk name='vda' checkpoint='bitmap' bitmap='other' size='10485760'/>\n"
      "    <disk name='vdb' checkpoint='bitmap' bitmap='varve.x-t.1.1'/>\n"
      "    <disk name='vdc' checkpoint='no'/>\n  </disks>\n</domaincheckpoint>\n";
  g_autoptr (VarveLibvirtCheckpoint) checkpoint = varve_libvirt_checkpoint_parse (xml, NULL);
  const VarveLibvirtCheckpointDisk *disk;

  g_assert_nonnull (checkpoint);
  g_assert_cmpstr (checkpoint->name, ==, "varve.x-t.1.1");
  g_assert_cmpstr (checkpoint->description, ==, "hello");
  g_assert_cmpint (checkpoint->created, ==, 1795243052);
  g_assert_cmpuint (checkpoint->disks->len, ==, 2);
  disk = g_ptr_array_index (checkpoint->disks, 0);
  g_assert_cmpstr (disk->disk, ==, "vda");
  g_assert_cmpstr (disk->bitmap, ==, "other");
  g_assert_true (disk->has_size);
  g_assert_cmpuint (disk->size, ==, 10485760);
  disk = g_ptr_array_index (checkpoint->disks, 1);
  g_assert_cmpstr (disk->bitmap, ==, "varve.x-t.1.1");
  g_assert_false (disk->has_size);
}

static void
test_invalid_checkpoint (void)
{
  static const char *const invalid[] = {
    "<domainbackup/>",
    "<domaincheckpoint/>",
    "<domaincheckpoint><name>a</name><creationTime>soon</creationTime></domaincheckpoint>",
    "<domaincheckpoint><name>a</name><disks><disk name='vda' size='-1'/></disks>"
    "</domaincheckpoint>",
    "<domaincheckpoint><name>a</name><disks><disk name='vda' size='99999999999999999999'/></disks>"
    "</domaincheckpoint>",
    "<domaincheckpoint><name>a</name><disks><disk size='1'/></disks></domaincheckpoint>",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (invalid); i++) {
    g_autoptr (GError) error = NULL;

    g_test_message ("%s", invalid[i]);
    g_assert_null (varve_libvirt_checkpoint_parse (invalid[i], &error));
    g_assert_nonnull (error);
  }
}

static void
test_capabilities (void)
{
  static const char xml[] =
      "<capabilities><host>"
      "<secmodel><model>apparmor</model><baselabel type='kvm'>no</baselabel></secmodel>"
      "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+64055</baselabel>"
      "<baselabel type='qemu'>+1:+2</baselabel></secmodel></host></capabilities>";
  g_autofree char *qemu = NULL;
  g_autofree char *none = NULL;

  g_assert_true (varve_libvirt_capabilities_label (xml, "qemu", &qemu, NULL));
  g_assert_cmpstr (qemu, ==, "+1:+2");
  g_assert_true (varve_libvirt_capabilities_label ("<capabilities><host/></capabilities>", "qemu",
                                                   &none, NULL));
  g_assert_null (none);
}

static void
test_features (void)
{
  g_auto (VarveLibvirtFeatures) yes = { 0 };
  g_auto (VarveLibvirtFeatures) no = { 0 };
  g_auto (VarveLibvirtFeatures) old = { 0 };

  g_assert_true (varve_libvirt_features_parse (
      "<domainCapabilities><path>/usr/bin/q</path><features><backup supported='yes'/></features>"
      "</domainCapabilities>",
      &yes, NULL));
  g_assert_true (yes.backup);
  g_assert_cmpstr (yes.emulator, ==, "/usr/bin/q");
  g_assert_true (varve_libvirt_features_parse (
      "<domainCapabilities><features><backup supported='no'/></features></domainCapabilities>", &no,
      NULL));
  g_assert_false (no.backup);
  g_assert_true (varve_libvirt_features_parse ("<domainCapabilities/>", &old, NULL));
  g_assert_false (old.backup);
}

/* As libvirt 9.0 tells it with and without swtpm; and an older one, that has no versions. */
static void
test_tpm_capabilities (void)
{
  static const char both[] =
      "<domainCapabilities><devices><tpm supported='yes'><enum name='model'>"
      "<value>tpm-tis</value><value>tpm-crb</value></enum><enum name='backendModel'>"
      "<value>passthrough</value><value>emulator</value></enum>"
      "<enum name='backendVersion'><value>2.0</value></enum></tpm></devices></domainCapabilities>";
  static const char no_swtpm[] =
      "<domainCapabilities><devices><tpm supported='yes'><enum name='model'>"
      "<value>tpm-crb</value></enum><enum name='backendModel'><value>passthrough</value></enum>"
      "</tpm></devices></domainCapabilities>";
  static const char older[] =
      "<domainCapabilities><devices><tpm supported='yes'><enum name='backendModel'>"
      "<value>emulator</value></enum></tpm></devices></domainCapabilities>";
  VarveLibvirtTpm crb = { .model = (char *)"tpm-crb", .version = (char *)"2.0" };
  VarveLibvirtTpm spapr = { .model = (char *)"tpm-spapr", .version = (char *)"2.0" };
  VarveLibvirtTpm old = { .model = (char *)"tpm-tis", .version = (char *)"1.2" };

  g_assert_true (varve_libvirt_capabilities_tpm (both, &crb));
  g_assert_false (varve_libvirt_capabilities_tpm (both, &spapr));
  g_assert_false (varve_libvirt_capabilities_tpm (both, &old));
  g_assert_false (varve_libvirt_capabilities_tpm (no_swtpm, &crb));
  g_assert_true (varve_libvirt_capabilities_tpm (older, &old));
  g_assert_false (varve_libvirt_capabilities_tpm (
      "<domainCapabilities><devices><tpm supported='no'/></devices></domainCapabilities>", &crb));
  g_assert_false (varve_libvirt_capabilities_tpm ("<domainCapabilities/>", &crb));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-xml/backup/full", test_backup_full);
  g_test_add_func ("/libvirt-xml/backup/incremental", test_backup_incremental);
  g_test_add_func ("/libvirt-xml/backup/push", test_backup_push);
  g_test_add_func ("/libvirt-xml/checkpoint", test_checkpoint);
  g_test_add_func ("/libvirt-xml/redefine", test_redefine);
  g_test_add_func ("/libvirt-xml/read/backup", test_read_backup);
  g_test_add_func ("/libvirt-xml/read/push", test_read_push);
  g_test_add_func ("/libvirt-xml/read/foreign-backup", test_foreign_backup);
  g_test_add_func ("/libvirt-xml/read/checkpoint", test_read_checkpoint);
  g_test_add_func ("/libvirt-xml/read/invalid-checkpoint", test_invalid_checkpoint);
  g_test_add_func ("/libvirt-xml/read/capabilities", test_capabilities);
  g_test_add_func ("/libvirt-xml/read/features", test_features);
  g_test_add_func ("/libvirt-xml/read/tpm-capabilities", test_tpm_capabilities);
  return g_test_run ();
}
