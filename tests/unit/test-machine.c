/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Machines that are thrown away: what of a domain's definition becomes part of one, that QEMU takes what they are
 * described by, and that one with a network device is never started. What a guest does in one is for the shell tests. */
#include "config.h"

#include "nbd-server.h"
#include "qemu/json-get.h"
#include "virt/machine.h"

#define FIRMWARE "/usr/share/seabios/bios-256k.bin"

/* --- from a definition ------------------------------------------------------------------------ */

static const char document[] =
    "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
    "  <name>web, 01</name>\n"
    "  <uuid>11111111-2222-3333-4444-555555555555</uuid>\n"
    "  <metadata><x:memory xmlns:x='http://example.org/x'>9</x:memory></metadata>\n"
    "  <memory unit='KiB'>2097152</memory><vcpu placement='static'>4</vcpu>\n"
    "  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n"
    "    <loader readonly='yes' secure='yes' type='pflash'>/fw/code.fd</loader>\n"
    "    <nvram template='/fw/vars.fd'>/nv/web01_VARS.fd</nvram>\n"
    "    <kernel>/boot/k</kernel><initrd>/boot/i</initrd><cmdline>root=/dev/vda, x</cmdline></os>\n"
    "  <clock offset='localtime'/>\n"
    "  <devices>\n"
    "    <emulator>/usr/bin/qemu-nowhere</emulator>\n"
    "    <disk type='file' device='cdrom'><source file='/m.iso'/><target dev='sdz' "
    "bus='sata'/></disk>\n"
    "    <disk type='network' device='disk'><source protocol='rbd' name='p/i'/>\n"
    "      <target dev='vda' bus='virtio'/><serial>S,1</serial><boot order='2'/>\n"
    "      <blockio logical_block_size='4096' physical_block_size='4096'/></disk>\n"
    "    <disk type='file' device='disk'><source file='/b'/><target dev='sda' bus='scsi'/>\n"
    "      <boot order='1'/></disk>\n"
    "    <disk type='file' device='disk'><source file='/c'/><target dev='sdb' bus='sata'/></disk>\n"
    "    <controller type='scsi' index='0' model='lsilogic'/>\n"
    "    <interface type='network'><source network='default'/><model type='virtio'/></interface>\n"
    "    <hostdev mode='subsystem' type='pci'/>\n"
    "    <filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>\n"
    "    <tpm model='tpm-crb'><backend type='emulator'/></tpm>\n"
    "  </devices>\n"
    "  <qemu:commandline><qemu:arg value='-nic'/><qemu:arg value='user'/></qemu:commandline>\n"
    "</domain>\n";

static GPtrArray *
names_of (const char *const *names)
{
  GPtrArray *array = g_ptr_array_new ();

  for (; *names; names++)
    g_ptr_array_add (array, (char *)*names);
  return array;
}

static VarveMachineSpec *
describe (const char *xml, const char *const *names, char **out_notes, GError **error)
{
  g_autoptr (GPtrArray) disks = names_of (names);
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  VarveMachineSpec *spec = varve_machine_describe (xml, disks, notes, error);

  g_ptr_array_add (notes, NULL);
  *out_notes = g_strjoinv ("\n", (char **)notes->pdata);
  return spec;
}

static void
assert_disk (const VarveMachineSpec *spec, guint index, const char *name, VarveMachineBus bus,
             unsigned order)
{
  const VarveMachineDisk *disk = g_ptr_array_index (spec->disks, index);

  g_assert_cmpstr (disk->name, ==, name);
  g_assert_cmpint (disk->bus, ==, bus);
  g_assert_cmpuint (disk->order, ==, order);
}

static void
test_describe (void)
{
  static const char *const disks[] = { "vda", "sda", "vdz", NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *notes = NULL;
  g_autoptr (VarveMachineSpec) spec = describe (document, disks, &notes, &error);
  const VarveMachineDisk *first;

  g_assert_no_error (error);
  g_assert_cmpstr (spec->title, ==, "web, 01");
  g_assert_cmpstr (spec->uuid, ==, "11111111-2222-3333-4444-555555555555");
  g_assert_false (spec->i440fx);
  g_assert_cmpuint (spec->memory, ==, UINT64_C (2) << 30);
  g_assert_cmpuint (spec->processors, ==, 4);
  g_assert_true (spec->local_time);
  g_assert_cmpstr (spec->loader, ==, "/fw/code.fd");
  g_assert_false (spec->loader_is_rom);
  g_assert_true (spec->secure);
  g_assert_cmpstr (spec->variables_template, ==, "/fw/vars.fd");
  g_assert_cmpstr (spec->kernel, ==, "/boot/k");
  g_assert_cmpstr (spec->initrd, ==, "/boot/i");
  g_assert_cmpstr (spec->append, ==, "root=/dev/vda, x");
  g_assert_cmpstr (spec->scsi_controller, ==, "lsi53c895a");

  /* One that was attached for a run only comes last. */
  g_assert_cmpuint (spec->disks->len, ==, 3);
  assert_disk (spec, 0, "vda", VARVE_MACHINE_VIRTIO, 2);
  assert_disk (spec, 1, "sda", VARVE_MACHINE_SCSI, 1);
  assert_disk (spec, 2, "vdz", VARVE_MACHINE_VIRTIO, 0);
  first = g_ptr_array_index (spec->disks, 0);
  g_assert_cmpstr (first->serial, ==, "S,1");
  g_assert_cmpuint (first->logical, ==, 4096);
  g_assert_cmpuint (first->physical, ==, 4096);

  g_assert_nonnull (strstr (notes, "Disk 'sdb' is no part of the backup"));
  g_assert_null (strstr (notes, "'sdz'"));
  g_assert_nonnull (strstr (notes, "no TPM"));
  g_assert_nonnull (strstr (notes, "devices of a host"));
  g_assert_nonnull (strstr (notes, "directories of a host"));
}

/* Nothing of it leads out, whatever the definition says. */
static void
test_arguments (void)
{
  static const char *const disks[] = { "vda", "sda", NULL };
  g_autofree char *notes = NULL;
  g_autoptr (VarveMachineSpec) spec = describe (document, disks, &notes, NULL);
  const VarveMachineStart start = { .nbd_socket = "/run/a,b/sock", .variables = true, .kvm = true };
  g_autoptr (GPtrArray) args = varve_machine_args (spec, &start);
  g_autofree char *line = g_strjoinv (" ", (char **)args->pdata);
  static const char *const wanted[] = {
    "-nodefaults",
    "-no-user-config",
    "-nic none",
    "-S ",
    "-no-shutdown",
    "-sandbox on,",
    "-name guest=web,, 01",
    "-machine q35,accel=kvm,smm=on",
    "-m size=2048M",
    "-smp 4,maxcpus=4 ",
    "-rtc base=localtime",
    "if=pflash,unit=0,readonly=on,format=raw,file=/fw/code.fd",
    "if=pflash,unit=1,format=raw,auto-read-only=off,file=/dev/fdset/1",
    "-append root=/dev/vda, x",
    "snapshot=on",
    "file.server.path=/run/a,,b/sock,file.export=vda",
    "virtio-blk-pci,drive=disk0,serial=S,,1,bootindex=2,logical_block_size=4096,physical_block_"
    "size=4096",
    "-device lsi53c895a,id=scsi",
    "scsi-hd,bus=scsi.0,scsi-id=0,drive=disk1,bootindex=1",
  };
  static const char *const unwanted[] = { "netdev", "virtio-net", "vfio",     "virtfs",
                                          "rbd",    "/m.iso",     "-nic user" };

  for (gsize i = 0; i < G_N_ELEMENTS (wanted); i++)
    if (!strstr (line, wanted[i]))
      g_error ("'%s' is not in: %s", wanted[i], line);
  for (gsize i = 0; i < G_N_ELEMENTS (unwanted); i++)
    if (strstr (line, unwanted[i]))
      g_error ("'%s' is in: %s", unwanted[i], line);
}

/* Emulated, one processor has a place for another. */
static void
test_one_processor (void)
{
  static const char *const disks[] = { "vda", NULL };

  for (int kvm = 0; kvm <= 1; kvm++) {
    const VarveMachineStart start = { .nbd_socket = "/run/sock", .kvm = kvm };
    g_autofree char *notes = NULL;
    g_autofree char *line = NULL;
    g_autoptr (VarveMachineSpec) spec = describe (NULL, disks, &notes, NULL);
    g_autoptr (GPtrArray) args = NULL;

    spec->processors = 1;
    args = varve_machine_args (spec, &start);
    line = g_strjoinv (" ", (char **)args->pdata);
    g_assert_nonnull (strstr (line, kvm ? " -smp 1,maxcpus=1 " : " -smp 1,maxcpus=2 "));
  }
}

static void
test_plain (void)
{
  static const char *const disks[] = { "vda", "vdb", NULL };
  g_autofree char *notes = NULL;
  g_autoptr (VarveMachineSpec) spec = describe (NULL, disks, &notes, NULL);

  g_assert_nonnull (strstr (notes, "a plain machine"));
  g_assert_cmpuint (spec->memory, ==, UINT64_C (1) << 30);
  assert_disk (spec, 0, "vda", VARVE_MACHINE_VIRTIO, 1);
  assert_disk (spec, 1, "vdb", VARVE_MACHINE_VIRTIO, 2);
}

static void
test_refused (void)
{
  static const char *const disks[] = { "vda", NULL };
  static const struct {
    const char *xml;
    VarveError code;
    const char *words;
  } cases[] = {
    { "<domain><os><type arch='aarch64' machine='virt'>hvm</type></os></domain>",
      VARVE_ERROR_UNSUPPORTED, "'aarch64'" },
    { "<domain><os><type arch='x86_64' machine='microvm'>hvm</type></os></domain>",
      VARVE_ERROR_UNSUPPORTED, "'microvm'" },
    { "<domain><os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
      VARVE_ERROR_UNSUPPORTED, "UEFI" },
    { "<network/>", VARVE_ERROR_STORE_DAMAGED, "is none" },
    { "<domain>", VARVE_ERROR_STORE_DAMAGED, "is none" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *notes = NULL;

    g_assert_null (describe (cases[i].xml, disks, &notes, &error));
    g_assert_error (error, VARVE_ERROR, (int)cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].words));
  }
}

/* --- in QEMU ---------------------------------------------------------------------------------- */

static VarveMachineSpec *
small_machine (bool i440fx)
{
  VarveMachineSpec *spec = varve_machine_spec_new ();

  spec->emulated = true;
  spec->i440fx = i440fx;
  spec->memory = 32 * MIB;
  return spec;
}

/* Of every bus more disks than its first controller takes. */
static void
add_disks (VarveMachineSpec *spec)
{
  for (unsigned bus = VARVE_MACHINE_VIRTIO; bus <= VARVE_MACHINE_NVME; bus++)
    for (unsigned i = 0; i < (bus == VARVE_MACHINE_SATA ? 7 : 2); i++) {
      g_autofree char *name = g_strdup_printf ("d%u-%u", bus, i);
      VarveMachineDisk *disk = varve_machine_spec_add_disk (spec, name, bus);

      disk->order = spec->disks->len;
    }
}

static void
assert_started (Server *s, const VarveMachineSpec *spec, GBytes *variables)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveMachine) machine = varve_machine_start (spec, s->socket, variables, NULL, &error);
  VarveMachineState state;

  g_assert_no_error (error);
  g_assert_true (varve_machine_run (machine, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (varve_machine_look (machine, 1, &state, NULL, &error));
  g_assert_cmpint (state, ==, VARVE_MACHINE_RUNS);
  g_assert_false (varve_machine_agent_answers (machine, NULL));
}

static void
test_every_bus (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (GPOINTER_TO_INT (data));

  server_start_nbdkit (s, "-r memory 1M");
  add_disks (spec);
  assert_started (s, spec, NULL);
}

/* SeaBIOS from flash, beside flash for variables. */
static void
test_flash (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (false);
  g_autofree guint8 *zeros = g_malloc0 (128 * KIB);
  g_autoptr (GBytes) variables = g_bytes_new (zeros, 128 * KIB);

  if (!g_file_test (FIRMWARE, G_FILE_TEST_EXISTS)) {
    g_test_skip (FIRMWARE " is not there");
    return;
  }
  spec->loader = g_strdup (FIRMWARE);
  assert_started (s, spec, variables);
  spec->variables_template = g_strdup (FIRMWARE);
  assert_started (s, spec, NULL);
  spec->loader_is_rom = true;
  assert_started (s, spec, NULL);
}

/* Who gives it a network device behind our back sees it refuse. */
static void
test_isolation (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (GPOINTER_TO_INT (data));
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveMachine) machine = varve_machine_start (spec, s->socket, NULL, NULL, &error);
  VarveMachineState state;

  g_assert_no_error (error);
  g_assert_true (varve_qmp_run (varve_machine_qmp (machine), "device_add",
                                varve_qmp_args ("{'driver':%s,'id':%s}", "virtio-net-pci", "stray"),
                                NULL, &error));
  g_assert_no_error (error);
  g_assert_false (varve_machine_run (machine, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  g_assert_nonnull (strstr (error->message, "network device"));
  g_clear_error (&error);
  g_assert_true (varve_machine_look (machine, 1, &state, NULL, &error));
  g_assert_cmpint (state, ==, VARVE_MACHINE_STUCK);
}

static void
test_not_here (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (false);
  g_autoptr (GError) error = NULL;

  spec->kernel = g_strdup ("/nowhere/vmlinuz");
  g_assert_null (varve_machine_start (spec, s->socket, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_assert_nonnull (strstr (error->message, "'/nowhere/vmlinuz'"));
  g_clear_error (&error);

  /* Nobody serves its disk: in QEMU's words. */
  g_clear_pointer (&spec->kernel, g_free);
  varve_machine_spec_add_disk (spec, "vda", VARVE_MACHINE_VIRTIO);
  g_assert_null (varve_machine_start (spec, s->socket, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  g_assert_nonnull (strstr (error->message, "Failed to connect"));
}

/* QEMU is killed, and that is told. */
static void
test_gone (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (false);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveMachine) machine = varve_machine_start (spec, s->socket, NULL, NULL, &error);
  VarveMachineState state;

  g_assert_no_error (error);
  g_assert_true (varve_qmp_run (varve_machine_qmp (machine), "quit", NULL, NULL, &error));
  g_assert_no_error (error);
  while (varve_machine_look (machine, 10, &state, NULL, &error))
    continue;
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
}

/* As PNG, or PPM by an old QEMU. */
static void
test_screenshot (Server *s, gconstpointer data)
{
  g_autoptr (VarveMachineSpec) spec = small_machine (false);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveMachine) machine = varve_machine_start (spec, s->socket, NULL, NULL, &error);
  g_autofree char *picture = NULL;
  gsize length;

  g_assert_no_error (error);
  g_assert_true (varve_machine_screenshot (machine, s->image, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_file_get_contents (s->image, &picture, &length, NULL));
  g_assert_cmpuint (length, >, 100);
  g_assert_true (memcmp (picture, "\x89PNG", 4) == 0 || memcmp (picture, "P6", 2) == 0);
  g_assert_false (varve_machine_screenshot (machine, "/nowhere/x.png", NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
}

#define ADD(path, data, test)                                                                      \
  g_test_add ("/machine/" path, Server, data, server_set_up, test, server_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/machine/describe", test_describe);
  g_test_add_func ("/machine/arguments", test_arguments);
  g_test_add_func ("/machine/one-processor", test_one_processor);
  g_test_add_func ("/machine/plain", test_plain);
  g_test_add_func ("/machine/refused", test_refused);
  ADD ("every-bus/q35", GINT_TO_POINTER (false), test_every_bus);
  ADD ("every-bus/pc", GINT_TO_POINTER (true), test_every_bus);
  ADD ("flash", NULL, test_flash);
  ADD ("isolation", GINT_TO_POINTER (true), test_isolation);
  ADD ("not-here", NULL, test_not_here);
  ADD ("gone", NULL, test_gone);
  ADD ("screenshot", NULL, test_screenshot);
  return g_test_run ();
}
