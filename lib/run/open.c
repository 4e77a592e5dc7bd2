/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The domain that a run works on: opening it, and its bitmaps. */
#include "config.h"

#include "run/context.h"
#include "session/session.h"
#include "store/manifest.h"
#include "util/clock.h"
#include "util/error.h"

#define RETRY_US (G_USEC_PER_SEC / 4)

/* "export session 0123456789abcdef of owner 'x-acme', which …". (transfer full) */
static char *
describe_session (const VarveRecord *record)
{
  g_autofree char *until = record->expires ? varve_format_time (record->expires) : NULL;

  if (until)
    return g_strdup_printf ("export session %s of owner '%s', which ends by itself at %s, and by "
                            "'varve export end'",
                            record->id, record->owner, until);
  if (varve_record_is_revert (record))
    return g_strdup_printf ("a revert to backup %s (session %s)", record->backup, record->id);
  if (varve_record_is_instant (record))
    return g_strdup_printf ("an instant restore of backup %s (session %s)", record->backup,
                            record->id);
  return g_strdup_printf ("backup %s of owner '%s' (session %s)",
                          record->backup ? record->backup : "", record->owner ? record->owner : "",
                          record->id);
}

/* A bare QEMU does not know who has its monitor: a session of ours is found by its record. */
static void
name_the_holder (const VarveStateDir *state, const VarveDomainAddress *address, unsigned wait_s,
                 GError **error)
{
  g_autoptr (GPtrArray) ids = varve_record_list (state, NULL);

  for (guint i = 0; ids && i < ids->len; i++) {
    const char *id = g_ptr_array_index (ids, i);
    g_autoptr (VarveRecord) record = varve_record_load (state, id, NULL);

    if (!record || !g_str_equal (record->uri, address->uri) || !varve_session_is_live (state, id))
      continue;
    g_autofree char *session = describe_session (record);
    g_clear_error (error);
    varve_throw (error, VARVE_ERROR_BUSY,
                 "Domain '%s' is in use by %s. Waited %u s for it; try again when that has ended.",
                 record->domain, session, wait_s);
    return;
  }
}

static VarveDomain *
wait_for_domain (const VarveStateDir *state, const VarveDomainAddress *address, unsigned wait_s,
                 GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time () + (gint64)wait_s * G_USEC_PER_SEC;

  for (;;) {
    g_autoptr (GError) local = NULL;
    VarveDomain *domain = varve_domain_open (address, cancellable, &local);

    if (domain != NULL)
      return domain;
    if (!varve_error_matches (local, VARVE_ERROR_BUSY) || g_get_monotonic_time () >= deadline ||
        g_cancellable_is_cancelled (cancellable)) {
      if (varve_error_matches (local, VARVE_ERROR_BUSY))
        name_the_holder (state, address, wait_s, &local);
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
    g_usleep (RETRY_US);
  }
}

VarveDomain *
varve_run_open_domain (const VarveStateDir *state, const VarveDomainAddress *address,
                       unsigned wait_s, GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = wait_for_domain (state, address, wait_s, cancellable, error);
  g_autofree char *name = domain ? g_strdup (domain->name) : NULL;
  g_autofree char *uuid = domain ? g_strdup (domain->uuid) : NULL;

  if (domain == NULL || !varve_run_guard_is_at_work (state, uuid))
    return domain;
  varve_domain_free (domain);
  return varve_run_await_guard (state, name, uuid, cancellable, error)
             ? wait_for_domain (state, address, wait_s, cancellable, error)
             : NULL;
}

bool
varve_run_find_bitmaps (VarveDomain *domain, GPtrArray *manifests, unsigned newest,
                        GPtrArray *bitmaps, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autoptr (GHashTable) counts = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = manifests->len; i > 0; i--) {
    const VarveManifest *manifest = g_ptr_array_index (manifests, i - 1);
    guint count = GPOINTER_TO_UINT (g_hash_table_lookup (counts, manifest->owner));

    if (!manifest->checkpoint || count >= newest ||
        g_ascii_strcasecmp (manifest->uuid, domain->uuid) != 0)
      continue;
    g_hash_table_insert (counts, manifest->owner, GUINT_TO_POINTER (count + 1));
    g_ptr_array_add (names, manifest->checkpoint);
  }
  return varve_domain_find_bitmaps (domain, names, bitmaps, cancellable, error);
}
