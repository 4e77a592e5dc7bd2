/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reads and writes lines of JSON with deadlines. The socket is non-blocking throughout: each wait
 * is a poll for what is left of the deadline, so that a peer that sends a byte now and then gains
 * nothing. Every failure but "time ran out" is final for the stream; the layer above remembers
 * that. */
#include "config.h"
#include "qemu/qmp-wire.h"

#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/un.h>

#include "qemu/json-get.h"
#include "util/error.h"

#define READ_CHUNK       65536
#define CONNECT_RETRY_US 20000

struct VarveQmpWire {
  GSocket *socket;
  char *name;
  GByteArray *buffer; /* received, not yet handed out */
  size_t scanned;     /* bytes at the front of it that hold no newline */
};

VarveQmpWire *
varve_qmp_wire_new (GSocket *socket, const char *name)
{
  VarveQmpWire *wire = g_new0 (VarveQmpWire, 1);

  g_socket_set_blocking (socket, FALSE);
  wire->socket = socket;
  wire->name = g_strdup (name);
  wire->buffer = g_byte_array_new ();
  return wire;
}

void
varve_qmp_wire_free (VarveQmpWire *wire)
{
  if (!wire)
    return;
  g_socket_close (wire->socket, NULL);
  g_object_unref (wire->socket);
  g_free (wire->name);
  g_byte_array_unref (wire->buffer);
  g_free (wire);
}

const char *
varve_qmp_wire_name (const VarveQmpWire *wire)
{
  return wire->name;
}

int
varve_qmp_wire_fd (const VarveQmpWire *wire)
{
  return g_socket_get_fd (wire->socket);
}

static GSocket *
try_connect (GSocketAddress *address, GCancellable *cancellable, GError **error)
{
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);

  if (!socket || !g_socket_connect (socket, address, cancellable, error))
    return NULL;
  return g_steal_pointer (&socket);
}

VarveQmpWire *
varve_qmp_wire_connect (const char *path, int64_t deadline, GCancellable *cancellable,
                        GError **error)
{
  if (strlen (path) >= sizeof ((struct sockaddr_un *)NULL)->sun_path) {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "The path of the monitor '%s' is longer than the %zu bytes that a UNIX socket may "
                 "have.",
                 path, sizeof ((struct sockaddr_un *)NULL)->sun_path - 1);
    return NULL;
  }

  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  for (;;) {
    g_autoptr (GError) inner = NULL;
    GSocket *socket = try_connect (address, cancellable, &inner);

    if (socket)
      return varve_qmp_wire_new (socket, path);
    if (!g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ||
        g_get_monotonic_time () >= deadline) {
      g_propagate_error (error, g_steal_pointer (&inner));
      return NULL;
    }
    g_usleep (CONNECT_RETRY_US);
  }
}

/* False without an error when the deadline has passed. */
static bool
wait_for (VarveQmpWire *wire, GIOCondition condition, int64_t deadline, GCancellable *cancellable,
          GError **error)
{
  g_autoptr (GError) inner = NULL;
  int64_t left = MAX (deadline - g_get_monotonic_time (), 0);

  if (g_socket_condition_timed_wait (wire->socket, condition, left, cancellable, &inner))
    return true;
  if (!g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
    g_propagate_error (error, g_steal_pointer (&inner));
  return false;
}

static bool
hung_up (VarveQmpWire *wire, GError **error)
{
  return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                      "The monitor '%s' hung up: QEMU has ended, or closed its monitor.",
                      wire->name);
}

static bool
broken (VarveQmpWire *wire, GError **error, const GError *inner)
{
  /* EPIPE and ECONNRESET both. */
  if (g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED))
    return hung_up (wire, error);
  return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                      "The connection to the monitor '%s' broke: %s.", wire->name, inner->message);
}

bool
varve_qmp_wire_send (VarveQmpWire *wire, const char *text, int64_t deadline, GError **error)
{
  size_t left = strlen (text);

  while (left > 0) {
    g_autoptr (GError) inner = NULL;
    gssize sent = g_socket_send (wire->socket, text, left, NULL, &inner);

    if (sent >= 0) {
      text += sent;
      left -= (size_t)sent;
      continue;
    }
    if (!g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
      return broken (wire, error, inner);

    g_clear_error (&inner);
    if (wait_for (wire, G_IO_OUT, deadline, NULL, &inner))
      continue;
    if (inner)
      return broken (wire, error, inner);
    return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "The monitor '%s' does not take commands: QEMU seems to hang.", wire->name);
  }
  return true;
}

static bool
no_protocol (VarveQmpWire *wire, GError **error, const char *why)
{
  return varve_throw (
      error, VARVE_ERROR_SOURCE_UNREACHABLE,
      "What the monitor '%s' sent is not QMP: %s. Is it the socket of a -qmp option?", wire->name,
      why);
}

/* Reads what is there. False without an error: nothing came before the deadline. */
static bool
fill (VarveQmpWire *wire, int64_t deadline, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) inner = NULL;
  g_autofree char *chunk = g_malloc (READ_CHUNK);

  if (!wait_for (wire, G_IO_IN, deadline, cancellable, error))
    return false;

  gssize got = g_socket_receive (wire->socket, chunk, READ_CHUNK, NULL, &inner);
  if (g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    return true;
  if (got < 0)
    return broken (wire, error, inner);
  if (got == 0)
    return hung_up (wire, error);

  if (wire->buffer->len + (size_t)got > VARVE_QMP_MAX_LINE)
    return no_protocol (wire, error, "a line is longer than 64 MiB");
  g_byte_array_append (wire->buffer, (const guint8 *)chunk, (guint)got);
  /* Something else than QMP may never send a newline, and need not be waited for. */
  if (wire->scanned == 0 && wire->buffer->data[0] != '{')
    return no_protocol (wire, error, "a line does not begin with '{'");
  return true;
}

/* Takes the first line out of the buffer. NULL without an error when none is complete. */
static JsonObject *
take_line (VarveQmpWire *wire, GError **error)
{
  GByteArray *buffer = wire->buffer;

  if (buffer->len == wire->scanned)
    return NULL;

  const guint8 *end = memchr (buffer->data + wire->scanned, '\n', buffer->len - wire->scanned);
  if (!end) {
    wire->scanned = buffer->len;
    return NULL;
  }

  g_autoptr (GError) inner = NULL;
  size_t length = (size_t)(end - buffer->data);
  JsonObject *object = varve_json_parse_object ((const char *)buffer->data, length, &inner);

  g_byte_array_remove_range (buffer, 0, (guint)length + 1);
  wire->scanned = 0;
  if (!object)
    no_protocol (wire, error, inner->message);
  return object;
}

JsonObject *
varve_qmp_wire_receive (VarveQmpWire *wire, int64_t deadline, GCancellable *cancellable,
                        GError **error)
{
  for (;;) {
    g_autoptr (GError) inner = NULL;
    JsonObject *object = take_line (wire, &inner);

    if (object)
      return object;
    if (inner || !fill (wire, deadline, cancellable, &inner)) {
      if (inner)
        g_propagate_error (error, g_steal_pointer (&inner));
      return NULL;
    }
  }
}
