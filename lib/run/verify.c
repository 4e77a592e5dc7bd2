/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The verify action of a job: sums compared, or a backup started. */
#include "config.h"

#include "run/boot.h"
#include "store/varve-store.h"
#include "util/error.h"

static void
emit (const VarveRunContext *context, VarveEvent event)
{
  event.action = "verify";
  varve_event_emit (context->events, &event);
}

static void
pass_on (const VarveEvent *event, gpointer data)
{
  const VarveRunContext *context = data;

  varve_event_emit (context->events, event);
}

static bool
verify_sums (const VarveRunContext *context, VarveStore *store, VarveBackup *backup,
             char **out_finding, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) problems = NULL;

  if (!varve_store_verify (store, backup, pass_on, (gpointer)context, &problems, cancellable,
                           error))
    return false;
  for (guint i = 0; i < problems->len; i++)
    emit (context,
          (VarveEvent){ .type = VARVE_EVENT_PROBLEM, .text = g_ptr_array_index (problems, i) });
  *out_finding = g_strdup ("all that was checked is as it was written");
  return problems->len == 0 ||
         varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                      "%u %s, named above: the store is damaged, or has what cannot be verified.",
                      problems->len, problems->len == 1 ? "finding" : "findings");
}

bool
varve_run_verify (const VarveRunContext *context, const VarveVerifyDef *def,
                  GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStore) store = varve_store_open (def->store, error);
  g_autoptr (VarveBackup) backup = NULL;
  g_autofree char *finding = NULL;
  const VarveManifest *manifest;
  const char *domain, *id;

  if (store == NULL)
    return false;
  if (def->backup) {
    backup = varve_store_find (store, def->backup, cancellable, error);
    if (backup == NULL)
      return false;
  }
  manifest = backup ? varve_backup_manifest (backup) : NULL;
  domain = manifest ? manifest->domain : NULL;
  id = manifest ? manifest->id : NULL;
  emit (context, (VarveEvent){ .type = VARVE_EVENT_RUN_STARTED,
                               .domain = domain,
                               .backup = id,
                               .text = def->store,
                               .decision = def->boot ? "boot" : "sums" });
  if (def->boot ? !varve_run_boot (context, def, store, backup, &finding, cancellable, error)
                : !verify_sums (context, store, backup, &finding, cancellable, error))
    return false;
  emit (context, (VarveEvent){ .type = VARVE_EVENT_RUN_DONE,
                               .domain = domain,
                               .backup = id,
                               .text = finding,
                               .decision = def->boot ? "boot" : "sums" });
  return true;
}
