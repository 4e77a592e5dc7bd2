/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The domain that a run works on: opening it, and its bitmaps. */
#include "config.h"

#include "run/context.h"
#include "store/manifest.h"
#include "util/error.h"

#define RETRY_US (G_USEC_PER_SEC / 4)

static VarveDomain *
wait_for_domain (const VarveDomainAddress *address, unsigned wait_s, GCancellable *cancellable,
                 GError **error)
{
  gint64 deadline = g_get_monotonic_time () + (gint64)wait_s * G_USEC_PER_SEC;

  for (;;) {
    g_autoptr (GError) local = NULL;
    VarveDomain *domain = varve_domain_open (address, cancellable, &local);

    if (domain != NULL)
      return domain;
    if (!varve_error_matches (local, VARVE_ERROR_BUSY) || g_get_monotonic_time () >= deadline ||
        g_cancellable_is_cancelled (cancellable)) {
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
  VarveDomain *domain = wait_for_domain (address, wait_s, cancellable, error);
  g_autofree char *name = domain ? g_strdup (domain->name) : NULL;
  g_autofree char *uuid = domain ? g_strdup (domain->uuid) : NULL;

  if (domain == NULL || !varve_run_guard_is_at_work (state, uuid))
    return domain;
  varve_domain_free (domain);
  return varve_run_await_guard (state, name, uuid, cancellable, error)
             ? wait_for_domain (address, wait_s, cancellable, error)
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
