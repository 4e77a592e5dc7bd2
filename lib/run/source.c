/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/source.h"

#include "fleece/scratch.h"
#include "util/error.h"

VarveDomain *
varve_run_open_source (const VarveRunContext *context, const VarveBackupDef *def,
                       GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) images =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)varve_image_free);
  g_autoptr (GHashTable) qdevs = g_hash_table_new (g_str_hash, g_str_equal);
  VarveDomainAddress address = {
    def->uri, def->domain, def->uuid, images, qdevs, def->quiesce_agent, def->server_host != NULL
  };

  for (guint i = 0; i < def->disks->len; i++) {
    VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (disk->image_path)
      g_hash_table_insert (
          images, disk->name,
          varve_image_new (disk->image_path, disk->image_format, disk->image_key_file));
    if (disk->qdev)
      g_hash_table_insert (qdevs, disk->name, disk->qdev);
  }
  return varve_run_open_domain (context->state, &address, def->wait, cancellable, error);
}

void
varve_run_source_disks (const VarveBackupDef *def, GPtrArray *include, GPtrArray *exclude)
{
  for (guint i = 0; i < def->disks->len; i++) {
    VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    g_ptr_array_add (disk->backup ? include : exclude, disk->name);
  }
}

VarveStart *
varve_run_source_start (const VarveRunContext *context, const VarveBackupDef *def,
                        const char *session)
{
  VarveStart *start = varve_start_new (session);

  start->directory = varve_state_dir_file (context->state, "sockets", session);
  start->policy = (VarveGuardPolicy){
    .write_timeout = def->write_timeout,
    .scratch_limit = def->scratch_limit,
    .pause = def->pause_never ? VARVE_PAUSE_NEVER : VARVE_PAUSE_BRIEF,
  };
  start->server = (VarveServer){ g_strdup (def->server_host), def->server_port,
                                 g_strdup (def->server_credentials) };
  return start;
}

/* Of a directory on another host nobody here can tell how much room there is. */
static bool
check_remote_scratch (const VarveBackupDef *def, const VarveDomain *domain, VarveStart *start,
                      GError **error)
{
  if (!def->scratch_directory || !def->scratch_limit)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s' is on another host: say which directory there is for scratch, "
                        "and how much of it may be used (varve-backup(1), --scratch and "
                        "--scratch-limit).",
                        domain->name);
  start->policy.watermark = def->scratch_limit;
  return true;
}

char *
varve_run_source_scratch (const VarveRunContext *context, const VarveBackupDef *def)
{
  if (def->scratch_directory)
    return g_strdup (def->scratch_directory);
  return g_build_filename (varve_state_dir_path (context->state), "scratch", NULL);
}

bool
varve_run_source_check (const VarveRunContext *context, const VarveBackupDef *def,
                        VarveDomain *domain, VarveStart *start, VarveStartReport **out_report,
                        GCancellable *cancellable, GError **error)
{
  g_autofree char *directory = varve_run_source_scratch (context, def);

  varve_scratch_plan (start, directory);
  if (!varve_domain_check (domain, start, out_report, cancellable, error) ||
      !varve_start_report_allows (*out_report, error))
    return false;
  if ((*out_report)->needs_scratch && !domain->local)
    return check_remote_scratch (def, domain, start, error);
  if ((*out_report)->needs_scratch)
    return varve_scratch_check (start, directory, &start->policy.watermark, error);
  varve_scratch_none (start);
  return true;
}

VarveRecord *
varve_run_source_record (const VarveBackupDef *def, const VarveDomain *domain,
                         const VarveStart *start)
{
  VarveRecord *record = varve_record_new (start->session);

  record->uri = g_strdup (domain->uri);
  record->domain = g_strdup (domain->name);
  record->uuid = g_strdup (domain->uuid);
  record->agent = g_strdup (def->quiesce_agent);
  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (disk->image_path)
      varve_record_add_image (record, disk->name, disk->image_path, disk->image_format,
                              disk->image_key_file);
  }
  return record;
}
