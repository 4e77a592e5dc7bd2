/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "qemu/agent.h"

#include "qemu/json-get.h"
#include "qemu/qmp-wire.h"
#include "util/error.h"

#define CONNECT_S 5
#define ASK_US    (5 * G_USEC_PER_SEC)
/* Resets the agent's parser, whatever half a command a client before us has left. */
#define RESET "\xff"

static int64_t
deadline_in (unsigned seconds)
{
  return g_get_monotonic_time () + (int64_t)seconds * G_USEC_PER_SEC;
}

/* What is not the answer to @id is one to somebody before us, or to the reset. */
static bool
is_answer (JsonObject *reply, int64_t id)
{
  return json_object_has_member (reply, "return") && varve_json_int (reply, "return", -1) == id;
}

static bool
synchronize (VarveQmpWire *wire, int64_t deadline, GCancellable *cancellable, GError **error)
{
  int64_t id = g_random_int_range (1, G_MAXINT);
  g_autofree char *text = g_strdup_printf (
      RESET "{\"execute\":\"guest-sync\",\"arguments\":{\"id\":%" G_GINT64_FORMAT "}}\n", id);

  if (!varve_qmp_wire_send (wire, text, deadline, error))
    return false;
  for (;;) {
    g_autoptr (JsonObject) reply = varve_qmp_wire_receive (wire, deadline, cancellable, error);

    if (reply && is_answer (reply, id))
      return true;
    if (!reply)
      return false;
  }
}

/* Connected, and the agent listens to us. Whatever fails here, nothing was asked of it. */
static VarveQmpWire *
reach (const char *path, unsigned timeout_s, GCancellable *cancellable, GError **error)
{
  int64_t deadline = deadline_in (MIN (timeout_s, CONNECT_S));
  g_autoptr (GError) local = NULL;
  g_autoptr (VarveQmpWire) wire = varve_qmp_wire_connect (path, deadline, cancellable, &local);

  if (wire && synchronize (wire, deadline, cancellable, &local))
    return g_steal_pointer (&wire);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  varve_throw (error, VARVE_ERROR_UNSUPPORTED,
               "The guest agent behind '%s' does not answer%s%s. Does it run in the guest, and is "
               "nobody else connected to it?",
               path, local ? ": " : "", local ? local->message : "");
  return NULL;
}

/* The cancellable is not heeded from here on: who asks for a freeze must know what came of it. */
static bool
ask (VarveQmpWire *wire, const char *command, unsigned timeout_s, GError **error)
{
  int64_t deadline = deadline_in (timeout_s);
  g_autofree char *text = g_strdup_printf ("{\"execute\":\"%s\"}\n", command);
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonObject) reply = NULL;
  JsonObject *refusal;

  if (varve_qmp_wire_send (wire, text, deadline, &local))
    reply = varve_qmp_wire_receive (wire, deadline, NULL, &local);
  if (!reply)
    return varve_throw (error, VARVE_ERROR_SOURCE_UNREACHABLE,
                        "The guest agent behind '%s' did not answer to %s within %u s%s%s",
                        varve_qmp_wire_name (wire), command, timeout_s, local ? ": " : ".",
                        local ? local->message : "");
  refusal = varve_json_object (reply, "error");
  if (!refusal)
    return true;
  return varve_throw (error, VARVE_ERROR_HYPERVISOR, "The guest agent behind '%s' refused %s: %s",
                      varve_qmp_wire_name (wire), command,
                      varve_json_string (refusal, "desc") ? varve_json_string (refusal, "desc")
                                                          : "it gave no reason");
}

bool
varve_agent_run (const char *path, const char *command, unsigned timeout_s,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveQmpWire) wire = reach (path, timeout_s, cancellable, error);

  return wire && ask (wire, command, timeout_s, error);
}

/* --- a call that is held ---------------------------------------------------------------------- */

struct VarveAgentCall {
  VarveQmpWire *wire; /* NULL: it broke */
  int64_t id;         /* of guest-sync, in all questions of this call */
  int64_t next;       /* when it is asked again */
  bool synchronized;
  bool answered;
};

VarveAgentCall *
varve_agent_call_new (GSocket *socket, const char *name)
{
  VarveAgentCall *call = g_new0 (VarveAgentCall, 1);

  call->wire = varve_qmp_wire_new (socket, name);
  call->id = g_random_int_range (1, G_MAXINT);
  return call;
}

void
varve_agent_call_free (VarveAgentCall *call)
{
  if (!call)
    return;
  g_clear_pointer (&call->wire, varve_qmp_wire_free);
  g_free (call);
}

/* What nobody reads yet stays in the port until somebody does: so there are few of them. */
static void
ask_again (VarveAgentCall *call, const char *command)
{
  int64_t now = g_get_monotonic_time ();
  g_autofree char *text = NULL;

  if (now < call->next)
    return;
  call->next = now + ASK_US;
  text =
      g_strdup_printf (RESET "{\"execute\":\"guest-sync\",\"arguments\":{\"id\":%" G_GINT64_FORMAT
                             "}}\n{\"execute\":\"%s\"}\n",
                       call->id, command);
  if (!varve_qmp_wire_send (call->wire, text, now, NULL))
    g_clear_pointer (&call->wire, varve_qmp_wire_free);
}

static bool
has_mounted (JsonArray *systems, const char *mountpoint)
{
  for (guint i = 0; systems && i < json_array_get_length (systems); i++)
    if (g_strcmp0 (varve_json_string (varve_json_array_object (systems, i), "mountpoint"),
                   mountpoint) == 0)
      return true;
  return false;
}

/* What counts comes behind the answer to guest-sync. guest-ping returns an empty object. */
static bool
is_good_answer (VarveAgentCall *call, JsonObject *reply, const char *mountpoint)
{
  call->synchronized = call->synchronized || is_answer (reply, call->id);
  if (!call->synchronized)
    return false;
  return mountpoint ? has_mounted (varve_json_array (reply, "return"), mountpoint)
                    : varve_json_object (reply, "return") != NULL;
}

bool
varve_agent_call_answered (VarveAgentCall *call, const char *mountpoint)
{
  while (call->wire && !call->answered) {
    g_autoptr (GError) local = NULL;
    g_autoptr (JsonObject) reply = varve_qmp_wire_receive (call->wire, 0, NULL, &local);

    if (local)
      g_clear_pointer (&call->wire, varve_qmp_wire_free);
    else if (!reply)
      break;
    else
      call->answered = is_good_answer (call, reply, mountpoint);
  }
  if (call->wire && !call->answered)
    ask_again (call, mountpoint ? "guest-get-fsinfo" : "guest-ping");
  return call->answered;
}
