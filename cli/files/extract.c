/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "files/tree.h"

/* Who extracts owns the files, so that a set-user-id of the guest would mean another user here. */
#define KEPT_MODE 0777

typedef struct {
  Guest *guest;
  bool force;
  guint64 files, bytes; /* that were made */
  guint failed;         /* that could not be read, and were told of */
} Extraction;

/* --- where to --------------------------------------------------------------------------------- */

void
target_clear (Target *target)
{
  g_free (target->directory);
  g_free (target->name);
}

static bool
choose (Target *target, const char *path, const char *to, bool among, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename (to, NULL);

  if (g_file_test (absolute, G_FILE_TEST_IS_DIR)) {
    if (strcmp (path, "/") == 0)
      return cli_usage (error, "'%s' exists, and '/' has no name to stand there: say --to %s/NAME.",
                        to, to);
    target->directory = g_steal_pointer (&absolute);
    target->name = g_path_get_basename (path);
    return true;
  }
  if (among)
    return cli_usage (error, "Several paths go into a directory, and '%s' is none.", to);
  target->directory = g_path_get_dirname (absolute);
  target->name = g_path_get_basename (absolute);
  if (g_file_test (target->directory, G_FILE_TEST_IS_DIR))
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "There is no directory '%s'.",
               target->directory);
  return false;
}

bool
target_init (Target *target, const char *path, const char *to, bool among, bool force,
             GError **error)
{
  g_autofree char *full = NULL;
  GStatBuf st;

  target->force = force;
  if (!choose (target, path, to, among, error))
    return false;
  full = g_build_filename (target->directory, target->name, NULL);
  if (force || g_lstat (full, &st) != 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS,
               "'%s' exists already: use --force to replace files that are there.", full);
  return false;
}

/* --- errors ----------------------------------------------------------------------------------- */

/* The target's: there is no use in going on. */
static bool
throw_local (const char *path, GError **error)
{
  int errnum = errno;
  g_autofree char *shown = tree_printable (path);
  VarveError code = errnum == EEXIST                       ? VARVE_ERROR_EXISTS
                    : errnum == ENOSPC || errnum == EDQUOT ? VARVE_ERROR_NO_SPACE
                                                           : VARVE_ERROR_STORE_UNREACHABLE;

  g_set_error (error, VARVE_ERROR, (int)code, "What '%s' becomes cannot be written: %s", shown,
               g_strerror (errnum));
  return false;
}

/* Takes what went wrong with one file. False: it is not about that file alone, and goes to @error. */
static bool
tell_failure (Extraction *x, GError *failed, GError **error)
{
  g_autoptr (GError) why = failed;

  if (why->domain != VARVE_ERROR || why->code == VARVE_ERROR_NO_SPACE) {
    g_propagate_error (error, g_steal_pointer (&why));
    return false;
  }
  x->failed++;
  guest_warn (x->guest, "%s", why->message);
  return true;
}

/* --- one file --------------------------------------------------------------------------------- */

static char *
make_temporary_name (void)
{
  return g_strdup_printf (".varve-%08x", g_random_int ());
}

/* NFS cannot rename without replacing, and VFAT has no links. */
static bool
rename_new (int directory, const char *temporary, const char *name)
{
  if (renameat2 (directory, temporary, directory, name, RENAME_NOREPLACE) == 0)
    return true;
  if (errno != EINVAL && errno != ENOSYS)
    return false;
  return linkat (directory, temporary, directory, name, 0) == 0 &&
         unlinkat (directory, temporary, 0) == 0;
}

static bool
give_name (const Extraction *x, int directory, const char *temporary, const char *name,
           const char *path, GError **error)
{
  bool ok = x->force ? renameat (directory, temporary, directory, name) == 0
                     : rename_new (directory, temporary, name);

  if (ok)
    return true;
  throw_local (path, error);
  unlinkat (directory, temporary, 0);
  return false;
}

/* The file system knows how long a file is. */
static bool
copy_all (Guest *guest, const char *path, const Entry *entry, int fd, GError **error)
{
  g_autofree char *shown = tree_printable (path);
  struct stat st;

  if (!tree_copy (guest, path, fd, error))
    return false;
  if (fstat (fd, &st) == 0 && (guint64)st.st_size == entry->size)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_FAILED,
               "'%s' cannot be read: it has %" G_GUINT64_FORMAT " bytes, and others came.", shown,
               entry->size);
  return false;
}

static bool
extract_file (Extraction *x, int directory, const char *name, const char *path, const Entry *entry,
              GError **error)
{
  const struct timespec times[] = { entry->accessed, entry->modified };
  g_autofree char *temporary = make_temporary_name ();
  GError *failed = NULL;
  int fd = openat (directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok;

  if (fd < 0)
    return throw_local (path, error);
  ok = copy_all (x->guest, path, entry, fd, &failed);
  if (ok && (fchmod (fd, entry->mode & KEPT_MODE) != 0 || futimens (fd, times) != 0))
    ok = throw_local (path, error);
  if (close (fd) != 0 && ok)
    ok = throw_local (path, error);
  if (!ok) {
    unlinkat (directory, temporary, 0);
    return failed != NULL && tell_failure (x, failed, error);
  }
  x->files++;
  x->bytes += entry->size;
  return give_name (x, directory, temporary, name, path, error);
}

static bool
extract_link (Extraction *x, int directory, const char *name, const char *path, const Entry *entry,
              GError **error)
{
  const struct timespec times[] = { entry->accessed, entry->modified };
  g_autofree char *temporary = make_temporary_name ();

  if (symlinkat (entry->target, directory, temporary) != 0)
    return throw_local (path, error);
  utimensat (directory, temporary, times, AT_SYMLINK_NOFOLLOW);
  x->files++;
  return give_name (x, directory, temporary, name, path, error);
}

/* --- trees ------------------------------------------------------------------------------------ */

static bool extract_directory (Extraction *x, int directory, const char *name, const char *path,
                               const Entry *entry, GError **error);

static bool
extract_entry (Extraction *x, int directory, const char *name, const char *path, const Entry *entry,
               GError **error)
{
  g_autofree char *shown = NULL;

  if (g_cancellable_set_error_if_cancelled (x->guest->cli->cancellable, error))
    return false;
  if (S_ISDIR (entry->mode))
    return extract_directory (x, directory, name, path, entry, error);
  if (S_ISREG (entry->mode))
    return extract_file (x, directory, name, path, entry, error);
  if (S_ISLNK (entry->mode) && entry->target && *entry->target)
    return extract_link (x, directory, name, path, entry, error);
  shown = tree_printable (path);
  if (entry->mode != 0 && !S_ISLNK (entry->mode)) {
    guest_warn (x->guest, "'%s' is left out: it is a %s.", shown, entry_type (entry));
    return true;
  }
  x->failed++;
  guest_warn (x->guest, "'%s' cannot be read.", shown);
  return true;
}

static bool
extract_entries (Extraction *x, int directory, const char *path, GError **error)
{
  GError *failed = NULL;
  g_autoptr (GPtrArray) entries = tree_read (x->guest, path, &failed);

  if (entries == NULL)
    return tell_failure (x, failed, error);
  for (guint i = 0; i < entries->len; i++) {
    const Entry *entry = g_ptr_array_index (entries, i);
    g_autofree char *below = tree_join (path, entry->name);

    if (!extract_entry (x, directory, entry->name, below, entry, error))
      return false;
  }
  return true;
}

/* Nobody else looks into it before it is complete. */
static bool
extract_directory (Extraction *x, int directory, const char *name, const char *path,
                   const Entry *entry, GError **error)
{
  const struct timespec times[] = { entry->accessed, entry->modified };
  bool made = mkdirat (directory, name, 0700) == 0;
  bool ok;
  int fd;

  if (!made && (errno != EEXIST || !x->force))
    return throw_local (path, error);
  fd = openat (directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return throw_local (path, error);
  ok = extract_entries (x, fd, path, error);
  if (ok && (fchmod (fd, entry->mode & KEPT_MODE) != 0 || futimens (fd, times) != 0))
    ok = throw_local (path, error);
  close (fd);
  return ok;
}

static void
tell_done (const Extraction *x, const char *path, const Target *target)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("extracted");
  g_autofree char *shown = tree_printable (path);
  g_autofree char *to = g_build_filename (target->directory, target->name, NULL);
  g_autofree char *size = cli_format_size (x->bytes);

  cli_output_line (&x->guest->cli->output, "%s: %" G_GUINT64_FORMAT " files, %s, to %s", shown,
                   x->files, size, to);
  cli_json_string (object, "path", shown);
  cli_json_string (object, "target", to);
  cli_json_number (object, "files", (gint64)x->files);
  cli_json_number (object, "stored", (gint64)x->bytes);
  cli_output_json (&x->guest->cli->output, object);
}

bool
extract_path (Guest *guest, const char *path, const Target *target, GError **error)
{
  Extraction x = { .guest = guest, .force = target->force };
  g_autoptr (Entry) entry = tree_look (guest, path, error);
  g_autofree char *shown = tree_printable (path);
  bool ok;
  int fd;

  if (entry == NULL)
    return false;
  fd = open (target->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return throw_local (path, error);
  ok = extract_entry (&x, fd, target->name, path, entry, error);
  close (fd);
  if (!ok)
    return false;
  if (x.files > 0 || x.failed == 0)
    tell_done (&x, path, target);
  if (x.failed == 0)
    return true;
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_PARTIAL, "Of '%s' %u could not be read.", shown,
               x.failed);
  return false;
}

/* --- a stream --------------------------------------------------------------------------------- */

/* libguestfs opens what it writes to by a name, and cuts it off there: so stdout, which may be a file that others have
 * written to, is behind a pipe. */
static gpointer
pump (gpointer data)
{
  int from = GPOINTER_TO_INT (data);
  g_autofree char *buffer = g_malloc (65536);
  int failed = 0;
  ssize_t got;

  while (failed == 0 && (got = read (from, buffer, 65536)) > 0)
    for (ssize_t at = 0, n; failed == 0 && at < got; at += n) {
      n = write (STDOUT_FILENO, buffer + at, (size_t)(got - at));
      if (n < 0)
        failed = errno;
    }
  close (from);
  return GINT_TO_POINTER (failed);
}

bool
extract_stream (Guest *guest, const char *path, GError **error)
{
  g_autoptr (Entry) entry = tree_look (guest, path, error);
  g_autofree char *shown = tree_printable (path);
  GThread *thread;
  int ends[2], failed;
  bool ok;

  if (entry == NULL)
    return false;
  if (!S_ISREG (entry->mode) && !S_ISDIR (entry->mode)) {
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED, "'%s' is a %s: it has no content.",
                 shown, entry_type (entry));
    return false;
  }
  if (pipe2 (ends, O_CLOEXEC) != 0)
    return throw_local (path, error);
  thread = g_thread_new ("stdout", pump, GINT_TO_POINTER (ends[0]));
  ok = S_ISDIR (entry->mode) ? tree_archive (guest, path, ends[1], error)
                             : tree_copy (guest, path, ends[1], error);
  close (ends[1]);
  failed = GPOINTER_TO_INT (g_thread_join (thread));
  if (failed == 0)
    return ok;
  g_clear_error (error);
  errno = failed;
  return throw_local (path, error);
}
