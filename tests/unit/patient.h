/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* QEMU measures how fast the machine is before it makes a LUKS image, and on a busy one gives up now
 * and then ("Unable to get accurate CPU usage"): hence the tries. */
#pragma once

#include <glib.h>

static inline void
run_patiently (const char *directory, const char *command)
{
  g_auto (GStrv) argv = NULL;
  g_autoptr (GError) error = NULL;
  int status = -1;

  g_assert_true (g_shell_parse_argv (command, NULL, &argv, &error));
  for (int i = 0; i < 20 && status != 0; i++)
    g_assert_true (g_spawn_sync (directory, argv, NULL,
                                 G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL,
                                 NULL, &status, &error));
  g_assert_cmpint (status, ==, 0);
}
