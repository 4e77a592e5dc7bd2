/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/images/images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/xml.h"

#define STORE_FILE     "varve-store.xml"
#define MANIFEST_FILE  "manifest.xml"
#define MANIFEST_BYTES (1u << 20)
#define FORMAT_VERSION 1
/* A store may be a file system of its own: what mkfs puts into that is nobody's. */
#define LOST_AND_FOUND "lost+found"

/* --- the store -------------------------------------------------------------------------------- */

static bool
parse_store (VarveImagesStore *store, const char *data, size_t length, const char *path,
             GError **error)
{
  g_autoptr (VarveXml) xml = varve_xml_new (data, length, path);
  const xmlNode *root = xml->doc ? xmlDocGetRootElement (xml->doc) : NULL;
  g_autofree char *version = NULL;
  g_autofree char *format = NULL;
  g_autofree char *problem = NULL;

  if (root != NULL) {
    varve_xml_shape (xml, root, "version format uuid", "");
    version = varve_xml_attribute (root, "version");
    format = varve_xml_attribute (root, "format");
    store->impl.uuid = varve_xml_attribute (root, "uuid");
    if (!varve_xml_is (root, "store") || g_strcmp0 (format, "images") != 0 ||
        g_strcmp0 (version, G_STRINGIFY (FORMAT_VERSION)) != 0)
      varve_xml_problem (xml, root, "This is not an images store of a version that is known.");
    if (store->impl.uuid == NULL || !g_uuid_string_is_valid (store->impl.uuid))
      varve_xml_problem (xml, root, "The attribute 'uuid' must be a uuid.");
  }
  if (xml->problems->len == 0)
    return true;
  problem = varve_xml_problem_format (g_ptr_array_index (xml->problems, 0), path);
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "%s", problem);
}

static bool
is_empty (const char *path, bool *out, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) dir = g_dir_open (path, 0, &local);
  const char *name;

  if (dir == NULL)
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE, "The store cannot be opened: %s",
                        local->message);
  do
    name = g_dir_read_name (dir);
  while (g_strcmp0 (name, LOST_AND_FOUND) == 0);
  *out = name == NULL;
  return true;
}

/* A store is made where nothing is: never among somebody's files. */
static bool
write_store (VarveImagesStore *store, const char *path, GError **error)
{
  g_autofree char *uuid = g_uuid_string_random ();
  g_autofree char *text =
      g_strdup_printf ("<store version='%d' format='images' uuid='%s'/>\n", FORMAT_VERSION, uuid);
  g_autoptr (GError) local = NULL;
  bool empty = false;

  if (!is_empty (store->root, &empty, error))
    return false;
  if (!empty)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The directory '%s' is not empty and is no varve store. Name an empty or a "
                        "new directory.",
                        store->root);
  if (!varve_durable_create (path, text, strlen (text), 0600, &local) &&
      !varve_error_matches (local, VARVE_ERROR_EXISTS)) {
    varve_classify (false, VARVE_ERROR_STORE_UNREACHABLE, &local);
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  return true;
}

/* Two first backups may make it at the same time: the second waits, and finds what the first has made. (Where the file
 * system knows no locks, the second may be refused.) */
static bool
make_store (VarveImagesStore *store, const char *path, GError **error)
{
  int fd;
  bool ok;

  if (!varve_classify (varve_make_directories (store->root, 0700, error),
                       VARVE_ERROR_STORE_UNREACHABLE, error))
    return false;
  fd = open (store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "The store '%s' cannot be opened", store->root);
  while (flock (fd, LOCK_EX) != 0 && errno == EINTR)
    ;
  ok = g_file_test (path, G_FILE_TEST_EXISTS) || write_store (store, path, error);
  close (fd);
  return ok;
}

static void
store_free (VarveStoreImpl *impl)
{
  g_free (((VarveImagesStore *)impl)->root);
}

/* --- names ------------------------------------------------------------------------------------ */

static char *
safe_name (const char *domain)
{
  char *safe = g_strdup (domain);

  g_strcanon (safe, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", '_');
  if (safe[0] == '.')
    safe[0] = '_';
  return safe;
}

/* A renamed domain keeps the directory in which its chain lies. */
static char *
find_by_uuid (VarveImagesStore *store, const char *suffix)
{
  g_autoptr (GDir) dir = g_dir_open (store->root, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir)))
    if (g_str_has_suffix (name, suffix))
      return g_build_filename (store->root, name, NULL);
  return NULL;
}

char *
varve_images_domain_directory (VarveImagesStore *store, const char *domain, const char *uuid)
{
  g_autofree char *safe = safe_name (domain);
  g_autofree char *suffix = g_strdup_printf ("-%.8s", uuid);
  g_autofree char *name = g_strconcat (safe, suffix, NULL);
  g_autofree char *path = g_build_filename (store->root, name, NULL);
  char *found;

  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    return g_steal_pointer (&path);
  found = find_by_uuid (store, suffix);
  return found ? found : g_steal_pointer (&path);
}

char *
varve_images_backup_directory (VarveImagesStore *store, const VarveManifest *manifest)
{
  g_autofree char *directory =
      varve_images_domain_directory (store, manifest->domain, manifest->uuid);

  return g_build_filename (directory, manifest->id, NULL);
}

static int
lock_directory (const char *directory, int how, const char *busy, GError **error)
{
  int fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno, "'%s' cannot be opened",
                       directory);
    return -1;
  }
  if (flock (fd, how | LOCK_NB) == 0)
    return fd;
  varve_throw_errno (error, errno == EWOULDBLOCK ? VARVE_ERROR_BUSY : VARVE_ERROR_STORE_UNREACHABLE,
                     errno, "'%s' %s", directory, busy);
  close (fd);
  return -1;
}

int
varve_images_lock (const char *directory, GError **error)
{
  return lock_directory (directory, LOCK_EX, "is being written or removed by another run", error);
}

/* --- listing ---------------------------------------------------------------------------------- */

static VarveManifest *
load_manifest (const char *directory, const char *id, GError **error)
{
  g_autofree char *path = g_build_filename (directory, id, MANIFEST_FILE, NULL);
  g_autofree char *data = NULL;
  g_autoptr (VarveManifest) manifest = NULL;
  size_t length;

  if (!varve_read_file (path, MANIFEST_BYTES, &data, &length, error))
    return NULL;
  manifest = varve_manifest_parse (data, length, path, error);
  if (manifest && !g_str_equal (manifest->id, id)) {
    varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "'%s' is the manifest of another backup, %s.",
                 path, manifest->id);
    return NULL;
  }
  return g_steal_pointer (&manifest);
}

static bool
list_domain (const char *directory, GPtrArray *manifests, GPtrArray *problems, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) dir = g_dir_open (directory, 0, &local);
  const char *name;

  if (dir == NULL)
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE,
                        "The backups of a domain cannot be listed: %s", local->message);
  while ((name = g_dir_read_name (dir))) {
    g_autoptr (GError) damage = NULL;
    VarveManifest *manifest;

    if (!varve_backup_id_is_valid (name))
      continue;
    manifest = load_manifest (directory, name, &damage);
    if (manifest)
      g_ptr_array_add (manifests, manifest);
    else if (problems)
      g_ptr_array_add (problems, g_strdup (damage->message));
  }
  return true;
}

static int
oldest_first (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(const VarveManifest *const *)a)->id, (*(const VarveManifest *const *)b)->id);
}

bool
varve_images_list (VarveStoreImpl *impl, GPtrArray **out_manifests, GPtrArray *problems,
                   GCancellable *cancellable, GError **error)
{
  VarveImagesStore *store = (VarveImagesStore *)impl;
  g_autoptr (GPtrArray) manifests =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_manifest_unref);
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) dir = g_dir_open (store->root, 0, &local);
  const char *name;

  if (dir == NULL)
    return varve_throw (error, VARVE_ERROR_STORE_UNREACHABLE, "The store cannot be listed: %s",
                        local->message);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (store->root, name, NULL);

    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    if (!g_str_equal (name, LOST_AND_FOUND) && g_file_test (path, G_FILE_TEST_IS_DIR) &&
        !list_domain (path, manifests, problems, error))
      return false;
  }
  g_ptr_array_sort (manifests, oldest_first);
  *out_manifests = g_steal_pointer (&manifests);
  return true;
}

/* --- keeping ---------------------------------------------------------------------------------- */

/* Renamed first, so that a removal that is cut short leaves nothing that looks like a backup. */
static bool
delete_directory (const char *path, GError **error)
{
  g_autofree char *deleted = g_strconcat (path, VARVE_IMAGES_DELETED, NULL);
  int hold = lock_directory (path, LOCK_EX, "is read by a guest that runs on it", error);
  bool ok;

  if (hold < 0)
    return false;
  ok = varve_rename_noreplace (path, deleted, error) && varve_remove_tree (deleted, error);
  close (hold);
  return ok;
}

static bool
delete_backup (VarveStoreImpl *impl, const VarveManifest *manifest, GCancellable *cancellable,
               GError **error)
{
  g_autofree char *path = varve_images_backup_directory ((VarveImagesStore *)impl, manifest);
  g_autofree char *parent = g_path_get_dirname (path);
  int lock = varve_images_lock (parent, error);
  bool ok;

  if (lock < 0)
    return false;
  ok = delete_directory (path, error);
  close (lock);
  return varve_classify (ok, VARVE_ERROR_STORE_UNREACHABLE, error);
}

static int
hold (VarveStoreImpl *impl, const VarveManifest *manifest, GError **error)
{
  g_autofree char *path = varve_images_backup_directory ((VarveImagesStore *)impl, manifest);

  return lock_directory (path, LOCK_SH, "is being removed", error);
}

static char *
backup_directory (VarveStoreImpl *impl, const VarveManifest *manifest)
{
  return varve_images_backup_directory ((VarveImagesStore *)impl, manifest);
}

static bool
read_file (VarveStoreImpl *impl, const VarveManifest *manifest, const char *name, GBytes **out,
           GError **error)
{
  g_autofree char *directory = varve_images_backup_directory ((VarveImagesStore *)impl, manifest);
  g_autofree char *path = g_build_filename (directory, name, NULL);
  g_autoptr (GError) local = NULL;
  char *data;
  size_t length;

  if (!varve_read_file (path, VARVE_STORE_FILE_MAX, &data, &length, &local))
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "Backup %s: %s", manifest->id,
                        local->message);
  *out = g_bytes_new_take (data, length);
  if (varve_manifest_check_file (manifest, name, *out, error))
    return true;
  g_clear_pointer (out, g_bytes_unref);
  return varve_prefix (error, "Backup %s", manifest->id);
}

/* Follows links: the nearest part of @path that exists, as it really is; NULL when there is none. (transfer full) */
static char *
nearest_part (const char *path)
{
  g_autofree char *part = g_strdup (path);
  char *real = realpath (part, NULL);

  while (real == NULL && strlen (part) > 1) {
    char *parent = g_path_get_dirname (part);

    g_free (part);
    part = parent;
    real = realpath (part, NULL);
  }
  return real;
}

char *
varve_images_store_around (const char *path)
{
  char *directory = nearest_part (path);

  while (directory != NULL && strlen (directory) > 1) {
    g_autofree char *file = g_build_filename (directory, STORE_FILE, NULL);
    char *parent;

    if (g_file_test (file, G_FILE_TEST_EXISTS))
      return directory;
    parent = g_path_get_dirname (directory);
    g_free (directory);
    directory = parent;
  }
  g_free (directory);
  return NULL;
}

static bool
contains (VarveStoreImpl *impl, const char *path)
{
  g_autofree char *root = realpath (((VarveImagesStore *)impl)->root, NULL);
  g_autofree char *real = nearest_part (path);
  size_t length;

  if (real == NULL || root == NULL)
    return false;
  length = strlen (root);
  return strncmp (real, root, length) == 0 && (real[length] == '/' || real[length] == '\0');
}

static const VarveStoreOps images_ops = {
  .name = "images",
  .size = sizeof (VarveImagesStore),
  .list = varve_images_list,
  .check_base = varve_images_check_base,
  .read = varve_images_read,
  .difference = varve_images_difference,
  .begin = varve_images_begin,
  .add_disk = varve_images_add_disk,
  .finish_disk = varve_images_finish_disk,
  .add_target = varve_images_add_target,
  .adopt_disk = varve_images_adopt_disk,
  .flatten_disk = varve_images_flatten_disk,
  .add_file = varve_images_add_file,
  .commit = varve_images_commit,
  .write_free = varve_images_write_free,
  .verify = varve_images_verify,
  .delete = delete_backup,
  .hold = hold,
  .read_file = read_file,
  .directory = backup_directory,
  .contains = contains,
  .free = store_free,
};

VarveStoreImpl *
varve_images_store_open (const char *directory, bool create, GError **error)
{
  VarveImagesStore *store = g_new0 (VarveImagesStore, 1);
  g_autoptr (VarveStoreImpl) impl = &store->impl;
  g_autofree char *path = NULL;
  g_autofree char *data = NULL;
  struct stat st;
  size_t length;

  impl->ops = &images_ops;
  store->root = g_canonicalize_filename (directory, NULL);
  impl->uri = g_strconcat ("images:", store->root, NULL);
  path = g_build_filename (store->root, STORE_FILE, NULL);
  if (stat (path, &st) < 0) {
    if (errno != ENOENT && errno != ENOTDIR) {
      varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                         "The store '%s' cannot be opened", store->root);
      return NULL;
    }
    if (!create) {
      varve_throw (error, VARVE_ERROR_NOT_FOUND,
                   "There is no varve store in '%s'. The first backup to it makes one.",
                   store->root);
      return NULL;
    }
    if (!make_store (store, path, error))
      return NULL;
  }
  if (!varve_classify (varve_read_file (path, MANIFEST_BYTES, &data, &length, error),
                       VARVE_ERROR_STORE_UNREACHABLE, error) ||
      !parse_store (store, data, length, path, error))
    return NULL;
  return g_steal_pointer (&impl);
}
