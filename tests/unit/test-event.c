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
    "run-started", "disk-planned", "snapshot-started", "progress", "disk-done",
    "note",        "warning",      "recovered",        "run-done",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (names); i++)
    g_assert_cmpstr (varve_event_type_get_name ((VarveEventType)i), ==, names[i]);
  g_assert_cmpstr (varve_event_type_get_name ((VarveEventType)G_N_ELEMENTS (names)), ==, "unknown");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/event/emit", test_emit);
  g_test_add_func ("/event/no-sink", test_no_sink);
  g_test_add_func ("/event/names", test_names);
  return g_test_run ();
}
