/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveExportAction: one <export> as an object. What it says of the source it has a VarveBackupAction for, which
 * knows how disks are named. Its calls store what they get; varve_job_check tells what is wrong with it. */
#include "config.h"
#include "job/element.h"
#include "util/set-text.h"

struct _VarveExportAction {
  GObject parent;
  VarveExportDef *def;
  VarveBackupAction *source; /* owns def->source */
};

G_DEFINE_TYPE (VarveExportAction, varve_export_action, G_TYPE_OBJECT)

static void
varve_export_action_finalize (GObject *object)
{
  VarveExportAction *self = VARVE_EXPORT_ACTION (object);

  self->def->source = NULL;
  varve_export_def_free (self->def);
  g_clear_object (&self->source);
  G_OBJECT_CLASS (varve_export_action_parent_class)->finalize (object);
}

static void
varve_export_action_class_init (VarveExportActionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_export_action_finalize;
}

static void
varve_export_action_init (VarveExportAction *self)
{
}

VarveExportAction *
varve_export_action_new (VarveExportDef *def)
{
  VarveExportAction *self = g_object_new (VARVE_TYPE_EXPORT_ACTION, NULL);

  self->def = def;
  self->source = varve_backup_action_new (def->source);
  return self;
}

const VarveExportDef *
varve_export_action_def (VarveExportAction *action)
{
  return action->def;
}

/* --- the source ------------------------------------------------------------------------------- */

void
varve_export_action_set_name (VarveExportAction *action, const char *name)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_name (action->source, name);
}

void
varve_export_action_set_uuid (VarveExportAction *action, const char *uuid)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_uuid (action->source, uuid);
}

void
varve_export_action_set_since (VarveExportAction *action, const char *checkpoint)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_incremental (action->source, checkpoint ? checkpoint : "never");
}

void
varve_export_action_add_disk (VarveExportAction *action, const char *name, gboolean include)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_add_disk (action->source, name, include);
}

void
varve_export_action_set_image (VarveExportAction *action, const char *disk, const char *path,
                               const char *format, const char *key_file)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_image (action->source, disk, path, format, key_file);
}

void
varve_export_action_set_quiesce (VarveExportAction *action, gboolean required, guint timeout)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_quiesce (action->source, required, timeout);
}

void
varve_export_action_set_agent (VarveExportAction *action, const char *path)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_agent (action->source, path);
}

void
varve_export_action_set_wait (VarveExportAction *action, guint seconds)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_backup_action_set_wait (action->source, seconds);
}

/* --- who reads -------------------------------------------------------------------------------- */

void
varve_export_action_set_max_age (VarveExportAction *action, guint seconds)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  action->def->max_age = seconds;
}

void
varve_export_action_set_socket (VarveExportAction *action, const char *path, guint mode,
                                const char *group)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_set_text (&action->def->socket, path);
  varve_set_text (&action->def->group, group);
  action->def->mode = mode;
}

void
varve_export_action_set_listen (VarveExportAction *action, const char *host, guint port)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_set_text (&action->def->host, host);
  action->def->port = port;
}

void
varve_export_action_set_credentials (VarveExportAction *action, const char *directory)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_set_text (&action->def->credentials, directory);
}

void
varve_export_action_set_clear_text (VarveExportAction *action, gboolean clear_text)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  action->def->clear_text = clear_text;
}

void
varve_export_action_set_allow_trim (VarveExportAction *action, gboolean allow)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  action->def->allow_trim = allow;
}

void
varve_export_action_set_command (VarveExportAction *action, const char *command)
{
  g_return_if_fail (VARVE_IS_EXPORT_ACTION (action));
  varve_set_text (&action->def->command, command);
}
