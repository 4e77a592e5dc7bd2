/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* nbdkit-varve-plugin.so store=STORE backup=BACKUP [disk=NAME]
 *
 * One backup, read-only, for nbdkit to serve: an export for each of its disks, by its name. What is read comes straight
 * from the store, as for a restore. All disks are opened at the start and stay open, so that there is one set of caches of
 * each, whatever the number of connections; that what is wrong is told to whoever starts it; and that it matters neither
 * that nbdkit gives up its privileges (--user) or its directory, nor that the backup is deleted meanwhile.
 *
 * nbdkit knows one plugin a process, and gives most of its calls no data: so what they share is in one variable here, and
 * nowhere else. It is complete before there are any connections, and constant from then on: there is no lock. */
#include "config.h"

#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <nbdkit-plugin.h>

#include "store/store.h"
#include "util/error.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* What one look at the map is about, so that a client who wants one extent does not pay for the map of 4 GiB. */
#define MAP_WINDOW (UINT64_C (64) << 20)

/* Read at once where a client wants data fetched ahead. */
#define CACHE_STEP (UINT64_C (1) << 20)

/* The handle of every connection that reads it. */
typedef struct {
  const char *disk; /* its name, of the backup's */
  char *description;
  VarveStoreRead *read; /* NULL before it is opened */
} Export;

typedef struct {
  const char *store_name, *backup_name, *disk_name; /* nbdkit's; the last may be NULL: all */
  VarveStore *store;
  VarveBackup *backup;
  GPtrArray *exports; /* of Export */
  bool hold;          /* nobody may delete it meanwhile: */
  int held;           /* VarveStoreOps.hold, if so */
} Served;

static Served served;

static int
fail (const GError *error)
{
  nbdkit_error ("%s", error->message);
  nbdkit_set_error (EIO);
  return -1;
}

/* --- what to serve ---------------------------------------------------------------------------- */

static int
set_name (const char **name, const char *key, const char *value)
{
  if (*name != NULL) {
    nbdkit_error ("%s= is given twice", key);
    return -1;
  }
  *name = value;
  return 0;
}

static int
set_hold (const char *value)
{
  int hold = nbdkit_parse_bool (value);

  served.hold = hold > 0;
  return hold < 0 ? -1 : 0;
}

static int
plugin_config (const char *key, const char *value)
{
  if (g_str_equal (key, "store"))
    return set_name (&served.store_name, key, value);
  if (g_str_equal (key, "backup"))
    return set_name (&served.backup_name, key, value);
  if (g_str_equal (key, "disk"))
    return set_name (&served.disk_name, key, value);
  if (g_str_equal (key, "hold"))
    return set_hold (value);
  nbdkit_error ("unknown parameter '%s': there are store, backup, disk and hold", key);
  return -1;
}

static int
plugin_config_complete (void)
{
  if (served.store_name != NULL && served.backup_name != NULL)
    return 0;
  nbdkit_error ("say which backup of which store: store=images:DIR backup=BACKUP");
  return -1;
}

static void
export_free (gpointer data)
{
  Export *export = data;

  g_clear_pointer (&export->read, varve_store_read_free);
  g_free (export->description);
  g_free (export);
}

static void
add_export (const VarveManifest *manifest, const char *disk)
{
  Export *export = g_new0 (Export, 1);
  g_autoptr (GDateTime) started = g_date_time_new_from_unix_utc (manifest->started);
  g_autofree char *when = started ? g_date_time_format_iso8601 (started) : g_strdup ("?");

  export->disk = disk;
  export->description = g_strdup_printf ("%s of %s at %s", disk, manifest->domain, when);
  g_ptr_array_add (served.exports, export);
}

static bool
hold_backup (const VarveManifest *manifest, GError **error)
{
  VarveStoreImpl *store = varve_store_get_impl (served.store);

  served.held = store->ops->hold (store, manifest, error);
  return served.held >= 0;
}

static bool
find_backup (GError **error)
{
  const VarveManifest *manifest;

  served.store = varve_store_open (served.store_name, error);
  if (served.store == NULL)
    return false;
  served.backup = varve_store_find (served.store, served.backup_name, NULL, error);
  if (served.backup == NULL)
    return false;
  manifest = varve_backup_manifest (served.backup);
  if (served.hold && !hold_backup (manifest, error))
    return false;
  served.exports = g_ptr_array_new_with_free_func (export_free);
  for (guint i = 0; i < manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);

    if (served.disk_name == NULL || g_str_equal (served.disk_name, disk->name))
      add_export (manifest, disk->name);
  }
  if (served.disk_name == NULL || served.exports->len > 0)
    return true;
  return varve_throw (error, VARVE_ERROR_NOT_FOUND, "Backup %s has no disk '%s'.", manifest->id,
                      served.disk_name);
}

/* Those that are not open yet. */
static bool
open_exports (GError **error)
{
  VarveStoreImpl *store = varve_store_get_impl (served.store);
  const VarveManifest *manifest = varve_backup_manifest (served.backup);

  for (guint i = 0; i < served.exports->len; i++) {
    Export *export = g_ptr_array_index (served.exports, i);

    if (export->read == NULL &&
        !store->ops->read (store, manifest, export->disk, &export->read, NULL, error))
      return varve_prefix (error, "Disk '%s' of backup %s", export->disk, manifest->id);
  }
  return true;
}

/* Before nbdkit forks, so that whoever starts it sees what is wrong. What would not survive that is let go again. */
static int
plugin_get_ready (void)
{
  g_autoptr (GError) error = NULL;

  if (!find_backup (&error) || !open_exports (&error))
    return fail (error);
  for (guint i = 0; i < served.exports->len; i++) {
    Export *export = g_ptr_array_index (served.exports, i);

    if (export->read->has_helper)
      g_clear_pointer (&export->read, varve_store_read_free);
  }
  return 0;
}

/* In nbdkit's main thread, which lives as long as the helpers of a read are to. */
static int
plugin_after_fork (void)
{
  g_autoptr (GError) error = NULL;

  return open_exports (&error) ? 0 : fail (error);
}

static void
plugin_unload (void)
{
  g_clear_pointer (&served.exports, g_ptr_array_unref);
  g_clear_object (&served.backup);
  g_clear_object (&served.store);
}

/* --- exports ---------------------------------------------------------------------------------- */

static int
plugin_list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  for (guint i = 0; i < served.exports->len; i++) {
    const Export *export = g_ptr_array_index (served.exports, i);

    if (nbdkit_add_export (exports, export->disk, export->description) < 0)
      return -1;
  }
  return 0;
}

/* Who names no export gets the only disk. */
static const char *
plugin_default_export (int readonly, int is_tls)
{
  if (served.exports->len != 1)
    return NULL;
  return ((const Export *)g_ptr_array_index (served.exports, 0))->disk;
}

static void *
plugin_open (int readonly)
{
  const char *name = nbdkit_export_name ();

  if (name == NULL)
    return NULL;
  for (guint i = 0; i < served.exports->len; i++) {
    Export *export = g_ptr_array_index (served.exports, i);

    if (g_str_equal (export->disk, name))
      return export;
  }
  nbdkit_error ("backup %s has no export '%s': name one of its disks",
                varve_backup_get_id (served.backup), name);
  nbdkit_set_error (ENOENT);
  return NULL;
}

static BlockSource *
source_of (void *handle)
{
  return ((const Export *)handle)->read->source;
}

static int64_t
plugin_get_size (void *handle)
{
  return (int64_t)source_of (handle)->size;
}

static const char *
plugin_export_description (void *handle)
{
  return ((const Export *)handle)->description;
}

/* All connections read the same, which never changes. */
static int
plugin_can_multi_conn (void *handle)
{
  return 1;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int
plugin_pread (void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
  g_autoptr (GError) error = NULL;

  return block_source_read (source_of (handle), offset, buffer, count, &error) ? 0 : fail (error);
}

/* What was read once is in the host's page cache. A hint: what cannot be read is told to who reads it. */
static int
plugin_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  g_autofree char *buffer = g_malloc (CACHE_STEP);
  uint64_t end = offset + count;

  for (uint64_t length; offset < end; offset += length) {
    length = MIN (CACHE_STEP, end - offset);
    if (!block_source_read (source_of (handle), offset, buffer, length, NULL))
      break;
  }
  return 0;
}

static int
add_extents (const VarveExtents *map, struct nbdkit_extents *extents)
{
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    uint32_t type =
        extent->state == VARVE_EXTENT_ZERO ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;

    if (nbdkit_add_extent (extents, extent->offset, extent->length, type) < 0)
      return -1;
  }
  return 0;
}

static int
plugin_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                struct nbdkit_extents *extents)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autoptr (GError) error = NULL;
  uint64_t end = offset + count;

  /* The list joins what is alike, so that one extent in it means that the first has not ended yet. */
  while (offset < end && (varve_extents_count (map) < 2 || !(flags & NBDKIT_FLAG_REQ_ONE))) {
    uint64_t length = MIN (MAP_WINDOW, end - offset);

    if (!block_source_extents (source_of (handle), offset, length, map, &error))
      return fail (error);
    offset += length;
  }
  return add_extents (map, extents);
}

static struct nbdkit_plugin plugin = {
  .name = "varve",
  .longname = "varve backups",
  .version = VARVE_VERSION,
  .description = "One backup of a store of varve, read-only, with an export for each disk.",
  .config = plugin_config,
  .config_complete = plugin_config_complete,
  .config_help = "store=STORE    (required) The store, as for varve: images:DIR.\n"
                 "backup=BACKUP  (required) The backup: its id, or DOMAIN@latest, or DOMAIN@TIME.\n"
                 "disk=NAME      Only this disk.",
  .get_ready = plugin_get_ready,
  .after_fork = plugin_after_fork,
  .unload = plugin_unload,
  .list_exports = plugin_list_exports,
  .default_export = plugin_default_export,
  .open = plugin_open,
  .get_size = plugin_get_size,
  .export_description = plugin_export_description,
  .can_multi_conn = plugin_can_multi_conn,
  .pread = plugin_pread,
  .cache = plugin_cache,
  .extents = plugin_extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
