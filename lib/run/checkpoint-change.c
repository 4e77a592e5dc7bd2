/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The verbs that change checkpoints: create, delete, redefine; merge has a file of its own. Each first
 * ends what sessions have left that nobody is at, as every run does; so none of them meets half a
 * backup. */
#include "config.h"

#include "run/checkpoint.h"

#include <string.h>

#include "util/clock.h"
#include "util/error.h"

/* --- whose ------------------------------------------------------------------------------------ */

bool
varve_checkpoint_is_there (const VarveCheckFacts *facts, const char *name)
{
  for (guint i = 0; i < facts->bitmaps->len; i++)
    if (g_str_equal (((VarveBitmap *)g_ptr_array_index (facts->bitmaps, i))->name, name))
      return true;
  return varve_checkpoint_metadata_find (facts->records, name) != NULL;
}

bool
varve_checkpoint_check_own (const VarveCheckFacts *facts, const char *checkpoint, GError **error)
{
  g_auto (VarveCheckpointName) name = { NULL };
  const VarveCheckSession *session;

  if (!varve_checkpoint_name_parse (checkpoint, &name))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "'%s' is not a checkpoint of varve: leave it to the program that made it.",
                        checkpoint);
  if (!varve_checkpoint_owner_matches (name.owner, facts->owner))
    return varve_throw (
        error, VARVE_ERROR_REFUSED,
        "Checkpoint '%s' belongs to owner '%s', and you act for '%s'. If it is yours, "
        "say so with --owner %s.",
        checkpoint, name.owner, facts->owner, name.owner);
  session = varve_check_session_of (facts, checkpoint);
  return session == NULL || !session->live ||
         varve_throw (error, VARVE_ERROR_BUSY, "Session %s is at work with checkpoint '%s'.",
                      session->id, checkpoint);
}

char *
varve_checkpoint_resolve (const VarveCheckFacts *facts, const char *text, GError **error)
{
  const char *found = NULL;

  if (varve_checkpoint_is_there (facts, text))
    return g_strdup (text);
  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (!varve_checkpoint_name_parse (bitmap->name, &name) || !g_str_equal (name.backup, text) ||
        !varve_checkpoint_owner_matches (name.owner, facts->owner))
      continue;
    if (found && !g_str_equal (found, bitmap->name)) {
      varve_throw (error, VARVE_ERROR_USAGE,
                   "There are several checkpoints of backup %s: '%s', '%s'. Name one of them.",
                   text, found, bitmap->name);
      return NULL;
    }
    found = bitmap->name;
  }
  if (found == NULL)
    varve_throw (error, VARVE_ERROR_NOT_FOUND,
                 "The domain has no checkpoint '%s'. 'varve checkpoint list' shows what it has.",
                 text);
  return g_strdup (found);
}

/* --- create ----------------------------------------------------------------------------------- */

/* Why @disk can have no bitmap; NULL: it can. */
static const char *
why_no_bitmap (const VarveDisk *disk)
{
  if (!disk->can_back_up)
    return disk->why_not ? disk->why_not : "it cannot be backed up";
  if (!disk->can_persist && !disk->transient_ok)
    return disk->why_not_persist ? disk->why_not_persist : "it cannot store a bitmap";
  return NULL;
}

static GPtrArray *
all_disks (const VarveCheckFacts *facts, GError **error)
{
  g_autoptr (GPtrArray) chosen = g_ptr_array_new ();

  for (guint i = 0; i < facts->disks->len; i++) {
    const VarveDisk *disk = g_ptr_array_index (facts->disks, i);

    if (why_no_bitmap (disk) == NULL)
      g_ptr_array_add (chosen, disk->name);
  }
  if (chosen->len > 0)
    return g_steal_pointer (&chosen);
  varve_throw (error, VARVE_ERROR_REFUSED, "None of the domain's disks can have a bitmap%s%s.",
               facts->disks->len ? ": " : "",
               facts->disks->len ? why_no_bitmap (g_ptr_array_index (facts->disks, 0)) : "");
  return NULL;
}

static GPtrArray *
named_disks (const VarveCheckFacts *facts, const char *const *names, GError **error)
{
  g_autoptr (GPtrArray) chosen = g_ptr_array_new ();

  for (; *names; names++) {
    const VarveDisk *disk = varve_disk_find (facts->disks, *names);
    const char *why = disk ? why_no_bitmap (disk) : NULL;

    if (disk == NULL) {
      varve_throw (error, VARVE_ERROR_NOT_FOUND, "The domain has no disk '%s'.", *names);
      return NULL;
    }
    if (why != NULL) {
      varve_throw (error, VARVE_ERROR_REFUSED, "Disk '%s' cannot have a bitmap: %s.", *names, why);
      return NULL;
    }
    if (!g_ptr_array_find_with_equal_func (chosen, disk->name, g_str_equal, NULL))
      g_ptr_array_add (chosen, disk->name);
  }
  return g_steal_pointer (&chosen);
}

/* The new one sorts behind all that are there, whatever the clock says. */
static char *
new_name (const VarveCheckFacts *facts, const char *label)
{
  g_autofree char *owner = varve_checkpoint_owner_without_store (label);
  g_autofree char *last = NULL;
  g_autofree char *id = NULL;

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (!varve_checkpoint_name_parse (bitmap->name, &name) || g_strcmp0 (name.backup, last) <= 0)
      continue;
    g_free (last);
    last = g_steal_pointer (&name.backup);
  }
  id = varve_backup_id_new (last);
  return varve_checkpoint_name_new (owner, id);
}

VarveCheckpoint *
varve_checkpoints_create (VarveCheckpoints *checkpoints, const char *const *disks,
                          GCancellable *cancellable, GError **error)
{
  const VarveCheckpointsDef *def;
  g_auto (VarveCheckpointWork) work = { NULL };
  g_autoptr (GPtrArray) chosen = NULL;
  g_autofree char *name = NULL;
  g_autofree char *description = NULL;

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints), NULL);
  def = varve_checkpoints_def (checkpoints);
  if (def->owner == NULL || *def->owner == '\0') {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "A checkpoint without a backup needs an owner: nothing else says whose it is.");
    return NULL;
  }
  if (!varve_checkpoint_work_open (&work, def, "create", true, cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return NULL;
  chosen =
      disks && *disks ? named_disks (&work.facts, disks, error) : all_disks (&work.facts, error);
  if (chosen == NULL)
    return NULL;
  name = new_name (&work.facts, def->owner);
  description = varve_checkpoint_description (name);
  if (!varve_domain_checkpoint_add (work.domain, name, description, chosen, cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return NULL;
  return varve_checkpoint_from_facts (&work.facts, name);
}

/* --- delete ----------------------------------------------------------------------------------- */

gboolean
varve_checkpoints_delete (VarveCheckpoints *checkpoints, const char *checkpoint, char **out_name,
                          GCancellable *cancellable, GError **error)
{
  g_auto (VarveCheckpointWork) work = { NULL };
  g_autofree char *name = NULL;

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints) && checkpoint, FALSE);
  if (!varve_checkpoint_work_open (&work, varve_checkpoints_def (checkpoints), "delete", true,
                                   cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return FALSE;
  name = varve_checkpoint_resolve (&work.facts, checkpoint, error);
  if (name == NULL || !varve_checkpoint_check_own (&work.facts, name, error) ||
      !varve_domain_checkpoint_remove (work.domain, name, cancellable, error))
    return FALSE;
  if (out_name)
    *out_name = g_steal_pointer (&name);
  return TRUE;
}

/* --- redefine --------------------------------------------------------------------------------- */

static int
oldest_first (gconstpointer a, gconstpointer b)
{
  g_auto (VarveCheckpointName) x = { NULL }, y = { NULL };

  varve_checkpoint_name_parse (*(const char *const *)a, &x);
  varve_checkpoint_name_parse (*(const char *const *)b, &y);
  return strcmp (x.backup, y.backup);
}

GPtrArray *
varve_checkpoint_ours (const VarveCheckFacts *facts)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);
    g_auto (VarveCheckpointName) name = { NULL };

    if (varve_checkpoint_name_parse (bitmap->name, &name) &&
        !varve_check_is_tentative (facts, bitmap->name, &name) &&
        !g_ptr_array_find_with_equal_func (names, bitmap->name, g_str_equal, NULL))
      g_ptr_array_add (names, g_strdup (bitmap->name));
  }
  g_ptr_array_sort (names, oldest_first);
  return names;
}

static GPtrArray *
sound_disks (const VarveCheckFacts *facts, const char *name)
{
  GPtrArray *disks = g_ptr_array_new ();

  for (guint i = 0; i < facts->bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (facts->bitmaps, i);

    if (g_str_equal (bitmap->name, name) && bitmap->recording && !bitmap->inconsistent)
      g_ptr_array_add (disks, bitmap->disk);
  }
  return disks;
}

static bool
says_the_same (const VarveCheckpointMetadata *record, GPtrArray *disks)
{
  if (record == NULL || record->disks->len != disks->len)
    return false;
  for (guint i = 0; i < disks->len; i++)
    if (!g_ptr_array_find_with_equal_func (record->disks, g_ptr_array_index (disks, i), g_str_equal,
                                           NULL))
      return false;
  return true;
}

/* *@out_done: libvirt was told. One without a sound bitmap is only an error where it was @named. */
static bool
redefine (VarveCheckpointWork *work, const char *name, bool named, bool *out_done,
          GCancellable *cancellable, GError **error)
{
  const VarveCheckFacts *facts = &work->facts;
  g_autoptr (GPtrArray) disks = sound_disks (facts, name);
  g_autofree char *description = varve_checkpoint_description (name);
  g_auto (VarveCheckpointName) parts = { NULL };

  *out_done = false;
  if (disks->len == 0)
    return !named || varve_throw (error, VARVE_ERROR_CHECKPOINT,
                                  "No disk has a bitmap '%s' that is sound and records.", name);
  if (says_the_same (varve_checkpoint_metadata_find (facts->records, name), disks))
    return true;
  varve_checkpoint_name_parse (name, &parts);
  *out_done = varve_domain_checkpoint_redefine (work->domain, name, description,
                                                varve_backup_id_time (parts.backup), disks,
                                                cancellable, error);
  return *out_done;
}

static GPtrArray *
names_to_redefine (const VarveCheckFacts *facts, const char *name, GError **error)
{
  GPtrArray *names;
  g_autofree char *only = NULL;
  g_auto (VarveCheckpointName) parts = { NULL };

  if (name == NULL)
    return varve_checkpoint_ours (facts);
  only = varve_checkpoint_resolve (facts, name, error);
  if (only == NULL)
    return NULL;
  if (!varve_checkpoint_name_parse (only, &parts)) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "'%s' is not a checkpoint of varve: leave it to the program that made it.", only);
    return NULL;
  }
  names = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (names, g_steal_pointer (&only));
  return names;
}

GPtrArray *
varve_checkpoints_redefine (VarveCheckpoints *checkpoints, const char *name,
                            GCancellable *cancellable, GError **error)
{
  g_auto (VarveCheckpointWork) work = { NULL };
  g_autoptr (GPtrArray) names = NULL;
  g_autoptr (GPtrArray) done = g_ptr_array_new_with_free_func (g_free);

  g_return_val_if_fail (VARVE_IS_CHECKPOINTS (checkpoints), NULL);
  if (!varve_checkpoint_work_open (&work, varve_checkpoints_def (checkpoints), "redefine", true,
                                   cancellable, error) ||
      !varve_checkpoint_work_look (&work, cancellable, error))
    return NULL;
  names = names_to_redefine (&work.facts, name, error);
  for (guint i = 0; names && work.facts.keeps_records && i < names->len; i++) {
    const char *next = g_ptr_array_index (names, i);
    bool told;

    if (!redefine (&work, next, name != NULL, &told, cancellable, error))
      return NULL;
    if (told)
      g_ptr_array_add (done, g_strdup (next));
  }
  return names ? g_steal_pointer (&done) : NULL;
}
