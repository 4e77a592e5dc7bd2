/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A command that is run on an export session: it finds the session by its environment, and its exit status decides
 * whether the checkpoint is kept. The session is held by a connection: when this process dies, it ends. */
#include "config.h"
#include "run/export.h"

#include <signal.h>
#include <unistd.h>

#include "run/export-control.h"
#include "run/export-host.h"
#include "run/varve-exports.h"
#include "util/error.h"

/* A command that was told to end gets so long. */
#define GRACE_MS 5000
#define POLL_MS  20

static void
set_environment (GSubprocessLauncher *launcher, VarveExport *export)
{
  GPtrArray *disks = varve_export_get_disks (export);

  g_subprocess_launcher_setenv (launcher, "VARVE_SESSION", varve_export_get_path (export), TRUE);
  for (guint i = 0; i < disks->len; i++) {
    const VarveExportDisk *disk = g_ptr_array_index (disks, i);
    g_autofree char *name = g_strconcat ("VARVE_URI_", disk->name, NULL);

    g_strcanon (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_", '_');
    g_subprocess_launcher_setenv (launcher, name, disk->uri, TRUE);
    if (disks->len == 1)
      g_subprocess_launcher_setenv (launcher, "uri", disk->uri, TRUE);
  }
}

static GSubprocess *
spawn (const VarveRunContext *context, VarveExport *export, const char *command, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher =
      g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDIN_INHERIT);
  const char *argv[] = { "/bin/sh", "-c", command, NULL };
  GSubprocess *process;

  set_environment (launcher, export);
  if (context->output >= 0)
    g_subprocess_launcher_take_stdout_fd (launcher, dup (context->output));
  process = g_subprocess_launcher_spawnv (launcher, argv, error);
  if (!process)
    varve_prefix (error, "The command could not be started");
  return process;
}

/* One that is interrupted is told to end, and killed when it does not. */
static void
wait_for_end (GSubprocess *process, GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;

  if (g_subprocess_wait (process, cancellable, &error))
    return;
  g_subprocess_send_signal (process, SIGTERM);
  for (int waited = 0; waited < GRACE_MS; waited += POLL_MS) {
    if (!g_subprocess_get_identifier (process))
      return;
    g_usleep (POLL_MS * 1000);
  }
  g_subprocess_force_exit (process);
  g_subprocess_wait (process, NULL, NULL);
}

/* What the command has come to; @error says so where it is not success. */
static bool
run (const VarveRunContext *context, VarveExport *export, const char *command,
     GCancellable *cancellable, GError **error)
{
  g_autoptr (GSubprocess) process = spawn (context, export, command, error);

  if (!process)
    return false;
  wait_for_end (process, cancellable);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return false;
  if (g_subprocess_get_successful (process))
    return true;
  if (g_subprocess_get_if_signaled (process))
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "The command was ended by signal %d: the checkpoint is dropped.",
                        g_subprocess_get_term_sig (process));
  return varve_throw (error, VARVE_ERROR_FAILED,
                      "The command ended with status %d: the checkpoint is dropped.",
                      g_subprocess_get_exit_status (process));
}

bool
varve_export_run_command (const VarveRunContext *context, const VarveExportDef *def,
                          const char *session, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = varve_export_file (context->state, session, "sock");
  g_autoptr (VarveExport) export = NULL;
  g_autoptr (GError) first = NULL, second = NULL;
  int fd = varve_export_control_connect (path, error);
  bool ok;

  if (fd < 0)
    return false;
  ok = varve_export_control_hold (fd, &first);
  if (ok)
    export = varve_export_find (varve_state_dir_path (context->state), session, &first);
  ok = export && run (context, export, def->command, cancellable, &first);
  varve_export_control_end (fd, ok, NULL, &second);
  varve_export_control_see_off (fd);
  close (fd);
  varve_keep_first (&first, &second);
  if (!first)
    return true;
  g_propagate_error (error, g_steal_pointer (&first));
  return false;
}
