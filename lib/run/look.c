/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/look.h"

#include <string.h>

#include "checkpoint/name.h"
#include "run/source.h"
#include "session/session.h"
#include "store/targets/targets.h"

void
varve_look_clear (VarveLook *look)
{
  g_clear_pointer (&look->manifests, g_ptr_array_unref);
  g_clear_pointer (&look->problems, g_ptr_array_unref);
  g_clear_pointer (&look->bitmaps, g_ptr_array_unref);
  g_clear_pointer (&look->disks, g_ptr_array_unref);
  g_clear_pointer (&look->owner, g_free);
  g_clear_pointer (&look->lock, varve_lock_free);
  g_clear_pointer (&look->domain, varve_domain_free);
  g_clear_pointer (&look->store, varve_store_impl_free);
}

static bool
list_store (const VarveEventSink *events, const char *action, VarveLook *look,
            GCancellable *cancellable, GError **error)
{
  look->problems = g_ptr_array_new_with_free_func (g_free);
  if (!look->store->ops->list (look->store, &look->manifests, look->problems, cancellable, error))
    return false;
  for (guint i = 0; i < look->problems->len; i++) {
    VarveEvent event = { .type = VARVE_EVENT_WARNING,
                         .action = action,
                         .domain = look->domain->name,
                         .text = g_ptr_array_index (look->problems, i) };

    varve_event_emit (events, &event);
  }
  return true;
}

bool
varve_look_again (const VarveEventSink *events, const char *action, unsigned keep, VarveLook *look,
                  GCancellable *cancellable, GError **error)
{
  return varve_domain_state (look->domain, &look->state, cancellable, error) &&
         varve_domain_inventory (look->domain, &look->disks, cancellable, error) &&
         varve_domain_bitmaps (look->domain, &look->bitmaps, cancellable, error) &&
         list_store (events, action, look, cancellable, error) &&
         varve_run_find_bitmaps (look->domain, look->manifests, keep, look->bitmaps, cancellable,
                                 error);
}

static VarveStoreImpl *
open_targets (const VarveBackupDef *def)
{
  VarveStoreImpl *targets = varve_targets_new (def->force);

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (disk->target)
      varve_targets_add (targets, disk->name, disk->target, disk->target_format);
  }
  return targets;
}

static bool
open_store (const VarveBackupDef *def, const char *job, bool create, VarveLook *out, GError **error)
{
  const char *label = def->owner ? def->owner : job;

  out->store = def->store ? varve_store_impl_open (def->store, create, error) : open_targets (def);
  if (out->store == NULL)
    return false;
  out->owner = def->store ? varve_checkpoint_owner (label, out->store->uuid)
                          : varve_checkpoint_owner_without_store (label);
  return true;
}

/* The checkpoint that a backup to targets names may be one that libvirt has forgotten. */
static bool
find_named (const VarveBackupDef *def, VarveLook *look, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  if (def->store || g_str_equal (def->incremental, "auto") ||
      g_str_equal (def->incremental, "never"))
    return true;
  g_ptr_array_add (names, def->incremental);
  return varve_domain_find_bitmaps (look->domain, names, look->bitmaps, cancellable, error);
}

bool
varve_look (const VarveRunContext *context, const VarveBackupDef *def,
            const VarveLookOptions *options, VarveLook *out, GCancellable *cancellable,
            GError **error)
{
  /* The domain first: a store is not made for one that is not there. */
  out->domain = varve_run_open_source (context, def, cancellable, error);
  if (out->domain == NULL)
    return false;
  if (!open_store (def, context->job, options->create, out, error))
    return false;
  out->lock = varve_run_lock_domain (context->state, out->domain->name, out->domain->uuid,
                                     options->holder, def->wait, cancellable, error);
  return out->lock &&
         (!options->recover || varve_run_recover_domain (context->state, out->domain,
                                                         context->events, cancellable, error)) &&
         (!options->left ||
          varve_session_take_down (out->domain, options->left, cancellable, error)) &&
         varve_look_again (context->events, options->action, def->keep, out, cancellable, error) &&
         find_named (def, out, cancellable, error);
}

/* --- plan ------------------------------------------------------------------------------------- */

static char *
check_base (const VarveManifest *manifest, const char *disk, gpointer data)
{
  VarveStoreImpl *store = data;
  g_autoptr (GError) error = NULL;
  size_t length;

  if (store->ops->check_base (store, manifest, disk, NULL, &error))
    return NULL;
  length = strlen (error->message);
  return g_strndup (error->message, g_str_has_suffix (error->message, ".") ? length - 1 : length);
}

GPtrArray *
varve_look_plan (const VarveLook *look, const VarveLookPlan *wanted, GError **error)
{
  VarvePlanInput input = {
    .uuid = look->domain->uuid,
    .owner = look->owner,
    .incremental = wanted->incremental,
    .disks = look->disks,
    .bitmaps = look->bitmaps,
    .manifests = varve_store_impl_keeps (look->store) ? look->manifests : NULL,
    .include = wanted->include,
    .exclude = wanted->exclude,
    .max_chain = wanted->max_chain,
    .push = wanted->push,
    .check_base = check_base,
    .check_data = look->store,
  };

  return varve_plan (&input, error);
}
