/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "checkpoint/name.h"

#include <string.h>

#include "util/clock.h"

#define PREFIX "varve."

static bool
is_owner (const char *text)
{
  size_t length = strlen (text);

  return length > 9 && length <= VARVE_OWNER_LABEL_MAX + 9 && text[length - 9] == '-' &&
         strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789-") == length &&
         strspn (text + length - 8, "0123456789abcdef") == 8;
}

static bool
is_nonce (const char *text)
{
  return strlen (text) == 8 && strspn (text, "0123456789abcdef") == 8;
}

char *
varve_checkpoint_name_new (const char *owner, const char *backup)
{
  g_autofree char *nonce = varve_random_hex (4);

  g_return_val_if_fail (is_owner (owner), NULL);
  g_return_val_if_fail (varve_backup_id_is_valid (backup), NULL);
  return g_strdup_printf (PREFIX "%s.%s.%s", owner, backup, nonce);
}

bool
varve_checkpoint_name_parse (const char *name, VarveCheckpointName *out)
{
  g_auto (GStrv) parts = NULL;

  memset (out, 0, sizeof *out);
  if (!g_str_has_prefix (name, PREFIX) || strlen (name) > VARVE_CHECKPOINT_NAME_MAX)
    return false;
  parts = g_strsplit (name + strlen (PREFIX), ".", 4);
  if (g_strv_length (parts) != 3 || !is_owner (parts[0]) || !varve_backup_id_is_valid (parts[1]) ||
      !is_nonce (parts[2]))
    return false;
  out->owner = g_strdup (parts[0]);
  out->backup = g_strdup (parts[1]);
  out->nonce = g_strdup (parts[2]);
  return true;
}

void
varve_checkpoint_name_clear (VarveCheckpointName *name)
{
  g_clear_pointer (&name->owner, g_free);
  g_clear_pointer (&name->backup, g_free);
  g_clear_pointer (&name->nonce, g_free);
}

char *
varve_checkpoint_owner (const char *label, const char *store_uuid)
{
  g_autoptr (GString) owner = g_string_new (NULL);

  for (const char *p = label; *p && owner->len < VARVE_OWNER_LABEL_MAX; p++) {
    char c = g_ascii_tolower (*p);

    g_string_append_c (owner, g_ascii_isalnum (c) ? c : '-');
  }
  if (owner->len == 0)
    g_string_assign (owner, "varve");
  g_string_append_printf (owner, "-%.8s", store_uuid);
  return g_strdup (owner->str);
}
