/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Connecting. A QEMU that has all the clients it takes neither refuses the next one nor answers it:
 * so the handshake is driven here, by poll, against a deadline. Only the look-up of a host name is
 * out of reach: it takes as long as the resolver lets it.
 */
#include "config.h"
#include "block/nbd-connect.h"

#include <errno.h>
#include <poll.h>

#include "util/checked.h"
#include "util/error.h"

#define RETRY_INTERVAL (100 * G_TIME_SPAN_MILLISECOND)
#define MAX_TRANSFER   (32u << 20)
#define MAX_BLOCK      (64u << 10) /* the protocol's limit of a smallest block */

static VarveError
unreachable (const BlockNbdConnect *options)
{
  return options->target ? VARVE_ERROR_STORE_UNREACHABLE : VARVE_ERROR_SOURCE_UNREACHABLE;
}

static bool
fail_connect (const BlockNbdConnect *options, GError **error)
{
  return varve_throw (error, unreachable (options), "Cannot connect to the NBD server of %s: %s.",
                      options->label, nbd_get_error ());
}

short
block_nbd_poll_events (struct nbd_handle *nbd)
{
  unsigned direction = nbd_aio_get_direction (nbd);
  short events = 0;

  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0)
    events |= POLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
    events |= POLLOUT;
  return events;
}

/* One of the two only: what libnbd wants may change with the first. An error on the socket is
 * found by reading from it. */
bool
block_nbd_notify (struct nbd_handle *nbd, short revents)
{
  unsigned direction = nbd_aio_get_direction (nbd);

  if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (direction & LIBNBD_AIO_DIRECTION_READ) != 0)
    return nbd_aio_notify_read (nbd) == 0;
  if ((revents & (POLLOUT | POLLHUP | POLLERR)) != 0 &&
      (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
    return nbd_aio_notify_write (nbd) == 0;
  return true;
}

/* URIs come from the operator or from our own drivers, never from a guest or a server: so all
 * transports and local key files are allowed. nbds:// insists on TLS, nbd:// does without. */
static bool
configure (struct nbd_handle *nbd, const BlockNbdConnect *options)
{
  if (nbd_set_uri_allow_transports (nbd, LIBNBD_ALLOW_TRANSPORT_MASK) == -1 ||
      nbd_set_uri_allow_tls (nbd, LIBNBD_TLS_ALLOW) == -1 ||
      nbd_set_uri_allow_local_file (nbd, true) == -1)
    return false;
  /* Nobody looks at a buffer whose read failed, and one that was not filled wholly has failed. */
  if (nbd_set_pread_initialize (nbd, false) == -1)
    return false;
  /* The rest of a disk that is no multiple of the server's block size: let the server decide. */
  if (nbd_set_strict_mode (nbd, nbd_get_strict_mode (nbd) & ~LIBNBD_STRICT_ALIGN) == -1)
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (options->contexts); i++)
    if (options->contexts[i] != NULL && nbd_add_meta_context (nbd, options->contexts[i]) == -1)
      return false;
  return true;
}

static int
poll_timeout (gint64 deadline)
{
  gint64 left = deadline - g_get_monotonic_time ();

  return left > 0 ? (int)MIN (left / 1000 + 1, G_MAXINT) : 0;
}

/* One step of the handshake. False when the time is over or the cancellable fired, too. */
static bool
handshake_step (struct nbd_handle *nbd, const BlockNbdConnect *options, gint64 deadline,
                GPollFD *cancel, GCancellable *cancellable, GError **error)
{
  struct pollfd fds[2] = {
    { .fd = nbd_aio_get_fd (nbd), .events = block_nbd_poll_events (nbd) },
    { .fd = cancel->fd, .events = POLLIN },
  };
  int ready = poll (fds, cancel->fd >= 0 ? 2 : 1, poll_timeout (deadline));

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return false;
  if (ready > 0 && !block_nbd_notify (nbd, fds[0].revents))
    return fail_connect (options, error);
  if (ready >= 0 && g_get_monotonic_time () >= deadline && nbd_aio_is_connecting (nbd))
    return varve_throw (error, unreachable (options),
                        "The NBD server of %s did not finish the handshake within %u seconds: it "
                        "hangs, or has as many clients as it takes.",
                        options->label, options->connect_timeout);
  return true;
}

static bool
handshake (struct nbd_handle *nbd, const BlockNbdConnect *options, gint64 deadline,
           GCancellable *cancellable, GError **error)
{
  GPollFD cancel = { .fd = -1 };
  bool made = cancellable != NULL && g_cancellable_make_pollfd (cancellable, &cancel);
  bool ok = true;

  while (ok && nbd_aio_is_connecting (nbd))
    ok = handshake_step (nbd, options, deadline, &cancel, cancellable, error);
  if (made)
    g_cancellable_release_fd (cancellable);
  if (!ok)
    return false;
  if (nbd_aio_is_ready (nbd))
    return true;
  return varve_throw (error, unreachable (options),
                      "The NBD server of %s closed the connection during the handshake.",
                      options->label);
}

/* A UNIX socket whose queue is full says so at once: tried again until the time is over. */
static bool
begin (struct nbd_handle *nbd, const BlockNbdConnect *options, bool *out_busy, GError **error)
{
  *out_busy = false;
  if (nbd == NULL || !configure (nbd, options))
    return fail_connect (options, error);
  if (nbd_aio_connect_uri (nbd, options->uri) == 0)
    return true;
  *out_busy = nbd_get_errno () == EAGAIN;
  return fail_connect (options, error);
}

static struct nbd_handle *
connect_in_time (const BlockNbdConnect *options, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time () + options->connect_timeout * G_TIME_SPAN_SECOND;

  for (;;) {
    g_autoptr (GError) local = NULL;
    struct nbd_handle *nbd = nbd_create ();
    bool busy;
    if (begin (nbd, options, &busy, &local) &&
        handshake (nbd, options, deadline, cancellable, &local))
      return nbd;
    nbd_close (nbd);
    if (!busy || g_get_monotonic_time () + RETRY_INTERVAL > deadline ||
        g_cancellable_is_cancelled (cancellable)) {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
    g_usleep (RETRY_INTERVAL);
  }
}

static bool
ask_block_size (struct nbd_handle *nbd, const BlockNbdConnect *options, BlockNbdExport *export,
                GError **error)
{
  int64_t smallest = nbd_get_block_size (nbd, LIBNBD_SIZE_MINIMUM);
  int64_t largest = nbd_get_block_size (nbd, LIBNBD_SIZE_MAXIMUM);

  if (smallest < 0 || largest < 0)
    return fail_connect (options, error);
  export->block_size = smallest > 0 ? (uint32_t)MIN (smallest, G_MAXUINT32) : 1;
  export->max_transfer =
      largest > 0 ? (uint32_t)MIN (largest, (int64_t)MAX_TRANSFER) : MAX_TRANSFER;
  if (!varve_is_power_of_two (export->block_size) || export->block_size > MAX_BLOCK ||
      export->max_transfer < export->block_size)
    return varve_throw (
        error, options->target ? VARVE_ERROR_STORE_UNREACHABLE : VARVE_ERROR_SOURCE_PROTOCOL,
        "The NBD server of %s asks for blocks of %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
        " bytes, which the protocol does not allow.",
        options->label, smallest, largest);
  export->max_transfer = (uint32_t)varve_round_down (export->max_transfer, export->block_size);
  return true;
}

static bool
ask_contexts (struct nbd_handle *nbd, const BlockNbdConnect *options, BlockNbdExport *export,
              GError **error)
{
  for (size_t i = 0; i < G_N_ELEMENTS (options->contexts); i++) {
    export->granted[i] = false;
    if (options->contexts[i] == NULL)
      continue;
    int granted = nbd_can_meta_context (nbd, options->contexts[i]);
    if (granted < 0)
      return fail_connect (options, error);
    export->granted[i] = granted > 0;
  }
  return true;
}

static bool
ask_export (struct nbd_handle *nbd, const BlockNbdConnect *options, BlockNbdExport *export,
            GError **error)
{
  int64_t size = nbd_get_size (nbd);
  int multi_conn = nbd_can_multi_conn (nbd);
  int read_only = nbd_is_read_only (nbd);
  int can_flush = nbd_can_flush (nbd);
  int can_zero = nbd_can_zero (nbd);
  int can_trim = nbd_can_trim (nbd);

  if (size < 0 || multi_conn < 0 || read_only < 0 || can_flush < 0 || can_zero < 0 || can_trim < 0)
    return fail_connect (options, error);
  export->size = (uint64_t)size;
  export->multi_conn = multi_conn > 0;
  export->read_only = read_only > 0;
  export->can_flush = can_flush > 0;
  export->can_zero = can_zero > 0;
  export->can_trim = can_trim > 0 && read_only == 0;
  return ask_block_size (nbd, options, export, error) && ask_contexts (nbd, options, export, error);
}

struct nbd_handle *
block_nbd_connect (const BlockNbdConnect *options, BlockNbdExport *out_export,
                   GCancellable *cancellable, GError **error)
{
  struct nbd_handle *nbd = connect_in_time (options, cancellable, error);

  if (nbd == NULL)
    return NULL;
  if (ask_export (nbd, options, out_export, error))
    return nbd;
  nbd_close (nbd);
  return NULL;
}
