/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Failure points. The variable is read at each point and nothing is remembered, so the library
 * keeps no state of the process for them. */
#include "config.h"
#include "util/failpoint.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"

/* The action that @spec ("name[:action][,…]") gives to @name, or NULL. (transfer full) */
static char *
find_action (const char *spec, const char *name)
{
  g_auto (GStrv) entries = g_strsplit (spec, ",", -1);

  for (size_t i = 0; entries[i]; i++) {
    const char *colon = strchr (entries[i], ':');
    size_t length = colon ? (size_t)(colon - entries[i]) : strlen (entries[i]);

    if (strlen (name) == length && strncmp (entries[i], name, length) == 0)
      return g_strdup (colon ? colon + 1 : "kill");
  }
  return NULL;
}

bool
varve_failpoint (const char *name, GError **error)
{
  const char *spec = g_getenv ("VARVE_FAILPOINT");
  if (G_LIKELY (!spec))
    return true;

  g_autofree char *action = find_action (spec, name);
  if (!action)
    return true;
  if (g_str_equal (action, "kill"))
    kill (getpid (), SIGKILL);
  else if (g_str_equal (action, "stop"))
    kill (getpid (), SIGSTOP);
  else if (g_str_equal (action, "error"))
    return varve_throw (
        error, VARVE_ERROR_FAILED,
        "The failure point '%s' was reached, and VARVE_FAILPOINT says to fail there.", name);
  else
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "VARVE_FAILPOINT names the action '%s' for '%s'; it must be kill, error "
                        "or stop.",
                        action, name);
  return true;
}
