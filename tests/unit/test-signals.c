/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "libexec/signals.h"

#include <signal.h>

/* Told in a thread: the signal's own may hold anything. */
static void
test_cancels (void)
{
  static const int signals[] = { SIGTERM, SIGINT };
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_signals_catch (cancellable, &error));
  g_assert_no_error (error);
  g_assert_cmpint (varve_signals_last (), ==, 0);
  g_assert_false (g_cancellable_is_cancelled (cancellable));
  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++) {
    raise (signals[i]);
    g_assert_cmpint (varve_signals_last (), ==, signals[i]);
    while (!g_cancellable_is_cancelled (cancellable))
      g_usleep (1000);
    g_cancellable_reset (cancellable);
  }
  raise (SIGPIPE);
  g_assert_false (g_cancellable_is_cancelled (cancellable));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/signals/cancels", test_cancels);
  return g_test_run ();
}
