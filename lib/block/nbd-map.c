/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Asking for the map.
 *
 * A window is mapped in three steps: what is dirty in it; then, many questions at once, what is
 * allocated in each of the dirty ranges (and only there: elsewhere a snapshot may have nothing that
 * can be asked about); then both are laid over each other. As servers answer in as small pieces as
 * they like, the first and the third step ask again until all is covered.
 *
 * Answers are kept as covers: lists of runs, with gaps. A cover is asked only where it has a gap.
 */
#include "config.h"
#include "block/nbd-map.h"

#include <errno.h>
#include <libnbd.h>

#include "util/checked.h"
#include "util/error.h"

#define MAX_QUESTION (UINT64_C (1) << 30) /* bytes; the protocol has 32 bits for them */
#define SMALLEST_RUN 512u

typedef struct {
  uint64_t offset;
  uint64_t end;
  bool set; /* dirty; or zero */
} Run;

/* In order of offset, without overlap. */
typedef struct {
  BlockNbdConnection *connection; /* NULL: the context is not there */
  char *context;
  uint32_t mask;     /* flags of which any one makes a run `set` */
  bool small_is_set; /* what tiny extents count as */
  GArray *runs;
} Cover;

struct BlockNbdMap {
  char *label;
  uint64_t size;
  uint32_t block_size;
  GMutex lock;   /* for all that follows */
  uint64_t next; /* end of the window before */
  Cover dirty;
  Cover allocation;
};

/* One question, and the answer for each context of its connection. */
typedef struct {
  BlockNbdRequest request;
  BlockNbdMap *map;
  uint64_t at;        /* an answer that says nothing about this byte is none */
  GArray *dirty;      /* of Run; NULL: no answer yet */
  GArray *allocation; /* likewise */
  const char *wrong;  /* what the server did wrong; or NULL */
} Question;

/* --- Covers --- */

/* First run that ends behind @offset. */
static guint
cover_search (const Cover *cover, uint64_t offset)
{
  guint low = 0, high = cover->runs->len;

  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index (cover->runs, Run, middle).end <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The run at @offset, or NULL and where the gap ends that is there. */
static const Run *
cover_find (const Cover *cover, uint64_t offset, uint64_t *out_gap_end)
{
  guint i = cover_search (cover, offset);

  *out_gap_end = UINT64_MAX;
  if (i >= cover->runs->len)
    return NULL;
  const Run *run = &g_array_index (cover->runs, Run, i);
  if (run->offset <= offset)
    return run;
  *out_gap_end = run->offset;
  return NULL;
}

/* Fills the gaps in [run.offset, run.end): what is known already stays. */
static void
cover_add (Cover *cover, Run run)
{
  while (run.offset < run.end) {
    guint i = cover_search (cover, run.offset);
    const Run *next = i < cover->runs->len ? &g_array_index (cover->runs, Run, i) : NULL;
    Run part = run;

    if (next != NULL && next->offset <= run.offset) {
      run.offset = next->end;
      continue;
    }
    if (next != NULL)
      part.end = MIN (run.end, next->offset);
    g_array_insert_val (cover->runs, i, part);
    run.offset = part.end;
  }
}

/* Windows come in order: what lies before one is not needed again. */
static void
cover_forget (Cover *cover, uint64_t offset)
{
  guint i = cover_search (cover, offset);

  if (i > 0)
    g_array_remove_range (cover->runs, 0, i);
}

/* --- Questions --- */

/* No bitmap has granules below 512 bytes, no disk sectors: smaller extents only serve to fill
 * memory. They are changed data. */
static bool
is_set (const Cover *cover, const Run *run, uint32_t flags, uint64_t size)
{
  if (run->end - run->offset < SMALLEST_RUN && run->end != size)
    return cover->small_is_set;
  return (flags & cover->mask) != 0;
}

static bool
take_extents (Question *question, const Cover *cover, GArray *runs, const uint32_t *entries,
              size_t count)
{
  uint64_t asked = question->request.offset + question->request.length;
  uint64_t size = question->map->size;
  Run run = { .end = question->request.offset };

  for (size_t i = 0; i + 1 < count; i += 2) {
    if (entries[i] == 0)
      question->wrong = "an extent of no length";
    else if (run.end >= asked)
      question->wrong = "more extents than were asked for";
    if (question->wrong != NULL)
      return false;
    run.offset = run.end;
    run.end = MIN (run.offset + entries[i], size);
    run.set = is_set (cover, &run, entries[i + 1], size);
    Run *last = runs->len > 0 ? &g_array_index (runs, Run, runs->len - 1) : NULL;
    if (last != NULL && last->set == run.set)
      last->end = run.end;
    else
      g_array_append_val (runs, run);
  }
  return true;
}

/* In the I/O thread, while the thread that has the map's lock waits. */
static bool
on_status (BlockNbdRequest *request, const char *context, const uint32_t *entries, size_t count)
{
  Question *question = (Question *)request;
  BlockNbdMap *map = question->map;
  const Cover *cover;
  GArray **runs;

  if (g_strcmp0 (context, map->dirty.context) == 0) {
    runs = &question->dirty;
    cover = &map->dirty;
  } else if (g_strcmp0 (context, map->allocation.context) == 0) {
    runs = &question->allocation;
    cover = &map->allocation;
  } else {
    question->wrong = "extents of a context that was not asked for";
    return false;
  }
  if (*runs != NULL) {
    question->wrong = "two lists of extents of one context";
    return false;
  }
  *runs = g_array_new (FALSE, FALSE, sizeof (Run));
  return take_extents (question, cover, *runs, entries, count);
}

static void
question_init (Question *question, BlockNbdMap *map, uint64_t offset, uint64_t end)
{
  uint64_t start = varve_round_down (offset, map->block_size);
  uint64_t length = MIN (varve_round_up (end, map->block_size) - start, MAX_QUESTION);

  *question = (Question){ .map = map, .at = offset };
  question->request.command = BLOCK_NBD_STATUS;
  question->request.offset = start;
  question->request.length = MIN (length, map->size - start);
  question->request.status = on_status;
}

static void
question_clear (Question *question)
{
  g_clear_pointer (&question->dirty, g_array_unref);
  g_clear_pointer (&question->allocation, g_array_unref);
}

static void
add_answer (Cover *cover, const GArray *runs)
{
  for (guint i = 0; runs != NULL && i < runs->len; i++)
    cover_add (cover, g_array_index (runs, Run, i));
}

static bool
throw_wrong (const Question *question, const char *wrong, GError **error)
{
  return varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                      "The map of %s is not to be trusted: asked for %" G_GUINT64_FORMAT
                      " bytes at offset %" G_GUINT64_FORMAT ", the NBD server gave %s.",
                      question->map->label, question->request.length, question->request.offset,
                      wrong);
}

/* Waits for the answer to what was asked for @cover. *@out_refused is true when the server said no,
 * and has not broken anything: the error is then the server's. */
static bool
question_finish (Question *question, Cover *cover, bool *out_refused, GError **error)
{
  BlockNbdRequest *request = &question->request;
  bool ok = block_nbd_connection_wait (cover->connection, request, error);
  uint64_t gap_end;

  *out_refused = !ok && !request->aborted && request->errnum != EPROTO;
  if (question->wrong != NULL) {
    g_clear_error (error);
    ok = throw_wrong (question, question->wrong, error);
  } else if (ok) {
    add_answer (&question->map->dirty, question->dirty);
    add_answer (&question->map->allocation, question->allocation);
    if (cover_find (cover, question->at, &gap_end) == NULL)
      ok = throw_wrong (question, "no extents of use", error);
  }
  question_clear (question);
  return ok;
}

static bool
ask (BlockNbdMap *map, Cover *cover, uint64_t offset, uint64_t end, bool *out_refused,
     GError **error)
{
  Question question;

  question_init (&question, map, offset, end);
  block_nbd_connection_submit (cover->connection, &question.request);
  return question_finish (&question, cover, out_refused, error);
}

/* --- The three steps --- */

static bool
map_dirty (BlockNbdMap *map, uint64_t offset, uint64_t end, GError **error)
{
  uint64_t gap_end;
  bool refused;

  while (offset < end) {
    const Run *run = cover_find (&map->dirty, offset, &gap_end);
    if (run != NULL)
      offset = run->end;
    else if (!ask (map, &map->dirty, offset, MIN (end, gap_end), &refused, error))
      return false;
  }
  return true;
}

/* The allocation of a range that cannot be had: all of it is data. */
static void
assume_data (BlockNbdMap *map, const Question *question)
{
  Run run = { .offset = question->request.offset,
              .end = question->request.offset + question->request.length };

  cover_add (&map->allocation, run);
}

/* The next range from *@offset on that is dirty and whose allocation is not known. */
static bool
next_unknown (const BlockNbdMap *map, uint64_t *offset, uint64_t end, uint64_t *out_end)
{
  uint64_t gap_end;

  while (*offset < end) {
    const Run *run = cover_find (&map->allocation, *offset, &gap_end);
    *out_end = MIN (MIN (gap_end, end), *offset + MAX_QUESTION);
    if (run == NULL && map->dirty.connection != NULL) {
      run = cover_find (&map->dirty, *offset, &gap_end);
      if (run != NULL && run->set) {
        *out_end = MIN (*out_end, run->end);
        return true;
      }
    }
    if (run == NULL)
      return true;
    *offset = run->end;
  }
  return false;
}

/* Up to BLOCK_NBD_DEPTH questions at once. All are waited for, whatever becomes of the first. */
static bool
ask_allocation (BlockNbdMap *map, uint64_t *offset, uint64_t end, unsigned *out_count,
                GError **error)
{
  Question questions[BLOCK_NBD_DEPTH];
  uint64_t range_end;
  unsigned count = 0;
  bool ok = true;

  while (count < BLOCK_NBD_DEPTH && next_unknown (map, offset, end, &range_end)) {
    question_init (&questions[count], map, *offset, range_end);
    block_nbd_connection_submit (map->allocation.connection, &questions[count].request);
    *offset = range_end;
    count++;
  }
  for (unsigned i = 0; i < count; i++) {
    g_autoptr (GError) local = NULL;
    bool refused;
    if (question_finish (&questions[i], &map->allocation, &refused, &local))
      continue;
    if (refused) {
      g_debug ("%s", local->message);
      assume_data (map, &questions[i]);
    } else if (ok) {
      g_propagate_error (error, g_steal_pointer (&local));
      ok = false;
    }
  }
  *out_count = count;
  return ok;
}

/* Each round leaves what the server answered short of for the next. */
static bool
map_allocation (BlockNbdMap *map, uint64_t offset, uint64_t end, GError **error)
{
  unsigned count, in_round;

  do {
    uint64_t at = offset;
    in_round = 0;
    do {
      if (!ask_allocation (map, &at, end, &count, error))
        return false;
      in_round += count;
    } while (count > 0);
  } while (in_round > 0);
  return true;
}

static void
lay_over (BlockNbdMap *map, uint64_t offset, uint64_t end, VarveExtents *out)
{
  uint64_t gap_end;

  while (offset < end) {
    const Run *dirty = cover_find (&map->dirty, offset, &gap_end);
    const Run *zero = cover_find (&map->allocation, offset, &gap_end);
    uint64_t until = end;
    VarveExtentState state = VARVE_EXTENT_DATA;

    if (dirty != NULL)
      until = MIN (until, dirty->end);
    if (dirty != NULL && !dirty->set)
      state = VARVE_EXTENT_CLEAN;
    else if (zero != NULL) {
      until = MIN (until, zero->end);
      state = zero->set ? VARVE_EXTENT_ZERO : VARVE_EXTENT_DATA;
    } else
      until = MIN (until, gap_end);
    varve_extents_append (out, offset, until - offset, state);
    offset = until;
  }
}

bool
block_nbd_map_extents (BlockNbdMap *map, uint64_t offset, uint64_t length, VarveExtents *out,
                       GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&map->lock);
  uint64_t end = offset + length;

  /* Answers are kept for the next window, not for ever: an export may change when asked again. */
  cover_forget (&map->dirty, offset >= map->next ? offset : UINT64_MAX);
  cover_forget (&map->allocation, offset >= map->next ? offset : UINT64_MAX);
  map->next = end;
  if (map->dirty.connection != NULL && !map_dirty (map, offset, end, error))
    return false;
  if (map->allocation.connection != NULL && !map_allocation (map, offset, end, error))
    return false;
  lay_over (map, offset, end, out);
  return true;
}

static void
cover_init (Cover *cover, BlockNbdConnection *connection, const char *context, uint32_t mask,
            bool small_is_set)
{
  cover->connection = connection;
  cover->context = g_strdup (context);
  cover->mask = mask;
  cover->small_is_set = small_is_set;
  cover->runs = g_array_new (FALSE, FALSE, sizeof (Run));
}

static void
cover_clear (Cover *cover)
{
  g_array_unref (cover->runs);
  g_free (cover->context);
}

/* Any bit of a dirty context counts as dirty, also one that we do not know. */
BlockNbdMap *
block_nbd_map_new (BlockNbdPool *pool, const BlockNbdOptions *options)
{
  BlockNbdMap *map = g_new0 (BlockNbdMap, 1);

  map->label = g_strdup (pool->label);
  map->size = pool->export.size;
  map->block_size = pool->export.block_size;
  cover_init (&map->dirty, pool->dirty, options->dirty_context, UINT32_MAX, true);
  cover_init (&map->allocation, pool->allocation, options->allocation_context, LIBNBD_STATE_ZERO,
              false);
  g_mutex_init (&map->lock);
  return map;
}

void
block_nbd_map_free (BlockNbdMap *map)
{
  if (map == NULL)
    return;
  cover_clear (&map->dirty);
  cover_clear (&map->allocation);
  g_mutex_clear (&map->lock);
  g_free (map->label);
  g_free (map);
}
