/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/watch.h"

#include "session/teardown.h"
#include "util/error.h"

#define INTERVAL_MS  1000
#define TOLERANCE_MS 10000
/* What is promised to the guard before a look, which may have to wait for the hypervisor, and behind it. */
#define LOOK_S 30
#define BEAT_S 10
/* So often the watch tries to end what it found wrong, before it leaves that to the guard. */
#define TRIES 2
/* An agent that does not answer takes seconds to say so, and nobody looks after the guest meanwhile. */
#define THAW_INTERVAL_US (5 * G_USEC_PER_SEC)

struct VarveWatch {
  VarveWatchOptions options;
  GCancellable *stop;
  GThread *thread;

  /* Taken before the other. Held for as long as the hypervisor takes to answer. */
  GMutex asking;
  gint64 unanswered_since; /* 0: the last look was answered */
  unsigned tries;          /* to end what is wrong */
  bool ended;              /* the snapshot is down, for the trouble */
  bool thaw_due;
  gint64 next_thaw; /* monotonic us */

  /* Never held for long. */
  GMutex mutex;
  GCond wake;
  bool stopping;
  gint64 host_moved; /* monotonic us */
  VarveSnapshotStatus last;
  GError *trouble; /* the first that was found; never unset */
  void (*release) (gpointer data);
  gpointer release_data;
};

/* --- what may be wrong ------------------------------------------------------------------------- */

/* A push knows what went wrong, and whose fault it is. */
static bool
tell_lost (const VarveWatch *watch, const VarveSnapshotStatus *status, GError **error)
{
  const char *why = status->why ? status->why : "it is gone";

  if (watch->options.record->push)
    return varve_throw (error, status->code ? status->code : VARVE_ERROR_SOURCE_LOST,
                        "QEMU gave up writing the backup: %s.", why);
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The frozen view broke while it was read: %s. Run the backup again.", why);
}

static bool
tell_paused (const VarveWatch *watch, GError **error)
{
  if (watch->options.record->push)
    return varve_throw (error, VARVE_ERROR_NO_SPACE,
                        "The guest was paused by an I/O error while QEMU wrote the backup, so that "
                        "is given up and the "
                        "guest resumed. Give the target more room.");
  return varve_throw (error, VARVE_ERROR_NO_SPACE,
                      "The guest was paused by an I/O error while its disk was read, so the "
                      "backup is given up and the guest resumed. Give it more scratch space.");
}

static bool
judge (const VarveWatch *watch, const VarveSnapshotStatus *status, GError **error)
{
  uint64_t watermark = watch->options.watermark;

  if (status->state != VARVE_SNAPSHOT_ALIVE)
    return tell_lost (watch, status, error);
  if (status->guest_paused)
    return tell_paused (watch, error);
  if (watermark && status->scratch_used > watermark)
    return varve_throw (error, VARVE_ERROR_NO_SPACE,
                        "The scratch images have grown to %" G_GUINT64_FORMAT
                        " MiB, beyond the limit of %" G_GUINT64_FORMAT
                        " MiB: the backup is given up before it harms the guest.",
                        status->scratch_used >> 20, watermark >> 20);
  return true;
}

/* A hypervisor that does not answer now may do so in a moment: libvirtd is restarted now and then. */
static bool
is_patient (VarveWatch *watch)
{
  gint64 now = g_get_monotonic_time ();
  unsigned tolerance = watch->options.tolerance_ms ? watch->options.tolerance_ms : TOLERANCE_MS;

  if (watch->unanswered_since == 0)
    watch->unanswered_since = now;
  return now - watch->unanswered_since < (gint64)tolerance * 1000;
}

static void
keep_status (VarveWatch *watch, const VarveSnapshotStatus *status)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  watch->last = *status;
  watch->last.why = NULL;
}

static bool
look (VarveWatch *watch, GError **error)
{
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) local = NULL;

  if (!varve_snapshot_poll (watch->options.snapshot, &status, watch->stop, &local)) {
    if (g_cancellable_is_cancelled (watch->stop) || is_patient (watch))
      return true;
    g_propagate_prefixed_error (error, g_steal_pointer (&local),
                                "Nobody could tell for a while how the guest is: ");
    return false;
  }
  watch->unanswered_since = 0;
  keep_status (watch, &status);
  return judge (watch, &status, error);
}

/* --- what is done about it ---------------------------------------------------------------------- */

static void
release_readers (VarveWatch *watch)
{
  void (*release) (gpointer data);
  gpointer data;

  g_mutex_lock (&watch->mutex);
  release = watch->release;
  data = watch->release_data;
  g_mutex_unlock (&watch->mutex);
  if (release)
    release (data);
}

static void
end_trouble (VarveWatch *watch)
{
  VarveSnapshot *snapshot = watch->options.snapshot;
  g_autoptr (GError) error = NULL;

  release_readers (watch);
  watch->tries++;
  watch->ended = varve_snapshot_end (snapshot, false, NULL, &error) &&
                 varve_teardown_resume (snapshot->domain, watch->options.record, NULL, &error);
  if (!watch->ended)
    g_debug ("The watch could not end session %s: %s", watch->options.record->id, error->message);
}

static void
try_thaw (VarveWatch *watch)
{
  gint64 now = g_get_monotonic_time ();

  if (!watch->thaw_due || now < watch->next_thaw)
    return;
  watch->thaw_due = !varve_domain_thaw (watch->options.snapshot->domain, NULL, NULL);
  watch->next_thaw = g_get_monotonic_time () + THAW_INTERVAL_US;
}

static bool
host_moves (VarveWatch *watch)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  return g_get_monotonic_time () - watch->host_moved < VARVE_WATCH_HOST_S * (gint64)G_USEC_PER_SEC;
}

static void
keep_trouble (VarveWatch *watch, GError *trouble)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  watch->trouble = trouble;
}

/* Unless there is something wrong that the guard should see to. */
static void
beat (VarveWatch *watch, unsigned seconds)
{
  if (watch->ended || (watch->tries < TRIES && host_moves (watch)))
    varve_guard_beat (watch->options.guard, seconds);
}

static void
turn (VarveWatch *watch)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->asking);
  g_autoptr (GError) found = NULL;

  beat (watch, LOOK_S);
  /* Only this thread ever sets it. */
  if (watch->trouble == NULL && !look (watch, &found))
    keep_trouble (watch, g_steal_pointer (&found));
  if (watch->trouble != NULL)
    end_trouble (watch);
  try_thaw (watch);
  /* With the snapshot down, nothing of the session can harm the guest. */
  beat (watch, watch->ended ? 0 : BEAT_S);
}

/* True when it is time for the next look, false when there is to be none. */
static bool
sleep_until_next (VarveWatch *watch)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);
  gint64 interval = watch->options.interval_ms ? watch->options.interval_ms : INTERVAL_MS;
  gint64 until = g_get_monotonic_time () + interval * 1000;

  while (!watch->stopping && g_cond_wait_until (&watch->wake, &watch->mutex, until))
    continue;
  return !watch->stopping;
}

static gpointer
run (gpointer data)
{
  VarveWatch *watch = data;

  while (!watch->ended && sleep_until_next (watch))
    turn (watch);
  return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

VarveWatch *
varve_watch_start (const VarveWatchOptions *options)
{
  VarveWatch *watch = g_new0 (VarveWatch, 1);

  watch->options = *options;
  watch->stop = g_cancellable_new ();
  watch->thaw_due = options->record->frozen;
  watch->host_moved = g_get_monotonic_time ();
  g_mutex_init (&watch->asking);
  g_mutex_init (&watch->mutex);
  g_cond_init (&watch->wake);
  varve_guard_beat (options->guard, BEAT_S);
  watch->thread = g_thread_new ("varve-watch", run, watch);
  return watch;
}

void
varve_watch_free (VarveWatch *watch)
{
  if (!watch)
    return;
  g_cancellable_cancel (watch->stop);
  g_mutex_lock (&watch->mutex);
  watch->stopping = true;
  g_cond_signal (&watch->wake);
  g_mutex_unlock (&watch->mutex);
  g_thread_join (watch->thread);
  g_clear_error (&watch->trouble);
  g_object_unref (watch->stop);
  g_cond_clear (&watch->wake);
  g_mutex_clear (&watch->mutex);
  g_mutex_clear (&watch->asking);
  g_free (watch);
}

void
varve_watch_set_release (VarveWatch *watch, void (*release) (gpointer data), gpointer data)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  watch->release = release;
  watch->release_data = data;
}

bool
varve_watch_is_well (VarveWatch *watch, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  if (watch->trouble == NULL)
    return true;
  g_propagate_error (error, g_error_copy (watch->trouble));
  return false;
}

bool
varve_watch_check (VarveWatch *watch, GError **error)
{
  g_mutex_lock (&watch->mutex);
  watch->host_moved = g_get_monotonic_time ();
  g_mutex_unlock (&watch->mutex);
  return varve_watch_is_well (watch, error);
}

bool
varve_watch_has_thawed (VarveWatch *watch)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->asking);

  return watch->options.record->frozen && !watch->thaw_due;
}

void
varve_watch_status (VarveWatch *watch, VarveSnapshotStatus *out)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&watch->mutex);

  *out = watch->last;
}

GMutexLocker *
varve_watch_lock (VarveWatch *watch)
{
  return g_mutex_locker_new (&watch->asking);
}
