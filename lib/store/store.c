/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/store.h"

#include <string.h>

#include "store/backup.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/event.h"
#include "util/program.h"

#define IMAGES "images:"

/* --- the inside ------------------------------------------------------------------------------- */

VarveStoreImpl *
varve_store_impl_open (const char *store, bool create, GError **error)
{
  if (g_str_has_prefix (store, IMAGES) && store[strlen (IMAGES)] != '\0')
    return varve_images_store_open (store + strlen (IMAGES), create, error);
  varve_throw (error, VARVE_ERROR_USAGE,
               "'%s' names no store. A store is written images:DIRECTORY.", store);
  return NULL;
}

void
varve_store_impl_free (VarveStoreImpl *impl)
{
  if (impl == NULL)
    return;
  impl->ops->free (impl);
  g_free (impl->uri);
  g_free (impl->uuid);
  g_free (impl);
}

void
varve_store_target_clear (VarveStoreTarget *target)
{
  g_clear_pointer (&target->path, g_free);
  g_clear_pointer (&target->root, g_free);
}

void
varve_store_read_free (VarveStoreRead *read)
{
  if (read == NULL)
    return;
  read->release (read->data);
  g_free (read);
}

void
varve_store_write_free (VarveStoreWrite *write)
{
  if (write == NULL)
    return;
  write->store->ops->write_free (write);
  g_free (write->backup);
  g_free (write);
}

VarveManifest *
varve_manifests_find (GPtrArray *manifests, const char *id)
{
  for (guint i = 0; i < manifests->len; i++) {
    VarveManifest *manifest = g_ptr_array_index (manifests, i);

    if (g_str_equal (manifest->id, id))
      return manifest;
  }
  return NULL;
}

/* --- the object ------------------------------------------------------------------------------- */

struct _VarveStore {
  GObject parent;
  VarveStoreImpl *impl; /* NULL: made by g_object_new(), as other languages may */
};

G_DEFINE_FINAL_TYPE (VarveStore, varve_store, G_TYPE_OBJECT)

static void
varve_store_finalize (GObject *object)
{
  g_clear_pointer (&VARVE_STORE (object)->impl, varve_store_impl_free);
  G_OBJECT_CLASS (varve_store_parent_class)->finalize (object);
}

static void
varve_store_class_init (VarveStoreClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_store_finalize;
}

static void
varve_store_init (VarveStore *store)
{
}

VarveStore *
varve_store_open (const char *store, GError **error)
{
  VarveStoreImpl *impl;
  VarveStore *object;

  g_return_val_if_fail (store != NULL, NULL);
  impl = varve_store_impl_open (store, false, error);
  if (impl == NULL)
    return NULL;
  object = g_object_new (VARVE_TYPE_STORE, NULL);
  object->impl = impl;
  return object;
}

bool
varve_store_impl_keeps (const VarveStoreImpl *impl)
{
  return impl->uri != NULL;
}

VarveStoreImpl *
varve_store_get_impl (VarveStore *store)
{
  return store->impl;
}

const char *
varve_store_get_uuid (VarveStore *store)
{
  g_return_val_if_fail (VARVE_IS_STORE (store), NULL);
  return store->impl ? store->impl->uuid : NULL;
}

/* What a store has, as it is now. */
static bool
list (VarveStore *store, GPtrArray **out_manifests, GPtrArray *problems, GCancellable *cancellable,
      GError **error)
{
  if (store->impl == NULL)
    return varve_throw (error, VARVE_ERROR_USAGE, "This store was not opened: varve_store_open().");
  return store->impl->ops->list (store->impl, out_manifests, problems, cancellable, error);
}

static const VarveManifest *
find_id (VarveStore *store, GPtrArray *manifests, const char *id, GError **error)
{
  const VarveManifest *found = id ? varve_manifests_find (manifests, id) : NULL;

  if (found == NULL)
    varve_throw (error, VARVE_ERROR_NOT_FOUND,
                 "The store '%s' has no backup '%s'. 'varve list --from %s' shows what it has.",
                 store->impl->uri, id ? id : "", store->impl->uri);
  return found;
}

static bool
is_of_domain (const VarveManifest *manifest, const char *domain)
{
  return domain == NULL || g_str_equal (manifest->domain, domain) ||
         g_ascii_strcasecmp (manifest->uuid, domain) == 0;
}

GPtrArray *
varve_store_list (VarveStore *store, const char *domain, GPtrArray **out_problems,
                  GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) backups = g_ptr_array_new_with_free_func (g_object_unref);

  g_return_val_if_fail (VARVE_IS_STORE (store), NULL);
  if (!list (store, &manifests, problems, cancellable, error))
    return NULL;
  for (guint i = 0; i < manifests->len; i++) {
    VarveManifest *manifest = g_ptr_array_index (manifests, i);

    if (is_of_domain (manifest, domain))
      g_ptr_array_add (backups, varve_backup_from_manifest (manifest, store->impl));
  }
  if (out_problems)
    *out_problems = g_steal_pointer (&problems);
  return g_steal_pointer (&backups);
}

/* --- find ------------------------------------------------------------------------------------- */

/* The newest backup of a domain that is not later than @limit; -1: the newest. */
static const VarveManifest *
newest (GPtrArray *manifests, const char *domain, int64_t limit)
{
  for (guint i = manifests->len; i > 0; i--) {
    const VarveManifest *manifest = g_ptr_array_index (manifests, i - 1);

    if (is_of_domain (manifest, domain) &&
        (limit < 0 || varve_backup_id_time (manifest->id) <= limit))
      return manifest;
  }
  return NULL;
}

static const VarveManifest *
find_by_time (VarveStoreImpl *impl, GPtrArray *manifests, const char *backup, const char *at,
              GError **error)
{
  g_autofree char *domain = g_strndup (backup, (size_t)(at - backup));
  bool latest = g_str_equal (at + 1, "latest");
  int64_t limit = latest ? -1 : varve_parse_time (at + 1);
  const VarveManifest *found, *first = NULL;

  if (!latest && limit < 0) {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "'%s' is no time. Write DOMAIN@latest, DOMAIN@2026-01-31 or "
                 "DOMAIN@2026-01-31T23:59:59Z.",
                 at + 1);
    return NULL;
  }
  found = newest (manifests, domain, limit);
  if (found)
    return found;
  for (guint i = 0; first == NULL && i < manifests->len; i++)
    if (is_of_domain (g_ptr_array_index (manifests, i), domain))
      first = g_ptr_array_index (manifests, i);
  if (first == NULL)
    varve_throw (error, VARVE_ERROR_NOT_FOUND, "The store '%s' has no backup of domain '%s'.",
                 impl->uri, domain);
  else
    varve_throw (error, VARVE_ERROR_NOT_FOUND,
                 "The store '%s' has no backup of domain '%s' that old: the oldest is %s.",
                 impl->uri, domain, first->id);
  return NULL;
}

VarveBackup *
varve_store_find (VarveStore *store, const char *backup, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) manifests = NULL;
  const VarveManifest *found;
  const char *at;

  g_return_val_if_fail (VARVE_IS_STORE (store) && backup != NULL, NULL);
  if (!list (store, &manifests, NULL, cancellable, error))
    return NULL;
  at = strrchr (backup, '@');
  if (at != NULL)
    found = find_by_time (store->impl, manifests, backup, at, error);
  else
    found = find_id (store, manifests, backup, error);
  return found ? varve_backup_from_manifest ((VarveManifest *)found, store->impl) : NULL;
}

/* --- verify ----------------------------------------------------------------------------------- */

typedef struct {
  VarveEventSink events;
  const VarveManifest *manifest;
  const char *disk;
} Verify;

static void
emit (Verify *verify, VarveEvent event)
{
  event.action = "verify";
  event.domain = verify->manifest->domain;
  event.backup = verify->manifest->id;
  event.disk = verify->disk;
  varve_event_emit (&verify->events, &event);
}

static bool
verify_tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  emit (data, (VarveEvent){ .type = VARVE_EVENT_PROGRESS, .done = done, .total = total });
  return true;
}

/* Only those that the manifest has sums of. */
static bool
verify_files (VarveStoreImpl *impl, const VarveManifest *manifest, GPtrArray *problems,
              GError **error)
{
  for (guint i = 0; i < manifest->files->len; i++) {
    const VarveManifestFile *file = g_ptr_array_index (manifest->files, i);
    g_autoptr (GBytes) data = NULL;
    g_autoptr (GError) local = NULL;

    if (impl->ops->read_file (impl, manifest, file->name, &data, &local))
      continue;
    if (!varve_error_matches (local, VARVE_ERROR_STORE_DAMAGED)) {
      g_propagate_error (error, g_steal_pointer (&local));
      return false;
    }
    g_ptr_array_add (problems, g_strdup (local->message));
  }
  return true;
}

static bool
verify_backup (VarveStoreImpl *impl, Verify *verify, GPtrArray *problems, GCancellable *cancellable,
               GError **error)
{
  for (guint i = 0; i < verify->manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (verify->manifest->disks, i);

    verify->disk = disk->name;
    if (!impl->ops->verify (impl, verify->manifest, disk->name, verify_tick, verify, problems,
                            cancellable, error))
      return false;
    emit (verify, (VarveEvent){ .type = VARVE_EVENT_DISK_DONE, .stored = disk->stored });
  }
  return verify_files (impl, verify->manifest, problems, error);
}

/* @manifest and all that it builds on, each once. */
static void
add_chain (GPtrArray *chain, GPtrArray *manifests, const VarveManifest *manifest)
{
  if (g_ptr_array_find (chain, manifest, NULL))
    return;
  g_ptr_array_add (chain, (gpointer)manifest);
  for (guint i = 0; i < manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);
    const VarveManifest *base = disk->base ? varve_manifests_find (manifests, disk->base) : NULL;

    if (base)
      add_chain (chain, manifests, base);
  }
}

gboolean
varve_store_verify (VarveStore *store, VarveBackup *backup, VarveEventFunc func, gpointer user_data,
                    GPtrArray **out_problems, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (GPtrArray) chain = g_ptr_array_new ();
  const VarveManifest *one = NULL;

  g_return_val_if_fail (VARVE_IS_STORE (store) && out_problems != NULL, FALSE);
  if (!list (store, &manifests, backup ? NULL : problems, cancellable, error))
    return FALSE;
  if (backup) {
    one = find_id (store, manifests, varve_backup_get_id (backup), error);
    if (one == NULL)
      return FALSE;
    add_chain (chain, manifests, one);
  }
  for (guint i = 0; backup == NULL && i < manifests->len; i++)
    g_ptr_array_add (chain, g_ptr_array_index (manifests, i));
  for (guint i = 0; i < chain->len; i++) {
    Verify verify = { { func, user_data, NULL }, g_ptr_array_index (chain, i), NULL };

    if (!verify_backup (store->impl, &verify, problems, cancellable, error))
      return FALSE;
  }
  *out_problems = g_steal_pointer (&problems);
  return TRUE;
}

/* --- delete ----------------------------------------------------------------------------------- */

static bool
builds_on (const VarveManifest *manifest, GPtrArray *ids)
{
  for (guint i = 0; i < manifest->disks->len; i++) {
    const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, i);

    if (disk->base && g_ptr_array_find_with_equal_func (ids, disk->base, g_str_equal, NULL))
      return true;
  }
  return false;
}

/* @id and what builds on it, directly or not, each behind what it builds on. Not by age: a clock can be set
 * back. */
static GPtrArray *
dependents (GPtrArray *manifests, const char *id)
{
  g_autoptr (GPtrArray) ids = g_ptr_array_new_with_free_func (g_free);
  guint before;

  g_ptr_array_add (ids, g_strdup (id));
  do {
    before = ids->len;
    for (guint i = 0; i < manifests->len; i++) {
      const VarveManifest *manifest = g_ptr_array_index (manifests, i);

      if (builds_on (manifest, ids) &&
          !g_ptr_array_find_with_equal_func (ids, manifest->id, g_str_equal, NULL))
        g_ptr_array_add (ids, g_strdup (manifest->id));
    }
  } while (ids->len > before);
  return g_steal_pointer (&ids);
}

static bool
refuse_dependents (GPtrArray *ids, GError **error)
{
  g_autoptr (GString) names = g_string_new (NULL);

  if (ids->len == 1)
    return true;
  for (guint i = 1; i < ids->len; i++)
    g_string_append_printf (names, "%s%s", i > 1 ? ", " : "", (char *)g_ptr_array_index (ids, i));
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "Backup %s cannot be deleted alone, as others build on it: %s. Delete them "
                      "first, or use --with-dependents.",
                      (char *)g_ptr_array_index (ids, 0), names->str);
}

static bool
may_all_go (GPtrArray *ids, VarveStoreMayGo may_go, gpointer data, GError **error)
{
  for (guint i = 0; i < ids->len; i++)
    if (!may_go (g_ptr_array_index (ids, i), data, error))
      return false;
  return true;
}

bool
varve_store_remove (VarveStore *store, VarveBackup *backup, bool with_dependents,
                    VarveStoreMayGo may_go, gpointer data, GPtrArray **out_deleted,
                    GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (GPtrArray) ids = NULL;
  g_autoptr (GPtrArray) deleted = g_ptr_array_new_with_free_func (g_free);
  const VarveManifest *first;

  if (!list (store, &manifests, NULL, cancellable, error))
    return false;
  first = find_id (store, manifests, varve_backup_get_id (backup), error);
  if (first == NULL)
    return false;
  ids = dependents (manifests, first->id);
  if ((!with_dependents && !refuse_dependents (ids, error)) ||
      !may_all_go (ids, may_go, data, error))
    return false;
  /* From the last: at no time does a backup stand on one that is gone. */
  for (guint i = ids->len; i > 0; i--) {
    const char *id = g_ptr_array_index (ids, i - 1);
    const VarveManifest *manifest = varve_manifests_find (manifests, id);

    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    if (!store->impl->ops->delete (store->impl, manifest, cancellable, error))
      return varve_prefix (error, "Backup %s could not be deleted", id);
    g_ptr_array_add (deleted, g_strdup (id));
  }
  if (out_deleted)
    *out_deleted = g_steal_pointer (&deleted);
  return true;
}

char *
varve_nbdkit_plugin (void)
{
  return varve_nbdkit_plugin_path ();
}
