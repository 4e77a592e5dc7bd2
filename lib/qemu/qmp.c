/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QMP over one wire: greeting, commands and their replies, the queue of events.
 *
 * One command is in flight at a time, and replies are matched by id. A command whose wait was
 * cancelled is abandoned: its id is remembered, and its reply is dropped when it comes, so that the
 * connection is still good for cleaning up. A reply with any other id, a time-out and a broken wire
 * are final: `broken` holds the reason, and every later call fails with it.
 *
 * A monitor outlives its clients. What QEMU was at when the last one died is answered to the next:
 * that comes before the answer to the next one's own first command, as commands are run in turn, and
 * may come before the greeting, as that is said by another thread. So ids begin at random, and until
 * then other replies are dropped.
 */
#include "config.h"
#include "qemu/qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "qemu/json-get.h"
#include "qemu/qmp-wire.h"
#include "util/error.h"

#define CONNECT_TIMEOUT_S 5
#define REPLY_TIMEOUT_S   30

/* What varve_qmp_error_class looks for: the text of every answer "error" has this shape. */
#define REFUSAL_FORMAT "QEMU refused '%s' (%s): %s"
#define REFUSAL_MARK   "QEMU refused '"

struct VarveQmp {
  VarveQmpWire *wire;
  unsigned timeout_s;
  unsigned version;
  int64_t last_id;
  bool negotiated;   /* our own first command has been answered */
  GArray *abandoned; /* of int64_t */
  GQueue events;     /* of JsonObject, oldest first */
  char *broken;      /* why nothing more can be done, or NULL */
};

static int64_t
deadline_in (unsigned seconds)
{
  return g_get_monotonic_time () + (int64_t)seconds * G_USEC_PER_SEC;
}

void
varve_qmp_free (VarveQmp *qmp)
{
  if (!qmp)
    return;
  varve_qmp_forget_events (qmp);
  g_clear_pointer (&qmp->wire, varve_qmp_wire_free);
  g_array_unref (qmp->abandoned);
  g_free (qmp->broken);
  g_free (qmp);
}

void
varve_qmp_set_timeout (VarveQmp *qmp, unsigned seconds)
{
  qmp->timeout_s = seconds ? seconds : REPLY_TIMEOUT_S;
}

unsigned
varve_qmp_version (const VarveQmp *qmp)
{
  return qmp->version;
}

bool
varve_qmp_peer (const VarveQmp *qmp, pid_t *out_pid, uid_t *out_uid, gid_t *out_gid, GError **error)
{
  struct ucred peer;
  socklen_t length = sizeof peer;

  if (getsockopt (varve_qmp_wire_fd (qmp->wire), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
    return varve_throw_errno (error, VARVE_ERROR_HYPERVISOR, errno,
                              "It cannot be told who listens on the monitor '%s'",
                              varve_qmp_wire_name (qmp->wire));
  *out_pid = peer.pid;
  *out_uid = peer.uid;
  *out_gid = peer.gid;
  return true;
}

/* Ends the use of the connection for the reason in @inner, and hands that on. A cancelled wait is
 * no such reason: the wire keeps what it had. */
static void
give_up (VarveQmp *qmp, GError **error, GError *inner)
{
  if (!qmp->broken && !g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    qmp->broken = g_strdup (inner->message);
  g_propagate_error (error, inner);
}

static bool
still_good (VarveQmp *qmp, GError **error)
{
  if (!qmp->broken)
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                      "The connection to the monitor '%s' is of no more use. %s",
                      varve_qmp_wire_name (qmp->wire), qmp->broken);
}

static bool
forget_abandoned (VarveQmp *qmp, int64_t id)
{
  for (guint i = 0; i < qmp->abandoned->len; i++) {
    if (g_array_index (qmp->abandoned, int64_t, i) == id) {
      g_array_remove_index_fast (qmp->abandoned, i);
      return true;
    }
  }
  return false;
}

static bool
unexpected (VarveQmp *qmp, JsonObject *message, GError **error)
{
  const char *words = varve_json_string (varve_json_object (message, "error"), "desc");
  g_autoptr (GError) inner = NULL;

  varve_throw (&inner, VARVE_ERROR_SOURCE_UNREACHABLE,
               "The monitor '%s' answered to a command that was not given%s%s.",
               varve_qmp_wire_name (qmp->wire), words ? ": " : "", words ? words : "");
  give_up (qmp, error, g_steal_pointer (&inner));
  return false;
}

/* An answer to somebody who was connected before us. One without an id that tells of an error is about
 * what we sent. */
static bool
is_stray (const VarveQmp *qmp, JsonObject *message)
{
  return !qmp->negotiated &&
         (json_object_has_member (message, "id") || json_object_has_member (message, "return"));
}

/* One message that matters. @out_reply is NULL after an event (which is then in the queue) and
 * after a reply that nobody waits for any more. @id 0: no reply is awaited. False without an error:
 * time is up. */
static bool
receive_one (VarveQmp *qmp, int64_t id, int64_t deadline, GCancellable *cancellable,
             JsonObject **out_reply, GError **error)
{
  GError *inner = NULL;
  g_autoptr (JsonObject) message =
      varve_qmp_wire_receive (qmp->wire, deadline, cancellable, &inner);

  *out_reply = NULL;
  if (!message) {
    if (inner)
      give_up (qmp, error, inner);
    return false;
  }

  if (varve_json_string (message, "event")) {
    if (g_queue_get_length (&qmp->events) >= VARVE_QMP_MAX_EVENTS)
      json_object_unref (g_queue_pop_head (&qmp->events));
    g_queue_push_tail (&qmp->events, g_steal_pointer (&message));
    return true;
  }

  int64_t got = varve_json_int (message, "id", -1);
  if (id != 0 && got == id) {
    *out_reply = g_steal_pointer (&message);
    return true;
  }
  return forget_abandoned (qmp, got) || is_stray (qmp, message) || unexpected (qmp, message, error);
}

static JsonObject *
await_reply (VarveQmp *qmp, const char *command, int64_t id, int64_t deadline,
             GCancellable *cancellable, GError **error)
{
  JsonObject *reply = NULL;
  g_autoptr (GError) inner = NULL;

  /* The clock is asked too: a flood of events would never let the wire run out of time. */
  while (receive_one (qmp, id, deadline, cancellable, &reply, &inner)) {
    if (reply)
      return reply;
    if (g_get_monotonic_time () > deadline)
      break;
  }

  if (!inner) {
    varve_throw (&inner, VARVE_ERROR_SOURCE_UNREACHABLE,
                 "The monitor '%s' did not answer '%s' within %u s: QEMU seems to hang.",
                 varve_qmp_wire_name (qmp->wire), command, qmp->timeout_s);
    give_up (qmp, error, g_steal_pointer (&inner));
    return NULL;
  }
  if (g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    g_array_append_val (qmp->abandoned, id);
  g_propagate_error (error, g_steal_pointer (&inner));
  return NULL;
}

static char *
command_text (const char *command, JsonObject *arguments, int64_t id)
{
  g_autoptr (JsonObject) object = json_object_new ();
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);

  json_object_set_string_member (object, "execute", command);
  if (arguments)
    json_object_set_object_member (object, "arguments", json_object_ref (arguments));
  json_object_set_int_member (object, "id", id);
  json_node_set_object (root, object);

  g_autofree char *text = json_to_string (root, FALSE);
  return g_strconcat (text, "\n", NULL);
}

static JsonNode *
result_of (VarveQmp *qmp, const char *command, JsonObject *reply, GError **error)
{
  JsonObject *refusal = varve_json_object (reply, "error");

  if (json_object_has_member (reply, "return"))
    return json_object_dup_member (reply, "return");
  if (!refusal) {
    unexpected (qmp, reply, error);
    return NULL;
  }

  const char *class = varve_json_string (refusal, "class");
  const char *words = varve_json_string (refusal, "desc");
  varve_throw (error, VARVE_ERROR_HYPERVISOR, REFUSAL_FORMAT, command,
               class ? class : "GenericError", words ? words : "it did not say why");
  return NULL;
}

static JsonNode *
execute_until (VarveQmp *qmp, const char *command, JsonObject *arguments, int64_t deadline,
               GCancellable *cancellable, GError **error)
{
  if (!still_good (qmp, error) || g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;

  GError *inner = NULL;
  int64_t id = ++qmp->last_id;
  g_autofree char *text = command_text (command, arguments, id);
  if (!varve_qmp_wire_send (qmp->wire, text, deadline, &inner)) {
    give_up (qmp, error, inner);
    return NULL;
  }

  g_autoptr (JsonObject) reply = await_reply (qmp, command, id, deadline, cancellable, error);
  return reply ? result_of (qmp, command, reply, error) : NULL;
}

JsonNode *
varve_qmp_execute (VarveQmp *qmp, const char *command, JsonObject *arguments,
                   GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) owned = arguments;

  return execute_until (qmp, command, owned, deadline_in (qmp->timeout_s), cancellable, error);
}

bool
varve_qmp_run (VarveQmp *qmp, const char *command, JsonObject *arguments, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (JsonNode) result = varve_qmp_execute (qmp, command, arguments, cancellable, error);

  return result != NULL;
}

JsonArray *
varve_qmp_execute_list (VarveQmp *qmp, const char *command, JsonObject *arguments,
                        GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, command, arguments, cancellable, error);

  if (!reply)
    return NULL;
  if (JSON_NODE_HOLDS_ARRAY (reply))
    return json_array_ref (json_node_get_array (reply));
  varve_throw (error, VARVE_ERROR_HYPERVISOR, "QEMU answered %s with something that is no array.",
               command);
  return NULL;
}

const char *
varve_qmp_error_class (const GError *error)
{
  /* QEMU's QapiErrorClass, complete since 2012. */
  static const char *const classes[] = { "GenericError", "CommandNotFound", "DeviceNotActive",
                                         "DeviceNotFound", "KVMMissingCap" };

  if (!varve_error_matches (error, VARVE_ERROR_HYPERVISOR))
    return NULL;
  const char *mark = strstr (error->message, REFUSAL_MARK);
  const char *class = mark ? strstr (mark, "' (") : NULL;
  if (!class)
    return NULL;

  for (size_t i = 0; i < G_N_ELEMENTS (classes); i++) {
    size_t length = strlen (classes[i]);

    if (g_str_has_prefix (class + 3, classes[i]) && g_str_has_prefix (class + 3 + length, "): "))
      return classes[i];
  }
  return NULL;
}

static JsonObject *
take_event (VarveQmp *qmp, VarveQmpMatch match, gpointer user_data)
{
  for (GList *link = qmp->events.head; link; link = link->next) {
    JsonObject *event = link->data;

    if (!match ||
        match (varve_json_string (event, "event"), varve_json_object (event, "data"), user_data)) {
      g_queue_delete_link (&qmp->events, link);
      return event;
    }
  }
  return NULL;
}

JsonObject *
varve_qmp_wait_event (VarveQmp *qmp, VarveQmpMatch match, gpointer user_data, unsigned timeout_ms,
                      GCancellable *cancellable, GError **error)
{
  int64_t deadline = g_get_monotonic_time () + (int64_t)timeout_ms * 1000;
  JsonObject *reply = NULL;

  for (;;) {
    g_autoptr (GError) inner = NULL;
    JsonObject *event = take_event (qmp, match, user_data);

    if (event || !still_good (qmp, error))
      return event;
    if (!receive_one (qmp, 0, deadline, cancellable, &reply, &inner)) {
      if (inner)
        g_propagate_error (error, g_steal_pointer (&inner));
      return NULL;
    }
    /* What had come by the deadline is looked through; a flood is not, for longer than a second. */
    if (g_get_monotonic_time () > deadline + G_USEC_PER_SEC)
      return take_event (qmp, match, user_data);
  }
}

void
varve_qmp_forget_events (VarveQmp *qmp)
{
  g_queue_clear_full (&qmp->events, (GDestroyNotify)json_object_unref);
}

static bool
read_greeting (VarveQmp *qmp, JsonObject *greeting, GError **error)
{
  JsonObject *version = varve_json_object (varve_json_object (greeting, "QMP"), "version");
  JsonObject *numbers = varve_json_object (version, "qemu");
  int64_t major = varve_json_int (numbers, "major", -1);
  int64_t minor = varve_json_int (numbers, "minor", -1);
  int64_t micro = varve_json_int (numbers, "micro", -1);

  if (major < 0 || major > 1000 || minor < 0 || minor > 99 || micro < 0 || micro > 99)
    return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "The monitor '%s' did not greet with a version of QEMU. Is it the socket "
                        "of a -qmp option?",
                        varve_qmp_wire_name (qmp->wire));
  qmp->version = (unsigned)(major * 10000 + minor * 100 + micro);
  return true;
}

/* The greeting, behind whatever answers and events are still meant for the client before us. NULL
 * without an error: time is up. (transfer full) */
static JsonObject *
receive_greeting (VarveQmp *qmp, int64_t deadline, GCancellable *cancellable, GError **error)
{
  for (;;) {
    g_autoptr (JsonObject) message =
        varve_qmp_wire_receive (qmp->wire, deadline, cancellable, error);

    if (!message ||
        !(json_object_has_member (message, "return") || json_object_has_member (message, "error") ||
          json_object_has_member (message, "event")))
      return g_steal_pointer (&message);
  }
}

static bool
in_use (const char *name, unsigned timeout_s, GError **error)
{
  return varve_throw (error, VARVE_ERROR_BUSY,
                      "The monitor '%s' is in use by another client, as it did not greet within "
                      "%u s; give varve a -qmp socket of its own.",
                      name, timeout_s);
}

/* From the greeting to command mode. Takes @wire. */
static VarveQmp *
negotiate (VarveQmpWire *wire, unsigned timeout_s, int64_t deadline, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (VarveQmp) qmp = g_new0 (VarveQmp, 1);
  g_autoptr (GError) inner = NULL;

  qmp->wire = wire;
  qmp->timeout_s = timeout_s;
  qmp->last_id = (int64_t)g_random_int () << 20;
  qmp->abandoned = g_array_new (FALSE, FALSE, sizeof (int64_t));
  g_queue_init (&qmp->events);

  g_autoptr (JsonObject) greeting = receive_greeting (qmp, deadline, cancellable, &inner);
  if (!greeting) {
    if (inner)
      g_propagate_error (error, g_steal_pointer (&inner));
    else
      in_use (varve_qmp_wire_name (wire), timeout_s, error);
    return NULL;
  }
  if (!read_greeting (qmp, greeting, error))
    return NULL;

  g_autoptr (JsonNode) result =
      execute_until (qmp, "qmp_capabilities", NULL, deadline, cancellable, error);
  if (!result)
    return NULL;
  qmp->negotiated = true;
  varve_qmp_set_timeout (qmp, 0);
  return g_steal_pointer (&qmp);
}

VarveQmp *
varve_qmp_connect_socket (GSocket *socket, const char *name, unsigned timeout_s,
                          GCancellable *cancellable, GError **error)
{
  timeout_s = timeout_s ? timeout_s : CONNECT_TIMEOUT_S;
  return negotiate (varve_qmp_wire_new (socket, name), timeout_s, deadline_in (timeout_s),
                    cancellable, error);
}

VarveQmp *
varve_qmp_connect (const char *path, unsigned timeout_s, GCancellable *cancellable, GError **error)
{
  timeout_s = timeout_s ? timeout_s : CONNECT_TIMEOUT_S;

  g_autoptr (GError) inner = NULL;
  int64_t deadline = deadline_in (timeout_s);
  VarveQmpWire *wire = varve_qmp_wire_connect (path, deadline, cancellable, &inner);
  if (wire)
    return negotiate (wire, timeout_s, deadline, cancellable, error);

  if (g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    in_use (path, timeout_s, error);
  else if (inner->domain == VARVE_ERROR ||
           g_error_matches (inner, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    g_propagate_error (error, g_steal_pointer (&inner));
  else
    varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                 "The monitor '%s' cannot be reached: %s. Is its QEMU running?", path,
                 inner->message);
  return NULL;
}
