/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveRevertAction: one <revert> as an object. What it says of the domain it has a VarveBackupAction for, which
 * knows how disks are named. Its calls store what they get; varve_job_check tells what is wrong with it. */
#include "config.h"
#include "job/element.h"

struct _VarveRevertAction {
  GObject parent;
  VarveRevertDef *def;
  VarveBackupAction *source; /* owns def->source */
};

G_DEFINE_FINAL_TYPE (VarveRevertAction, varve_revert_action, G_TYPE_OBJECT)

static void
varve_revert_action_finalize (GObject *object)
{
  VarveRevertAction *self = VARVE_REVERT_ACTION (object);

  self->def->source = NULL;
  varve_revert_def_free (self->def);
  g_clear_object (&self->source);
  G_OBJECT_CLASS (varve_revert_action_parent_class)->finalize (object);
}

static void
varve_revert_action_class_init (VarveRevertActionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_revert_action_finalize;
}

static void
take_def (VarveRevertAction *self, VarveRevertDef *def)
{
  if (self->def)
    self->def->source = NULL;
  varve_revert_def_free (self->def);
  g_clear_object (&self->source);
  self->def = def;
  self->source = varve_backup_action_new (def->source);
}

static void
varve_revert_action_init (VarveRevertAction *self)
{
  take_def (self, varve_revert_def_new ());
}

VarveRevertAction *
varve_revert_action_new (VarveRevertDef *def)
{
  VarveRevertAction *self = g_object_new (VARVE_TYPE_REVERT_ACTION, NULL);

  take_def (self, def);
  return self;
}

const VarveRevertDef *
varve_revert_action_def (VarveRevertAction *action)
{
  return action->def;
}

void
varve_revert_action_set_name (VarveRevertAction *action, const char *name)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_set_name (action->source, name);
}

void
varve_revert_action_set_owner (VarveRevertAction *action, const char *owner)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_set_owner (action->source, owner);
}

void
varve_revert_action_set_uuid (VarveRevertAction *action, const char *uuid)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_set_uuid (action->source, uuid);
}

void
varve_revert_action_add_disk (VarveRevertAction *action, const char *name, gboolean include)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_add_disk (action->source, name, include);
}

void
varve_revert_action_set_image (VarveRevertAction *action, const char *disk, const char *path,
                               const char *format, const char *key_file)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_set_image (action->source, disk, path, format, key_file);
}

void
varve_revert_action_set_wait (VarveRevertAction *action, guint seconds)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  varve_backup_action_set_wait (action->source, seconds);
}

void
varve_revert_action_set_keep (VarveRevertAction *action, gboolean keep)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  action->def->keep_present = keep;
}

void
varve_revert_action_set_dry_run (VarveRevertAction *action, gboolean dry_run)
{
  g_return_if_fail (VARVE_IS_REVERT_ACTION (action));
  action->def->dry_run = dry_run;
}
