/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* All that is known of a domain's checkpoints, gathered under the domain's lock: from the hypervisor,
 * the session records, and the stores that were named or that the records name. */
#include "config.h"

#include "run/checkpoint.h"

#include <string.h>
#include <unistd.h>

#include "util/error.h"

/* As many checkpoints as a job can keep. */
#define KEPT_MAX 8

const char *
varve_checkpoints_label (const VarveCheckpointsDef *def)
{
  return def->owner ? def->owner : "varve";
}

/* --- stores ----------------------------------------------------------------------------------- */

static void
at_hand_free (gpointer data)
{
  VarveStoreAtHand *store = data;

  g_clear_pointer (&store->manifests, g_ptr_array_unref);
  g_clear_pointer (&store->impl, varve_store_impl_free);
  g_free (store);
}

static bool
is_at_hand (VarveCheckpointWork *work, const VarveStoreImpl *impl)
{
  for (guint i = 0; i < work->at_hand->len; i++) {
    const VarveStoreAtHand *store = g_ptr_array_index (work->at_hand, i);

    if (g_str_equal (store->impl->uuid, impl->uuid))
      return true;
  }
  return false;
}

static void
add_backups (VarveCheckFacts *facts, const VarveStoreAtHand *store)
{
  for (guint i = 0; i < store->manifests->len; i++) {
    const VarveManifest *manifest = g_ptr_array_index (store->manifests, i);
    VarveCheckBackup *backup = varve_check_backup_new (store->impl->uuid, manifest->id);

    backup->owner = g_strdup (manifest->owner);
    backup->checkpoint = g_strdup (manifest->checkpoint);
    backup->uuid = g_strdup (manifest->uuid);
    backup->domain = g_strdup (manifest->domain);
    for (guint j = 0; j < manifest->disks->len; j++) {
      const VarveManifestDisk *disk = g_ptr_array_index (manifest->disks, j);

      varve_check_backup_add_disk (backup, disk->name, disk->size, disk->checkpoint);
    }
    g_ptr_array_add (facts->backups, backup);
  }
}

static bool
add_store (VarveCheckpointWork *work, const char *name, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreImpl) impl = varve_store_impl_open (name, false, error);
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  VarveStoreAtHand *store;

  if (impl == NULL)
    return false;
  if (is_at_hand (work, impl))
    return true;
  store = g_new0 (VarveStoreAtHand, 1);
  g_ptr_array_add (work->at_hand, store);
  store->impl = g_steal_pointer (&impl);
  if (!store->impl->ops->list (store->impl, &store->manifests, problems, cancellable, error) ||
      !varve_run_find_bitmaps (work->domain, store->manifests, KEPT_MAX, work->facts.bitmaps,
                               cancellable, error))
    return false;
  g_ptr_array_add (work->facts.stores,
                   g_strdup_printf ("%.8s%s", store->impl->uuid, problems->len > 0 ? "!" : ""));
  for (guint i = 0; i < problems->len; i++)
    varve_event_emit (&work->def->events, &(VarveEvent){ .type = VARVE_EVENT_WARNING,
                                                         .action = "checkpoint",
                                                         .domain = work->domain->name,
                                                         .text = g_ptr_array_index (problems, i) });
  add_backups (&work->facts, store);
  return true;
}

/* A store that only a session names may be gone: then nothing is known of it, as of any other. */
static bool
add_stores (VarveCheckpointWork *work, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) ids = NULL;

  for (guint i = 0; i < work->def->stores->len; i++)
    if (!add_store (work, g_ptr_array_index (work->def->stores, i), cancellable, error))
      return false;
  ids = varve_record_list (work->state, error);
  for (guint i = 0; ids && i < ids->len; i++) {
    g_autoptr (VarveRecord) record =
        varve_record_load (work->state, g_ptr_array_index (ids, i), NULL);
    g_autoptr (GError) gone = NULL;

    if (record && record->store && g_ascii_strcasecmp (record->uuid, work->domain->uuid) == 0 &&
        !add_store (work, record->store, cancellable, &gone))
      g_debug ("The store of session %s is not at hand: %s", record->id, gone->message);
  }
  return ids != NULL;
}

static char *
check_base (const VarveCheckBackup *backup, const char *disk, gpointer data)
{
  VarveCheckpointWork *work = data;

  for (guint i = 0; i < work->at_hand->len; i++) {
    const VarveStoreAtHand *store = g_ptr_array_index (work->at_hand, i);
    g_autoptr (GError) error = NULL;
    const VarveManifest *manifest;
    size_t length;

    if (!g_str_has_prefix (store->impl->uuid, backup->store))
      continue;
    manifest = varve_manifests_find (store->manifests, backup->id);
    if (manifest == NULL ||
        store->impl->ops->check_base (store->impl, manifest, disk, NULL, &error))
      return NULL;
    length = strlen (error->message);
    return g_strndup (error->message, length - g_str_has_suffix (error->message, "."));
  }
  return NULL;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void
forget (VarveCheckpointWork *work)
{
  VarveCheckFacts *facts = &work->facts;

  g_clear_pointer (&facts->disks, g_ptr_array_unref);
  g_clear_pointer (&facts->bitmaps, g_ptr_array_unref);
  g_clear_pointer (&facts->records, g_ptr_array_unref);
  g_clear_pointer (&facts->sessions, g_ptr_array_unref);
  g_clear_pointer (&facts->stores, g_ptr_array_unref);
  g_clear_pointer (&facts->backups, g_ptr_array_unref);
  g_clear_pointer (&work->at_hand, g_ptr_array_unref);
}

bool
varve_checkpoint_work_look (VarveCheckpointWork *work, GCancellable *cancellable, GError **error)
{
  VarveCheckFacts *facts = &work->facts;
  VarveDomainState state;

  forget (work);
  work->at_hand = g_ptr_array_new_with_free_func (at_hand_free);
  facts->stores = g_ptr_array_new_with_free_func (g_free);
  facts->backups = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_check_backup_free);
  facts->uuid = work->domain->uuid;
  facts->owner = varve_checkpoints_label (work->def);
  facts->keeps_records = work->domain->ops->checkpoint_metadata != NULL;
  facts->check_base = check_base;
  facts->check_data = work;
  if (!varve_domain_state (work->domain, &state, cancellable, error) ||
      !varve_domain_inventory (work->domain, &facts->disks, cancellable, error) ||
      !varve_domain_bitmaps (work->domain, &facts->bitmaps, cancellable, error) ||
      !varve_domain_checkpoint_metadata (work->domain, &facts->records, cancellable, error) ||
      !add_stores (work, cancellable, error))
    return false;
  facts->off = state == VARVE_DOMAIN_OFF;
  facts->sessions = varve_checkpoint_sessions (work->state, work->domain, cancellable, error);
  return facts->sessions != NULL;
}

void
varve_checkpoint_work_clear (VarveCheckpointWork *work)
{
  forget (work);
  g_clear_pointer (&work->lock, varve_lock_free);
  g_clear_pointer (&work->domain, varve_domain_free);
  g_clear_pointer (&work->state, varve_state_dir_free);
}

bool
varve_checkpoint_work_open (VarveCheckpointWork *work, const VarveCheckpointsDef *def,
                            const char *what, bool recover, GCancellable *cancellable,
                            GError **error)
{
  VarveDomainAddress address = { def->uri,   def->domain, def->uuid, def->images,
                                 def->qdevs, NULL,        false };
  g_autofree char *holder = g_strdup_printf ("checkpoint %s, pid %d", what, (int)getpid ());

  *work = (VarveCheckpointWork){ .def = def };
  work->state = varve_state_dir_open (def->state_directory, error);
  if (work->state == NULL)
    return false;
  work->domain = varve_run_open_domain (work->state, &address, def->wait, cancellable, error);
  if (work->domain == NULL)
    return false;
  work->lock = varve_run_lock_domain (work->state, work->domain->name, work->domain->uuid, holder,
                                      def->wait, cancellable, error);
  return work->lock && (!recover || varve_run_recover_domain (work->state, work->domain,
                                                              &def->events, cancellable, error));
}

char *
varve_checkpoint_description (const char *name)
{
  g_auto (VarveCheckpointName) parts = { NULL };

  if (!varve_checkpoint_name_parse (name, &parts))
    return NULL;
  return varve_checkpoint_owner_has_store (parts.owner)
             ? g_strdup_printf ("varve: changed since backup %s of %s", parts.backup, parts.owner)
             : g_strdup_printf ("varve: changed since %s, kept by %s", parts.backup, parts.owner);
}
