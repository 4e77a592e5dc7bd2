/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Backs up a machine that is off, verifies the backup, and restores it: libvarve from C, beside a main loop.
 *
 * usage: backup-images DOMAIN STORE-DIRECTORY RESTORE-DIRECTORY DISK=IMAGE...
 *
 * The images are qcow2; all paths are absolute. To build it:
 *
 *   cc -o backup-images backup-images.c $(pkg-config --cflags --libs varve) */
#include <glib-unix.h>
#include <signal.h>
#include <varve.h>

typedef struct {
  char *domain;
  char *store; /* images:DIRECTORY */
  char *restore;
  char **disks; /* NAME=IMAGE */
} Order;

/* --- events ----------------------------------------------------------------------------------- */

/* In the thread of the main loop. */
static gboolean
show (gpointer data)
{
  const VarveEvent *event = data;

  switch (event->type) {
  case VARVE_EVENT_DISK_PLANNED:
    g_print ("%s: %s (%s)\n", event->disk, event->decision, event->text);
    break;
  case VARVE_EVENT_DISK_DONE:
    g_print ("%s: %" G_GUINT64_FORMAT " bytes written\n", event->disk, event->stored);
    break;
  case VARVE_EVENT_WARNING:
  case VARVE_EVENT_NOTE:
    g_printerr ("%s\n", event->text);
    break;
  default: /* later versions tell more */
    break;
  }
  return G_SOURCE_REMOVE;
}

/* In the thread that executes the run. The event is the library's: what is handed on is a copy. */
static void
on_event (const VarveEvent *event, gpointer user_data)
{
  g_main_context_invoke_full (NULL, G_PRIORITY_DEFAULT, show, varve_event_copy (event),
                              (GDestroyNotify)varve_event_free);
}

/* --- the work --------------------------------------------------------------------------------- */

static gboolean
execute (VarveJob *job, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveRun) run = varve_run_new (job);

  varve_run_set_event_func (run, on_event, NULL, NULL);
  return varve_run_execute (run, cancellable, error);
}

static gboolean
back_up (const Order *order, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveJob) job = varve_job_new ("example");
  VarveBackupAction *action = varve_job_add_backup (job, order->domain, "image:", order->store);

  for (char **disk = order->disks; *disk; disk++) {
    g_auto (GStrv) parts = g_strsplit (*disk, "=", 2);

    varve_backup_action_set_image (action, parts[0], parts[1], "qcow2", NULL);
  }
  return execute (job, cancellable, error);
}

/* The newest backup, if every byte of it is what was written. */
static VarveBackup *
verify (const Order *order, GCancellable *cancellable, GError **error)
{
  g_autofree char *newest = g_strconcat (order->domain, "@latest", NULL);
  g_autoptr (VarveStore) store = varve_store_open (order->store, error);
  g_autoptr (VarveBackup) backup = NULL;
  g_autoptr (GPtrArray) problems = NULL;

  if (store)
    backup = varve_store_find (store, newest, cancellable, error);
  if (!backup || !varve_store_verify (store, backup, NULL, NULL, &problems, cancellable, error))
    return NULL;
  if (problems->len > 0) {
    g_set_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED, "%u problems, the first: %s",
                 problems->len, (char *)g_ptr_array_index (problems, 0));
    return NULL;
  }
  return g_steal_pointer (&backup);
}

static gboolean
restore (const Order *order, VarveBackup *backup, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveJob) job = varve_job_new ("example");
  VarveRestoreAction *action =
      varve_job_add_restore (job, order->store, varve_backup_get_id (backup));

  varve_restore_action_set_directory (action, order->restore, "raw");
  return execute (job, cancellable, error);
}

/* In a thread of its own, as it may take hours. */
static void
work (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const Order *order = data;
  g_autoptr (VarveBackup) backup = NULL;
  GError *error = NULL;

  if (back_up (order, cancellable, &error))
    backup = verify (order, cancellable, &error);
  if (backup && restore (order, backup, cancellable, &error))
    g_task_return_pointer (task, g_steal_pointer (&backup), g_object_unref);
  else
    g_task_return_error (task, error);
}

/* --- the main loop ---------------------------------------------------------------------------- */

static gboolean
on_signal (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_CONTINUE;
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer data)
{
  GTask **done = data;

  *done = G_TASK (g_object_ref (result));
}

/* Prints what came of it; the exit status is that of the command `varve`. */
static int
report (GTask *done)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveBackup) backup = g_task_propagate_pointer (done, &error);

  if (backup) {
    g_print ("%s: backed up, verified and restored\n", varve_backup_get_id (backup));
    return 0;
  }
  g_printerr ("%s\n", error->message);
  if (g_error_matches (error, VARVE_ERROR, VARVE_ERROR_BUSY))
    g_printerr ("Somebody else is at work on it: try again later.\n");
  return varve_error_exit_status (error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GTask) done = NULL;
  g_autofree char *store = NULL;

  if (argc < 5) {
    g_printerr ("usage: %s DOMAIN STORE-DIRECTORY RESTORE-DIRECTORY DISK=IMAGE...\n", argv[0]);
    return 2;
  }
  store = g_strconcat ("images:", argv[2], NULL);
  Order order = { argv[1], store, argv[3], argv + 4 };

  g_unix_signal_add (SIGINT, on_signal, cancellable);
  g_unix_signal_add (SIGTERM, on_signal, cancellable);
  g_autoptr (GTask) task = g_task_new (NULL, cancellable, on_done, &done);
  g_task_set_task_data (task, &order, NULL);
  g_task_run_in_thread (task, work);
  while (!done)
    g_main_context_iteration (NULL, TRUE);
  return report (done);
}
