/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "checkpoint/name.h"

#include <string.h>

#include "util/clock.h"

#define PREFIX      "varve."
#define FROZEN      "varve-"
#define SESSION_LEN 16
#define SESSION_END (strlen (FROZEN) + SESSION_LEN)
#define OWNER_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-"
#define STORE_LEN   9 /* '-' and 8 hex */
#define OWNER_MAX   (VARVE_OWNER_LABEL_MAX + STORE_LEN)

bool
varve_checkpoint_owner_has_store (const char *owner)
{
  return !g_str_has_prefix (owner, VARVE_OWNER_NO_STORE);
}

static bool
is_owner (const char *text)
{
  size_t length = strlen (text);

  if (length > OWNER_MAX || strspn (text, OWNER_CHARS) != length)
    return false;
  if (!varve_checkpoint_owner_has_store (text))
    return length > strlen (VARVE_OWNER_NO_STORE);
  return length > STORE_LEN && text[length - STORE_LEN] == '-' &&
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

bool
varve_checkpoint_is_frozen (const char *name)
{
  return g_str_has_prefix (name, FROZEN) && strlen (name) > SESSION_END &&
         strspn (name + strlen (FROZEN), "0123456789abcdef") == SESSION_LEN &&
         g_str_has_prefix (name + SESSION_END, "-t-");
}

/* What does not fit becomes '-', what is too long is cut. */
static void
append_label (GString *owner, const char *label)
{
  size_t end = owner->len + VARVE_OWNER_LABEL_MAX;

  for (const char *p = label; *p && owner->len < end; p++) {
    char c = g_ascii_tolower (*p);

    g_string_append_c (owner, g_ascii_isalnum (c) ? c : '-');
  }
}

char *
varve_checkpoint_owner (const char *label, const char *store_uuid)
{
  g_autoptr (GString) owner = g_string_new (NULL);

  append_label (owner, *label ? label : "varve");
  /* Never to be taken for an owner without a store. */
  if (!varve_checkpoint_owner_has_store (owner->str))
    owner->str[1] = 'x';
  g_string_append_printf (owner, "-%.8s", store_uuid);
  return g_strdup (owner->str);
}

char *
varve_checkpoint_owner_without_store (const char *label)
{
  g_autoptr (GString) owner = g_string_new (VARVE_OWNER_NO_STORE);

  append_label (owner, *label ? label : "varve");
  return g_strdup (owner->str);
}

bool
varve_checkpoint_owner_matches (const char *owner, const char *label)
{
  g_autofree char *without = varve_checkpoint_owner_without_store (label);
  g_autofree char *with = varve_checkpoint_owner (label, "");

  return strcmp (owner, label) == 0 || strcmp (owner, without) == 0 ||
         (varve_checkpoint_owner_has_store (owner) && strlen (owner) == strlen (with) + 8 &&
          g_str_has_prefix (owner, with));
}
