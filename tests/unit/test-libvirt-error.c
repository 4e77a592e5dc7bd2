/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which decision each of libvirt's errors stands for. Words are as libvirt 9.0 gave them. */
#include "config.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "virt/libvirt/libvirt-error.h"

static const struct {
  int code;
  int domain;
  const char *words;
  VarveError expected;
} table[] = {
  { VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "Domain not found", VARVE_ERROR_NOT_FOUND },
  { VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC,
    "Failed to connect socket to '/nonexist': No such file or directory",
    VARVE_ERROR_SOURCE_UNREACHABLE },
  { VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, "Cannot open file", VARVE_ERROR_HYPERVISOR },
  { VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, "client socket is closed",
    VARVE_ERROR_SOURCE_UNREACHABLE },
  { VIR_ERR_NO_CONNECT, VIR_FROM_NONE, "no connection driver available",
    VARVE_ERROR_SOURCE_UNREACHABLE },
  { VIR_ERR_AUTH_CANCELLED, VIR_FROM_REMOTE, "authentication cancelled",
    VARVE_ERROR_SOURCE_UNREACHABLE },
  { VIR_ERR_CHECKPOINT_INCONSISTENT, VIR_FROM_QEMU,
    "checkpoint inconsistent: missing or broken bitmap 'c' for disk 'vda'",
    VARVE_ERROR_CHECKPOINT },
  { VIR_ERR_NO_DOMAIN_CHECKPOINT, VIR_FROM_QEMU, "Domain checkpoint not found",
    VARVE_ERROR_CHECKPOINT },
  { VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, "cannot acquire state change lock",
    VARVE_ERROR_BUSY },
  { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "disk 'vda' has a blockjob assigned", VARVE_ERROR_BUSY },
  { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "Could not write: No space left on device",
    VARVE_ERROR_NO_SPACE },
  { VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU, "cannot perform disk backup for inactive domain",
    VARVE_ERROR_UNSUPPORTED },
  { VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_FROM_QEMU, "QEMU guest agent is not configured",
    VARVE_ERROR_UNSUPPORTED },
  { VIR_ERR_AGENT_UNRESPONSIVE, VIR_FROM_QEMU, "Guest agent is not responding",
    VARVE_ERROR_SOURCE_UNREACHABLE },
  { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "Permission denied", VARVE_ERROR_HYPERVISOR },
  { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, NULL, VARVE_ERROR_HYPERVISOR },
};

static void
test_map (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (table); i++) {
    g_test_message ("%d: %s", table[i].code, table[i].words ? table[i].words : "no words");
    g_assert_cmpint (varve_libvirt_error_map (table[i].code, table[i].domain, table[i].words), ==,
                     table[i].expected);
  }
}

static void
test_throw_without_error (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (virInitialize (), ==, 0);
  virResetLastError ();
  g_assert_false (varve_libvirt_throw (&error, "Cannot do '%s'", "it"));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  g_assert_cmpstr (error->message, ==, "Cannot do 'it': no reason was given (libvirt error 0).");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-error/map", test_map);
  g_test_add_func ("/libvirt-error/throw", test_throw_without_error);
  return g_test_run ();
}
