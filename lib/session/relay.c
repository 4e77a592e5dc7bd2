/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The relay's thread: one poll over all connections. Only this thread touches them while it runs; the others have
 * the mutex, the wake descriptor and the proof's interrupt. */
#include "config.h"
#include "session/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/relay-connection.h"
#include "util/error.h"

/* Readers of all disks together; more wait until one has gone. */
#define MAX_READERS 128
/* Each of a few readers may have all that a connection ever takes (ANSWERS_MAX). */
#define MEMORY ((size_t)512 << 20)
/* Behind a failure to take a connection (no descriptor left, say). */
#define PAUSE_MS 100
/* While somebody's time may run out: who has not proved himself, or takes nothing. */
#define ADMISSION_MS 1000

/* Places in the array that is polled. */
enum { WAKE, LISTENER, FIRST };

struct VarveRelay {
  VarveRelayOptions options;
  char *server;
  int wake; /* eventfd */
  GThread *thread;
  GThread *prover;        /* NULL: no proof is needed */
  GPtrArray *connections; /* of VarveRelayConnection; the thread's */
  GArray *fds;            /* of struct pollfd; the thread's */
  bool fresh;             /* something came that no proof has been asked for; the thread's */
  bool proving;           /* one is under way; the thread's */

  GMutex mutex; /* of what follows */
  GCond ended_cond;
  GCond asked_cond;
  bool asked;    /* for a proof */
  bool answered; /* it was given, or has failed: then there is @broken, or an end */
  bool proven;
  bool leaving; /* no proof is needed any more */
  bool stopping;
  bool joined;
  unsigned readers;
  GError *broken;
};

/* --- the thread ------------------------------------------------------------------------------- */

static bool
is_stopping (VarveRelay *relay)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  return relay->stopping;
}

/* How long to wait, at most: ms. */
static int
prepare (VarveRelay *relay, bool may_accept)
{
  guint n = relay->connections->len;
  size_t share = (relay->options.memory ? relay->options.memory : MEMORY) / MAX (n, 1);
  int timeout = may_accept ? -1 : PAUSE_MS;
  struct pollfd *fds;

  g_array_set_size (relay->fds, FIRST + 2 * n);
  fds = (struct pollfd *)(void *)relay->fds->data;
  fds[WAKE] = (struct pollfd){ .fd = relay->wake, .events = POLLIN };
  fds[LISTENER] = (struct pollfd){ .fd = may_accept && n < MAX_READERS
                                             ? varve_listener_fd (relay->options.listener)
                                             : -1,
                                   .events = POLLIN };
  for (guint i = 0; i < n; i++) {
    VarveRelayConnection *connection = g_ptr_array_index (relay->connections, i);

    if (varve_relay_connection_prepare (connection, share, &fds[FIRST + 2 * i]))
      timeout = 0;
    else if (timeout < 0 && (varve_relay_connection_is_admitting (connection) ||
                             varve_relay_connection_is_full (connection)))
      timeout = ADMISSION_MS;
  }
  return timeout;
}

static struct pollfd *
fd_at (VarveRelay *relay, guint i)
{
  return &g_array_index (relay->fds, struct pollfd, i);
}

/* False when no more can be taken for now. */
static bool
accept_reader (VarveRelay *relay)
{
  int fd = accept4 (varve_listener_fd (relay->options.listener), NULL, NULL,
                    SOCK_CLOEXEC | SOCK_NONBLOCK);
  int on = 1;

  if (fd < 0)
    return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  /* So that a reader whose host has vanished does not keep its place for ever. */
  setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  g_ptr_array_add (relay->connections,
                   varve_relay_connection_new (fd, relay->server, relay->options.tls));
  return true;
}

/* --- proofs ------------------------------------------------------------------------------------ */

/* QEMU may not answer the witness before all that it has to say has been taken: so another thread waits for that. */

static void
give_proof (VarveRelay *relay)
{
  g_autoptr (GError) error = NULL;
  bool ok = relay->options.proof (relay->options.proof_data, &error);

  g_mutex_lock (&relay->mutex);
  relay->answered = true;
  relay->proven = ok;
  if (!ok && !relay->stopping && !relay->leaving && !relay->broken)
    relay->broken = g_steal_pointer (&error);
  g_mutex_unlock (&relay->mutex);
  eventfd_write (relay->wake, 1);
}

static gpointer
run_proofs (gpointer data)
{
  VarveRelay *relay = data;

  for (;;) {
    bool leaving;

    g_mutex_lock (&relay->mutex);
    while (!relay->asked && !relay->leaving)
      g_cond_wait (&relay->asked_cond, &relay->mutex);
    relay->asked = false;
    leaving = relay->leaving;
    g_mutex_unlock (&relay->mutex);
    if (leaving)
      return NULL;
    give_proof (relay);
  }
}

static void
ask_for_proof (VarveRelay *relay)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  relay->asked = true;
  g_cond_signal (&relay->asked_cond);
}

/* False when the snapshot has broken. */
static bool
hear_proof (VarveRelay *relay, bool *out_proven)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  *out_proven = relay->answered;
  relay->answered = false;
  return !*out_proven || relay->proven;
}

static void
end_proofs (VarveRelay *relay)
{
  if (!relay->prover)
    return;
  g_mutex_lock (&relay->mutex);
  relay->leaving = true;
  g_cond_signal (&relay->asked_cond);
  g_mutex_unlock (&relay->mutex);
  if (relay->options.interrupt)
    relay->options.interrupt (relay->options.proof_data);
  g_thread_join (relay->prover);
}

static void
for_all (VarveRelay *relay, void (*func) (VarveRelayConnection *))
{
  for (guint i = 0; i < relay->connections->len; i++)
    func (g_ptr_array_index (relay->connections, i));
}

/* False when the snapshot has broken. */
static bool
see_to_proofs (VarveRelay *relay)
{
  bool proven = false;

  if (relay->proving && !hear_proof (relay, &proven))
    return false;
  if (proven) {
    relay->proving = false;
    for_all (relay, varve_relay_connection_prove);
  }
  if (!relay->fresh || relay->proving)
    return true;
  relay->fresh = false;
  for_all (relay, varve_relay_connection_ask);
  if (relay->prover) {
    relay->proving = true;
    ask_for_proof (relay);
  } else {
    for_all (relay, varve_relay_connection_prove);
  }
  return true;
}

static void
drop_finished (VarveRelay *relay)
{
  for (guint i = relay->connections->len; i > 0; i--) {
    if (varve_relay_connection_finished (g_ptr_array_index (relay->connections, i - 1)))
      g_ptr_array_remove_index_fast (relay->connections, i - 1);
  }
  g_mutex_lock (&relay->mutex);
  relay->readers = relay->connections->len;
  g_mutex_unlock (&relay->mutex);
}

/* What the poll has found; @n connections were polled. False when the snapshot has broken. */
static bool
serve (VarveRelay *relay, guint n)
{
  eventfd_t woken;

  if (fd_at (relay, WAKE)->revents)
    eventfd_read (relay->wake, &woken);
  for (guint i = 0; i < n; i++)
    varve_relay_connection_receive (g_ptr_array_index (relay->connections, i),
                                    fd_at (relay, FIRST + 2 * i), &relay->fresh);
  if (!see_to_proofs (relay))
    return false;
  for_all (relay, varve_relay_connection_send);
  return true;
}

/* Nobody is served any more. */
static void
break_down (VarveRelay *relay, int errnum)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  if (!relay->broken)
    varve_throw_errno (&relay->broken, VARVE_ERROR_FAILED, errnum,
                       "The relay between readers and QEMU cannot wait for them");
}

/* QEMU's side first, of all of them. */
static void
close_all (VarveRelay *relay)
{
  for (guint i = 0; i < relay->connections->len; i++)
    varve_relay_connection_close_server (g_ptr_array_index (relay->connections, i));
  g_ptr_array_set_size (relay->connections, 0);
  drop_finished (relay);
}

static gpointer
run (gpointer data)
{
  VarveRelay *relay = data;
  bool may_accept = true;

  while (!is_stopping (relay)) {
    guint n = relay->connections->len;
    int timeout = prepare (relay, may_accept);

    if (poll (fd_at (relay, 0), relay->fds->len, timeout) < 0 && errno != EINTR) {
      break_down (relay, errno);
      break;
    }
    if (!serve (relay, n))
      break;
    may_accept = !(fd_at (relay, LISTENER)->revents & POLLIN) || accept_reader (relay);
    drop_finished (relay);
  }
  close_all (relay);
  end_proofs (relay);
  /* Whoever comes now is refused, and not left waiting. */
  g_clear_pointer (&relay->options.listener, varve_listener_free);
  return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

VarveRelay *
varve_relay_start (const VarveRelayOptions *options, GError **error)
{
  int wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  VarveRelay *relay;

  if (wake < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot start the relay");
    varve_listener_free (options->listener);
    varve_tls_free (options->tls);
    return NULL;
  }
  relay = g_new0 (VarveRelay, 1);
  relay->options = *options;
  relay->server = g_strdup (options->server);
  relay->options.server = relay->server;
  relay->wake = wake;
  relay->connections = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_relay_connection_free);
  relay->fds = g_array_new (FALSE, TRUE, sizeof (struct pollfd));
  g_mutex_init (&relay->mutex);
  g_cond_init (&relay->ended_cond);
  g_cond_init (&relay->asked_cond);
  if (options->proof)
    relay->prover = g_thread_new ("varve-proofs", run_proofs, relay);
  relay->thread = g_thread_new ("varve-relay", run, relay);
  return relay;
}

bool
varve_relay_check (VarveRelay *relay, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  if (!relay->broken)
    return true;
  g_propagate_error (error, g_error_copy (relay->broken));
  return false;
}

unsigned
varve_relay_readers (VarveRelay *relay)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&relay->mutex);

  return relay->readers;
}

/* Whoever comes second waits for the first, so that behind it nothing is open, whoever called. */
void
varve_relay_stop (VarveRelay *relay)
{
  bool first;

  g_mutex_lock (&relay->mutex);
  first = !relay->stopping;
  relay->stopping = true;
  while (!first && !relay->joined)
    g_cond_wait (&relay->ended_cond, &relay->mutex);
  g_mutex_unlock (&relay->mutex);
  if (!first)
    return;
  eventfd_write (relay->wake, 1);
  if (relay->options.interrupt)
    relay->options.interrupt (relay->options.proof_data);
  g_thread_join (relay->thread);
  g_mutex_lock (&relay->mutex);
  relay->joined = true;
  g_cond_broadcast (&relay->ended_cond);
  g_mutex_unlock (&relay->mutex);
}

void
varve_relay_free (VarveRelay *relay)
{
  if (!relay)
    return;
  varve_relay_stop (relay);
  g_ptr_array_unref (relay->connections);
  varve_tls_free (relay->options.tls);
  g_array_unref (relay->fds);
  close (relay->wake);
  g_clear_error (&relay->broken);
  g_mutex_clear (&relay->mutex);
  g_cond_clear (&relay->ended_cond);
  g_cond_clear (&relay->asked_cond);
  g_free (relay->server);
  g_free (relay);
}
