/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/varve-run.h"

#include "job/def.h"
#include "run/context.h"
#include "util/error.h"
#include "util/set-text.h"

struct _VarveRun {
  GObject parent;
  VarveJob *job;
  char *only;
  char *state_directory;
  VarveEventSink events;
  int output;
  VarveRunSpeed speed;
};

G_DEFINE_FINAL_TYPE (VarveRun, varve_run, G_TYPE_OBJECT)

static void
varve_run_finalize (GObject *object)
{
  VarveRun *run = VARVE_RUN (object);

  g_clear_object (&run->job);
  g_clear_pointer (&run->only, g_free);
  g_clear_pointer (&run->state_directory, g_free);
  varve_event_sink_clear (&run->events);
  G_OBJECT_CLASS (varve_run_parent_class)->finalize (object);
}

static void
varve_run_class_init (VarveRunClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = varve_run_finalize;
}

static void
varve_run_init (VarveRun *run)
{
  run->output = -1;
  run->speed = -1;
  /* Other languages may call g_object_new(): a run of a job that is refused. */
  run->job = varve_job_new (NULL);
}

VarveRun *
varve_run_new (VarveJob *job)
{
  VarveRun *run;

  g_return_val_if_fail (VARVE_IS_JOB (job), NULL);
  run = g_object_new (VARVE_TYPE_RUN, NULL);
  g_set_object (&run->job, job);
  return run;
}

void
varve_run_set_only (VarveRun *run, const char *name)
{
  g_return_if_fail (VARVE_IS_RUN (run));
  varve_set_text (&run->only, name);
}

void
varve_run_set_state_directory (VarveRun *run, const char *path)
{
  g_return_if_fail (VARVE_IS_RUN (run));
  varve_set_text (&run->state_directory, path);
}

void
varve_run_set_event_func (VarveRun *run, VarveEventFunc func, gpointer user_data,
                          GDestroyNotify destroy)
{
  g_return_if_fail (VARVE_IS_RUN (run));
  varve_event_sink_clear (&run->events);
  run->events = (VarveEventSink){ func, user_data, destroy };
}

void
varve_run_set_output (VarveRun *run, int fd)
{
  g_return_if_fail (VARVE_IS_RUN (run));
  run->output = fd;
}

void
varve_run_set_speed (VarveRun *run, guint64 bytes_per_second)
{
  g_return_if_fail (VARVE_IS_RUN (run));
  run->speed = (int64_t)MIN (bytes_per_second, (guint64)INT64_MAX);
}

uint64_t
varve_run_speed (const VarveRunContext *context, uint64_t wanted)
{
  int64_t asked = context->speed ? *context->speed : -1;

  return asked < 0 ? wanted : (uint64_t)asked;
}

static bool
execute_action (const VarveRunContext *context, GObject *action, GCancellable *cancellable,
                GError **error)
{
  if (VARVE_IS_BACKUP_ACTION (action))
    return varve_run_backup (context, varve_backup_action_def (VARVE_BACKUP_ACTION (action)),
                             cancellable, error);
  if (VARVE_IS_EXPORT_ACTION (action))
    return varve_run_export (context, varve_export_action_def (VARVE_EXPORT_ACTION (action)),
                             cancellable, error);
  if (VARVE_IS_REVERT_ACTION (action))
    return varve_run_revert (context, varve_revert_action_def (VARVE_REVERT_ACTION (action)),
                             cancellable, error);
  if (VARVE_IS_VERIFY_ACTION (action))
    return varve_run_verify (context, varve_verify_action_def (VARVE_VERIFY_ACTION (action)),
                             cancellable, error);
  return varve_run_restore (context, varve_restore_action_def (VARVE_RESTORE_ACTION (action)),
                            cancellable, error);
}

/* A failure behind an action that was done is told apart, save for an interruption. */
static bool
partly (unsigned done, GError **error)
{
  if (done == 0 || g_error_matches (*error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return false;
  varve_reclassify (error, VARVE_ERROR_PARTIAL);
  return varve_prefix (error, "The first %u of the job's actions were done, then one failed", done);
}

gboolean
varve_run_execute (VarveRun *run, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStateDir) state = NULL;
  g_autoptr (GError) local = NULL;
  VarveRunContext context;
  GPtrArray *actions;
  unsigned done = 0;

  g_return_val_if_fail (VARVE_IS_RUN (run), FALSE);
  actions = varve_job_get_actions (run->job);
  if (!varve_job_check (run->job, error))
    return FALSE;
  state = varve_state_dir_open (run->state_directory, error);
  if (state == NULL)
    return FALSE;
  context = (VarveRunContext){ varve_job_get_name (run->job), state, &run->events, run->output,
                               &run->speed };
  for (guint i = 0; i < actions->len; i++) {
    GObject *action = g_ptr_array_index (actions, i);

    if (run->only && g_strcmp0 (varve_action_name (action), run->only) != 0)
      continue;
    if (!execute_action (&context, action, cancellable, &local)) {
      partly (done, &local);
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
    done++;
  }
  if (done == 0)
    return varve_throw (error, VARVE_ERROR_USAGE, "The job '%s' has no action %s%s%s.", context.job,
                        run->only ? "named '" : "at all", run->only ? run->only : "",
                        run->only ? "'" : "");
  return TRUE;
}
