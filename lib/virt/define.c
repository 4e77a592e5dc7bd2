/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which driver can make a domain: libvirt's alone, as nobody else keeps definitions. */
#include "config.h"

#include "virt/define.h"

#include "util/error.h"

void
varve_definition_free (VarveDefinition *definition)
{
  if (definition == NULL)
    return;
  g_free (definition->uri);
  g_free (definition->name);
  g_free (definition->uuid);
  g_free (definition->xml);
  g_free (definition->nvram);
  g_free (definition->tpm);
  g_ptr_array_unref (definition->notes);
  g_free (definition);
}

#ifdef HAVE_LIBVIRT

VarveDefinition *
varve_define_prepare (const VarveNewDomain *wanted, GCancellable *cancellable, GError **error)
{
  return varve_libvirt_define_prepare (wanted, cancellable, error);
}

bool
varve_define_finish (const VarveDefinition *definition, GBytes *nvram, GBytes *tpm,
                     GCancellable *cancellable, GError **error)
{
  return varve_libvirt_define_finish (definition, nvram, tpm, cancellable, error);
}

bool
varve_define_undo (const char *uri, const char *uuid, const char *path, const char *nvram,
                   const char *tpm, GCancellable *cancellable, GError **error)
{
  return varve_libvirt_define_undo (uri, uuid, path, nvram, tpm, error);
}

#else

VarveDefinition *
varve_define_prepare (const VarveNewDomain *wanted, GCancellable *cancellable, GError **error)
{
  varve_throw (error, VARVE_ERROR_UNSUPPORTED,
               "Domain '%s' is to be defined at '%s', and this varve was built without libvirt: "
               "restore the disks alone.",
               wanted->name, wanted->uri);
  return NULL;
}

bool
varve_define_finish (const VarveDefinition *definition, GBytes *nvram, GBytes *tpm,
                     GCancellable *cancellable, GError **error)
{
  g_return_val_if_reached (false);
}

bool
varve_define_undo (const char *uri, const char *uuid, const char *path, const char *nvram,
                   const char *tpm, GCancellable *cancellable, GError **error)
{
  g_return_val_if_reached (false);
}

#endif
