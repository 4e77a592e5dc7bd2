/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <glib-object.h>

G_BEGIN_DECLS

#define VARVE_API __attribute__ ((visibility ("default")))

/**
 * VARVE_ERROR:
 *
 * The one error domain of libvarve. A #GCancellable that fires gives G_IO_ERROR_CANCELLED instead,
 * as everywhere in GLib.
 *
 * Since: 0.1
 */
#define VARVE_ERROR (varve_error_quark ())

/**
 * VarveError:
 * @VARVE_ERROR_FAILED: failed, with nothing to decide: read the message
 * @VARVE_ERROR_USAGE: the caller asked for something that makes no sense
 * @VARVE_ERROR_DOCUMENT: a document is not valid; the message has file and line
 * @VARVE_ERROR_NOT_FOUND: a named domain, disk, backup or store does not exist
 * @VARVE_ERROR_UNSUPPORTED: this QEMU, libvirt or file system cannot do it
 * @VARVE_ERROR_PARTIAL: part of it was done
 * @VARVE_ERROR_REFUSED: refused for safety; the message says the way round it
 * @VARVE_ERROR_HYPERVISOR: QEMU, libvirt or the guest agent said no; the message has its words
 * @VARVE_ERROR_SOURCE_UNREACHABLE: the hypervisor or the source of the data cannot be reached
 * @VARVE_ERROR_SOURCE_LOST: the frozen view broke or went away while it was read
 * @VARVE_ERROR_SOURCE_READ: the source answered with an error to a read
 * @VARVE_ERROR_SOURCE_PROTOCOL: the source's NBD server broke the protocol
 * @VARVE_ERROR_STORE_UNREACHABLE: the store or target cannot be reached or written
 * @VARVE_ERROR_NO_SPACE: the store, target or scratch is full
 * @VARVE_ERROR_STORE_DAMAGED: what the store holds is not what was put there
 * @VARVE_ERROR_EXISTS: the target exists already
 * @VARVE_ERROR_BUSY: somebody else is at work on it: try again later
 * @VARVE_ERROR_CHECKPOINT: a checkpoint is missing, inconsistent, or not to be trusted
 * @VARVE_ERROR_NOT_PROVED: a backup was started, and the sign that was waited for did not come
 *
 * One code for each decision that a caller can take; the text says the rest.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_ERROR (varve_error_get_type ())
typedef enum {
  VARVE_ERROR_FAILED,
  VARVE_ERROR_USAGE,
  VARVE_ERROR_DOCUMENT,
  VARVE_ERROR_NOT_FOUND,
  VARVE_ERROR_UNSUPPORTED,
  VARVE_ERROR_PARTIAL,
  VARVE_ERROR_REFUSED,
  VARVE_ERROR_HYPERVISOR,
  VARVE_ERROR_SOURCE_UNREACHABLE,
  VARVE_ERROR_SOURCE_LOST,
  VARVE_ERROR_SOURCE_READ,
  VARVE_ERROR_SOURCE_PROTOCOL,
  VARVE_ERROR_STORE_UNREACHABLE,
  VARVE_ERROR_NO_SPACE,
  VARVE_ERROR_STORE_DAMAGED,
  VARVE_ERROR_EXISTS,
  VARVE_ERROR_BUSY,
  VARVE_ERROR_CHECKPOINT,
  VARVE_ERROR_NOT_PROVED,
} VarveError;

VARVE_API GType varve_error_get_type (void);

/**
 * varve_error_quark:
 *
 * The quark behind %VARVE_ERROR.
 *
 * Returns: the quark
 *
 * Since: 0.1
 */
VARVE_API GQuark varve_error_quark (void);

/**
 * varve_error_exit_status:
 * @error: (nullable): an error from libvarve, or %NULL for success
 *
 * The exit status of the varve command for an error.
 *
 * 0 done, 1 failed, 2 usage or invalid document, 3 partly done, 4 refused for safety, 5 source
 * unreachable or gone, 6 store unreachable or full, 7 store damaged, 8 busy, 9 backup not proved,
 * 130 cancelled.
 *
 * Returns: the exit status
 *
 * Since: 0.1
 */
VARVE_API int varve_error_exit_status (const GError *error);

G_END_DECLS
