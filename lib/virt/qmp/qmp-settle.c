/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A scratch image with tables of its own (a qcow2) is written in several steps, and what QEMU keeps of the tables it
 * writes when the node is deleted, in its main loop: on slow storage the guest would stand still for as long. The
 * same holds while a device is taken off a filter that still waits for scratch. So the image is flushed before both,
 * through its NBD export, which QEMU does beside all else. The file is opened without flushes to the disk (no-flush),
 * so that nothing waits for a sync that scratch has no use for. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <libnbd.h>

#include "qemu/json-get.h"
#include "util/error.h"

#define TIMEOUT_US (30 * G_USEC_PER_SEC)
#define POLL_MS    200

typedef struct nbd_handle NbdHandle;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NbdHandle, nbd_close)

typedef enum { STEP_DONE, STEP_FAILED, STEP_LATE } Step;

/* Turns libnbd's wheel until @ready. */
static Step
wait_until (NbdHandle *nbd, bool (*ready) (NbdHandle *, int64_t), int64_t cookie, int64_t deadline)
{
  while (!ready (nbd, cookie)) {
    if (nbd_aio_is_dead (nbd) || nbd_aio_is_closed (nbd))
      return STEP_FAILED;
    if (g_get_monotonic_time () > deadline)
      return STEP_LATE;
    if (nbd_poll (nbd, POLL_MS) < 0)
      return STEP_FAILED;
  }
  return STEP_DONE;
}

static bool
is_connected (NbdHandle *nbd, int64_t cookie)
{
  return nbd_aio_is_ready (nbd) > 0;
}

static bool
is_answered (NbdHandle *nbd, int64_t cookie)
{
  return nbd_aio_command_completed (nbd, (uint64_t)cookie) != 0;
}

/* Only a lack of an answer matters: an export that is gone or fails has nothing to wait for. */
static Step
flush (const char *socket, const char *export, int64_t deadline)
{
  g_autoptr (NbdHandle) nbd = nbd_create ();
  int64_t cookie;
  Step step;

  if (!nbd || nbd_set_export_name (nbd, export) < 0 || nbd_aio_connect_unix (nbd, socket) < 0)
    return STEP_FAILED;
  step = wait_until (nbd, is_connected, 0, deadline);
  if (step != STEP_DONE || nbd_can_flush (nbd) <= 0)
    return step;
  cookie = nbd_aio_flush (nbd, NBD_NULL_COMPLETION, 0);
  return cookie < 0 ? STEP_FAILED : wait_until (nbd, is_answered, cookie, deadline);
}

/* Foreign readers had it under the disk's name; nothing else has that by now. */
static Step
flush_scratch (const VarveStart *start, const char *socket, unsigned index, int64_t deadline)
{
  g_autofree char *export = varve_qmp_name (start->session, 's', index);
  Step step = flush (socket, export, deadline);

  if (step != STEP_FAILED || index >= start->disks->len)
    return step;
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  return flush (socket, disk->disk, deadline);
}

bool
varve_qmp_settle (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
                  GError **error)
{
  g_autoptr (JsonArray) exports =
      varve_qmp_list (domain, "query-block-exports", cancellable, error);
  g_autofree char *socket = start->directory ? varve_qmp_socket (start) : NULL;
  int64_t deadline = g_get_monotonic_time () + TIMEOUT_US;

  if (!exports)
    return false;
  for (guint i = 0; socket && i < json_array_get_length (exports); i++) {
    const char *id = varve_json_string (varve_json_array_object (exports, i), "id");
    int index = varve_qmp_name_index (id, start->session, 'd');

    if (index < 0)
      continue;
    if (flush_scratch (start, socket, (unsigned)index, deadline) == STEP_LATE)
      return varve_throw (error, VARVE_ERROR_BUSY,
                          "The storage of the scratch image of disk %d of domain '%s' does not "
                          "answer. To go on would hold up the guest: see to that storage, then run "
                          "varve recover.",
                          index + 1, domain->base.name);
  }
  return true;
}
