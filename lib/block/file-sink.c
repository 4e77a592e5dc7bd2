/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Plain files and block devices as a sink.
 *
 * Zeroing, in the order in which it is tried; each step says no where file system, device or
 * alignment do not allow it, and the last one always works:
 *
 *   new file, nothing written there or behind   nothing to do: it is a hole
 *   file                                        punch a hole, else FALLOC_FL_ZERO_RANGE
 *   device                                      BLKZEROOUT on whole pages
 *   anything                                    written zeros
 */
#include "config.h"
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file-size.h"
#include "util/checked.h"
#include "util/durable.h"
#include "util/error.h"

#define ZERO_BUFFER (256u << 10)
#define DEVICE_PAGE 4096u

typedef struct {
  BlockSink base;
  char *path;
  int fd;
  bool device;
  bool created; /* the directory entry is new and must be synced */
  GMutex lock;
  uint64_t touched; /* what lies at or behind this was never written; by lock */
} FileSink;

static bool
fail_write (const FileSink *self, int errnum, GError **error)
{
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errnum, "Cannot write to %s",
                            self->base.label);
}

static void
touch (FileSink *self, uint64_t end)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  self->touched = MAX (self->touched, end);
}

static bool
is_untouched (FileSink *self, uint64_t offset)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->base.reads_as_zero && offset >= self->touched;
}

static bool
file_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                 GError **error)
{
  FileSink *self = (FileSink *)sink;
  const uint8_t *from = buffer;

  touch (self, offset + length);
  while (length > 0) {
    ssize_t put = pwrite (self->fd, from, length, (off_t)offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return fail_write (self, put < 0 ? errno : EIO, error);
    offset += (size_t)put;
    from += put;
    length -= (size_t)put;
  }
  return true;
}

static bool
write_zeros (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  g_autofree uint8_t *zeros = g_malloc0 (MIN (length, ZERO_BUFFER));

  while (length > 0) {
    size_t part = MIN (length, ZERO_BUFFER);
    if (!file_sink_write (sink, offset, zeros, part, error))
      return false;
    offset += part;
    length -= part;
  }
  return true;
}

/* True when it is done; false with errno when that is not possible here or failed. */
static bool
zero_file (const FileSink *self, uint64_t offset, uint64_t length)
{
  return fallocate (self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                    (off_t)length) == 0 ||
         fallocate (self->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                    (off_t)length) == 0;
}

/* BLKZEROOUT drops what the page cache has of the range: so whole pages are zeroed this way, and
 * the rest of the first and last one through the page cache, where its neighbours' bytes may be. */
static bool
zero_device (FileSink *self, uint64_t offset, uint64_t length, GError **error)
{
  uint64_t end = offset + length;
  uint64_t first = MIN (varve_round_up (offset, DEVICE_PAGE), end);
  uint64_t last = MAX (varve_round_down (end, DEVICE_PAGE), first);
  uint64_t range[2] = { first, last - first };

  if (range[1] == 0 || ioctl (self->fd, BLKZEROOUT, range) != 0)
    return write_zeros (&self->base, offset, length, error);
  return write_zeros (&self->base, offset, first - offset, error) &&
         write_zeros (&self->base, last, end - last, error);
}

static bool
file_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  FileSink *self = (FileSink *)sink;

  if (is_untouched (self, offset))
    return true;
  if (self->device)
    return zero_device (self, offset, length, error);
  return zero_file (self, offset, length) || write_zeros (sink, offset, length, error);
}

static bool
file_sink_flush (BlockSink *sink, GError **error)
{
  FileSink *self = (FileSink *)sink;

  if (fsync (self->fd) != 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "Cannot bring %s to stable storage", sink->label);
  return !self->created || varve_classify (varve_sync_parent (self->path, error),
                                           VARVE_ERROR_STORE_UNREACHABLE, error);
}

static void
file_sink_free (BlockSink *sink)
{
  FileSink *self = (FileSink *)sink;

  if (self->fd >= 0)
    close (self->fd);
  g_mutex_clear (&self->lock);
  g_free (self->path);
  g_free (self);
}

static const BlockSinkOps file_sink_ops = {
  .name = "file",
  .write = file_sink_write,
  .zero = file_sink_zero,
  .flush = file_sink_flush,
  .free = file_sink_free,
};

/* What is there when we come, seen before it is opened: O_EXCL means one thing for a device,
 * another with O_CREAT, and opening a FIFO would wait. */
static bool
look (FileSink *self, bool *out_exists, GError **error)
{
  struct stat st;

  *out_exists = stat (self->path, &st) == 0;
  if (!*out_exists) {
    if (errno == ENOENT)
      return true;
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno, "Cannot look at '%s'",
                              self->path);
  }
  self->device = S_ISBLK (st.st_mode);
  if (self->device || S_ISREG (st.st_mode))
    return true;
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "'%s' is neither a file nor a block device, and cannot be written to.",
                      self->path);
}

static bool
check_mode (const FileSink *self, BlockFileMode mode, bool exists, GError **error)
{
  if (mode == BLOCK_FILE_CREATE && exists)
    return varve_throw (error, VARVE_ERROR_EXISTS, "'%s' exists already, and is left as it is.",
                        self->path);
  if (mode == BLOCK_FILE_REPLACE && self->device)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "'%s' is a block device: it can be written over, not replaced.",
                        self->path);
  if (mode == BLOCK_FILE_OVERWRITE && !exists)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "'%s' is to be written over, but does not exist.", self->path);
  return true;
}

static bool
open_file (FileSink *self, BlockFileMode mode, GError **error)
{
  int flags = O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

  if (self->device)
    flags |= O_EXCL; /* not mounted, not part of anything */
  else if (mode == BLOCK_FILE_CREATE)
    flags |= O_CREAT | O_EXCL;
  else if (mode == BLOCK_FILE_REPLACE)
    flags |= O_CREAT | O_TRUNC;

  self->fd = open (self->path, flags, 0600);
  if (self->fd >= 0)
    return true;
  if (errno == EEXIST)
    return varve_throw (error, VARVE_ERROR_EXISTS, "'%s' exists already, and is left as it is.",
                        self->path);
  if (self->device && errno == EBUSY)
    return varve_throw_errno (error, VARVE_ERROR_BUSY, errno,
                              "Device '%s' is in use: unmount it, or stop what holds it",
                              self->path);
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "Cannot open '%s' to write to it", self->path);
}

/* A file gets exactly the size of the disk, a device must be large enough. */
static bool
settle_size (FileSink *self, GError **error)
{
  uint64_t size;
  bool device;

  if (!block_file_size (self->fd, &device, &size))
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "Cannot tell the size of '%s'", self->path);
  if (device != self->device)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "'%s' became something else while it was opened.", self->path);
  if (device && size < self->base.size)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Device '%s' has %" G_GUINT64_FORMAT
                        " bytes, fewer than the %" G_GUINT64_FORMAT " that the disk needs.",
                        self->path, size, self->base.size);
  if (device || size == self->base.size || ftruncate (self->fd, (off_t)self->base.size) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "Cannot make '%s' %" G_GUINT64_FORMAT " bytes long", self->path,
                            self->base.size);
}

BlockSink *
block_file_sink_open (const char *path, uint64_t size, BlockFileMode mode, GError **error)
{
  g_autoptr (BlockSink) sink = NULL;
  FileSink *self = g_new0 (FileSink, 1);
  bool exists;

  sink = &self->base;
  sink->ops = &file_sink_ops;
  sink->label = g_strdup_printf ("file '%s'", path);
  sink->size = size;
  sink->alignment = 1;
  sink->reads_as_zero = mode != BLOCK_FILE_OVERWRITE;
  self->path = g_strdup (path);
  self->fd = -1;
  g_mutex_init (&self->lock);

  if (!look (self, &exists, error) || !check_mode (self, mode, exists, error) ||
      !open_file (self, mode, error))
    return NULL;
  self->created = !exists;
  if (!settle_size (self, error)) {
    if (self->created)
      unlink (path);
    return NULL;
  }
  return g_steal_pointer (&sink);
}
