/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "session/listener.h"
#include "util/error.h"

#define MAX_CLIENTS 16
#define MAX_LINE    64
#define MAX_ANSWER  8192
#define SEE_OFF_MS  5000

#define HOLD    "hold"
#define KEEP    "end keep"
#define DISCARD "end discard"
#define OK      "ok"
#define FAILED  "error "

typedef struct {
  int fd;
  char line[MAX_LINE];
  size_t have;
  bool holds;
  bool waits; /* for the answer */
} Client;

struct VarveExportControl {
  VarveListener *listener;
  GPtrArray *clients; /* of Client */
};

/* --- the host --------------------------------------------------------------------------------- */

static void
client_free (gpointer data)
{
  Client *client = data;

  close (client->fd);
  g_free (client);
}

VarveExportControl *
varve_export_control_new (const char *path, GError **error)
{
  VarveListener *listener = varve_listener_unix (path, 0600, NULL, error);
  VarveExportControl *control;

  if (!listener)
    return NULL;
  control = g_new0 (VarveExportControl, 1);
  control->listener = listener;
  control->clients = g_ptr_array_new_with_free_func (client_free);
  return control;
}

void
varve_export_control_free (VarveExportControl *control)
{
  if (!control)
    return;
  g_ptr_array_unref (control->clients);
  varve_listener_free (control->listener);
  g_free (control);
}

static void
accept_client (VarveExportControl *control)
{
  int fd =
      accept4 (varve_listener_fd (control->listener), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  Client *client;

  if (fd < 0)
    return;
  client = g_new0 (Client, 1);
  client->fd = fd;
  g_ptr_array_add (control->clients, client);
}

static VarveExportAsked
obey (Client *client, const char *line)
{
  if (g_str_equal (line, HOLD)) {
    client->holds = true;
    return VARVE_EXPORT_ASKED_NOTHING;
  }
  client->waits = g_str_equal (line, KEEP) || g_str_equal (line, DISCARD);
  if (!client->waits)
    return VARVE_EXPORT_ASKED_NOTHING;
  return g_str_equal (line, KEEP) ? VARVE_EXPORT_ASKED_KEEP : VARVE_EXPORT_ASKED_DISCARD;
}

/* The lines that are complete, up to the first that asks for something: several may come at once, and no poll
 * tells again of what has been received. */
static VarveExportAsked
obey_all (Client *client)
{
  VarveExportAsked asked = VARVE_EXPORT_ASKED_NOTHING;
  char *end;

  while (asked == VARVE_EXPORT_ASKED_NOTHING && (end = strchr (client->line, '\n'))) {
    *end = '\0';
    asked = obey (client, client->line);
    client->have -= (size_t)(end + 1 - client->line);
    memmove (client->line, end + 1, client->have + 1);
  }
  return asked;
}

/* What came. *@out_gone: the client has closed, or talks nonsense. */
static VarveExportAsked
hear (Client *client, bool *out_gone)
{
  ssize_t got = recv (client->fd, client->line + client->have, MAX_LINE - 1 - client->have, 0);
  VarveExportAsked asked;

  *out_gone = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  if (got <= 0)
    return *out_gone && client->holds ? VARVE_EXPORT_HOLDER_LEFT : VARVE_EXPORT_ASKED_NOTHING;
  client->have += (size_t)got;
  client->line[client->have] = '\0';
  asked = obey_all (client);
  *out_gone = client->have == MAX_LINE - 1;
  return asked;
}

static VarveExportAsked
hear_all (VarveExportControl *control, const struct pollfd *fds)
{
  /* Backwards, as those who have gone are taken out; the last to be heard is the first that came. */
  for (guint i = control->clients->len; i > 0; i--) {
    bool gone;
    VarveExportAsked asked;

    if (!fds[i - 1].revents)
      continue;
    asked = hear (g_ptr_array_index (control->clients, i - 1), &gone);
    if (gone)
      g_ptr_array_remove_index (control->clients, i - 1);
    if (asked != VARVE_EXPORT_ASKED_NOTHING)
      return asked;
  }
  return VARVE_EXPORT_ASKED_NOTHING;
}

VarveExportAsked
varve_export_control_wait (VarveExportControl *control, int timeout_ms, GCancellable *cancellable)
{
  struct pollfd fds[MAX_CLIENTS + 2];
  guint n = control->clients->len;
  GPollFD cancel = { .fd = -1 };
  bool made = g_cancellable_make_pollfd (cancellable, &cancel);
  VarveExportAsked asked = VARVE_EXPORT_ASKED_NOTHING;

  for (guint i = 0; i < n; i++)
    fds[i] = (struct pollfd){ ((Client *)g_ptr_array_index (control->clients, i))->fd, POLLIN, 0 };
  fds[n] =
      (struct pollfd){ n < MAX_CLIENTS ? varve_listener_fd (control->listener) : -1, POLLIN, 0 };
  fds[n + 1] = (struct pollfd){ cancel.fd, POLLIN, 0 };
  if (poll (fds, n + 2, timeout_ms) > 0) {
    asked = hear_all (control, fds);
    if (fds[n].revents)
      accept_client (control);
  }
  if (made)
    g_cancellable_release_fd (cancellable);
  return asked;
}

void
varve_export_control_answer (VarveExportControl *control, const GError *error)
{
  g_autofree char *text =
      error ? g_strdup_printf (FAILED "%d %s\n",
                               error->domain == VARVE_ERROR ? error->code : VARVE_ERROR_FAILED,
                               error->message)
            : g_strdup (OK "\n");

  /* One line, whatever a message has in it. */
  g_strdelimit (text, "\n", ' ');
  text[strlen (text) - 1] = '\n';
  for (guint i = 0; i < control->clients->len; i++) {
    Client *client = g_ptr_array_index (control->clients, i);

    if (client->waits)
      send (client->fd, text, strlen (text), MSG_NOSIGNAL);
    client->waits = false;
  }
}

/* --- others ----------------------------------------------------------------------------------- */

int
varve_export_control_connect (const char *path, GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;

  if (g_strlcpy (address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
    varve_throw (error, VARVE_ERROR_USAGE, "The path of the socket '%s' is too long.", path);
    return -1;
  }
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect (fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  varve_throw_errno (
      error, errno == ENOENT || errno == ECONNREFUSED ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_FAILED,
      errno, "The host of the export session does not answer at '%s'", path);
  if (fd >= 0)
    close (fd);
  return -1;
}

static bool
say (int fd, const char *line, GError **error)
{
  g_autofree char *text = g_strconcat (line, "\n", NULL);

  if (send (fd, text, strlen (text), MSG_NOSIGNAL) == (ssize_t)strlen (text))
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The host of the export session has gone: its checkpoint is dropped.");
}

bool
varve_export_control_hold (int fd, GError **error)
{
  return say (fd, HOLD, error);
}

/* Waits for bytes. */
static bool
wait_for (int fd, GCancellable *cancellable, GError **error)
{
  GPollFD cancel = { .fd = -1 };
  struct pollfd fds[2] = { { fd, POLLIN, 0 }, { -1, POLLIN, 0 } };
  bool made = g_cancellable_make_pollfd (cancellable, &cancel);

  fds[1].fd = cancel.fd;
  while (poll (fds, 2, -1) < 0 && errno == EINTR)
    continue;
  if (made)
    g_cancellable_release_fd (cancellable);
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

static bool
understand (const char *line, GError **error)
{
  guint64 code = VARVE_ERROR_FAILED;
  const char *text;

  if (g_str_equal (line, OK))
    return true;
  if (!g_str_has_prefix (line, FAILED))
    return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                        "The host of the export session died before it had ended it: the "
                        "checkpoint is dropped, and what was read is to be thrown away.");
  text = strchr (line + strlen (FAILED), ' ');
  g_autofree char *number =
      text ? g_strndup (line + strlen (FAILED), (gsize)(text - line) - strlen (FAILED)) : NULL;
  if (!number || !g_ascii_string_to_unsigned (number, 10, 0, VARVE_ERROR_CHECKPOINT, &code, NULL))
    text = " The host of the export session said something that cannot be understood.";
  return varve_throw (error, (VarveError)code, "%s", text + 1);
}

bool
varve_export_control_end (int fd, bool keep, GCancellable *cancellable, GError **error)
{
  char answer[MAX_ANSWER];
  size_t have = 0;

  if (!say (fd, keep ? KEEP : DISCARD, error))
    return false;
  answer[0] = '\0';
  while (!strchr (answer, '\n') && have < sizeof answer - 1) {
    ssize_t got;

    if (!wait_for (fd, cancellable, error))
      return false;
    got = recv (fd, answer + have, sizeof answer - 1 - have, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    have += (size_t)got;
    answer[have] = '\0';
  }
  g_strchomp (answer);
  return understand (answer, error);
}

void
varve_export_control_see_off (int fd)
{
  gint64 deadline = g_get_monotonic_time () + SEE_OFF_MS * 1000;
  struct pollfd closed = { fd, POLLIN, 0 };
  char rest[MAX_LINE];

  /* It closes last of all. */
  while (g_get_monotonic_time () < deadline && poll (&closed, 1, SEE_OFF_MS) > 0)
    if (recv (fd, rest, sizeof rest, 0) <= 0)
      return;
}
