/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Files that survive a power cut. The order is always: data, sync, name, sync of the directory that
 * holds the name; so a name that is seen after a crash has its whole content. */
#include "config.h"
#include "util/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "util/error.h"

#define READ_CHUNK 65536

/* A temporary file that is removed again unless it was given its name. */
typedef struct {
  char *path;
  int fd;
} TempFile;

static void
temp_file_clear (TempFile *temp)
{
  if (temp->fd >= 0)
    close (temp->fd);
  if (temp->path)
    unlink (temp->path);
  g_free (temp->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TempFile, temp_file_clear)

static bool
write_all (int fd, const char *data, size_t length)
{
  while (length > 0) {
    ssize_t done = write (fd, data, length);
    if (done < 0) {
      if (errno == EINTR)
        continue;
      return false;
    }
    data += done;
    length -= (size_t)done;
  }
  return true;
}

static bool
temp_file_write (TempFile *temp, const char *path, const char *data, size_t length, int mode,
                 GError **error)
{
  g_autofree char *directory = g_path_get_dirname (path);
  g_autofree char *name = g_path_get_basename (path);

  temp->path = g_strdup_printf ("%s/.%s.tmp-XXXXXX", directory, name);
  temp->fd = mkostemp (temp->path, O_CLOEXEC);
  if (temp->fd < 0) {
    int errnum = errno;
    g_clear_pointer (&temp->path, g_free);
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errnum,
                              "Cannot make a temporary file in '%s' for '%s'", directory, name);
  }

  if (fchmod (temp->fd, (mode_t)mode) < 0 || !write_all (temp->fd, data, length) ||
      fsync (temp->fd) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot write the new content of '%s'", path);

  /* Synced already: whether close complains makes no difference to what is on disk. */
  close (temp->fd);
  temp->fd = -1;
  return true;
}

bool
varve_durable_replace (const char *path, const char *data, size_t length, int mode, GError **error)
{
  g_auto (TempFile) temp = { .fd = -1 };

  if (!temp_file_write (&temp, path, data, length, mode, error))
    return false;
  if (rename (temp.path, path) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot replace '%s'", path);

  g_clear_pointer (&temp.path, g_free);
  return varve_sync_parent (path, error);
}

bool
varve_durable_create (const char *path, const char *data, size_t length, int mode, GError **error)
{
  g_auto (TempFile) temp = { .fd = -1 };

  if (!temp_file_write (&temp, path, data, length, mode, error))
    return false;
  if (!varve_rename_noreplace (temp.path, path, error))
    return false;

  g_clear_pointer (&temp.path, g_free);
  return true;
}

bool
varve_write_synced (const char *path, const char *data, size_t length, int mode, GError **error)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
  bool ok = fd >= 0 && write_all (fd, data, length) && fsync (fd) == 0;
  int errnum = errno;

  if (fd >= 0)
    close (fd);
  if (ok)
    return true;
  return varve_throw_errno (error, errnum == EEXIST ? VARVE_ERROR_EXISTS : VARVE_ERROR_FAILED,
                            errnum, "Cannot write '%s'", path);
}

bool
varve_durable_unlink (const char *path, GError **error)
{
  g_autofree char *parent = g_path_get_dirname (path);

  if (unlink (path) == 0)
    return varve_sync_parent (path, error);
  if (errno != ENOENT)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot remove '%s'", path);
  /* Whoever removed it may have died before the sync; without the directory there is none. */
  return !g_file_test (parent, G_FILE_TEST_IS_DIR) || varve_sync_parent (path, error);
}

bool
varve_sync_path (const char *path, GError **error)
{
  /* O_NONBLOCK: a FIFO in this place gives an error, and does not wait for a writer. */
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot open '%s' to sync it",
                              path);

  struct stat st;
  int errnum = fsync (fd) < 0 ? errno : 0;
  /* Some network and FUSE file systems know no sync of a directory; they have nothing to be synced.
   */
  if (errnum == EINVAL && fstat (fd, &st) == 0 && S_ISDIR (st.st_mode))
    errnum = 0;
  close (fd);

  if (errnum != 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errnum, "Cannot sync '%s' to disk", path);
  return true;
}

bool
varve_sync_parent (const char *path, GError **error)
{
  g_autofree char *parent = g_path_get_dirname (path);

  return varve_sync_path (parent, error);
}

/* For file systems without RENAME_NOREPLACE. A link never replaces; and a rename replaces a
 * directory only while that is empty, so an empty one that we made claims the name. Leaves errno.
 */
static bool
rename_in_steps (const char *from, const char *to)
{
  struct stat st;

  if (lstat (from, &st) < 0)
    return false;
  if (!S_ISDIR (st.st_mode))
    return link (from, to) == 0 && unlink (from) == 0;

  if (mkdir (to, 0700) < 0)
    return false;
  if (rename (from, to) == 0)
    return true;

  int errnum = errno;
  rmdir (to);
  errno = errnum;
  return false;
}

bool
varve_rename_noreplace (const char *from, const char *to, GError **error)
{
  bool done = renameat2 (AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0;

  if (!done && (errno == EINVAL || errno == ENOSYS))
    done = rename_in_steps (from, to);
  if (!done && (errno == EEXIST || errno == ENOTEMPTY))
    return varve_throw (error, VARVE_ERROR_EXISTS,
                        "'%s' exists already and is not replaced. Choose another name, or move it "
                        "away.",
                        to);
  if (!done)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot rename '%s' to '%s'", from,
                              to);
  return varve_sync_parent (to, error);
}

static bool
is_directory (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 && S_ISDIR (st.st_mode);
}

bool
varve_make_directories (const char *path, int mode, GError **error)
{
  if (is_directory (path))
    return true;

  g_autofree char *parent = g_path_get_dirname (path);
  if (!is_directory (parent) && !g_str_equal (parent, path) &&
      !varve_make_directories (parent, mode, error))
    return false;

  if (mkdir (path, (mode_t)mode) < 0) {
    int errnum = errno;
    if (errnum == EEXIST && is_directory (path))
      return true;
    if (errnum == EEXIST)
      return varve_throw (error, VARVE_ERROR_FAILED,
                          "Cannot make the directory '%s': there is something else of that name.",
                          path);
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errnum, "Cannot make the directory '%s'",
                              path);
  }
  if (chmod (path, (mode_t)mode) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot set the permissions of the directory '%s'", path);
  return varve_sync_path (path, error) && varve_sync_path (parent, error);
}

/* Appends what @fd gives until its end, or until there are more than @max bytes. Leaves errno. */
static bool
read_to_end (int fd, size_t max, GByteArray *into)
{
  while (into->len <= max) {
    guint before = into->len;

    g_byte_array_set_size (into, before + READ_CHUNK);
    ssize_t got = read (fd, into->data + before, READ_CHUNK);
    g_byte_array_set_size (into, before + (guint)MAX (got, 0));
    if (got == 0)
      return true;
    if (got < 0 && errno != EINTR)
      return false;
  }
  return true;
}

static bool
read_regular (int fd, const char *path, size_t max, GByteArray *into, GError **error)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot look at '%s'", path);
  if (!S_ISREG (st.st_mode))
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "'%s' is not a regular file, and is not read. Remove it, or name another.",
                        path);
  if (!read_to_end (fd, max, into))
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot read '%s'", path);
  if (into->len > max)
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "'%s' is not read: it is larger than the %zu bytes that such a file can "
                        "have.",
                        path, max);
  return true;
}

bool
varve_read_file (const char *path, size_t max, char **out_data, size_t *out_length, GError **error)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();

  /* GByteArray counts in guint, and dies of a file that does not fit. */
  max = MIN (max, G_MAXINT32);

  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return varve_throw_errno (error, errno == ENOENT ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_FAILED,
                              errno, "Cannot open '%s'", path);
  bool ok = read_regular (fd, path, max, bytes, error);
  close (fd);
  if (!ok)
    return false;

  *out_length = bytes->len;
  g_byte_array_append (bytes, (const guint8 *)"", 1);
  *out_data = (char *)g_byte_array_free (g_steal_pointer (&bytes), FALSE);
  return true;
}
