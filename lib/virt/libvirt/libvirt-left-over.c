/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Whose backup job libvirt runs, for a session that is on no record. There is one job at a time. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

bool
varve_libvirt_left_overs (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                          GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (GPtrArray) left =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_left_over_free);
  g_autoptr (VarveLibvirtBackup) backup = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error) ||
      (state != VARVE_DOMAIN_OFF && !varve_libvirt_backup (self, &backup, error)))
    return false;
  if (backup && backup->session) {
    g_autofree char *directory = backup->socket ? g_path_get_dirname (backup->socket) : NULL;

    g_ptr_array_add (left, varve_left_over_new (backup->session, directory));
  }
  *out = g_steal_pointer (&left);
  return true;
}
