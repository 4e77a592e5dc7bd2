/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* rm -r. It goes down by descriptors of directories that were opened without following links, so
 * nobody can lead it out of the tree by a swapped name; and it stops at mounts, so that what an
 * operator mounted inside of the tree is not emptied. */
#include "config.h"
#include "util/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"

#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define MAX_DEPTH      64 /* one descriptor each; our trees have three levels */

typedef struct {
  dev_t dev;
  uint64_t mount; /* 0 where the kernel does not tell it */
} Place;

/* Leaves errno. */
static bool
get_place (int fd, Place *out)
{
  struct statx stx;

  if (statx (fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
    return false;
  out->dev = (dev_t)stx.stx_dev_major << 32 | stx.stx_dev_minor;
  out->mount = stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id : 0;
  return true;
}

static bool remove_entry (int parent, const char *name, const char *path, const Place *place,
                          unsigned depth, GError **error);

/* Owns @fd. */
static bool
empty_directory (int fd, const char *path, const Place *place, unsigned depth, GError **error)
{
  DIR *dir = fdopendir (fd);
  if (!dir) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot read the directory '%s'", path);
    close (fd);
    return false;
  }

  bool ok = true;
  while (ok) {
    errno = 0;
    const struct dirent *entry = readdir (dir);
    if (!entry) {
      if (errno != 0)
        ok = varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot read the directory '%s'",
                                path);
      break;
    }
    if (g_str_equal (entry->d_name, ".") || g_str_equal (entry->d_name, ".."))
      continue;
    g_autofree char *child = g_build_filename (path, entry->d_name, NULL);
    ok = remove_entry (fd, entry->d_name, child, place, depth, error);
  }
  closedir (dir);
  return ok;
}

/* @name in the directory @parent, which is @path in messages; @place NULL for the root of the tree.
 */
static bool
remove_directory (int parent, const char *name, const char *path, const Place *place,
                  unsigned depth, GError **error)
{
  Place here;
  int fd = openat (parent, name, OPEN_DIRECTORY);

  if (fd < 0 || !get_place (fd, &here)) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                       "Cannot open the directory '%s' to "
                       "remove it",
                       path);
    if (fd >= 0)
      close (fd);
    return false;
  }
  if (depth > MAX_DEPTH || (place && (place->dev != here.dev || place->mount != here.mount))) {
    close (fd);
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The directory '%s' is not removed: %s. Unmount or remove it yourself.",
                        path,
                        depth > MAX_DEPTH ? "it lies too deep" : "something is mounted there");
  }

  if (!empty_directory (fd, path, place ? place : &here, depth, error))
    return false;
  if (unlinkat (parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot remove the directory '%s'",
                              path);
  return true;
}

static bool
remove_entry (int parent, const char *name, const char *path, const Place *place, unsigned depth,
              GError **error)
{
  if (unlinkat (parent, name, 0) == 0 || errno == ENOENT)
    return true;
  /* Linux says EISDIR for a directory, POSIX allows EPERM. */
  if (errno == EISDIR || errno == EPERM)
    return remove_directory (parent, name, path, place, depth + 1, error);
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot remove '%s'", path);
}

bool
varve_remove_tree (const char *path, GError **error)
{
  if (faccessat (AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
    return true;
  return remove_directory (AT_FDCWD, path, path, NULL, 0, error) && varve_sync_parent (path, error);
}
