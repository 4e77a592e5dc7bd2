/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A machine that is thrown away: a QEMU of our own that boots disks which somebody serves over NBD, read-only.
 *
 *   isolated     no network device, no share, no device of the host; QEMU itself in its sandbox
 *   thrown away  what it writes goes to temporary files of QEMU's, which have no name from the start (snapshot=on)
 *   ours         monitor, console and agent are inherited sockets, which have no path; it dies with the thread that
 *                started it (see child.h), and its disks' temporary files with it
 *
 * So there is nothing to remove, however it ends. Used by one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

#include "qemu/qmp.h"

typedef enum {
  VARVE_MACHINE_VIRTIO,
  VARVE_MACHINE_SCSI,
  VARVE_MACHINE_SATA,
  VARVE_MACHINE_IDE,
  VARVE_MACHINE_USB,
  VARVE_MACHINE_NVME,
} VarveMachineBus;

typedef struct {
  char *name; /* of its export */
  VarveMachineBus bus;
  char *serial;      /* or NULL */
  unsigned order;    /* in which it is booted from, 1 first; 0: not */
  unsigned physical; /* bytes of its sectors; 0: QEMU's default */
  unsigned logical;
} VarveMachineDisk;

typedef struct {
  char *title;   /* what the process list shows */
  char *uuid;    /* or NULL */
  bool emulated; /* also where the host has KVM */
  bool i440fx;   /* machine type pc, else q35: the newest of its kind */
  uint64_t memory;
  unsigned processors;
  bool local_time;       /* the clock's */
  char *scsi_controller; /* a device of QEMU; NULL: virtio-scsi-pci */
  /* Firmware: SeaBIOS where none is named. */
  char *loader;
  char *loader_format;
  bool loader_is_rom;       /* else flash */
  bool secure;              /* flash for the system management mode only */
  char *variables_template; /* of the flash for variables, or NULL */
  char *variables_format;
  /* A kernel of the host in the place of a boot loader; the first NULL: none. */
  char *kernel, *initrd, *append;
  GPtrArray *disks; /* of VarveMachineDisk */
} VarveMachineSpec;

VarveMachineSpec *varve_machine_spec_new (void);
VarveMachineDisk *varve_machine_spec_add_disk (VarveMachineSpec *spec, const char *name,
                                               VarveMachineBus bus);
void varve_machine_spec_free (VarveMachineSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveMachineSpec, varve_machine_spec_free)

/* --- as QEMU's arguments, machine-args.c --------------------------------------------------------- */

#define VARVE_MACHINE_PROGRAM      "qemu-system-x86_64"
#define VARVE_MACHINE_MONITOR_FD   3
#define VARVE_MACHINE_CONSOLE_FD   4
#define VARVE_MACHINE_AGENT_FD     5
#define VARVE_MACHINE_VARIABLES_FD 6

/* How one QEMU is started. */
typedef struct {
  const char *nbd_socket; /* serves each disk as an export of its name */
  bool variables;         /* of the firmware: in descriptor 6 */
  bool kvm;               /* else it is emulated */
} VarveMachineStart;

/* A pure function. NULL-terminated. (transfer full) */
GPtrArray *varve_machine_args (const VarveMachineSpec *spec, const VarveMachineStart *start);

/* --- its life, machine.c ------------------------------------------------------------------------- */

typedef struct VarveMachine VarveMachine;

/* Starts QEMU, with KVM where that is to be had and works; the guest stands still until varve_machine_run(). @variables: of the firmware, or NULL: those of the
 * template. What the host does not have of it is VARVE_ERROR_REFUSED. */
VarveMachine *varve_machine_start (const VarveMachineSpec *spec, const char *nbd_socket,
                                   GBytes *variables, GCancellable *cancellable, GError **error);
/* Its monitor, for what the caller wants to ask. Owned by the machine. */
VarveQmp *varve_machine_qmp (VarveMachine *machine);
/* Whether the host's processor runs it; else it is emulated, and slow. */
bool varve_machine_has_kvm (const VarveMachine *machine);
/* Lets the guest go, once QEMU has been asked for network devices and has none: else VARVE_ERROR_HYPERVISOR. */
bool varve_machine_run (VarveMachine *machine, GCancellable *cancellable, GError **error);

typedef enum {
  VARVE_MACHINE_RUNS,
  VARVE_MACHINE_OFF,       /* the guest has turned itself off */
  VARVE_MACHINE_UNREAD,    /* stands still, as a disk could not be read */
  VARVE_MACHINE_UNWRITTEN, /* stands still, as there is no room for what it writes, say */
  VARVE_MACHINE_STUCK, /* stands still for another reason: its kernel has told of a panic, say */
} VarveMachineState;

/* Takes in what the console has said, waiting for it up to @wait_ms, and how the machine is. False where QEMU has gone, or
 * does not answer. */
bool varve_machine_look (VarveMachine *machine, unsigned wait_ms, VarveMachineState *out,
                         GCancellable *cancellable, GError **error);
/* What the console has said, the last 64 KiB or more of it. Owned by the machine, until the next look. */
const char *varve_machine_console (const VarveMachine *machine);
/* Asks the guest agent now and then; true once it has answered; with a @mountpoint, that a file system is mounted there. */
bool varve_machine_agent_answers (VarveMachine *machine, const char *mountpoint);
/* Its screen, as PNG; a QEMU before 7.1 writes PPM. The file is overwritten. */
bool varve_machine_screenshot (VarveMachine *machine, const char *path, GCancellable *cancellable,
                               GError **error);
/* Ends it at once: nothing of it is wanted. */
void varve_machine_free (VarveMachine *machine);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveMachine, varve_machine_free)
