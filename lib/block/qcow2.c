/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A qcow2 image as a sink. Where a cluster goes is settled under the map's lock; the bytes are
 * written outside of it, by many threads at once.
 *
 * Invariants:
 * - Nothing is on disk that makes the file an image until flush has written the header, which
 *   comes behind a sync of all the rest.
 * - After any failure the file stays without a header: a cluster that was given out but not written
 *   must never be found by a reader.
 */
#include "config.h"
#include "block/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/qcow2-finish.h"
#include "block/qcow2-map.h"
#include "util/checked.h"
#include "util/durable.h"
#include "util/error.h"

#define DEFAULT_CLUSTER_BITS 16u

typedef enum {
  STATE_OPEN,
  STATE_FAILED, /* something was not written */
  STATE_DONE,   /* flushed */
} State;

typedef struct {
  BlockSink base;
  BlockQcow2Map map;
  char *path;
  char *backing_file;
  char *backing_format;
  int fd;
  /* A file system takes the writes to one file one by one. Threads that wait for that inside the
   * kernel spin; here they sleep. */
  GMutex writing;
  gint state;      /* State; atomic */
  GError *failure; /* of the write that failed first; atomic, set once */
} Qcow2Sink;

static uint32_t
cluster_size (const Qcow2Sink *self)
{
  return self->base.alignment;
}

static bool
check_state (Qcow2Sink *self, GError **error)
{
  State state = g_atomic_int_get (&self->state);
  GError *failure = g_atomic_pointer_get (&self->failure);

  if (state == STATE_OPEN)
    return true;
  if (failure != NULL) {
    g_propagate_error (error, g_error_copy (failure));
    return false;
  }
  return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE,
                      state == STATE_DONE ? "%s is complete, and takes nothing more."
                                          : "%s is not complete: an earlier write to it failed.",
                      self->base.label);
}

/* Whole clusters, save at the end of the disk. */
static bool
check_range (const Qcow2Sink *self, uint64_t offset, uint64_t length, GError **error)
{
  uint64_t mask = cluster_size (self) - 1;
  uint64_t end;

  if (varve_add (offset, length, &end) && end <= self->base.size && (offset & mask) == 0 &&
      (end == self->base.size || (end & mask) == 0))
    return true;
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "%" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
                      " of %s are not whole clusters of %u bytes within its size of "
                      "%" G_GUINT64_FORMAT " bytes.",
                      length, offset, self->base.label, cluster_size (self), self->base.size);
}

/* Of several writers the first that fails is remembered: the others, which find the image failed,
 * must not hide why behind that. */
static bool
latch (Qcow2Sink *self, bool ok, GError **error)
{
  GError *failure = !ok && error != NULL && *error != NULL ? g_error_copy (*error) : NULL;

  if (failure && !g_atomic_pointer_compare_and_exchange (&self->failure, NULL, failure))
    g_error_free (failure);
  if (!ok)
    g_atomic_int_set (&self->state, STATE_FAILED);
  return ok;
}

/* The rest of the last cluster stays as the new file has it: zeros. */
static bool
write_runs (Qcow2Sink *self, const GArray *runs, uint64_t offset, const uint8_t *buffer,
            size_t length, GError **error)
{
  for (guint i = 0; i < runs->len; i++) {
    const BlockQcow2Run *run = &g_array_index (runs, BlockQcow2Run, i);
    uint64_t skip = run->guest - offset;
    size_t part = (size_t)MIN (run->length, length - skip);
    g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->writing);
    if (!block_qcow2_pwrite (&self->map, buffer + skip, part, run->host, error))
      return false;
  }
  return true;
}

static bool
qcow2_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length, GError **error)
{
  Qcow2Sink *self = (Qcow2Sink *)sink;
  g_autoptr (GArray) runs = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Run));
  uint64_t whole = varve_round_up (length, cluster_size (self));

  if (!check_state (self, error) || !check_range (self, offset, length, error))
    return false;
  return latch (self,
                block_qcow2_map_claim (&self->map, offset, whole, runs, error) &&
                    write_runs (self, runs, offset, buffer, length, error),
                error);
}

static bool
qcow2_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  Qcow2Sink *self = (Qcow2Sink *)sink;
  uint64_t whole = varve_round_up (length, cluster_size (self));

  if (!check_state (self, error) || !check_range (self, offset, length, error))
    return false;
  return latch (self, block_qcow2_map_zero (&self->map, offset, whole, sink->has_base, error),
                error);
}

static bool
write_header (Qcow2Sink *self, const BlockQcow2Layout *layout, GError **error)
{
  g_autofree uint8_t *header = g_malloc (cluster_size (self));

  if (!block_qcow2_header (header, self->map.cluster_bits, self->base.size, self->map.l1_length,
                           layout, self->backing_file, self->backing_format))
    return varve_throw (error, VARVE_ERROR_USAGE, "The header of %s does not fit.",
                        self->base.label);
  return block_qcow2_pwrite (&self->map, header, cluster_size (self), 0, error);
}

static bool
sync_data (Qcow2Sink *self, GError **error)
{
  if (fdatasync (self->fd) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "Cannot bring %s to stable storage", self->base.label);
}

static bool
set_length (Qcow2Sink *self, uint64_t length, GError **error)
{
  if (ftruncate (self->fd, (off_t)length) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "Cannot give %s its length of %" G_GUINT64_FORMAT " bytes",
                            self->base.label, length);
}

static bool
finish (Qcow2Sink *self, GError **error)
{
  BlockQcow2Layout layout;

  if (!block_qcow2_map_write_tables (&self->map, error))
    return false;
  block_qcow2_layout (&layout, self->map.cluster_bits, self->map.end, self->map.l1_length);
  return set_length (self, layout.end, error) &&
         block_qcow2_write_metadata (&self->map, &layout, error) && sync_data (self, error) &&
         write_header (self, &layout, error) && sync_data (self, error) &&
         varve_sync_parent (self->path, error);
}

static bool
qcow2_flush (BlockSink *sink, GError **error)
{
  Qcow2Sink *self = (Qcow2Sink *)sink;

  if (!check_state (self, error) || !latch (self, finish (self, error), error))
    return false;
  g_atomic_int_set (&self->state, STATE_DONE);
  return true;
}

static void
qcow2_free (BlockSink *sink)
{
  Qcow2Sink *self = (Qcow2Sink *)sink;

  if (self->map.tables != NULL)
    block_qcow2_map_clear (&self->map);
  g_mutex_clear (&self->writing);
  if (self->fd >= 0)
    close (self->fd);
  g_clear_error (&self->failure);
  g_free (self->path);
  g_free (self->backing_file);
  g_free (self->backing_format);
  g_free (self);
}

static const BlockSinkOps qcow2_ops = {
  .name = "qcow2",
  .write = qcow2_write,
  .zero = qcow2_zero,
  .flush = qcow2_flush,
  .free = qcow2_free,
};

static bool
check_cluster_size (const char *path, uint32_t size, uint32_t *out_bits, GError **error)
{
  if (size == 0)
    *out_bits = DEFAULT_CLUSTER_BITS;
  else
    *out_bits = (uint32_t)g_bit_nth_msf (size, -1);
  if ((size == 0 || varve_is_power_of_two (size)) && *out_bits >= BLOCK_QCOW2_MIN_CLUSTER_BITS &&
      *out_bits <= BLOCK_QCOW2_MAX_CLUSTER_BITS)
    return true;
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "qcow2 image '%s' cannot have clusters of %u bytes: a power of two from 512 "
                      "to 2097152 is needed.",
                      path, size);
}

/* QEMU cuts the size that it finds in a header down to whole sectors: what lies behind would be
 * lost without a word. L1 and refcount table beyond its limits it does not open. */
static bool
check_size (const char *path, uint64_t size, uint32_t bits, GError **error)
{
  uint64_t data = varve_round_up (MIN (size, UINT64_C (1) << 62), UINT64_C (1) << bits);
  uint64_t l1 = varve_round_up (data, UINT64_C (1) << (2 * bits - 3)) >> (2 * bits - 3);
  BlockQcow2Layout layout;

  if (size % 512 != 0)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "qcow2 image '%s' cannot have a size of %" G_GUINT64_FORMAT
                        " bytes: QEMU would read it as the next lower multiple of 512.",
                        path, size);
  if (l1 <= BLOCK_QCOW2_MAX_L1_BYTES / 8) {
    /* At its largest: header, all data, all L2 tables. */
    block_qcow2_layout (&layout, bits, data + ((l1 + 1) << bits), l1);
    if (layout.refcount_blocks - layout.refcount_table <= BLOCK_QCOW2_MAX_REFTABLE)
      return true;
  }
  return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                      "qcow2 image '%s' cannot have a size of %" G_GUINT64_FORMAT
                      " bytes with clusters of %u bytes: larger clusters are needed.",
                      path, size, 1u << bits);
}

static bool
check_backing (const char *path, const BlockQcow2Options *options, uint32_t bits, GError **error)
{
  g_autofree uint8_t *header = g_malloc (UINT64_C (1) << bits);
  BlockQcow2Layout layout = { 0 };

  if (options->backing_file != NULL && options->backing_format == NULL)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "qcow2 image '%s' is to have backing file '%s', whose format must be "
                        "given: a guessed format lets a guest choose what is read.",
                        path, options->backing_file);
  if (block_qcow2_header (header, bits, options->size, 0, &layout, options->backing_file,
                          options->backing_format))
    return true;
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "The name of backing file '%s' is too long for qcow2 image '%s': QEMU takes "
                      "1023 bytes, and it must fit into the first cluster.",
                      options->backing_file, path);
}

static bool
check_replaced (const char *path, GError **error)
{
  struct stat st;

  if (stat (path, &st) != 0 || S_ISREG (st.st_mode))
    return true;
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "'%s' is not a regular file, and cannot be replaced by a qcow2 image.", path);
}

static bool
open_file (Qcow2Sink *self, const BlockQcow2Options *options, GError **error)
{
  int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

  if (options->replace && !check_replaced (self->path, error))
    return false;
  self->fd = open (self->path, flags | (options->replace ? O_TRUNC : O_EXCL),
                   options->mode != 0 ? (mode_t)options->mode : 0600);
  if (self->fd >= 0)
    return true;
  if (errno == EEXIST)
    return varve_throw (error, VARVE_ERROR_EXISTS, "'%s' exists already, and is left as it is.",
                        self->path);
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "Cannot create qcow2 image '%s'", self->path);
}

BlockSink *
block_qcow2_sink_create (const char *path, const BlockQcow2Options *options, GError **error)
{
  g_autoptr (BlockSink) sink = NULL;
  Qcow2Sink *self;
  uint32_t bits;

  if (!check_cluster_size (path, options->cluster_size, &bits, error) ||
      !check_size (path, options->size, bits, error) || !check_backing (path, options, bits, error))
    return NULL;

  self = g_new0 (Qcow2Sink, 1);
  sink = &self->base;
  sink->ops = &qcow2_ops;
  sink->label = g_strdup_printf ("qcow2 image '%s'", path);
  sink->size = options->size;
  sink->alignment = 1u << bits;
  sink->reads_as_zero = options->backing_file == NULL;
  sink->has_base = options->backing_file != NULL;
  self->path = g_strdup (path);
  self->backing_file = g_strdup (options->backing_file);
  self->backing_format = g_strdup (options->backing_format);
  self->fd = -1;
  g_mutex_init (&self->writing);
  if (!open_file (self, options, error))
    return NULL;
  block_qcow2_map_init (&self->map, self->fd, sink->label, sink->size, bits);
  return g_steal_pointer (&sink);
}
