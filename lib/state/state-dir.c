/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The state directory. What lies in it is acted on with our rights (images are unlinked, sockets
 * are talked to), so a directory that another user owns, or that anybody may write to, is refused.
 *
 *   .          0711   QEMU's user passes through to what it was given
 *   scratch/   0711   images are made with QEMU's rights or given to it
 *   sockets/   0711   likewise
 *   locks/     0700
 *   sessions/  0700   names of domains, stores and key files
 */
#include "config.h"
#include "state/state-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/error.h"

struct VarveStateDir {
  char *path;
};

static const struct {
  const char *name;
  int mode;
} kinds[] = {
  { "locks", 0700 },   { "sessions", 0700 }, { "scratch", 0711 },
  { "sockets", 0711 }, { "exports", 0700 },  { "screenshots", 0700 },
};

static bool
check_directory (const char *path, GError **error)
{
  struct stat st;

  if (stat (path, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot look at the state directory '%s'", path);
  if (st.st_uid != geteuid () && st.st_uid != 0)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The state directory '%s' belongs to user %u, who could lead user %u "
                        "astray with what lies in it. Run as that user, or set VARVE_STATE_DIR "
                        "to another directory.",
                        path, (unsigned)st.st_uid, (unsigned)geteuid ());
  if (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Every user may write to the state directory '%s'. Take that right away "
                        "(chmod o-w), or set VARVE_STATE_DIR to another directory.",
                        path);
  return true;
}

static bool
make_directory (const char *path, int mode, GError **error)
{
  return varve_make_directories (path, mode, error) && check_directory (path, error);
}

/* Of root's, say, who is trusted, but has it for himself. */
static bool
check_writable (const char *path, GError **error)
{
  return faccessat (AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                            "User %u cannot use the directory '%s'. Run varve as the user to whom "
                            "it belongs, or set VARVE_STATE_DIR to another directory, which all "
                            "who back up the same domains must share",
                            (unsigned)geteuid (), path);
}

static bool
make_all (const VarveStateDir *dir, GError **error)
{
  if (!make_directory (dir->path, 0711, error))
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (kinds); i++) {
    g_autofree char *path = g_build_filename (dir->path, kinds[i].name, NULL);
    if (!make_directory (path, kinds[i].mode, error) || !check_writable (path, error))
      return false;
  }
  return true;
}

VarveStateDir *
varve_state_dir_open (const char *path, GError **error)
{
  g_autoptr (VarveStateDir) dir = g_new0 (VarveStateDir, 1);

  if (!path)
    path = g_getenv ("VARVE_STATE_DIR");
  dir->path = g_canonicalize_filename (path && *path ? path : VARVE_STATE_DIR, NULL);
  if (!make_all (dir, error)) {
    varve_prefix (error, "There is no state directory to keep locks and session records in");
    return NULL;
  }
  return g_steal_pointer (&dir);
}

void
varve_state_dir_free (VarveStateDir *dir)
{
  if (!dir)
    return;
  g_free (dir->path);
  g_free (dir);
}

const char *
varve_state_dir_path (const VarveStateDir *dir)
{
  return dir->path;
}

char *
varve_state_dir_file (const VarveStateDir *dir, const char *kind, const char *name)
{
  return g_build_filename (dir->path, kind, name, NULL);
}
