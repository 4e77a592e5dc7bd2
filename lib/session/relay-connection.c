/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/relay-connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "session/relay-admission.h"
#include "session/starttls.h"

/* A read's answer is large, requests are small: readers do not write. */
#define REQUESTS_SIZE (64u << 10)
#define ANSWERS_SIZE  ((size_t)512 << 10)
/* QEMU waits for its answers to be taken whenever it drains a disk (the guest is paused or reset), and the guest with
 * it. So what it has to say to what it was asked is taken, whether the reader takes it or not: with more than
 * ANSWERS_SIZE waiting no more is asked, and a reader that lets about as much wait as may, and takes nothing for a
 * while, is dropped. */
#define ANSWERS_MAX ((size_t)64 << 20)
#define ANSWERS_MIN (4 * ANSWERS_SIZE)
#define PATIENCE_US (2 * G_USEC_PER_SEC)
/* With less than this part of it free at the end, what is kept is moved to the front, if that frees that part: a slow reader
 * must not have all that waits for it moved for each piece it takes, while others wait. */
#define ROOM_PART 4u
#define MOVE_PART 16u

/* [start, proven) may be passed on, [proven, end) not yet; the proof that is under way is for all before asked. */
typedef struct {
  char *data;
  size_t size, start, proven, asked, end;
} Buffer;

struct VarveRelayConnection {
  const char *path;               /* of QEMU's socket */
  VarveRelayAdmission *admission; /* NULL: admitted, or nobody asks */
  VarveTlsSession *tls;           /* NULL: clear text */
  int reader, server;             /* -1: closed */
  bool reader_ended;              /* it sends no more */
  bool server_told;               /* … and QEMU knows */
  bool greeted;                   /* QEMU's greeting has come, or may be passed on */
  guint32 flags;                  /* that the reader answered it with */
  Buffer requests;                /* to QEMU; needs no proof */
  Buffer answers;                 /* to the reader */
  size_t most;                    /* of them may wait */
  gint64 taken;                   /* when the reader last took something: monotonic us */
};

/* --- buffers ---------------------------------------------------------------------------------- */

static void
buffer_init (Buffer *buffer, size_t size)
{
  *buffer = (Buffer){ .data = g_malloc (size), .size = size };
}

static void
buffer_forget (Buffer *buffer)
{
  buffer->start = buffer->proven = buffer->asked = buffer->end = 0;
}

static bool
buffer_is_empty (const Buffer *buffer)
{
  return buffer->start == buffer->end;
}

static void
buffer_make_room (Buffer *buffer)
{
  if (buffer_is_empty (buffer)) {
    buffer_forget (buffer);
  } else if (buffer->size - buffer->end < buffer->size / ROOM_PART &&
             buffer->start >= buffer->size / MOVE_PART) {
    memmove (buffer->data, buffer->data + buffer->start, buffer->end - buffer->start);
    buffer->proven -= buffer->start;
    buffer->asked -= MIN (buffer->asked, buffer->start);
    buffer->end -= buffer->start;
    buffer->start = 0;
  }
}

static size_t
buffer_waiting (const Buffer *buffer)
{
  return buffer->end - buffer->start;
}

/* Room at the end, up to @most in all; one that has been emptied is small again, and only then. */
static void
buffer_adapt (Buffer *buffer, size_t usual, size_t most)
{
  size_t size = buffer->size;

  if (buffer_is_empty (buffer))
    size = usual;
  else if (buffer->end == buffer->size)
    size = MAX (size, MIN (2 * size, most));
  if (size == buffer->size)
    return;
  buffer->data = g_realloc (buffer->data, size);
  buffer->size = size;
}

/* --- coming and going ------------------------------------------------------------------------- */

static void
close_fd (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

/* What it asked is not answered any more, and QEMU learns that no more is asked. */
static void
lose_reader (VarveRelayConnection *connection)
{
  g_clear_pointer (&connection->admission, varve_relay_admission_free);
  g_clear_pointer (&connection->tls, varve_tls_session_free);
  close_fd (&connection->reader);
  connection->reader_ended = true;
  buffer_forget (&connection->requests);
  buffer_forget (&connection->answers);
}

static void
lose_server (VarveRelayConnection *connection)
{
  close_fd (&connection->server);
  buffer_forget (&connection->requests);
}

/* Never waits: a QEMU that does not accept now refuses. */
static void
connect_server (VarveRelayConnection *connection)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;

  if (g_strlcpy (address.sun_path, connection->path, sizeof address.sun_path) >=
      sizeof address.sun_path)
    return;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && connect (fd, (struct sockaddr *)&address, sizeof address) < 0)
    close_fd (&fd);
  connection->server = fd;
}

VarveRelayConnection *
varve_relay_connection_new (int reader, const char *server, VarveTls *tls)
{
  VarveRelayConnection *connection = g_new0 (VarveRelayConnection, 1);

  connection->path = server;
  connection->reader = reader;
  connection->server = -1;
  if (tls) {
    connection->admission = varve_relay_admission_new (tls, reader);
    return connection;
  }
  connection->greeted = true;
  buffer_init (&connection->requests, REQUESTS_SIZE);
  buffer_init (&connection->answers, ANSWERS_SIZE);
  connect_server (connection);
  return connection;
}

/* What he said in the handshake is the first that QEMU hears. */
static void
admit (VarveRelayConnection *connection)
{
  guint32 flags;

  connection->tls = varve_relay_admission_take (connection->admission, &connection->flags);
  g_clear_pointer (&connection->admission, varve_relay_admission_free);
  buffer_init (&connection->requests, REQUESTS_SIZE);
  buffer_init (&connection->answers, ANSWERS_SIZE);
  flags = GUINT32_TO_BE (connection->flags);
  memcpy (connection->requests.data, &flags, sizeof flags);
  connection->requests.end = connection->requests.proven = sizeof flags;
  connect_server (connection);
}

static void
turn_admission (VarveRelayConnection *connection)
{
  switch (varve_relay_admission_turn (connection->admission)) {
  case VARVE_ADMISSION_WAITS:
    break;
  case VARVE_ADMISSION_GRANTED:
    admit (connection);
    break;
  case VARVE_ADMISSION_DENIED:
    lose_reader (connection);
    break;
  }
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* A descriptor of which nothing is wanted is left out of the poll, which would else report its hangup
 * again and again. */
static void
want (struct pollfd *fd, int number, bool in, bool out)
{
  fd->events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));
  fd->fd = fd->events ? number : -1;
  fd->revents = 0;
}

static bool
has_room (const Buffer *buffer)
{
  return buffer->end < buffer->size;
}

bool
varve_relay_connection_prepare (VarveRelayConnection *connection, size_t share,
                                struct pollfd fds[2])
{
  Buffer *requests = &connection->requests, *answers = &connection->answers;
  bool listens, asks;

  if (connection->admission) {
    short events = varve_relay_admission_events (connection->admission);

    want (&fds[0], connection->reader, events & POLLIN, events & POLLOUT);
    want (&fds[1], -1, false, false);
    return false;
  }
  buffer_make_room (requests);
  buffer_make_room (answers);
  connection->most = CLAMP (share, ANSWERS_MIN, ANSWERS_MAX);
  buffer_adapt (answers, ANSWERS_SIZE, connection->most);
  asks = buffer_waiting (answers) < ANSWERS_SIZE;
  listens = !connection->reader_ended && has_room (requests);
  want (&fds[0], connection->reader, listens,
        answers->start < answers->proven ||
            (connection->tls && varve_tls_session_writes (connection->tls)));
  want (&fds[1], connection->server, has_room (answers),
        asks && requests->start < requests->proven);
  return listens && connection->tls && varve_tls_session_pending (connection->tls);
}

/* --- receiving -------------------------------------------------------------------------------- */

typedef enum { TOOK, NOTHING_NOW, ENDED, LOST } Took;

static Took
take_tls (VarveTlsSession *tls, Buffer *buffer)
{
  size_t got;

  switch (varve_tls_session_receive (tls, buffer->data + buffer->end, buffer->size - buffer->end,
                                     &got)) {
  case VARVE_TLS_DONE:
    buffer->end += got;
    return TOOK;
  case VARVE_TLS_WAITS:
    return NOTHING_NOW;
  case VARVE_TLS_ENDED:
    return ENDED;
  case VARVE_TLS_LOST:
    break;
  }
  return LOST;
}

/* Into the room that there is. */
static Took
take (int fd, Buffer *buffer)
{
  ssize_t got = recv (fd, buffer->data + buffer->end, buffer->size - buffer->end, 0);

  if (got > 0) {
    buffer->end += (size_t)got;
    return TOOK;
  }
  if (got < 0)
    return errno == EAGAIN || errno == EINTR ? NOTHING_NOW : LOST;
  return ENDED;
}

static void
receive_requests (VarveRelayConnection *connection, const struct pollfd *fd)
{
  Buffer *requests = &connection->requests;

  if (!(fd->events & POLLIN))
    return;
  if (!connection->tls && !(fd->revents & (POLLIN | POLLHUP | POLLERR)))
    return;
  switch (connection->tls ? take_tls (connection->tls, requests)
                          : take (connection->reader, requests)) {
  case TOOK:
    requests->proven = requests->end;
    break;
  case ENDED:
    connection->reader_ended = true;
    /* It may have closed one half only, and still read; one that has gone says so here. */
    if (fd->revents & (POLLHUP | POLLERR))
      lose_reader (connection);
    break;
  case LOST:
    lose_reader (connection);
    break;
  case NOTHING_NOW:
    break;
  }
}

/* The reader has had this from us already: it is looked at, and not passed on. */
static void
hold_greeting_back (VarveRelayConnection *connection)
{
  Buffer *answers = &connection->answers;

  if (connection->greeted || answers->end < VARVE_NBD_GREETING_SIZE)
    return;
  connection->greeted = true;
  answers->start = VARVE_NBD_GREETING_SIZE;
  answers->proven = MAX (answers->proven, answers->start);
  answers->asked = MAX (answers->asked, answers->start);
  if (!varve_starttls_suits ((const uint8_t *)answers->data, connection->flags))
    lose_reader (connection);
}

static void
receive_answers (VarveRelayConnection *connection, const struct pollfd *fd, bool *out_fresh)
{
  if (!(fd->events & POLLIN) || !(fd->revents & (POLLIN | POLLHUP | POLLERR)))
    return;
  switch (take (connection->server, &connection->answers)) {
  case TOOK:
    hold_greeting_back (connection);
    if (connection->reader < 0)
      buffer_forget (&connection->answers);
    else
      *out_fresh = true;
    break;
  case ENDED:
  case LOST:
    lose_server (connection);
    break;
  case NOTHING_NOW:
    break;
  }
}

void
varve_relay_connection_receive (VarveRelayConnection *connection, const struct pollfd fds[2],
                                bool *out_fresh)
{
  if (connection->admission) {
    /* Without an event, too: his time may be over. */
    turn_admission (connection);
    return;
  }
  receive_requests (connection, &fds[0]);
  receive_answers (connection, &fds[1], out_fresh);
}

/* --- sending ---------------------------------------------------------------------------------- */

void
varve_relay_connection_ask (VarveRelayConnection *connection)
{
  connection->answers.asked = connection->answers.end;
}

void
varve_relay_connection_prove (VarveRelayConnection *connection)
{
  Buffer *answers = &connection->answers;

  if (connection->greeted)
    answers->proven = MAX (answers->proven, answers->asked);
}

/* False: nobody takes it any more. */
static bool
give (int fd, Buffer *buffer)
{
  while (buffer->start < buffer->proven) {
    ssize_t sent =
        send (fd, buffer->data + buffer->start, buffer->proven - buffer->start, MSG_NOSIGNAL);

    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return errno == EAGAIN;
    buffer->start += (size_t)sent;
  }
  return true;
}

static bool
give_tls (VarveTlsSession *tls, Buffer *buffer)
{
  while (buffer->start < buffer->proven) {
    size_t sent;
    VarveTlsResult result = varve_tls_session_send (tls, buffer->data + buffer->start,
                                                    buffer->proven - buffer->start, &sent);

    if (result != VARVE_TLS_DONE)
      return result == VARVE_TLS_WAITS;
    buffer->start += sent;
  }
  return true;
}

static void
tell_server_of_end (VarveRelayConnection *connection)
{
  if (!connection->reader_ended || connection->server_told ||
      !buffer_is_empty (&connection->requests))
    return;
  shutdown (connection->server, SHUT_WR);
  connection->server_told = true;
}

/* No room can be made then (MOVE_PART). */
bool
varve_relay_connection_is_full (const VarveRelayConnection *connection)
{
  return connection->most > 0 &&
         buffer_waiting (&connection->answers) >= connection->most - connection->most / MOVE_PART;
}

/* Neither moving nor leaving it alone: QEMU, and its guest, may be waiting for him. */
static bool
is_stuck (const VarveRelayConnection *connection)
{
  const Buffer *answers = &connection->answers;

  return connection->server >= 0 && answers->start < answers->proven &&
         varve_relay_connection_is_full (connection) &&
         g_get_monotonic_time () - connection->taken > PATIENCE_US;
}

void
varve_relay_connection_send (VarveRelayConnection *connection)
{
  size_t start = connection->answers.start;

  if (connection->server >= 0 && buffer_waiting (&connection->answers) < ANSWERS_SIZE &&
      !give (connection->server, &connection->requests))
    lose_server (connection);
  if (connection->reader >= 0 &&
      !(connection->tls ? give_tls (connection->tls, &connection->answers)
                        : give (connection->reader, &connection->answers)))
    lose_reader (connection);
  /* At once: a server that has nothing more to say would not wake anybody. */
  if (connection->server >= 0)
    tell_server_of_end (connection);
  if (connection->answers.start != start || buffer_is_empty (&connection->answers))
    connection->taken = g_get_monotonic_time ();
  else if (is_stuck (connection)) {
    lose_server (connection);
    lose_reader (connection);
  }
}

/* --- the end ---------------------------------------------------------------------------------- */

bool
varve_relay_connection_is_admitting (const VarveRelayConnection *connection)
{
  return connection->admission != NULL;
}

bool
varve_relay_connection_finished (const VarveRelayConnection *connection)
{
  return !connection->admission && connection->server < 0 &&
         (connection->reader < 0 || !connection->greeted || buffer_is_empty (&connection->answers));
}

void
varve_relay_connection_close_server (VarveRelayConnection *connection)
{
  lose_server (connection);
}

void
varve_relay_connection_free (VarveRelayConnection *connection)
{
  close_fd (&connection->server);
  lose_reader (connection);
  g_free (connection->requests.data);
  g_free (connection->answers.data);
  g_free (connection);
}
