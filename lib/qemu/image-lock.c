/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QEMU (block/file-posix.c) says what it does with an image, and what others may not do, by shared
 * locks of open file descriptions on single bytes, whether the file has these bytes or not:
 *
 *   byte 100 + n   I make use of permission n          n = 0 consistent read, 1 write,
 *   byte 200 + n   nobody else may have permission n       2 write unchanged, 3 resize
 *
 * Who comes takes its own first, and then looks whether the opposite byte is locked by others. */
#include "config.h"

#include "qemu/image-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/error.h"

#define USED_BYTE   100
#define BARRED_BYTE 200
#define ALL_BYTES   200 /* both groups */

enum { PERMISSION_WRITE = 1, PERMISSION_RESIZE = 3 };

static bool
is_unsupported (int errnum)
{
  return errnum == EINVAL || errnum == ENOSYS || errnum == EOPNOTSUPP || errnum == ENOLCK;
}

static bool
throw_used (const char *path, GError **error)
{
  return varve_throw (error, VARVE_ERROR_BUSY,
                      "Image '%s' is in use by a running QEMU or another program: stop that first.",
                      path);
}

/* Whether others hold a lock in @length bytes from @start. */
static bool
is_locked (int fd, off_t start, off_t length)
{
  struct flock lock = {
    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length
  };

  return fcntl (fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int
open_image (const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  if (fd < 0)
    varve_throw_errno (error, errno == ENOENT ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_FAILED, errno,
                       "Image '%s' cannot be opened", path);
  return fd;
}

static bool
bar (int fd, const char *path, unsigned permission, bool *out_supported, GError **error)
{
  struct flock lock = {
    .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = BARRED_BYTE + permission, .l_len = 1
  };

  *out_supported = fcntl (fd, F_OFD_SETLK, &lock) == 0;
  if (!*out_supported && !is_unsupported (errno))
    return throw_used (path, error);
  return !is_locked (fd, USED_BYTE + permission, 1) || throw_used (path, error);
}

bool
varve_image_lock (const char *path, int *out_fd, GError **error)
{
  int fd = open_image (path, error);
  bool supported = false;

  *out_fd = -1;
  if (fd < 0)
    return false;
  if (!bar (fd, path, PERMISSION_WRITE, &supported, error) ||
      !bar (fd, path, PERMISSION_RESIZE, &supported, error)) {
    close (fd);
    return false;
  }
  if (supported)
    *out_fd = fd;
  else
    close (fd);
  return true;
}

bool
varve_image_check_unused (const char *path, GError **error)
{
  int fd = open_image (path, error);
  bool used;

  if (fd < 0)
    return false;
  used = is_locked (fd, USED_BYTE, ALL_BYTES);
  close (fd);
  return !used || throw_used (path, error);
}
