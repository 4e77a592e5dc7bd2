/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The guest agent's client, against an agent that answers by a script: "S" the synchronization, "O" the command,
 * "E" with an error to it, "?" something stale in between, "-" nothing more. */
#include "config.h"

#include "qemu/agent.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/error.h"

typedef struct {
  char *dir;
  char *path;
  int listener;
  const char *script;
  GString *heard;
  GThread *thread;
} Agent;

static void
say (int fd, const char *text)
{
  g_assert_cmpint (send (fd, text, strlen (text), MSG_NOSIGNAL), ==, (int)strlen (text));
}

/* One line, without the reset before it. (transfer full) */
static char *
hear (int fd)
{
  g_autoptr (GString) line = g_string_new (NULL);
  char c;

  while (read (fd, &c, 1) == 1 && c != '\n') {
    if (c != '\xff')
      g_string_append_c (line, c);
  }
  return g_string_free (g_steal_pointer (&line), FALSE);
}

static void
synchronize (int fd)
{
  g_autofree char *line = hear (fd);
  const char *id = strstr (line, "\"id\":");
  g_autofree char *reply = NULL;

  g_assert_nonnull (strstr (line, "guest-sync"));
  g_assert_nonnull (id);
  reply = g_strdup_printf ("{\"return\": %" G_GINT64_FORMAT "}\n",
                           g_ascii_strtoll (id + strlen ("\"id\":"), NULL, 10));
  say (fd, reply);
}

static gpointer
serve (gpointer data)
{
  Agent *agent = data;
  int fd = accept (agent->listener, NULL, NULL);
  char c;

  for (const char *step = agent->script; *step; step++) {
    g_autofree char *line = NULL;

    if (*step == 'S')
      synchronize (fd);
    if (*step == '?')
      say (fd, "{\"return\": 7}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"old\"}}\n");
    if (*step == 'O' || *step == 'E') {
      line = hear (fd);
      g_string_append (agent->heard, line);
      say (fd,
           *step == 'O' ? "{\"return\": 2}\n" : "{\"error\": {\"desc\": \"frozen already\"}}\n");
    }
  }
  /* Held until the client goes. */
  while (read (fd, &c, 1) == 1)
    continue;
  close (fd);
  return NULL;
}

static Agent *
agent_new (const char *script)
{
  Agent *agent = g_new0 (Agent, 1);
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  g_autoptr (GError) error = NULL;

  agent->dir = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
  agent->path = g_build_filename (agent->dir, "qga", NULL);
  agent->script = script;
  agent->heard = g_string_new (NULL);
  g_strlcpy (address.sun_path, agent->path, sizeof address.sun_path);
  agent->listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint (bind (agent->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint (listen (agent->listener, 1), ==, 0);
  agent->thread = g_thread_new ("agent", serve, agent);
  return agent;
}

static void
agent_free (Agent *agent)
{
  g_thread_join (agent->thread);
  close (agent->listener);
  varve_remove_tree (agent->dir, NULL);
  g_string_free (agent->heard, TRUE);
  g_free (agent->dir);
  g_free (agent->path);
  g_free (agent);
}

/* @code -1: it goes well. */
static void
run_script (const char *script, int code, const char *heard)
{
  Agent *agent = agent_new (script);
  g_autoptr (GError) error = NULL;
  bool ok = varve_agent_run (agent->path, "guest-fsfreeze-freeze", 1, NULL, &error);

  if (code < 0)
    g_assert_no_error (error);
  else
    g_assert_error (error, VARVE_ERROR, code);
  g_assert_cmpint (ok, ==, code < 0);
  g_assert_cmpint (strstr (agent->heard->str, heard) != NULL, ==, true);
  agent_free (agent);
}

static void
test_obeys (void)
{
  run_script ("SO", -1, "{\"execute\":\"guest-fsfreeze-freeze\"}");
}

static void
test_stale (void)
{
  run_script ("?SO", -1, "freeze");
}

static void
test_refuses (void)
{
  run_script ("SE", VARVE_ERROR_HYPERVISOR, "freeze");
}

/* Nothing was asked of it. */
static void
test_silent (void)
{
  run_script ("-", VARVE_ERROR_UNSUPPORTED, "");
  run_script ("?", VARVE_ERROR_UNSUPPORTED, "");
}

/* It was, and may yet obey. */
static void
test_hangs (void)
{
  run_script ("S-", VARVE_ERROR_SOURCE_UNREACHABLE, "");
}

static void
test_nobody (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_agent_run ("/nowhere/qga", "guest-ping", 1, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
}

/* --- a call that is held ---------------------------------------------------------------------- */

static VarveAgentCall *
make_call (int *out_port)
{
  g_autoptr (GError) error = NULL;
  GSocket *socket;
  int ends[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  socket = g_socket_new_from_fd (ends[0], &error);
  g_assert_no_error (error);
  *out_port = ends[1];
  return varve_agent_call_new (socket, "agent");
}

/* The guest starts its agent after a while, which reads what has been waiting. */
static void
test_call (void)
{
  int port;
  VarveAgentCall *call = make_call (&port);
  g_autofree char *command = NULL;

  g_assert_false (varve_agent_call_answered (call, NULL));
  g_assert_false (varve_agent_call_answered (call, NULL));
  /* To somebody before us. */
  say (port, "{\"return\": {}}\n{\"error\": {\"desc\": \"parse error\"}}\n");
  g_assert_false (varve_agent_call_answered (call, NULL));
  synchronize (port);
  g_assert_false (varve_agent_call_answered (call, NULL));
  command = hear (port);
  g_assert_nonnull (strstr (command, "guest-ping"));
  say (port, "{\"retu");
  g_assert_false (varve_agent_call_answered (call, NULL));
  say (port, "rn\": {}}\n");
  g_assert_true (varve_agent_call_answered (call, NULL));
  g_assert_true (varve_agent_call_answered (call, NULL));
  varve_agent_call_free (call);
  close (port);
}

/* It answers before all file systems are mounted. */
static void
test_call_mounted (void)
{
  int port;
  VarveAgentCall *call = make_call (&port);
  g_autofree char *command = NULL;

  g_assert_false (varve_agent_call_answered (call, "/srv"));
  synchronize (port);
  command = hear (port);
  g_assert_nonnull (strstr (command, "guest-get-fsinfo"));
  say (port, "{\"return\": [{\"mountpoint\": \"/\"}, {\"mountpoint\": \"/srv/a\"}, 7]}\n");
  g_assert_false (varve_agent_call_answered (call, "/srv"));
  say (port, "{\"return\": {}}\n{\"return\": [{\"mountpoint\": \"/srv\", \"name\": \"vdb\"}]}\n");
  g_assert_true (varve_agent_call_answered (call, "/srv"));
  varve_agent_call_free (call);
  close (port);
}

static void
test_call_hung_up (void)
{
  int port;
  VarveAgentCall *call = make_call (&port);

  g_assert_false (varve_agent_call_answered (call, NULL));
  close (port);
  g_assert_false (varve_agent_call_answered (call, NULL));
  g_assert_false (varve_agent_call_answered (call, NULL));
  varve_agent_call_free (call);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/agent/obeys", test_obeys);
  g_test_add_func ("/agent/stale", test_stale);
  g_test_add_func ("/agent/refuses", test_refuses);
  g_test_add_func ("/agent/silent", test_silent);
  g_test_add_func ("/agent/hangs", test_hangs);
  g_test_add_func ("/agent/nobody", test_nobody);
  g_test_add_func ("/agent/call", test_call);
  g_test_add_func ("/agent/call-mounted", test_call_mounted);
  g_test_add_func ("/agent/call-hung-up", test_call_hung_up);
  return g_test_run ();
}
