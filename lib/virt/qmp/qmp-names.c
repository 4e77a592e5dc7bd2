/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The names that a session's objects bear in QEMU: they are the only mark of whose they are, and
 * survive whoever made them. */
#include "config.h"
#include "virt/qmp/qmp-names.h"

#include <string.h>

char *
varve_qmp_name (const char *session, char kind, unsigned index)
{
  return g_strdup_printf ("varve-%s-%c-%u", session, kind, index);
}

int
varve_qmp_name_index (const char *name, const char *session, char kind)
{
  g_autofree char *prefix = g_strdup_printf ("varve-%s-%c-", session, kind);
  guint64 index;

  if (!name || !g_str_has_prefix (name, prefix) ||
      !g_ascii_string_to_unsigned (name + strlen (prefix), 10, 0, 999, &index, NULL))
    return -1;
  return (int)index;
}
