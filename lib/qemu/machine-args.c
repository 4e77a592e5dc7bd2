/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A machine as the arguments of a QEMU. Nothing is there that is not named here (-nodefaults, -no-user-config). */
#include "config.h"
#include "qemu/machine.h"

#define MIB UINT64_C (1048576)

/* Of the controllers that have places for so many disks. */
#define SATA_PORTS   6
#define IDE_CHANNELS 2

static void
disk_free (gpointer data)
{
  VarveMachineDisk *disk = data;

  g_free (disk->name);
  g_free (disk->serial);
  g_free (disk);
}

VarveMachineSpec *
varve_machine_spec_new (void)
{
  VarveMachineSpec *spec = g_new0 (VarveMachineSpec, 1);

  spec->disks = g_ptr_array_new_with_free_func (disk_free);
  spec->processors = 1;
  return spec;
}

VarveMachineDisk *
varve_machine_spec_add_disk (VarveMachineSpec *spec, const char *name, VarveMachineBus bus)
{
  VarveMachineDisk *disk = g_new0 (VarveMachineDisk, 1);

  disk->name = g_strdup (name);
  disk->bus = bus;
  g_ptr_array_add (spec->disks, disk);
  return disk;
}

void
varve_machine_spec_free (VarveMachineSpec *spec)
{
  if (!spec)
    return;
  g_free (spec->title);
  g_free (spec->uuid);
  g_free (spec->scsi_controller);
  g_free (spec->loader);
  g_free (spec->loader_format);
  g_free (spec->variables_template);
  g_free (spec->variables_format);
  g_free (spec->kernel);
  g_free (spec->initrd);
  g_free (spec->append);
  g_ptr_array_unref (spec->disks);
  g_free (spec);
}

/* --- arguments -------------------------------------------------------------------------------- */

static void add (GPtrArray *args, const char *option, const char *format, ...) G_GNUC_PRINTF (3, 4);

static void
add (GPtrArray *args, const char *option, const char *format, ...)
{
  va_list ap;

  g_ptr_array_add (args, g_strdup (option));
  va_start (ap, format);
  g_ptr_array_add (args, g_strdup_vprintf (format, ap));
  va_end (ap);
}

/* In an option of several parts a comma is written twice. (transfer full) */
static char *
part (const char *text)
{
  g_auto (GStrv) pieces = g_strsplit (text, ",", -1);

  return g_strjoinv (",,", pieces);
}

static void
add_machine (GPtrArray *args, const VarveMachineSpec *spec, bool kvm)
{
  g_autofree char *title = part (spec->title ? spec->title : "varve");

  add (args, "-name", "guest=%s", title);
  if (spec->uuid)
    add (args, "-uuid", "%s", spec->uuid);
  add (args, "-machine", "%s,accel=%s%s", spec->i440fx ? "pc" : "q35", kvm ? "kvm" : "tcg",
       spec->secure ? ",smm=on" : "");
  add (args, "-cpu", "max");
  /* QEMU before 8.1 leaves a guest's memory barriers out where there can be one emulated processor only, and may then miss
     what that one told a device's thread, or the other way round: the guest waits for ever. */
  add (args, "-smp", "%u,maxcpus=%u", spec->processors, MAX (spec->processors, kvm ? 1 : 2));
  add (args, "-m", "size=%" G_GUINT64_FORMAT "M", MAX (spec->memory / MIB, 1));
  add (args, "-rtc", "base=%s", spec->local_time ? "localtime" : "utc");
  add (args, "-nic", "none");
  add (args, "-display", "none");
  add (args, "-device", "VGA");
  add (args, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

static void
add_channels (GPtrArray *args)
{
  add (args, "-chardev", "socket,id=monitor,fd=%d", VARVE_MACHINE_MONITOR_FD);
  add (args, "-mon", "chardev=monitor,mode=control");
  add (args, "-chardev", "socket,id=console,fd=%d", VARVE_MACHINE_CONSOLE_FD);
  add (args, "-device", "isa-serial,chardev=console");
  add (args, "-chardev", "socket,id=agent,fd=%d", VARVE_MACHINE_AGENT_FD);
  add (args, "-device", "virtio-serial-pci");
  add (args, "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
}

static void
add_variables (GPtrArray *args, const VarveMachineSpec *spec, bool given)
{
  const char *format = spec->variables_format ? spec->variables_format : "raw";

  if (given) {
    add (args, "-add-fd", "fd=%d,set=1", VARVE_MACHINE_VARIABLES_FD);
    add (args, "-drive", "if=pflash,unit=1,format=%s,auto-read-only=off,file=/dev/fdset/1", format);
  } else if (spec->variables_template) {
    g_autofree char *path = part (spec->variables_template);

    add (args, "-drive", "if=pflash,unit=1,format=%s,snapshot=on,file=%s", format, path);
  }
}

static void
add_firmware (GPtrArray *args, const VarveMachineSpec *spec, bool variables)
{
  g_autofree char *path = spec->loader ? part (spec->loader) : NULL;

  if (!path)
    return;
  if (spec->loader_is_rom) {
    add (args, "-bios", "%s", spec->loader);
    return;
  }
  if (spec->secure)
    add (args, "-global", "driver=cfi.pflash01,property=secure,value=on");
  add (args, "-drive", "if=pflash,unit=0,readonly=on,format=%s,file=%s",
       spec->loader_format ? spec->loader_format : "raw", path);
  add_variables (args, spec, variables);
}

static void
add_kernel (GPtrArray *args, const VarveMachineSpec *spec)
{
  if (!spec->kernel)
    return;
  add (args, "-kernel", "%s", spec->kernel);
  if (spec->initrd)
    add (args, "-initrd", "%s", spec->initrd);
  if (spec->append)
    add (args, "-append", "%s", spec->append);
}

/* --- disks ------------------------------------------------------------------------------------ */

/* How many disks of each bus there are so far. */
typedef struct {
  unsigned scsi, sata, ide, usb;
} Places;

/* Adds the controller that the disk needs, and is not there yet. The device and its place. (transfer full) */
static char *
place_disk (GPtrArray *args, const VarveMachineSpec *spec, VarveMachineBus bus, Places *places)
{
  unsigned n;

  switch (bus) {
  case VARVE_MACHINE_SCSI:
    n = places->scsi++;
    if (n == 0)
      add (args, "-device", "%s,id=scsi",
           spec->scsi_controller ? spec->scsi_controller : "virtio-scsi-pci");
    return g_strdup_printf ("scsi-hd,bus=scsi.0,scsi-id=%u", n);
  case VARVE_MACHINE_IDE:
    n = places->ide;
    if (spec->i440fx && n < 2 * IDE_CHANNELS) {
      places->ide++;
      return g_strdup_printf ("ide-hd,bus=ide.%u,unit=%u", n / 2, n % 2);
    }
    G_GNUC_FALLTHROUGH;
  case VARVE_MACHINE_SATA:
    n = places->sata++;
    if (n % SATA_PORTS == 0)
      add (args, "-device", "ich9-ahci,id=sata%u", n / SATA_PORTS);
    return g_strdup_printf ("ide-hd,bus=sata%u.%u", n / SATA_PORTS, n % SATA_PORTS);
  case VARVE_MACHINE_USB:
    if (places->usb++ == 0)
      add (args, "-device", "qemu-xhci,id=usb,p2=15,p3=15");
    return g_strdup ("usb-storage,bus=usb.0");
  case VARVE_MACHINE_NVME:
    return g_strdup ("nvme");
  case VARVE_MACHINE_VIRTIO:
    break;
  }
  return g_strdup ("virtio-blk-pci");
}

static char *
describe_device (const VarveMachineDisk *disk)
{
  GString *text = g_string_new (NULL);

  if (disk->serial) {
    g_autofree char *serial = part (disk->serial);

    g_string_append_printf (text, ",serial=%s", serial);
  } else if (disk->bus == VARVE_MACHINE_NVME) /* which must have one */
    g_string_append_printf (text, ",serial=%s", disk->name);
  if (disk->order)
    g_string_append_printf (text, ",bootindex=%u", disk->order);
  if (disk->logical)
    g_string_append_printf (text, ",logical_block_size=%u", disk->logical);
  if (disk->physical)
    g_string_append_printf (text, ",physical_block_size=%u", disk->physical);
  return g_string_free (text, FALSE);
}

/* The guest stands still at an error, so that it is known whose it is: the store's, or that of the temporary files. */
static void
add_disk (GPtrArray *args, const VarveMachineSpec *spec, guint index, const char *socket,
          Places *places)
{
  const VarveMachineDisk *disk = g_ptr_array_index (spec->disks, index);
  g_autofree char *place = place_disk (args, spec, disk->bus, places);
  g_autofree char *properties = describe_device (disk);
  g_autofree char *path = part (socket);
  g_autofree char *name = part (disk->name);

  add (args, "-drive",
       "if=none,id=disk%u,snapshot=on,cache=unsafe,discard=unmap,rerror=stop,werror=stop,"
       "format=raw,file.driver=nbd,file.server.type=unix,file.server.path=%s,file.export=%s",
       index, path, name);
  add (args, "-device", "%s,drive=disk%u%s", place, index, properties);
}

GPtrArray *
varve_machine_args (const VarveMachineSpec *spec, const VarveMachineStart *start)
{
  static const char *const bare[] = { VARVE_MACHINE_PROGRAM, "-nodefaults", "-no-user-config", "-S",
                                      "-no-shutdown" };
  GPtrArray *args = g_ptr_array_new_with_free_func (g_free);
  Places places = { 0 };

  for (gsize i = 0; i < G_N_ELEMENTS (bare); i++)
    g_ptr_array_add (args, g_strdup (bare[i]));
  add_machine (args, spec, start->kvm);
  add_channels (args);
  add_firmware (args, spec, start->variables);
  add_kernel (args, spec);
  for (guint i = 0; i < spec->disks->len; i++)
    add_disk (args, spec, i, start->nbd_socket, &places);
  g_ptr_array_add (args, NULL);
  return args;
}
