/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Plain files and block devices as a source. The map follows SEEK_DATA and SEEK_HOLE; where the
 * file system has no holes to tell of, or a device is read, everything is data.
 */
#include "config.h"
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file-size.h"
#include "util/error.h"

/* Enough to keep a disk busy; more threads than that only wait for each other in the page cache. */
#define FILE_DEPTH    4
#define FILE_MAX_READ (1u << 30)

typedef struct {
  BlockSource base;
  int fd;
} FileSource;

static bool
file_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  const FileSource *self = (const FileSource *)source;
  uint8_t *to = buffer;

  while (length > 0) {
    ssize_t got = pread (self->fd, to, length, (off_t)offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return varve_throw_errno (error, VARVE_ERROR_SOURCE_READ, errno, "Cannot read %s",
                                source->label);
    if (got == 0)
      return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                          "Cannot read %s: it ends at offset %" G_GUINT64_FORMAT
                          ", though it had %" G_GUINT64_FORMAT " bytes when it was opened.",
                          source->label, offset, source->size);
    offset += (size_t)got;
    to += got;
    length -= (size_t)got;
  }
  return true;
}

/* Where the next data (or hole) at or behind @offset begins, at most @end. A file system that
 * cannot say makes all of it data. lseek moves the one file position, but nothing here uses that.
 */
static uint64_t
seek_next (int fd, uint64_t offset, uint64_t end, int whence)
{
  off_t found = lseek (fd, (off_t)offset, whence);

  if (found >= 0)
    return CLAMP ((uint64_t)found, offset, end);
  if (whence == SEEK_DATA)
    return errno == ENXIO ? end : offset;
  return end;
}

static bool
file_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                     GError **error)
{
  const FileSource *self = (const FileSource *)source;
  uint64_t end = offset + length;

  while (offset < end) {
    uint64_t data = seek_next (self->fd, offset, end, SEEK_DATA);
    uint64_t hole = data < end ? seek_next (self->fd, data, end, SEEK_HOLE) : end;
    if (hole == data && data < end) /* the file changed between the two calls */
      hole = end;
    varve_extents_append (out, offset, data - offset, VARVE_EXTENT_ZERO);
    varve_extents_append (out, data, hole - data, VARVE_EXTENT_DATA);
    offset = hole;
  }
  return true;
}

static void
file_source_free (BlockSource *source)
{
  FileSource *self = (FileSource *)source;

  close (self->fd);
  g_free (self);
}

static const BlockSourceOps file_source_ops = {
  .name = "file",
  .read = file_source_read,
  .extents = file_source_extents,
  .free = file_source_free,
};

bool
block_file_size (int fd, bool *out_device, uint64_t *out_size)
{
  struct stat st;

  if (fstat (fd, &st) != 0)
    return false;
  *out_device = S_ISBLK (st.st_mode);
  if (*out_device)
    return ioctl (fd, BLKGETSIZE64, out_size) == 0;
  if (!S_ISREG (st.st_mode)) {
    errno = ENOTBLK;
    return false;
  }
  *out_size = (uint64_t)st.st_size;
  return true;
}

BlockSource *
block_file_source_open (const char *path, GError **error)
{
  g_autofree FileSource *self = g_new0 (FileSource, 1);
  bool device;

  /* O_NONBLOCK: a FIFO in this place gives an error, and does not wait for a writer. */
  self->fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (self->fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_SOURCE_UNREACHABLE, errno, "Cannot open '%s' to read it",
                       path);
    return NULL;
  }
  if (!block_file_size (self->fd, &device, &self->base.size)) {
    varve_throw_errno (error, VARVE_ERROR_SOURCE_UNREACHABLE, errno,
                       "Cannot tell the size of '%s', which must be a file or a block device",
                       path);
    close (self->fd);
    return NULL;
  }
  posix_fadvise (self->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  self->base.ops = &file_source_ops;
  self->base.label = g_strdup_printf ("file '%s'", path);
  self->base.block_size = 1;
  self->base.max_read = FILE_MAX_READ;
  self->base.depth = FILE_DEPTH;
  return &g_steal_pointer (&self)->base;
}
