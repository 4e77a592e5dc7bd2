/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-wire.h"

#include <gio/gio.h>

#include "util/error.h"

static void
check_event (const VarveEvent *event, gpointer data)
{
  ++*(int *)data;
  g_assert_cmpint (event->type, ==, VARVE_EVENT_DISK_PLANNED);
  g_assert_cmpstr (event->action, ==, "export");
  g_assert_cmpstr (event->domain, ==, "a \"b\"\nc");
  g_assert_cmpstr (event->disk, ==, "vda");
  g_assert_null (event->backup);
  g_assert_cmpstr (event->session, ==, "0123456789abcdef");
  g_assert_cmpuint (event->total, ==, G_GUINT64_CONSTANT (1) << 41);
  g_assert_cmpuint (event->pause_us, ==, 7);
}

static void
test_event (void)
{
  VarveEvent event = { .type = VARVE_EVENT_DISK_PLANNED,
                       .action = "export",
                       .domain = "a \"b\"\nc",
                       .disk = "vda",
                       .session = "0123456789abcdef",
                       .total = G_GUINT64_CONSTANT (1) << 41,
                       .pause_us = 7 };
  g_autofree char *line = varve_export_wire_event (&event);
  g_autoptr (GError) error = NULL;
  int count = 0;
  VarveEventSink events = { check_event, &count, NULL };

  g_assert_true (g_str_has_suffix (line, "}\n"));
  g_assert_cmpint (varve_export_wire_read (line, &events, &error), ==, VARVE_EXPORT_WIRE_EVENT);
  g_assert_no_error (error);
  g_assert_cmpint (count, ==, 1);
}

static void
test_end (void)
{
  g_autoptr (GError) busy = g_error_new (VARVE_ERROR, VARVE_ERROR_BUSY, "It is busy.");
  g_autoptr (GError) cancelled = g_error_new (G_IO_ERROR, G_IO_ERROR_CANCELLED, "Enough.");
  g_autoptr (GError) other = g_error_new (G_FILE_ERROR, G_FILE_ERROR_ACCES, "No.");
  g_autofree char *done = varve_export_wire_done ();
  g_autofree char *first = varve_export_wire_error (busy);
  g_autofree char *second = varve_export_wire_error (cancelled);
  g_autofree char *third = varve_export_wire_error (other);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (varve_export_wire_read (done, NULL, &error), ==, VARVE_EXPORT_WIRE_DONE);
  g_assert_no_error (error);
  g_assert_cmpint (varve_export_wire_read (first, NULL, &error), ==, VARVE_EXPORT_WIRE_ERROR);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_cmpstr (error->message, ==, "It is busy.");
  g_clear_error (&error);
  varve_export_wire_read (second, NULL, &error);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  varve_export_wire_read (third, NULL, &error);
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

static void
test_nonsense (void)
{
  static const char *const lines[] = {
    "", "x", "{}", "[1]", "{\"error\":7}", "{\"done\":\"yes\"}"
  };

  for (size_t i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_cmpint (varve_export_wire_read (lines[i], NULL, &error), ==, VARVE_EXPORT_WIRE_ERROR);
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/export-wire/event", test_event);
  g_test_add_func ("/export-wire/end", test_end);
  g_test_add_func ("/export-wire/nonsense", test_nonsense);
  return g_test_run ();
}
