/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A host that is played here, and those who talk to it in threads of their own. */
#include "config.h"
#include "run/export-control.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/error.h"
#include "wait.h"

typedef struct {
  char *dir;
  char *path;
  VarveExportControl *control;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->dir = g_dir_make_tmp ("varve-control-XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->dir, "sock", NULL);
  f->control = varve_export_control_new (f->path, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_export_control_free (f->control);
  g_assert_true (varve_remove_tree (f->dir, NULL));
  g_free (f->path);
  g_free (f->dir);
}

static int
connect_or_fail (const Fixture *f)
{
  g_autoptr (GError) error = NULL;
  int fd = varve_export_control_connect (f->path, &error);

  g_assert_no_error (error);
  return fd;
}

/* Until something is asked for, or nothing for a while. */
static VarveExportAsked
wait_for (const Fixture *f)
{
  for (int i = 0; i < 20; i++) {
    VarveExportAsked asked = varve_export_control_wait (f->control, 50, NULL);

    if (asked != VARVE_EXPORT_ASKED_NOTHING)
      return asked;
  }
  return VARVE_EXPORT_ASKED_NOTHING;
}

typedef struct {
  int fd;
  bool keep;
  bool ok;
  GError *error;
} Asking;

static gpointer
ask (gpointer data)
{
  Asking *asking = data;

  asking->ok = varve_export_control_end (asking->fd, asking->keep, NULL, &asking->error);
  return NULL;
}

static void
test_end (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) lost =
      g_error_new (VARVE_ERROR, VARVE_ERROR_SOURCE_LOST, "It broke,\nin two lines.");
  struct stat st;

  g_assert_cmpint (stat (f->path, &st), ==, 0);
  g_assert_cmpuint (st.st_mode & 0777, ==, 0600);
  for (int keep = 0; keep < 2; keep++) {
    Asking asking = { .fd = connect_or_fail (f), .keep = keep };
    GThread *thread = g_thread_new ("ask", ask, &asking);

    g_assert_cmpint (wait_for (f), ==, keep ? VARVE_EXPORT_ASKED_KEEP : VARVE_EXPORT_ASKED_DISCARD);
    varve_export_control_answer (f->control, keep ? lost : NULL);
    g_thread_join (thread);
    g_assert_true (asking.ok == !keep);
    if (keep) {
      g_assert_error (asking.error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
      g_assert_cmpstr (asking.error->message, ==, "It broke, in two lines.");
    }
    g_clear_error (&asking.error);
    close (asking.fd);
  }
}

static void
test_holder (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int other = connect_or_fail (f), holder = connect_or_fail (f);

  g_assert_true (varve_export_control_hold (holder, &error));
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_NOTHING);
  close (other);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_NOTHING);
  close (holder);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_HOLDER_LEFT);
}

/* A host that was busy hears all of a short command at once. */
static void
test_at_once (Fixture *f, gconstpointer data)
{
  int holder = connect_or_fail (f);

  g_assert_cmpint (send (holder, "hold\nend keep\n", 14, 0), ==, 14);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_KEEP);
  varve_export_control_answer (f->control, NULL);
  close (holder);
}

/* The host dies before it has answered. */
static void
test_dead (Fixture *f, gconstpointer data)
{
  Asking asking = { .fd = connect_or_fail (f), .keep = true };
  GThread *thread = g_thread_new ("ask", ask, &asking);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_KEEP);
  g_clear_pointer (&f->control, varve_export_control_free);
  g_thread_join (thread);
  g_assert_error (asking.error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&asking.error);
  close (asking.fd);
  g_assert_cmpint (varve_export_control_connect (f->path, &error), ==, -1);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

/* Whoever talks nonsense, or without end, is no more than that. */
static void
test_nonsense (Fixture *f, gconstpointer data)
{
  int first = connect_or_fail (f), second = connect_or_fail (f), third = connect_or_fail (f);
  char buffer[1];

  g_assert_cmpint (send (first, "end everything\n", 15, 0), ==, 15);
  for (int i = 0; i < 40; i++)
    send (second, "aaaaaaaa", 8, MSG_NOSIGNAL);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_NOTHING);
  g_assert_cmpint (recv (second, buffer, 1, 0), <=, 0);
  /* In pieces. */
  g_assert_cmpint (send (third, "end di", 6, 0), ==, 6);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_NOTHING);
  g_assert_cmpint (send (third, "scard\n", 6, 0), ==, 6);
  g_assert_cmpint (wait_for (f), ==, VARVE_EXPORT_ASKED_DISCARD);
  close (first);
  close (second);
  close (third);
}

static void
test_cancel (Fixture *f, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  gint64 begun = g_get_monotonic_time ();

  g_cancellable_cancel (cancellable);
  g_assert_cmpint (varve_export_control_wait (f->control, 60000, cancellable), ==,
                   VARVE_EXPORT_ASKED_NOTHING);
  g_assert_cmpint (g_get_monotonic_time () - begun, <, AT_ONCE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/export-control/end", Fixture, NULL, set_up, test_end, tear_down);
  g_test_add ("/export-control/holder", Fixture, NULL, set_up, test_holder, tear_down);
  g_test_add ("/export-control/at-once", Fixture, NULL, set_up, test_at_once, tear_down);
  g_test_add ("/export-control/dead", Fixture, NULL, set_up, test_dead, tear_down);
  g_test_add ("/export-control/nonsense", Fixture, NULL, set_up, test_nonsense, tear_down);
  g_test_add ("/export-control/cancel", Fixture, NULL, set_up, test_cancel, tear_down);
  return g_test_run ();
}
