/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Steps live in a ring; three counters, which only grow, say who has them:
 *
 *   settled ≤ taken ≤ filled ≤ settled + capacity
 *
 *   below settled      done with; the slot is free
 *   settled .. taken   with a worker, or done and waiting for an older one
 *   taken .. filled    waiting for a worker
 *
 * One lock covers all of it, and is never held while an end is called.
 */
#include "config.h"
#include "block/copy-pool.h"

#include "block/copy-plan.h"
#include "block/copy-work.h"
#include "util/error.h"

/* So soon a read that waits for its time sees that the limit has changed. */
#define PACE_LOOK_US (200 * 1000)

typedef struct {
  BlockStep step;
  GArray *sums; /* of BlockSum */
  bool done;
} Slot;

struct BlockPool {
  const BlockCopy *copy;
  BlockPlan *plan;    /* the mapper's */
  uint64_t released;  /* what is never read is given back below it; set before the first step */
  GThread *mapper;    /* NULL: not started, or joined */
  GPtrArray *workers; /* of GThread, not joined */

  GMutex lock; /* for all that follows */
  GCond room;  /* a slot has become free */
  GCond work;  /* a step waits for a worker, or no more will come */
  GCond news;  /* for the calling thread */
  GCond paced; /* for workers that hold back; woken by a stop only */
  Slot *ring;
  unsigned capacity;
  uint64_t settled;
  uint64_t taken;
  uint64_t filled;
  bool mapped; /* the mapper has come to the end */
  bool stopped;
  GError *error; /* what stopped it */
  BlockCopyStats stats;
  uint64_t position; /* of the mapper */
  uint64_t known;    /* bytes below it that are not clean */
  gint64 next_read;  /* when the speed limit allows the next read */
};

static Slot *
pool_slot (BlockPool *pool, uint64_t n)
{
  return &pool->ring[n % pool->capacity];
}

static bool
pool_is_over_locked (const BlockPool *pool)
{
  return pool->stopped || (pool->mapped && pool->settled == pool->filled);
}

void
block_pool_stop (BlockPool *pool, GError *error)
{
  g_autoptr (GError) owned = error;

  g_mutex_lock (&pool->lock);
  bool first = !pool->stopped;
  if (first)
    pool->error = g_steal_pointer (&owned);
  pool->stopped = true;
  g_cond_broadcast (&pool->room);
  g_cond_broadcast (&pool->work);
  g_cond_broadcast (&pool->news);
  g_cond_broadcast (&pool->paced);
  g_mutex_unlock (&pool->lock);

  if (!first)
    return;
  block_source_interrupt (pool->copy->source);
  block_sink_interrupt (pool->copy->sink);
  if (pool->copy->base != NULL)
    block_source_interrupt (pool->copy->base);
}

/* Waits for a free slot; NULL when the pool was stopped. */
static Slot *
mapper_slot (BlockPool *pool)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);

  while (!pool->stopped && pool->filled - pool->settled == pool->capacity)
    g_cond_wait (&pool->room, &pool->lock);
  return pool->stopped ? NULL : pool_slot (pool, pool->filled);
}

/* Steps that need no worker are counted and forgotten: the slot is used again. */
static void
mapper_put (BlockPool *pool, Slot *slot)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);
  const BlockStep *step = &slot->step;

  pool->position = step->offset + step->length;
  if (step->kind == BLOCK_STEP_CLEAN) {
    pool->stats.clean += step->length;
    return;
  }
  pool->known += step->length;
  if (step->kind == BLOCK_STEP_SPARSE)
    pool->stats.zeroed += step->length;
  else if (step->kind == BLOCK_STEP_SAME)
    pool->stats.same += step->length;
  else {
    slot->done = false;
    pool->filled++;
    g_cond_signal (&pool->work);
  }
}

/* Where nothing is kept for a reader, a second look at the map would gain nothing. */
static bool
mapper_release_ahead (BlockPool *pool)
{
  GError *error = NULL;

  if (!pool->copy->release || pool->copy->source->release_unit == 0 ||
      block_plan_release (pool->plan, &pool->released, &error))
    return true;
  block_pool_stop (pool, error);
  return false;
}

/* What nobody reads any more, unless it was given back ahead, or no worker had it and it is too little. */
static void
pool_release (const BlockPool *pool, const BlockStep *step)
{
  bool is_unread = step->kind == BLOCK_STEP_CLEAN || step->kind == BLOCK_STEP_SPARSE;
  bool is_early = is_unread || (step->kind == BLOCK_STEP_ZERO && pool->copy->base == NULL);
  bool is_large = step->length >= BLOCK_RELEASE_MIN;

  if (!pool->copy->release || (is_early && is_large && step->offset < pool->released) ||
      ((is_unread || step->kind == BLOCK_STEP_SAME) && !is_large))
    return;
  block_source_release (pool->copy->source, step->offset, step->length);
}

static void
mapper_end (BlockPool *pool)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);

  pool->mapped = true;
  g_cond_broadcast (&pool->work);
  g_cond_broadcast (&pool->news);
}

static gpointer
mapper_main (gpointer data)
{
  BlockPool *pool = data;
  Slot *slot;

  if (!mapper_release_ahead (pool))
    return NULL;
  while ((slot = mapper_slot (pool)) != NULL) {
    GError *error = NULL;
    bool end;
    if (!block_plan_next (pool->plan, &slot->step, &end, &error)) {
      block_pool_stop (pool, error);
      return NULL;
    }
    if (end)
      break;
    if (slot->step.kind != BLOCK_STEP_READ && slot->step.kind != BLOCK_STEP_ZERO)
      pool_release (pool, &slot->step);
    mapper_put (pool, slot);
  }
  mapper_end (pool);
  return NULL;
}

/* The next step; NULL when there will be none. */
static Slot *
worker_take (BlockPool *pool)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);

  while (!pool->stopped && !pool->mapped && pool->taken == pool->filled)
    g_cond_wait (&pool->work, &pool->lock);
  if (pool->stopped || pool->taken == pool->filled)
    return NULL;
  return pool_slot (pool, pool->taken++);
}

/* The speed limit: each read books its share of time, and begins when those before it are over. A limit that changes
 * makes all that was booked void: one read of each worker goes ahead then. */
static void
worker_pace (BlockPool *pool, const BlockStep *step)
{
  uint64_t speed = pool->copy->speed;
  uint64_t bytes = step->kind == BLOCK_STEP_READ ? block_step_read_bytes (step) : 0;

  if (speed == 0 || bytes == 0)
    return;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);
  gint64 begin = MAX (g_get_monotonic_time (), pool->next_read);
  pool->next_read = begin + (gint64)(bytes * G_USEC_PER_SEC / speed);
  while (!pool->stopped && pool->copy->speed == speed && g_get_monotonic_time () < begin)
    g_cond_wait_until (&pool->paced, &pool->lock,
                       MIN (begin, g_get_monotonic_time () + PACE_LOOK_US));
  if (pool->copy->speed != speed)
    pool->next_read = 0;
}

/* Frees the slots of the oldest steps that are done, as far as nobody wants their sums. */
static void
pool_settle_locked (BlockPool *pool)
{
  uint64_t before = pool->settled;

  while (pool->settled < pool->taken) {
    const Slot *slot = pool_slot (pool, pool->settled);
    if (!slot->done || slot->sums->len > 0)
      break;
    pool->settled++;
  }
  if (pool->settled != before)
    g_cond_signal (&pool->room);
  if (pool_is_over_locked (pool) ||
      (pool->settled < pool->taken && pool_slot (pool, pool->settled)->done))
    g_cond_signal (&pool->news);
}

static void
worker_put (BlockPool *pool, Slot *slot, const BlockCopyStats *stats)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);

  pool->stats.read += stats->read;
  pool->stats.written += stats->written;
  pool->stats.zeroed += stats->zeroed;
  pool->stats.same += stats->same;
  pool->stats.buffered += stats->buffered;
  slot->done = true;
  pool_settle_locked (pool);
}

static gpointer
worker_main (gpointer data)
{
  BlockPool *pool = data;
  BlockWorker worker;
  Slot *slot;

  block_worker_init (&worker, pool->copy);
  while ((slot = worker_take (pool)) != NULL) {
    BlockCopyStats stats = { 0 };
    GError *error = NULL;
    uint64_t buffered = block_worker_buffered (&worker);
    worker_pace (pool, &slot->step);
    if (!block_worker_run (&worker, &slot->step, slot->sums, &stats, &error)) {
      block_pool_stop (pool, error);
      break;
    }
    pool_release (pool, &slot->step);
    stats.buffered = block_worker_buffered (&worker) - buffered;
    worker_put (pool, slot, &stats);
  }
  block_worker_clear (&worker);
  return NULL;
}

BlockPoolEvent
block_pool_wait (BlockPool *pool, gint64 until, GArray *sums)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);

  g_array_set_size (sums, 0);
  while (!pool_is_over_locked (pool)) {
    Slot *slot = pool_slot (pool, pool->settled);
    if (pool->settled < pool->taken && slot->done) {
      g_array_append_vals (sums, slot->sums->data, slot->sums->len);
      g_array_set_size (slot->sums, 0);
      pool_settle_locked (pool);
      return BLOCK_POOL_SUMS;
    }
    if (!g_cond_wait_until (&pool->news, &pool->lock, until))
      return BLOCK_POOL_TIMEOUT;
  }
  return BLOCK_POOL_END;
}

void
block_pool_progress (BlockPool *pool, uint64_t *out_done, uint64_t *out_total)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&pool->lock);
  const BlockCopyStats *stats = &pool->stats;
  uint64_t most = pool->known + (pool->copy->source->size - pool->position);
  uint64_t hint = pool->copy->total_hint;

  *out_done = stats->written + stats->zeroed + stats->same;
  *out_total = hint > 0 ? CLAMP (hint, pool->known, most) : most;
}

static bool
pool_start_threads (BlockPool *pool, unsigned workers, GError **error)
{
  g_autoptr (GError) local = NULL;

  for (unsigned i = 0; i < workers && local == NULL; i++) {
    GThread *worker = g_thread_try_new ("varve-copy", worker_main, pool, &local);
    if (worker != NULL)
      g_ptr_array_add (pool->workers, worker);
  }
  if (local == NULL)
    pool->mapper = g_thread_try_new ("varve-map", mapper_main, pool, &local);
  if (local == NULL)
    return true;
  return varve_throw (error, VARVE_ERROR_FAILED, "Cannot start the threads of a copy of %s: %s.",
                      pool->copy->source->label, local->message);
}

static unsigned
count_workers (const BlockSource *source)
{
  unsigned useful = MIN (2 * g_get_num_processors (), BLOCK_COPY_WORKERS);

  return CLAMP (source->depth, 1, useful);
}

BlockPool *
block_pool_start (const BlockCopy *copy, GError **error)
{
  g_autoptr (BlockPool) pool = g_new0 (BlockPool, 1);
  unsigned workers = count_workers (copy->source);

  pool->copy = copy;
  pool->plan = block_plan_new (copy->source, copy->sink, copy->base, copy->clean_limit);
  pool->workers = g_ptr_array_new ();
  pool->capacity = workers * BLOCK_POOL_STEPS;
  pool->ring = g_new0 (Slot, pool->capacity);
  for (unsigned i = 0; i < pool->capacity; i++) {
    block_step_init (&pool->ring[i].step);
    pool->ring[i].sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));
  }
  g_mutex_init (&pool->lock);
  g_cond_init (&pool->room);
  g_cond_init (&pool->work);
  g_cond_init (&pool->news);
  g_cond_init (&pool->paced);
  return pool_start_threads (pool, workers, error) ? g_steal_pointer (&pool) : NULL;
}

bool
block_pool_join (BlockPool *pool, BlockCopyStats *out_stats, GError **error)
{
  g_clear_pointer (&pool->mapper, g_thread_join);
  for (guint i = 0; i < pool->workers->len; i++)
    g_thread_join (g_ptr_array_index (pool->workers, i));
  g_ptr_array_set_size (pool->workers, 0);

  *out_stats = pool->stats;
  if (pool->error == NULL)
    return true;
  g_propagate_error (error, g_steal_pointer (&pool->error));
  return false;
}

void
block_pool_free (BlockPool *pool)
{
  BlockCopyStats stats;

  if (pool == NULL)
    return;
  if (pool->mapper != NULL || pool->workers->len > 0)
    block_pool_stop (pool, NULL);
  block_pool_join (pool, &stats, NULL);
  for (unsigned i = 0; i < pool->capacity; i++) {
    block_step_clear (&pool->ring[i].step);
    g_array_unref (pool->ring[i].sums);
  }
  g_free (pool->ring);
  g_ptr_array_unref (pool->workers);
  block_plan_free (pool->plan);
  g_clear_error (&pool->error);
  g_mutex_clear (&pool->lock);
  g_cond_clear (&pool->room);
  g_cond_clear (&pool->work);
  g_cond_clear (&pool->news);
  g_cond_clear (&pool->paced);
  g_free (pool);
}
