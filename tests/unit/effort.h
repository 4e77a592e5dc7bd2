/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How often what is random is tried. Under valgrind, where each try takes fifty times as long, less often: it looks at
 * how memory is used, and the sanitizers' run has all of the tries. */
#pragma once

#include <glib.h>

static inline unsigned
rounds_of (unsigned n)
{
  return g_getenv ("VARVE_UNDER_VALGRIND") ? (n + 3) / 4 : n;
}
