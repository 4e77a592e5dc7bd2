/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"
#include "varve-event.h"
#include "varve-job.h"
#include "varve-store.h"

G_BEGIN_DECLS

/**
 * VarveRun:
 *
 * One execution of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_RUN (varve_run_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveRun, varve_run, VARVE, RUN, GObject)

/**
 * varve_run_new:
 * @job: the job
 *
 * Prepares to run @job.
 *
 * Returns: (transfer full): the run
 *
 * Since: 0.1
 */
VARVE_API VarveRun *varve_run_new (VarveJob *job);

/**
 * varve_run_set_only:
 * @name: (nullable): the name; %NULL: all
 *
 * Runs just the action of this name.
 *
 * Since: 0.1
 */
VARVE_API void varve_run_set_only (VarveRun *run, const char *name);

/**
 * varve_run_set_state_directory:
 * @path: (type filename) (nullable): absolute path; %NULL: $VARVE_STATE_DIR, else the one set at
 * build time
 *
 * Sets where locks, session records and scratch live.
 *
 * Since: 0.1
 */
VARVE_API void varve_run_set_state_directory (VarveRun *run, const char *path);

/**
 * varve_run_set_event_func:
 * @func: (nullable) (scope notified) (closure user_data) (destroy destroy): the function
 * @destroy: runs exactly once, when @user_data is no longer needed
 *
 * Sets who is told what happens: @func is called in the thread that executes the run.
 *
 * Since: 0.1
 */
VARVE_API void varve_run_set_event_func (VarveRun *run, VarveEventFunc func, gpointer user_data,
                                         GDestroyNotify destroy);

/**
 * varve_run_set_output:
 * @fd: a descriptor that lives as long as the run; -1: where this process writes it
 *
 * Where the commands of a job write what they say on stdout.
 *
 * Since: 0.1
 */
VARVE_API void varve_run_set_output (VarveRun *run, int fd);

/**
 * varve_run_set_speed:
 * @bytes_per_second: 0: no limit
 *
 * How fast backups of this run may copy, in place of what their actions say. May be called in any thread, also while
 * the run is executed: it then holds from the next moment on.
 *
 * Since: 0.1
 */
VARVE_API void varve_run_set_speed (VarveRun *run, guint64 bytes_per_second);

/**
 * varve_run_execute:
 *
 * Runs the actions of the job in order; the first failure ends the run. May take hours; uses the
 * calling thread and its own. Children that it starts die with the calling thread.
 *
 * Errors: any %VARVE_ERROR; %VARVE_ERROR_PARTIAL when earlier actions were done;
 * %G_IO_ERROR_CANCELLED when cancelled. Whatever was begun has then been undone, or is on record
 * for the next run.
 *
 * Returns: %TRUE when all was done; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_run_execute (VarveRun *run, GCancellable *cancellable, GError **error);

/**
 * varve_recover:
 * @state_directory: (type filename) (nullable): as for varve_run_set_state_directory()
 * @dry_run: only tell
 * @func: (nullable) (scope call): gets a %VARVE_EVENT_RECOVERED for each (with @dry_run a
 * %VARVE_EVENT_NOTE), and a %VARVE_EVENT_WARNING for each that cannot be ended now
 *
 * Ends what runs left behind that were killed. Sessions of live processes are left alone.
 *
 * Errors: %VARVE_ERROR_PARTIAL when some could not be ended.
 *
 * Returns: %TRUE when nothing is left; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_recover (const char *state_directory, gboolean dry_run,
                                  VarveEventFunc func, gpointer user_data,
                                  GCancellable *cancellable, GError **error);

/**
 * varve_store_delete:
 * @store: a store
 * @backup: one of its backups
 * @with_dependents: and all that build on it; otherwise their existence is %VARVE_ERROR_REFUSED
 * @state_directory: (type filename) (nullable): as for varve_run_set_state_directory()
 * @out_deleted: (out) (optional) (transfer container) (element-type utf8): ids, in the order of
 * removal
 *
 * Removes a backup.
 *
 * Errors: %VARVE_ERROR_BUSY when a guest runs on one that is to go, or the session records of @state_directory say that a
 * revert or an instant restore is to be finished with it. A record that cannot be read is an error: it may say so.
 *
 * Returns: %TRUE when it is gone; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_store_delete (VarveStore *store, VarveBackup *backup,
                                       gboolean with_dependents, const char *state_directory,
                                       GPtrArray **out_deleted, GCancellable *cancellable,
                                       GError **error);

G_END_DECLS
