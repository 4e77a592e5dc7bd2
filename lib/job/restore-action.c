/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveRestoreAction: one <restore> as an object. Its calls store what they get; varve_job_check
 * tells what is wrong with it. */
#include "config.h"
#include "job/element.h"
#include "util/set-text.h"

struct _VarveRestoreAction {
  GObject parent;
  VarveRestoreDef *def;
};

G_DEFINE_FINAL_TYPE (VarveRestoreAction, varve_restore_action, G_TYPE_OBJECT)

static void
varve_restore_action_finalize (GObject *object)
{
  varve_restore_def_free (VARVE_RESTORE_ACTION (object)->def);
  G_OBJECT_CLASS (varve_restore_action_parent_class)->finalize (object);
}

static void
varve_restore_action_class_init (VarveRestoreActionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_restore_action_finalize;
}

static void
varve_restore_action_init (VarveRestoreAction *self)
{
  self->def = varve_restore_def_new ();
}

VarveRestoreAction *
varve_restore_action_new (VarveRestoreDef *def)
{
  VarveRestoreAction *self = g_object_new (VARVE_TYPE_RESTORE_ACTION, NULL);

  varve_restore_def_free (self->def);
  self->def = def;
  return self;
}

const VarveRestoreDef *
varve_restore_action_def (VarveRestoreAction *action)
{
  return action->def;
}

void
varve_restore_action_set_name (VarveRestoreAction *action, const char *name)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  varve_set_text (&action->def->name, name);
}

void
varve_restore_action_add_disk (VarveRestoreAction *action, const char *name, const char *path,
                               const char *format)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));

  VarveRestoreDisk *disk = varve_restore_def_add_disk (action->def, name);
  disk->path = g_strdup (path);
  if (format)
    varve_set_text (&disk->format, format);
}

void
varve_restore_action_set_directory (VarveRestoreAction *action, const char *directory,
                                    const char *format)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  varve_set_text (&action->def->directory, directory);
  if (format)
    varve_set_text (&action->def->directory_format, format);
}

void
varve_restore_action_set_define (VarveRestoreAction *action, const char *name, const char *uri)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  varve_set_text (&action->def->define, name);
  varve_set_text (&action->def->define_uri, uri);
}

void
varve_restore_action_set_force (VarveRestoreAction *action, gboolean force)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  action->def->force = force;
}

void
varve_restore_action_set_over (VarveRestoreAction *action, gboolean over)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  action->def->over = over;
}

void
varve_restore_action_set_instant (VarveRestoreAction *action, gboolean instant, const char *uri,
                                  guint64 speed)
{
  g_return_if_fail (VARVE_IS_RESTORE_ACTION (action));
  action->def->instant = instant;
  varve_set_text (&action->def->instant_uri, uri);
  action->def->speed = speed;
}
