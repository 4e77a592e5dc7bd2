/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveBackupAction: one <backup> as an object. Its calls return nothing, and store what they get:
 * a run holds it all against the rules of documents (varve_job_check) before it does anything. */
#include "config.h"
#include "job/element.h"
#include "util/set-text.h"

struct _VarveBackupAction {
  GObject parent;
  VarveBackupDef *def;
  /* Names of disks that add_disk was called for. The others stand in the list only for their image,
   * and must not narrow down what is backed up. */
  GHashTable *named;
};

G_DEFINE_FINAL_TYPE (VarveBackupAction, varve_backup_action, G_TYPE_OBJECT)

static void
varve_backup_action_finalize (GObject *object)
{
  VarveBackupAction *self = VARVE_BACKUP_ACTION (object);

  varve_backup_def_free (self->def);
  g_hash_table_unref (self->named);
  G_OBJECT_CLASS (varve_backup_action_parent_class)->finalize (object);
}

static void
varve_backup_action_class_init (VarveBackupActionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_backup_action_finalize;
}

static void
varve_backup_action_init (VarveBackupAction *self)
{
  self->def = varve_backup_def_new ();
  self->named = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
}

VarveBackupAction *
varve_backup_action_new (VarveBackupDef *def)
{
  VarveBackupAction *self = g_object_new (VARVE_TYPE_BACKUP_ACTION, NULL);

  varve_backup_def_free (self->def);
  self->def = def;
  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    /* Documents that turn out wrong come here too. */
    if (disk->name)
      g_hash_table_add (self->named, g_strdup (disk->name));
  }
  return self;
}

const VarveBackupDef *
varve_backup_action_def (VarveBackupAction *action)
{
  return action->def;
}

void
varve_backup_action_set_name (VarveBackupAction *action, const char *name)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->name, name);
}

void
varve_backup_action_set_uuid (VarveBackupAction *action, const char *uuid)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  g_free (action->def->uuid);
  action->def->uuid = uuid ? g_ascii_strdown (uuid, -1) : NULL;
}

void
varve_backup_action_set_owner (VarveBackupAction *action, const char *owner)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->owner, owner);
}

void
varve_backup_action_set_incremental (VarveBackupAction *action, const char *incremental)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->incremental, incremental ? incremental : "auto");
}

void
varve_backup_action_set_mode (VarveBackupAction *action, const char *mode)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->mode, mode ? mode : "pull");
}

void
varve_backup_action_set_verify (VarveBackupAction *action, gboolean verify)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->verify = verify;
}

void
varve_backup_action_set_fleece (VarveBackupAction *action, gboolean fleece)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->fleece = fleece;
}

void
varve_backup_action_set_compress (VarveBackupAction *action, gboolean compress)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->compress = compress;
}

void
varve_backup_action_set_requests (VarveBackupAction *action, guint workers, guint chunk_kib)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->workers = workers;
  action->def->chunk = chunk_kib;
}

/* Whether some disk was named to be backed up, so that the others are not. */
static bool
is_narrowed (VarveBackupAction *self)
{
  for (guint i = 0; i < self->def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (self->def->disks, i);

    if (disk->backup && g_hash_table_contains (self->named, disk->name))
      return true;
  }
  return false;
}

static void
leave_out_unnamed (VarveBackupAction *self)
{
  for (guint i = 0; i < self->def->disks->len; i++) {
    VarveJobDisk *disk = g_ptr_array_index (self->def->disks, i);

    if (!g_hash_table_contains (self->named, disk->name))
      disk->backup = false;
  }
}

void
varve_backup_action_add_disk (VarveBackupAction *action, const char *name, gboolean include)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  g_return_if_fail (name != NULL);

  VarveJobDisk *disk = varve_backup_def_find_disk (action->def, name);
  /* Named a second time it stands there twice, and the check tells. */
  if (!disk || g_hash_table_contains (action->named, name))
    disk = varve_backup_def_add_disk (action->def, name);
  disk->backup = include;
  g_hash_table_add (action->named, g_strdup (name));
  if (include)
    leave_out_unnamed (action);
}

void
varve_backup_action_set_image (VarveBackupAction *action, const char *disk, const char *path,
                               const char *format, const char *key_file)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  g_return_if_fail (disk != NULL);

  VarveJobDisk *found = varve_backup_def_find_disk (action->def, disk);
  if (!found) {
    found = varve_backup_def_add_disk (action->def, disk);
    found->backup = !is_narrowed (action);
  }
  varve_set_text (&found->image_path, path);
  varve_set_text (&found->image_format, format);
  varve_set_text (&found->image_key_file, key_file);
}

static VarveJobDisk *
find_last (const VarveBackupDef *def, const char *name)
{
  VarveJobDisk *last = NULL;

  for (guint i = 0; i < def->disks->len; i++) {
    VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (g_strcmp0 (disk->name, name) == 0)
      last = disk;
  }
  return last;
}

void
varve_backup_action_set_target (VarveBackupAction *action, const char *disk, const char *target,
                                const char *format)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  g_return_if_fail (disk != NULL && target != NULL);

  VarveJobDisk *found = varve_backup_def_find_disk (action->def, disk);
  /* A second target of a disk makes it stand there twice, and the check tells. */
  if (!found || found->target || !g_hash_table_contains (action->named, disk)) {
    varve_backup_action_add_disk (action, disk, TRUE);
    found = find_last (action->def, disk);
  }
  varve_set_text (&found->target, target);
  varve_set_text (&found->target_format, format ? format : "raw");
}

void
varve_backup_action_set_force (VarveBackupAction *action, gboolean force)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->force = force;
}

void
varve_backup_action_set_quiesce (VarveBackupAction *action, gboolean required, guint timeout)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->quiesce = true;
  action->def->quiesce_required = required;
  action->def->quiesce_timeout = timeout;
}

void
varve_backup_action_set_agent (VarveBackupAction *action, const char *path)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->quiesce_agent, path);
}

void
varve_backup_action_set_speed (VarveBackupAction *action, guint64 speed)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->speed = speed;
}

void
varve_backup_action_set_wait (VarveBackupAction *action, guint seconds)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  action->def->wait = seconds;
}

void
varve_backup_action_set_scratch (VarveBackupAction *action, const char *directory, guint64 limit)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->scratch_directory, directory);
  action->def->scratch_limit = limit;
}

void
varve_backup_action_set_server (VarveBackupAction *action, const char *host, guint port,
                                const char *credentials)
{
  g_return_if_fail (VARVE_IS_BACKUP_ACTION (action));
  varve_set_text (&action->def->server_host, host);
  varve_set_text (&action->def->server_credentials, credentials);
  action->def->server_port = port ? port : VARVE_JOB_SERVER_PORT;
}
