/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How often what is random is tried, and how much a mass is. Under valgrind, where all takes fifty times as long, it is
 * less: valgrind looks at how memory is used, and the sanitizers' run has the rest. */
#pragma once

#include <glib.h>

static inline unsigned
rounds_of (unsigned n)
{
  return g_getenv ("VARVE_UNDER_VALGRIND") ? (n + 3) / 4 : n;
}
