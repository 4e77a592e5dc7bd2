/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The sink of events: destroy runs exactly once, and no sink is no crash. */
#include "config.h"
#include "util/event.h"

typedef struct {
  int told;
  int destroyed;
  VarveEventType last;
} Listener;

static void
on_event (const VarveEvent *event, gpointer data)
{
  Listener *listener = data;

  listener->told++;
  listener->last = event->type;
}

static void
on_destroy (gpointer data)
{
  ((Listener *)data)->destroyed++;
}

static void
test_emit (void)
{
  Listener listener = { 0 };
  VarveEventSink sink = { on_event, &listener, on_destroy };
  VarveEvent event = { .type = VARVE_EVENT_WARNING, .text = "x" };

  varve_event_emit (&sink, &event);
  varve_event_emit (&sink, &event);
  g_assert_cmpint (listener.told, ==, 2);
  g_assert_cmpint (listener.last, ==, VARVE_EVENT_WARNING);
  g_assert_cmpint (listener.destroyed, ==, 0);

  varve_event_sink_clear (&sink);
  varve_event_sink_clear (&sink);
  varve_event_emit (&sink, &event);
  g_assert_cmpint (listener.told, ==, 2);
  g_assert_cmpint (listener.destroyed, ==, 1);
}

static void
test_no_sink (void)
{
  Listener listener = { 0 };
  VarveEventSink deaf = { NULL, &listener, on_destroy };
  VarveEvent event = { .type = VARVE_EVENT_PROGRESS };

  varve_event_emit (NULL, &event);
  varve_event_emit (&deaf, &event);
  varve_event_sink_clear (&deaf);
  g_assert_cmpint (listener.told, ==, 0);
  g_assert_cmpint (listener.destroyed, ==, 1);
}

static void
test_names (void)
{
  static const char *const names[] = {
    "run-started", "disk-planned", "snapshot-started", "progress",     "disk-done", "note",
    "warning",     "recovered",    "run-done",         "export-ready", "problem",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (names); i++)
    g_assert_cmpstr (varve_event_type_get_name ((VarveEventType)i), ==, names[i]);
  g_assert_cmpstr (varve_event_type_get_name ((VarveEventType)G_N_ELEMENTS (names)), ==, "unknown");
}

static void
test_copy (void)
{
  char text[] = "first backup of this disk";
  VarveEvent event = { .type = VARVE_EVENT_DISK_DONE,
                       .action = "backup",
                       .domain = "web01",
                       .disk = "vda",
                       .backup = "20260101T000000Z-00000000000000aa",
                       .decision = "full",
                       .text = text,
                       .stored = 42 };
  g_autoptr (VarveEvent) copy = g_boxed_copy (VARVE_TYPE_EVENT, &event);

  memset (text, 'x', sizeof text - 1);
  g_assert_cmpint (copy->type, ==, VARVE_EVENT_DISK_DONE);
  g_assert_cmpstr (copy->action, ==, "backup");
  g_assert_cmpstr (copy->domain, ==, "web01");
  g_assert_cmpstr (copy->disk, ==, "vda");
  g_assert_cmpstr (copy->backup, ==, "20260101T000000Z-00000000000000aa");
  g_assert_cmpstr (copy->decision, ==, "full");
  g_assert_cmpstr (copy->text, ==, "first backup of this disk");
  g_assert_cmpuint (copy->stored, ==, 42);
  varve_event_free (NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/event/emit", test_emit);
  g_test_add_func ("/event/no-sink", test_no_sink);
  g_test_add_func ("/event/names", test_names);
  g_test_add_func ("/event/copy", test_copy);
  return g_test_run ();
}
