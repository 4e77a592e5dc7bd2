/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Setters keep a copy of what they get, which may be what they have. */
#pragma once

#include <glib.h>

static inline void
varve_set_text (char **field, const char *value)
{
  char *copy = g_strdup (value);

  g_free (*field);
  *field = copy;
}
