/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The I/O thread of one connection, and the hand-over of requests to it and back.
 *
 * The result of a command is asked of libnbd by its cookie, not taken from the completion callback:
 * only there libnbd also checks that the server sent as many bytes as were asked for.
 */
#include "config.h"
#include "block/nbd-connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/nbd-connect.h"
#include "util/error.h"

struct BlockNbdConnection {
  char *label;
  bool target;
  unsigned stall_timeout; /* seconds */
  BlockNbdExport export;
  int wake; /* eventfd: there is something in the queue, or to end for */
  GThread *thread;

  GMutex lock;
  GQueue queue;           /* of BlockNbdRequest, not yet given to libnbd; by lock */
  unsigned load;          /* by lock */
  bool interrupted, quit; /* by lock */
  GError *end;            /* why it ended; set once; by lock */

  /* The I/O thread's own. */
  struct nbd_handle *nbd;
  GPtrArray *issued;    /* commands that libnbd has */
  GPtrArray *completed; /* those of them of which a callback said that they are done */
  gint64 heard;         /* when bytes last moved, or when there last was nothing to wait for */
};

/* --- What went wrong --- */

/* libnbd has one error for a server that hangs up in the middle of a message and for one that talks
 * nonsense; only its text tells them apart. */
static bool
is_protocol_error (int errnum, const char *text)
{
  return errnum == EPROTO || (errnum == 0 && strstr (text, "disconnect") == NULL);
}

static GError *end_error (const BlockNbdConnection *self, VarveError code, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

static GError *
end_error (const BlockNbdConnection *self, VarveError code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  GError *error = g_error_new_valist (
      VARVE_ERROR, self->target ? VARVE_ERROR_STORE_UNREACHABLE : code, format, args);
  va_end (args);
  return error;
}

/* In the thread in which libnbd said so. */
static GError *
dead_error (const BlockNbdConnection *self)
{
  const char *text = nbd_get_error ();
  int errnum = nbd_get_errno ();

  if (text == NULL || !nbd_aio_is_dead (self->nbd))
    /* QEMU also does so when it meets a read error in the middle of a structured reply. */
    return end_error (self, VARVE_ERROR_SOURCE_LOST,
                      "The NBD server of %s closed the connection: it ended, or what it served "
                      "was taken away or could not be read (its log has the error then).",
                      self->label);
  if (is_protocol_error (errnum, text))
    return end_error (self, VARVE_ERROR_SOURCE_PROTOCOL,
                      "The NBD server of %s broke the protocol: %s.", self->label, text);
  return end_error (self, VARVE_ERROR_SOURCE_LOST,
                    "The connection to the NBD server of %s broke: %s.", self->label, text);
}

static GError *
interrupted_error (const BlockNbdConnection *self)
{
  return g_error_new (G_IO_ERROR, G_IO_ERROR_CANCELLED, "Access to %s was interrupted.",
                      self->label);
}

static const char *
command_text (BlockNbdCommand command)
{
  switch (command) {
  case BLOCK_NBD_READ:
    return "read";
  case BLOCK_NBD_WRITE:
    return "write";
  case BLOCK_NBD_ZERO:
    return "write of zeros";
  case BLOCK_NBD_TRIM:
    return "trim";
  case BLOCK_NBD_FLUSH:
    return "flush";
  case BLOCK_NBD_STATUS:
    return "question for the map";
  }
  return "request";
}

/* EINVAL is how QEMU says that a snapshot broke, or that the range is none that it holds; ENOTSUP,
 * that the job behind it was cancelled; ESHUTDOWN, that it is about to end. */
static VarveError
answer_code (const BlockNbdConnection *self, int errnum)
{
  if (self->target)
    return errnum == ENOSPC || errnum == EDQUOT ? VARVE_ERROR_NO_SPACE
                                                : VARVE_ERROR_STORE_UNREACHABLE;
  switch (errnum) {
  case EINVAL:
  case ENOTSUP:
  case ESHUTDOWN:
    return VARVE_ERROR_SOURCE_LOST;
  case EPROTO:
    return VARVE_ERROR_SOURCE_PROTOCOL;
  default:
    return VARVE_ERROR_SOURCE_READ;
  }
}

static bool
throw_answer (const BlockNbdConnection *self, const BlockNbdRequest *request, GError **error)
{
  VarveError code = answer_code (self, request->errnum);

  return varve_throw (error, code,
                      "The NBD server of %s answered a %s of %" G_GUINT64_FORMAT
                      " bytes at offset %" G_GUINT64_FORMAT " with an error: %s%s.",
                      self->label, command_text (request->command), request->length,
                      request->offset, g_strerror (request->errnum),
                      code == VARVE_ERROR_SOURCE_LOST
                          ? ". The snapshot behind it is lost, or does not hold this range: what "
                            "was read from it must be read again from a new one"
                          : "");
}

/* --- The I/O thread --- */

static int
on_completion (void *user_data, int *error)
{
  BlockNbdRequest *request = user_data;

  g_ptr_array_add (request->connection->completed, request);
  return 0;
}

static int
on_extent (void *user_data, const char *context, uint64_t offset, uint32_t *entries, size_t count,
           int *error)
{
  BlockNbdRequest *request = user_data;

  if (*error == 0 && !request->status (request, context, entries, count)) {
    *error = EPROTO;
    return -1;
  }
  return 0;
}

static int64_t
issue_command (struct nbd_handle *nbd, BlockNbdRequest *request)
{
  nbd_completion_callback completion = { .callback = on_completion, .user_data = request };
  nbd_extent_callback extent = { .callback = on_extent, .user_data = request };

  switch (request->command) {
  case BLOCK_NBD_READ:
    return nbd_aio_pread (nbd, request->buffer, request->length, request->offset, completion, 0);
  case BLOCK_NBD_WRITE:
    return nbd_aio_pwrite (nbd, request->buffer, request->length, request->offset, completion, 0);
  case BLOCK_NBD_ZERO:
    return nbd_aio_zero (nbd, request->length, request->offset, completion, 0);
  case BLOCK_NBD_TRIM:
    return nbd_aio_trim (nbd, request->length, request->offset, completion, 0);
  case BLOCK_NBD_FLUSH:
    return nbd_aio_flush (nbd, completion, 0);
  case BLOCK_NBD_STATUS:
    return nbd_aio_block_status (nbd, request->length, request->offset, extent, completion, 0);
  }
  return -1;
}

static void
finish_locked (BlockNbdConnection *self, BlockNbdRequest *request)
{
  self->load--;
  request->done = true;
  g_cond_signal (&request->cond);
}

static void
issue (BlockNbdConnection *self, BlockNbdRequest *request)
{
  if (self->issued->len == 0)
    self->heard = g_get_monotonic_time ();
  g_ptr_array_add (self->issued, request);
  request->cookie = issue_command (self->nbd, request);
  if (request->cookie != -1 || nbd_aio_is_dead (self->nbd) || nbd_aio_is_closed (self->nbd))
    return; /* under way, or failed with all others in a moment */

  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  g_ptr_array_remove_fast (self->issued, request);
  request->errnum = nbd_get_errno ();
  request->refusal = g_strdup (nbd_get_error ());
  finish_locked (self, request);
}

/* False when the connection is to be ended. */
static bool
issue_queued (BlockNbdConnection *self, GError **out_end)
{
  while (!nbd_aio_is_dead (self->nbd) && !nbd_aio_is_closed (self->nbd)) {
    BlockNbdRequest *request = NULL;

    g_mutex_lock (&self->lock);
    bool over = self->quit || self->interrupted;
    if (!over && self->issued->len < BLOCK_NBD_DEPTH)
      request = g_queue_pop_head (&self->queue);
    g_mutex_unlock (&self->lock);
    if (over) {
      *out_end = interrupted_error (self);
      return false;
    }
    if (request == NULL)
      return true;
    issue (self, request);
  }
  *out_end = dead_error (self);
  return false;
}

/* Takes the results of what completed. Not on a dead handle: what it had is failed as a whole. */
static void
harvest (BlockNbdConnection *self)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  for (guint i = 0; i < self->completed->len; i++) {
    BlockNbdRequest *request = g_ptr_array_index (self->completed, i);
    if (nbd_aio_command_completed (self->nbd, (uint64_t)request->cookie) != 1) {
      int errnum = nbd_get_errno ();
      request->errnum = errnum != 0 ? errnum : EIO;
    }
    g_ptr_array_remove_fast (self->issued, request);
    finish_locked (self, request);
  }
  g_ptr_array_set_size (self->completed, 0);
}

static int
time_to_stall (const BlockNbdConnection *self)
{
  if (self->issued->len == 0)
    return -1;
  gint64 left = self->heard + self->stall_timeout * G_TIME_SPAN_SECOND - g_get_monotonic_time ();
  return left > 0 ? (int)MIN (left / 1000 + 1, G_MAXINT) : 0;
}

static void
drain_wake (const BlockNbdConnection *self)
{
  uint64_t count;

  /* Non-blocking: that it was empty is no error. */
  if (read (self->wake, &count, sizeof count) < 0)
    return;
}

/* Waits for something to happen and lets libnbd deal with it. */
static bool
turn (BlockNbdConnection *self, GError **out_end)
{
  struct pollfd fds[2] = {
    { .fd = nbd_aio_get_fd (self->nbd), .events = block_nbd_poll_events (self->nbd) },
    { .fd = self->wake, .events = POLLIN },
  };
  int ready = poll (fds, 2, time_to_stall (self));

  if (ready > 0 && fds[1].revents != 0)
    drain_wake (self);
  if (ready > 0 && fds[0].revents != 0) {
    self->heard = g_get_monotonic_time ();
    bool alive = block_nbd_notify (self->nbd, fds[0].revents);
    if (!alive || nbd_aio_is_dead (self->nbd) || nbd_aio_is_closed (self->nbd)) {
      *out_end = dead_error (self);
      return false;
    }
  }
  if (time_to_stall (self) == 0) {
    *out_end = end_error (self, VARVE_ERROR_SOURCE_LOST,
                          "The NBD server of %s has not answered for %u seconds, with %u requests "
                          "under way: it hangs, or the network does.",
                          self->label, self->stall_timeout, self->issued->len);
    return false;
  }
  return true;
}

/* Behind nbd_close libnbd knows neither requests nor buffers any more. No NBD_CMD_DISC before it: libnbd 1.14
 * reads that command's memory behind its free when the server goes away at the same time. */
static void
end_connection (BlockNbdConnection *self, GError *end)
{
  nbd_close (self->nbd);
  self->nbd = NULL;

  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  self->end = end;
  for (guint i = 0; i < self->issued->len; i++)
    g_queue_push_tail (&self->queue, g_ptr_array_index (self->issued, i));
  g_ptr_array_set_size (self->issued, 0);
  for (BlockNbdRequest *request; (request = g_queue_pop_head (&self->queue)) != NULL;) {
    request->aborted = true;
    finish_locked (self, request);
  }
}

static gpointer
io_thread (gpointer data)
{
  BlockNbdConnection *self = data;
  GError *end = NULL;

  /* A command can complete while another one is issued: then there may be room for more. */
  while (issue_queued (self, &end)) {
    if (self->completed->len > 0)
      harvest (self);
    else if (!turn (self, &end))
      break;
  }
  end_connection (self, end);
  return NULL;
}

/* --- Callers --- */

static void
wake (BlockNbdConnection *self)
{
  const uint64_t one = 1;

  /* It fails only when the counter is full, and then the thread is being woken already. */
  if (write (self->wake, &one, sizeof one) < 0)
    return;
}

void
block_nbd_connection_submit (BlockNbdConnection *self, BlockNbdRequest *request)
{
  bool first;

  request->errnum = 0;
  request->aborted = false;
  request->refusal = NULL;
  request->done = false;
  request->connection = self;
  g_cond_init (&request->cond);

  g_mutex_lock (&self->lock);
  if (self->end != NULL || self->interrupted) {
    request->aborted = true;
    request->done = true;
    first = false;
  } else {
    first = g_queue_is_empty (&self->queue);
    g_queue_push_tail (&self->queue, request);
    self->load++;
  }
  g_mutex_unlock (&self->lock);
  if (first)
    wake (self);
}

bool
block_nbd_connection_wait (BlockNbdConnection *self, BlockNbdRequest *request, GError **error)
{
  g_autofree char *refusal = NULL;

  g_mutex_lock (&self->lock);
  while (!request->done)
    g_cond_wait (&request->cond, &self->lock);
  if (request->aborted && error != NULL)
    *error = self->end != NULL ? g_error_copy (self->end) : interrupted_error (self);
  g_mutex_unlock (&self->lock);
  g_cond_clear (&request->cond);

  refusal = g_steal_pointer (&request->refusal);
  if (request->aborted)
    return false;
  if (refusal != NULL)
    return varve_throw (
        error, self->target ? VARVE_ERROR_STORE_UNREACHABLE : VARVE_ERROR_SOURCE_READ,
        "A %s of %" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
        " of %s cannot be sent: %s.",
        command_text (request->command), request->length, request->offset, self->label, refusal);
  return request->errnum == 0 || throw_answer (self, request, error);
}

const BlockNbdExport *
block_nbd_connection_export (const BlockNbdConnection *self)
{
  return &self->export;
}

unsigned
block_nbd_connection_load (BlockNbdConnection *self)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->load;
}

void
block_nbd_connection_interrupt (BlockNbdConnection *self)
{
  g_mutex_lock (&self->lock);
  self->interrupted = true;
  g_mutex_unlock (&self->lock);
  wake (self);
}

void
block_nbd_connection_free (BlockNbdConnection *self)
{
  if (self == NULL)
    return;
  if (self->thread != NULL) {
    g_mutex_lock (&self->lock);
    self->quit = true;
    g_mutex_unlock (&self->lock);
    wake (self);
    g_thread_join (self->thread);
  }
  nbd_close (self->nbd);
  if (self->wake >= 0)
    close (self->wake);
  g_queue_clear (&self->queue);
  g_mutex_clear (&self->lock);
  g_clear_error (&self->end);
  g_ptr_array_unref (self->issued);
  g_ptr_array_unref (self->completed);
  g_free (self->label);
  g_free (self);
}

BlockNbdConnection *
block_nbd_connection_open (const BlockNbdConnect *options, GCancellable *cancellable,
                           GError **error)
{
  g_autoptr (BlockNbdConnection) self = g_new0 (BlockNbdConnection, 1);

  self->label = g_strdup (options->label);
  self->target = options->target;
  self->stall_timeout = options->stall_timeout;
  self->issued = g_ptr_array_new ();
  self->completed = g_ptr_array_new ();
  g_mutex_init (&self->lock);
  g_queue_init (&self->queue);
  self->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self->wake < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot open a connection to %s",
                       self->label);
    return NULL;
  }
  self->nbd = block_nbd_connect (options, &self->export, cancellable, error);
  if (self->nbd == NULL)
    return NULL;
  self->thread = g_thread_try_new ("varve-nbd", io_thread, self, error);
  return self->thread != NULL ? g_steal_pointer (&self) : NULL;
}
