/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Deleting a backup: not one that disks of this machine are to be finished with. */
#include "config.h"
#include "run/varve-run.h"

#include "state/record.h"
#include "store/store.h"
#include "util/error.h"

/* What a record says of it, for "the revert of domain 'web01'"; NULL: a session that can do without its backup, or ended
 * what it needed it for. */
static const char *
wants_backup (const VarveRecord *record)
{
  switch (record->phase) {
  case VARVE_PHASE_REVERTING:
    return "revert";
  case VARVE_PHASE_BOOTING:
  case VARVE_PHASE_FILLING:
    return "instant restore";
  default:
    return NULL;
  }
}

static bool
may_go (const char *backup, gpointer data, GError **error)
{
  GPtrArray *records = data;

  for (guint i = 0; i < records->len; i++) {
    const VarveRecord *record = g_ptr_array_index (records, i);
    const char *what = wants_backup (record);

    if (what && g_strcmp0 (record->backup, backup) == 0)
      return varve_throw (error, VARVE_ERROR_BUSY,
                          "Backup %s cannot be deleted now: the %s of domain '%s' is not done with "
                          "it. Where that was cut off, run 'varve recover' first.",
                          backup, what, record->domain);
  }
  return true;
}

/* One that cannot be read may be in want of any backup. (transfer full) */
static GPtrArray *
load_records (const VarveStateDir *state, GError **error)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, error);
  g_autoptr (GPtrArray) records =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_record_free);

  for (guint i = 0; ids && i < ids->len; i++) {
    g_autoptr (GError) local = NULL;
    VarveRecord *record = varve_record_load (state, g_ptr_array_index (ids, i), &local);

    if (record) {
      g_ptr_array_add (records, record);
    } else if (!varve_error_matches (local, VARVE_ERROR_NOT_FOUND)) {
      g_propagate_prefixed_error (error, g_steal_pointer (&local), "No backup is deleted: ");
      return NULL;
    }
  }
  return ids ? g_steal_pointer (&records) : NULL;
}

gboolean
varve_store_delete (VarveStore *store, VarveBackup *backup, gboolean with_dependents,
                    const char *state_directory, GPtrArray **out_deleted, GCancellable *cancellable,
                    GError **error)
{
  g_autoptr (VarveStateDir) state = NULL;
  g_autoptr (GPtrArray) records = NULL;

  g_return_val_if_fail (VARVE_IS_STORE (store) && VARVE_IS_BACKUP (backup), FALSE);
  state = varve_state_dir_open (state_directory, error);
  if (state)
    records = load_records (state, error);
  return records != NULL && varve_store_remove (store, backup, with_dependents, may_go, records,
                                                out_deleted, cancellable, error);
}
