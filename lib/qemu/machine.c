/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The life of a machine that is thrown away. Its end is always by force: nothing that it has is wanted, and its temporary
 * files have had no name since QEMU opened them. */
#include "config.h"
#include "qemu/machine.h"

#include <errno.h>
#include <gio/gunixoutputstream.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qemu/agent.h"
#include "qemu/child.h"
#include "qemu/json-get.h"
#include "util/error.h"

#define KVM_DEVICE      "/dev/kvm"
#define START_TIMEOUT_S 60 /* it may come up on a busy host */
#define END_US          (2 * G_USEC_PER_SEC)
#define POLL_US         2000
#define CONSOLE_KEPT    (64 * 1024)
#define PCI_NETWORK     2 /* the class, above that of the kind of network */

struct VarveMachine {
  GSubprocess *process;
  pid_t pid;
  bool kvm;
  int stderr_fd; /* memory file; -1 before the start */
  VarveQmp *qmp;
  GSocket *console;
  GString *said; /* by the console */
  VarveAgentCall *agent;
};

/* --- start ------------------------------------------------------------------------------------ */

static bool
check_file (const char *what, const char *path, GError **error)
{
  return path == NULL || access (path, R_OK) == 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The machine starts from %s '%s', which this host does not have, or does not "
                      "let be read (%s). Start it on a host that has it, or put it there.",
                      what, path, g_strerror (errno));
}

static bool
check_host (const VarveMachineSpec *spec, bool variables, GError **error)
{
  return check_file ("the kernel", spec->kernel, error) &&
         check_file ("the initramfs", spec->initrd, error) &&
         check_file ("the firmware", spec->loader, error) &&
         (variables || check_file ("the firmware variables", spec->variables_template, error));
}

/* Flash that nobody but the machine ever sees. */
static bool
pass_variables (GSubprocessLauncher *launcher, GBytes *variables, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data (variables, &length);
  int fd = memfd_create ("varve-variables", MFD_CLOEXEC);
  g_autoptr (GOutputStream) stream = fd >= 0 ? g_unix_output_stream_new (fd, FALSE) : NULL;

  if (stream == NULL)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "A memory file for the firmware's variables could not be made");
  g_subprocess_launcher_take_fd (launcher, fd, VARVE_MACHINE_VARIABLES_FD);
  return g_output_stream_write_all (stream, data, length, NULL, NULL, error);
}

static bool
make_channels (VarveMachine *machine, GSubprocessLauncher *launcher, GSocket **out_monitor,
               GError **error)
{
  g_autoptr (GSocket) monitor = varve_child_socket (launcher, VARVE_MACHINE_MONITOR_FD, error);
  g_autoptr (GSocket) agent = NULL;

  if (monitor)
    machine->console = varve_child_socket (launcher, VARVE_MACHINE_CONSOLE_FD, error);
  if (machine->console)
    agent = varve_child_socket (launcher, VARVE_MACHINE_AGENT_FD, error);
  if (!agent)
    return false;
  g_socket_set_blocking (machine->console, FALSE);
  machine->agent = varve_agent_call_new (g_steal_pointer (&agent), "agent");
  *out_monitor = g_steal_pointer (&monitor);
  return true;
}

static bool
spawn (VarveMachine *machine, GPtrArray *args, GBytes *variables, GSocket **out_monitor,
       GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (VARVE_CHILD_DIES_WITH_US, G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
  const char *pid;

  machine->stderr_fd = varve_child_complaints (launcher, error);
  if (machine->stderr_fd < 0 || (variables && !pass_variables (launcher, variables, error)) ||
      !make_channels (machine, launcher, out_monitor, error))
    return false;
  machine->process = varve_child_spawn (launcher, (const char *const *)args->pdata, error);
  g_subprocess_launcher_close (launcher);
  if (!machine->process)
    return false;
  pid = g_subprocess_get_identifier (machine->process); /* NULL: gone already */
  machine->pid = pid ? (pid_t)g_ascii_strtoll (pid, NULL, 10) : 0;
  return true;
}

static void
wait_for_end (VarveMachine *machine)
{
  int64_t deadline = g_get_monotonic_time () + END_US;

  while (varve_child_is_alive (machine->process, machine->pid) &&
         g_get_monotonic_time () < deadline)
    g_usleep (POLL_US);
}

/* What QEMU said last, in the place of "hung up". */
static bool
throw_its_words (VarveMachine *machine, const char *what, GError *inner, GError **error)
{
  g_autofree char *words = NULL;

  if (g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
    g_propagate_error (error, inner);
    return false;
  }
  wait_for_end (machine);
  words = varve_child_complaint (machine->stderr_fd, 0);
  varve_throw (error, VARVE_ERROR_HYPERVISOR, "%s: %s", what, *words ? words : inner->message);
  g_error_free (inner);
  return false;
}

static VarveMachine *
start (const VarveMachineSpec *spec, const VarveMachineStart *how, GBytes *variables,
       GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveMachine) machine = g_new0 (VarveMachine, 1);
  g_autoptr (GPtrArray) args = varve_machine_args (spec, how);
  GSocket *monitor = NULL;
  GError *inner = NULL;

  machine->stderr_fd = -1;
  machine->said = g_string_new (NULL);
  machine->kvm = how->kvm;
  if (!spawn (machine, args, variables, &monitor, error))
    return NULL;
  machine->qmp = varve_qmp_connect_socket (monitor, VARVE_MACHINE_PROGRAM, START_TIMEOUT_S,
                                           cancellable, &inner);
  if (machine->qmp)
    return g_steal_pointer (&machine);
  throw_its_words (machine, "QEMU did not start the machine", inner, error);
  return NULL;
}

/* A device of that name promises little: in a machine that is one itself, KVM may fail when it is used. */
VarveMachine *
varve_machine_start (const VarveMachineSpec *spec, const char *nbd_socket, GBytes *variables,
                     GCancellable *cancellable, GError **error)
{
  VarveMachineStart how = { .nbd_socket = nbd_socket, .variables = variables != NULL };
  g_autoptr (GError) failed = NULL;
  VarveMachine *machine = NULL;

  if (!check_host (spec, variables != NULL, error))
    return NULL;
  how.kvm = !spec->emulated && access (KVM_DEVICE, R_OK | W_OK) == 0;
  machine = start (spec, &how, variables, cancellable, &failed);
  if (machine == NULL && how.kvm && varve_error_matches (failed, VARVE_ERROR_HYPERVISOR)) {
    g_clear_error (&failed);
    how.kvm = false;
    machine = start (spec, &how, variables, cancellable, &failed);
  }
  if (machine == NULL)
    g_propagate_error (error, g_steal_pointer (&failed));
  return machine;
}

VarveQmp *
varve_machine_qmp (VarveMachine *machine)
{
  return machine->qmp;
}

void
varve_machine_free (VarveMachine *machine)
{
  if (!machine)
    return;
  if (machine->process) {
    g_subprocess_force_exit (machine->process);
    g_subprocess_wait (machine->process, NULL, NULL);
  }
  g_clear_object (&machine->process);
  g_clear_pointer (&machine->qmp, varve_qmp_free);
  g_clear_pointer (&machine->agent, varve_agent_call_free);
  g_clear_object (&machine->console);
  if (machine->stderr_fd >= 0)
    close (machine->stderr_fd);
  g_string_free (machine->said, TRUE);
  g_free (machine);
}

/* --- isolation -------------------------------------------------------------------------------- */

/* The qdev id or class of the first network device on a bus of query-pci's and below; NULL: none. */
static const char *
find_network (JsonArray *devices)
{
  for (guint i = 0; devices && i < json_array_get_length (devices); i++) {
    JsonObject *device = varve_json_array_object (devices, i);
    JsonObject *kind = varve_json_object (device, "class_info");
    const char *below =
        find_network (varve_json_array (varve_json_object (device, "pci_bridge"), "devices"));

    if (below)
      return below;
    if (varve_json_int (kind, "class", 0) >> 8 == PCI_NETWORK)
      return varve_json_string (kind, "desc") ? varve_json_string (kind, "desc") : "unknown";
  }
  return NULL;
}

static bool
check_isolation (VarveMachine *machine, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) buses =
      varve_qmp_execute_list (machine->qmp, "query-pci", NULL, cancellable, error);

  for (guint i = 0; buses && i < json_array_get_length (buses); i++) {
    const char *found =
        find_network (varve_json_array (varve_json_array_object (buses, i), "devices"));

    if (found)
      return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                          "QEMU has given the machine a network device that it was not asked for "
                          "(%s): it is not started.",
                          found);
  }
  return buses != NULL;
}

bool
varve_machine_run (VarveMachine *machine, GCancellable *cancellable, GError **error)
{
  return check_isolation (machine, cancellable, error) &&
         varve_qmp_run (machine->qmp, "cont", NULL, cancellable, error);
}

bool
varve_machine_has_kvm (const VarveMachine *machine)
{
  return machine->kvm;
}

/* --- watching --------------------------------------------------------------------------------- */

/* No more comes with one look than is kept, so that the caller sees all of it. NUL bytes would end the text. */
static void
keep (GString *said, char *chunk, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (chunk[i] == '\0')
      chunk[i] = ' ';
  if (said->len > 2 * CONSOLE_KEPT)
    g_string_erase (said, 0, (gssize)(said->len - CONSOLE_KEPT));
  g_string_append_len (said, chunk, (gssize)length);
}

static void
listen_to_console (VarveMachine *machine, unsigned wait_ms)
{
  struct pollfd fd = { .fd = g_socket_get_fd (machine->console), .events = POLLIN };
  char chunk[4096];
  gssize length = sizeof chunk;

  if (poll (&fd, 1, (int)wait_ms) <= 0)
    return;
  for (gsize i = 0; i < CONSOLE_KEPT / sizeof chunk && length == (gssize)sizeof chunk; i++) {
    length = g_socket_receive (machine->console, chunk, sizeof chunk, NULL, NULL);
    if (length > 0)
      keep (machine->said, chunk, (gsize)length);
  }
  /* At its end there is nothing to wait for any more. */
  if (length == 0)
    g_usleep (wait_ms * 1000);
}

static bool
is_disk_error (const char *event, JsonObject *data, gpointer user_data)
{
  return g_str_equal (event, "BLOCK_IO_ERROR");
}

/* Which kind of error it was that the guest stands still for. */
static VarveMachineState
disk_error (VarveMachine *machine)
{
  g_autoptr (JsonObject) event =
      varve_qmp_wait_event (machine->qmp, is_disk_error, NULL, 0, NULL, NULL);
  const char *operation = varve_json_string (varve_json_object (event, "data"), "operation");

  return g_strcmp0 (operation, "write") == 0 ? VARVE_MACHINE_UNWRITTEN : VARVE_MACHINE_UNREAD;
}

static VarveMachineState
state_of (VarveMachine *machine, const char *status)
{
  if (g_strcmp0 (status, "running") == 0)
    return VARVE_MACHINE_RUNS;
  if (g_strcmp0 (status, "shutdown") == 0)
    return VARVE_MACHINE_OFF;
  return g_strcmp0 (status, "io-error") == 0 ? disk_error (machine) : VARVE_MACHINE_STUCK;
}

bool
varve_machine_look (VarveMachine *machine, unsigned wait_ms, VarveMachineState *out,
                    GCancellable *cancellable, GError **error)
{
  GError *inner = NULL;
  g_autoptr (JsonNode) answer = NULL;

  listen_to_console (machine, wait_ms);
  answer = varve_qmp_execute (machine->qmp, "query-status", NULL, cancellable, &inner);
  if (!answer)
    return throw_its_words (machine, "QEMU, which ran the machine, has gone", inner, error);
  *out = state_of (machine, JSON_NODE_HOLDS_OBJECT (answer)
                                ? varve_json_string (json_node_get_object (answer), "status")
                                : NULL);
  return true;
}

const char *
varve_machine_console (const VarveMachine *machine)
{
  return machine->said->str;
}

bool
varve_machine_agent_answers (VarveMachine *machine, const char *mountpoint)
{
  return varve_agent_call_answered (machine->agent, mountpoint);
}

bool
varve_machine_screenshot (VarveMachine *machine, const char *path, GCancellable *cancellable,
                          GError **error)
{
  JsonObject *as_png = varve_qmp_args ("{'filename':%s,'format':'png'}", path);
  JsonObject *as_ppm = varve_qmp_args ("{'filename':%s}", path);

  if (varve_qmp_run (machine->qmp, "screendump", as_png, cancellable, NULL)) {
    json_object_unref (as_ppm);
    return true;
  }
  return varve_qmp_run (machine->qmp, "screendump", as_ppm, cancellable, error);
}
