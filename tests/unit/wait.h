/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Waiting for what comes by itself. How long that takes is for the machine to say, which may be busy, or valgrind: the
 * limits here only tell when it never comes. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* For what is at an end at once, where it would else hang for a minute or for ever. */
#define AT_ONCE (25 * G_TIME_SPAN_SECOND)

#define WAIT_LIMIT (100 * G_TIME_SPAN_SECOND)

/* Until @condition holds, which is looked at every few milliseconds. */
#define wait_until(condition)                                                                      \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 wait_end = g_get_monotonic_time () + WAIT_LIMIT;                                        \
    bool wait_late = false;                                                                        \
    while (!(condition)) {                                                                         \
      if (wait_late)                                                                               \
        g_error ("Waited in vain for: %s", #condition);                                            \
      g_usleep (5000);                                                                             \
      wait_late = g_get_monotonic_time () >= wait_end;                                             \
    }                                                                                              \
  }                                                                                                \
  G_STMT_END
