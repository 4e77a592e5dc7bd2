/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* VarveVerifyAction: one <verify> as an object. Its calls store what they get; varve_job_check
 * tells what is wrong with it. */
#include "config.h"
#include "job/element.h"
#include "util/set-text.h"

struct _VarveVerifyAction {
  GObject parent;
  VarveVerifyDef *def;
};

G_DEFINE_FINAL_TYPE (VarveVerifyAction, varve_verify_action, G_TYPE_OBJECT)

static void
varve_verify_action_finalize (GObject *object)
{
  varve_verify_def_free (VARVE_VERIFY_ACTION (object)->def);
  G_OBJECT_CLASS (varve_verify_action_parent_class)->finalize (object);
}

static void
varve_verify_action_class_init (VarveVerifyActionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_verify_action_finalize;
}

static void
varve_verify_action_init (VarveVerifyAction *self)
{
  self->def = varve_verify_def_new ();
}

VarveVerifyAction *
varve_verify_action_new (VarveVerifyDef *def)
{
  VarveVerifyAction *self = g_object_new (VARVE_TYPE_VERIFY_ACTION, NULL);

  varve_verify_def_free (self->def);
  self->def = def;
  return self;
}

const VarveVerifyDef *
varve_verify_action_def (VarveVerifyAction *action)
{
  return action->def;
}

void
varve_verify_action_set_name (VarveVerifyAction *action, const char *name)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  varve_set_text (&action->def->name, name);
}

void
varve_verify_action_set_boot (VarveVerifyAction *action, guint timeout)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  action->def->boot = true;
  action->def->timeout = timeout ? timeout : VARVE_JOB_BOOT_TIMEOUT;
}

void
varve_verify_action_set_console (VarveVerifyAction *action, const char *text)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  varve_set_text (&action->def->console, text);
}

void
varve_verify_action_set_mounted (VarveVerifyAction *action, const char *mountpoint)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  varve_set_text (&action->def->mounted, mountpoint);
}

void
varve_verify_action_set_screenshot (VarveVerifyAction *action, const char *path)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  varve_set_text (&action->def->screenshot, path);
}

void
varve_verify_action_set_memory (VarveVerifyAction *action, guint64 bytes)
{
  g_return_if_fail (VARVE_IS_VERIFY_ACTION (action));
  action->def->memory = bytes;
}
