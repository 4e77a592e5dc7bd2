/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/restore-define.h"

#include "util/error.h"

void
varve_restore_define_clear (VarveRestoreDefine *define)
{
  g_clear_pointer (&define->definition, varve_definition_free);
  g_clear_pointer (&define->nvram, g_bytes_unref);
  g_clear_pointer (&define->tpm, g_bytes_unref);
}

static bool
check_backup (const VarveManifest *manifest, const char *name, GError **error)
{
  return manifest->has_domain_xml ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "Backup %s has no definition of domain '%s' that '%s' could be made of: "
                      "restore the disks alone.%s%s",
                      manifest->id, manifest->domain, name, manifest->why_not_xml ? " " : "",
                      manifest->why_not_xml ? manifest->why_not_xml : "");
}

/* By its own name, to run at once: it is that domain again, and its backups go on. */
static bool
comes_back (const VarveRestoreDef *def, const VarveManifest *manifest)
{
  return def->instant && g_str_equal (def->define, manifest->domain);
}

char *
varve_run_read_definition (VarveStoreImpl *store, const VarveManifest *manifest, GError **error)
{
  g_autoptr (GBytes) bytes = NULL;
  gsize length;
  const char *data;

  if (!store->ops->read_file (store, manifest, "domain.xml", &bytes, error))
    return NULL;
  data = g_bytes_get_data (bytes, &length);
  return g_strndup (data, length);
}

GBytes *
varve_run_read_variables (VarveStoreImpl *store, const VarveManifest *manifest, GError **error)
{
  GBytes *bytes = NULL;

  return store->ops->read_file (store, manifest, "nvram", &bytes, error) ? bytes : NULL;
}

static void
add_disk (const VarveRestoreDisk *target, GArray *disks)
{
  VarveNewDisk disk = { .disk = target->name,
                        .path = target->path,
                        .format = target->format,
                        .device = varve_job_is_device (target->path) };

  g_array_append_val (disks, disk);
}

bool
varve_restore_define_prepare (const VarveRestoreDef *def, VarveStoreImpl *store,
                              const VarveManifest *manifest, GPtrArray *targets,
                              VarveRestoreDefine *out, GCancellable *cancellable, GError **error)
{
  g_autoptr (GArray) disks = g_array_new (FALSE, FALSE, sizeof (VarveNewDisk));
  VarveNewDomain wanted = { .uri = def->define_uri,
                            .name = def->define,
                            .uuid = comes_back (def, manifest) ? manifest->uuid : NULL,
                            .disks = disks,
                            .has_nvram = manifest->has_nvram,
                            .has_tpm = manifest->has_tpm,
                            .replace = def->force || def->over };
  g_autofree char *xml = NULL;

  if (!check_backup (manifest, def->define, error))
    return false;
  for (guint i = 0; i < targets->len; i++)
    add_disk (g_ptr_array_index (targets, i), disks);
  xml = varve_run_read_definition (store, manifest, error);
  if (xml && manifest->has_nvram)
    out->nvram = varve_run_read_variables (store, manifest, error);
  if (xml == NULL || (manifest->has_nvram && out->nvram == NULL) ||
      (manifest->has_tpm && !store->ops->read_file (store, manifest, "tpm", &out->tpm, error)))
    return false;
  wanted.xml = xml;
  out->definition = varve_define_prepare (&wanted, cancellable, error);
  return out->definition != NULL;
}

bool
varve_restore_define_finish (const VarveRestoreDefine *define, GCancellable *cancellable,
                             GError **error)
{
  return varve_define_finish (define->definition, define->nvram, define->tpm, cancellable, error) ||
         varve_prefix (error,
                       "The disks are restored; domain '%s', which is to have them, is not there",
                       define->definition->name);
}
