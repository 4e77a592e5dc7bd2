/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Locks that die with their holder. A lock is an open file description lock (F_OFD_SETLK) on
 * locks/NAME.lock: the kernel drops it with the last descriptor, on kill -9 too, and unlike a POSIX
 * lock it does not vanish when something else in the process opens and closes the file.
 *
 * The holder unlinks the file before he lets go, so that dead sessions leave no litter. Hence
 * whoever gets the lock must look whether the name still leads to what he locked, and start over if
 * not.
 *
 * The text in the file is for people; only the lock itself says whether somebody is there. */
#include "config.h"
#include "state/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"

#define NAME_MAX_BYTES 180 /* with ".lock" well below the 255 of every file system */
#define HOLDER_MAX     400
#define POLL_MS        100

struct VarveLock {
  char *path;
  int fd;
  pid_t owner; /* the process that took it: a fork of it holds a copy of the descriptor only */
};

typedef enum {
  ATTEMPT_TAKEN,
  ATTEMPT_HELD,  /* by another */
  ATTEMPT_STALE, /* the file was unlinked meanwhile: try again at once */
  ATTEMPT_FAILED,
} Attempt;

/* Any text gives a file name, and different texts different ones: bytes other than letters, digits,
 * '_',
 * '-' and a '.' that is not the first become %XX; what gets too long ends in a hash of the whole.
 */
static char *
safe_file_name (const char *name)
{
  g_autoptr (GString) out = g_string_new (NULL);

  for (const char *c = name; *c; c++) {
    if (g_ascii_isalnum (*c) || *c == '_' || *c == '-' || (*c == '.' && c != name))
      g_string_append_c (out, *c);
    else
      g_string_append_printf (out, "%%%02X", (unsigned char)*c);
  }
  if (out->len > NAME_MAX_BYTES) {
    g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, name, -1);
    g_string_truncate (out, NAME_MAX_BYTES - strlen (hash) - 1);
    /* No '%' can stand alone in an escaped name, so "%-" marks a shortened one. */
    g_string_append_printf (out, "%%-%s", hash);
  }
  return g_string_free (g_steal_pointer (&out), FALSE);
}

static char *
lock_path (const VarveStateDir *dir, const char *name)
{
  g_autofree char *safe = safe_file_name (name);
  g_autofree char *file = g_strconcat (safe, ".lock", NULL);

  return varve_state_dir_file (dir, "locks", file);
}

static char *
read_holder (int fd)
{
  char text[HOLDER_MAX + 1];
  ssize_t got = pread (fd, text, HOLDER_MAX, 0);

  /* Empty for an instant: taken, and not yet signed. */
  if (got <= 0)
    return g_strdup ("a process that has not said its name yet");
  text[got] = '\0';
  g_strchomp (text);
  return g_utf8_make_valid (text, -1);
}

static bool
is_still_named (int fd, const char *path)
{
  struct stat ours, named;

  return fstat (fd, &ours) == 0 && stat (path, &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

/* Owns nothing but what it returns in @out_fd (ATTEMPT_TAKEN) or @out_holder (ATTEMPT_HELD). */
static Attempt
attempt (const char *path, int *out_fd, char **out_holder, GError **error)
{
  struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

  if (fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot open the lock file '%s'", path);
    return ATTEMPT_FAILED;
  }
  if (fcntl (fd, F_OFD_SETLK, &whole) == 0) {
    if (is_still_named (fd, path)) {
      *out_fd = fd;
      return ATTEMPT_TAKEN;
    }
    close (fd);
    return ATTEMPT_STALE;
  }

  Attempt result = ATTEMPT_HELD;
  if (errno == EAGAIN || errno == EACCES) {
    *out_holder = read_holder (fd);
  } else {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot lock '%s'", path);
    result = ATTEMPT_FAILED;
  }
  close (fd);
  return result;
}

static bool
pause_between_attempts (GCancellable *cancellable, GError **error)
{
  GPollFD poll;

  if (g_cancellable_make_pollfd (cancellable, &poll)) {
    g_poll (&poll, 1, POLL_MS);
    g_cancellable_release_fd (cancellable);
  } else {
    g_usleep (POLL_MS * 1000);
  }
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

/* Returns the descriptor that holds the lock, or -1. */
static int
wait_for_lock (const char *path, const char *what, unsigned wait_s, GCancellable *cancellable,
               GError **error)
{
  gint64 deadline = g_get_monotonic_time () + (gint64)wait_s * G_USEC_PER_SEC;

  for (;;) {
    g_autofree char *holder = NULL;
    int fd = -1;

    switch (attempt (path, &fd, &holder, error)) {
    case ATTEMPT_TAKEN:
      return fd;
    case ATTEMPT_FAILED:
      return -1;
    case ATTEMPT_STALE:
      break;
    case ATTEMPT_HELD:
      if (g_get_monotonic_time () >= deadline) {
        varve_throw (error, VARVE_ERROR_BUSY,
                     "Somebody else is at work on %s: %s. Waited %u s for it; try again when that "
                     "has ended.",
                     what, holder, wait_s);
        return -1;
      }
      if (!pause_between_attempts (cancellable, error))
        return -1;
      break;
    }
  }
}

static bool
sign (int fd, const char *holder)
{
  g_autofree char *text = g_strdup_printf ("%.*s\n", HOLDER_MAX - 1, holder);
  size_t length = strlen (text);

  return ftruncate (fd, 0) == 0 && pwrite (fd, text, length, 0) == (ssize_t)length;
}

VarveLock *
varve_lock_take (const VarveStateDir *dir, const char *name, const char *what, const char *holder,
                 unsigned wait_s, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = lock_path (dir, name);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  int fd = wait_for_lock (path, what, wait_s, cancellable, error);
  if (fd < 0)
    return NULL;

  g_autoptr (VarveLock) lock = g_new0 (VarveLock, 1);
  lock->path = g_steal_pointer (&path);
  lock->fd = fd;
  lock->owner = getpid ();
  if (!sign (fd, holder)) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot write the lock file '%s'",
                       lock->path);
    return NULL;
  }
  return g_steal_pointer (&lock);
}

bool
varve_lock_is_held (const VarveStateDir *dir, const char *name, char **out_holder)
{
  g_autofree char *path = lock_path (dir, name);
  struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

  int fd = open (path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT)
    return false;
  if (fd < 0) {
    if (out_holder)
      *out_holder =
          g_strdup_printf ("unknown, since '%s' cannot be opened: %s", path, g_strerror (errno));
    return true;
  }
  bool held = fcntl (fd, F_OFD_GETLK, &whole) < 0 || whole.l_type != F_UNLCK;
  if (held && out_holder)
    *out_holder = read_holder (fd);
  close (fd);
  return held;
}

void
varve_lock_free (VarveLock *lock)
{
  struct flock whole = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

  if (!lock)
    return;
  if (lock->owner == getpid ()) {
    unlink (lock->path);
    /* By name, since a fork that is still alive has the same description open. */
    fcntl (lock->fd, F_OFD_SETLK, &whole);
  }
  close (lock->fd);
  g_free (lock->path);
  g_free (lock);
}
