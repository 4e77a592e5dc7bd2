/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The text of a session record: a key file, read strictly. Recovery acts on it with our rights,
 * perhaps with a later varve than wrote it, so anything that is not exactly known is refused and
 * left to a person: an unknown version, group or key, and every value that does not look as it
 * must.
 *
 *   [session]        version=1, id, phase, uri, domain, uuid and, where set, the other fields
 *   [disk NAME]      since, scratch, target, checkpoint; one for each disk
 *   [image NAME]     path, format, key-file; one for each image of a stopped domain
 */
#include "config.h"
#include "state/record-priv.h"

#include <string.h>

#include "util/clock.h"
#include "util/error.h"

#define SESSION      "session"
#define DISK_PREFIX  "disk "
#define IMAGE_PREFIX "image "

#define MAX_ITEMS  1024
#define MAX_NAME   200
#define MAX_TEXT   4096
#define MAX_BITMAP 1023 /* QEMU's BDRV_BITMAP_MAX_NAME_SIZE */
#define MAX_UUID   64

#define HEX     "0123456789abcdef"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define PLAIN   LETTERS "0123456789_.-"

/* What a value may look like. */
typedef enum {
  KIND_TEXT,   /* no control characters, at most MAX_TEXT bytes */
  KIND_NAME,   /* as text, at most MAX_NAME bytes, no slash, not "." nor ".." */
  KIND_PLAIN,  /* as name, of libvirt's characters for checkpoints */
  KIND_BITMAP, /* as name, but as long as QEMU allows */
  KIND_PATH,   /* as text, absolute */
  KIND_ID,     /* 16 lower-case hex digits */
  KIND_UUID,   /* hex digits and '-' */
  KIND_BACKUP_ID,
} Kind;

typedef struct {
  const char *key;
  Kind kind;
  bool required;
  size_t offset; /* of the char * in the struct */
} Field;

typedef struct {
  const char *key;
  size_t offset; /* of the bool */
} Flag;

#define FIELD(type, key, kind, required, member)                                                   \
  {                                                                                                \
    key, kind, required, G_STRUCT_OFFSET (type, member)                                            \
  }

static const Field session_fields[] = {
  FIELD (VarveRecord, "id", KIND_ID, true, id),
  FIELD (VarveRecord, "uri", KIND_TEXT, true, uri),
  FIELD (VarveRecord, "domain", KIND_NAME, true, domain),
  FIELD (VarveRecord, "uuid", KIND_UUID, true, uuid),
  FIELD (VarveRecord, "owner", KIND_PLAIN, false, owner),
  FIELD (VarveRecord, "backup", KIND_BACKUP_ID, false, backup),
  FIELD (VarveRecord, "checkpoint", KIND_PLAIN, false, checkpoint),
  FIELD (VarveRecord, "store", KIND_TEXT, false, store),
  FIELD (VarveRecord, "strategy", KIND_NAME, false, strategy),
  FIELD (VarveRecord, "directory", KIND_PATH, false, directory),
  FIELD (VarveRecord, "socket", KIND_PATH, false, socket),
  FIELD (VarveRecord, "agent", KIND_PATH, false, agent),
  FIELD (VarveRecord, "nvram", KIND_PATH, false, nvram),
  FIELD (VarveRecord, "tpm", KIND_PATH, false, tpm),
  { NULL },
};

static const Flag session_flags[] = {
  { "was-running", G_STRUCT_OFFSET (VarveRecord, was_running) },
  { "frozen", G_STRUCT_OFFSET (VarveRecord, frozen) },
  { "kept", G_STRUCT_OFFSET (VarveRecord, kept) },
  { "push", G_STRUCT_OFFSET (VarveRecord, push) },
  { "stuck", G_STRUCT_OFFSET (VarveRecord, stuck) },
  { NULL },
};

static const Field disk_fields[] = {
  FIELD (VarveRecordDisk, "since", KIND_BITMAP, false, since),
  FIELD (VarveRecordDisk, "scratch", KIND_PATH, false, scratch),
  FIELD (VarveRecordDisk, "target", KIND_PATH, false, target),
  { NULL },
};

static const Flag disk_flags[] = {
  { "checkpoint", G_STRUCT_OFFSET (VarveRecordDisk, checkpoint) },
  { NULL },
};

static const Field image_fields[] = {
  FIELD (VarveRecordImage, "path", KIND_PATH, true, path),
  FIELD (VarveRecordImage, "format", KIND_PLAIN, true, format),
  FIELD (VarveRecordImage, "key-file", KIND_PATH, false, key_file),
  { NULL },
};

static const Flag no_flags[] = { { NULL } };

/* In the order of VarvePhase. */
static const char *const phases[] = { "starting", "started",   "reverting", "halted",
                                      "reverted", "preparing", "booting",   "filling" };

static bool
has_control_character (const char *value)
{
  for (const char *c = value; *c; c++) {
    if (g_ascii_iscntrl (*c))
      return true;
  }
  return false;
}

static bool
is_text (const char *value, size_t max)
{
  size_t length = strlen (value);

  return length > 0 && length <= max && g_utf8_validate (value, (gssize)length, NULL) &&
         !has_control_character (value);
}

static bool
is_name (const char *value, size_t max)
{
  return is_text (value, max) && !strchr (value, '/') && !g_str_equal (value, ".") &&
         !g_str_equal (value, "..");
}

static bool
consists_of (const char *value, const char *characters)
{
  return value[strspn (value, characters)] == '\0';
}

bool
varve_record_id_is_valid (const char *id)
{
  return strlen (id) == 16 && consists_of (id, HEX);
}

static bool
fits (const char *value, Kind kind)
{
  switch (kind) {
  case KIND_TEXT:
    return is_text (value, MAX_TEXT);
  case KIND_NAME:
    return is_name (value, MAX_NAME);
  case KIND_PLAIN:
    return is_name (value, MAX_NAME) && consists_of (value, PLAIN);
  case KIND_BITMAP:
    return is_name (value, MAX_BITMAP);
  case KIND_PATH:
    return is_text (value, MAX_TEXT) && value[0] == '/';
  case KIND_ID:
    return varve_record_id_is_valid (value);
  case KIND_UUID:
    return is_name (value, MAX_UUID) && consists_of (value, HEX "ABCDEF-");
  case KIND_BACKUP_ID:
    return varve_backup_id_is_valid (value);
  }
  return false;
}

/* A disk's name stands in the name of a group, where a key file allows no brackets; and leading or
 * trailing blanks would not be the same after reading. */
static bool
is_item_name (const char *name)
{
  return is_name (name, MAX_NAME) && !strpbrk (name, "[] \\");
}

static bool
check_fields (gconstpointer object, const Field *fields, const char *group, GError **error)
{
  for (const Field *field = fields; field->key; field++) {
    const char *value = G_STRUCT_MEMBER (const char *, object, field->offset);

    if (!value && field->required)
      return varve_throw (error, VARVE_ERROR_FAILED, "[%s] lacks '%s'.", group, field->key);
    if (value && !fits (value, field->kind)) {
      g_autofree char *shown = g_strescape (value, NULL);
      return varve_throw (error, VARVE_ERROR_FAILED,
                          "[%s] has a value that is not allowed for '%s': '%.200s'.", group,
                          field->key, shown);
    }
  }
  return true;
}

static bool
check_item (gconstpointer item, const char *name, const char *prefix, const Field *fields,
            GHashTable *seen, GError **error)
{
  if (!name || !is_item_name (name)) {
    g_autofree char *shown = g_strescape (name ? name : "", NULL);
    return varve_throw (error, VARVE_ERROR_FAILED, "'%.200s' cannot be the name of a disk.", shown);
  }

  g_autofree char *group = g_strconcat (prefix, name, NULL);
  if (!check_fields (item, fields, group, error))
    return false;
  if (!g_hash_table_add (seen, g_steal_pointer (&group)))
    return varve_throw (error, VARVE_ERROR_FAILED, "[%s%s] is there twice.", prefix, name);
  return true;
}

bool
varve_record_check (const VarveRecord *record, GError **error)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  if (!check_fields (record, session_fields, SESSION, error))
    return false;
  if ((size_t)record->phase >= G_N_ELEMENTS (phases) || record->started < 0 || record->expires < 0)
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "The phase, or the time of the start or the end, is wrong.");
  if (record->disks->len > MAX_ITEMS || record->images->len > MAX_ITEMS)
    return varve_throw (error, VARVE_ERROR_FAILED, "It has more than %d disks.", MAX_ITEMS);

  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = record->disks->pdata[i];
    if (!check_item (disk, disk->name, DISK_PREFIX, disk_fields, seen, error))
      return false;
  }
  for (guint i = 0; i < record->images->len; i++) {
    const VarveRecordImage *image = record->images->pdata[i];
    if (!check_item (image, image->disk, IMAGE_PREFIX, image_fields, seen, error))
      return false;
  }
  return true;
}

static void
format_group (GKeyFile *file, const char *prefix, const char *name, gconstpointer object,
              const Field *fields, const Flag *flags)
{
  g_autofree char *group = g_strconcat (prefix, name, NULL);

  for (const Field *field = fields; field->key; field++) {
    const char *value = G_STRUCT_MEMBER (const char *, object, field->offset);
    if (value)
      g_key_file_set_string (file, group, field->key, value);
  }
  for (const Flag *flag = flags; flag->key; flag++)
    g_key_file_set_boolean (file, group, flag->key, G_STRUCT_MEMBER (bool, object, flag->offset));
}

char *
varve_record_format (const VarveRecord *record)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();

  g_key_file_set_integer (file, SESSION, "version", VARVE_RECORD_VERSION);
  format_group (file, SESSION, "", record, session_fields, session_flags);
  g_key_file_set_string (file, SESSION, "phase", phases[record->phase]);
  g_key_file_set_int64 (file, SESSION, "started", record->started);
  if (record->expires)
    g_key_file_set_int64 (file, SESSION, "expires", record->expires);
  if (record->speed)
    g_key_file_set_uint64 (file, SESSION, "speed", record->speed);

  for (guint i = 0; i < record->disks->len; i++) {
    const VarveRecordDisk *disk = record->disks->pdata[i];
    format_group (file, DISK_PREFIX, disk->name, disk, disk_fields, disk_flags);
  }
  for (guint i = 0; i < record->images->len; i++) {
    const VarveRecordImage *image = record->images->pdata[i];
    format_group (file, IMAGE_PREFIX, image->disk, image, image_fields, no_flags);
  }
  return g_key_file_to_data (file, NULL, NULL);
}

static const Field *
find_field (const Field *fields, const char *key)
{
  while (fields->key && !g_str_equal (fields->key, key))
    fields++;
  return fields->key ? fields : NULL;
}

static const Flag *
find_flag (const Flag *flags, const char *key)
{
  while (flags->key && !g_str_equal (flags->key, key))
    flags++;
  return flags->key ? flags : NULL;
}

static bool
parse_flag (const char *value, bool *out)
{
  *out = g_str_equal (value, "true");
  return *out || g_str_equal (value, "false");
}

/* The keys of [session] that are neither text nor flags. */
static bool
parse_special (VarveRecord *record, const char *key, const char *value, bool *out_known)
{
  *out_known = true;
  /* The version was looked at before anything else. */
  if (g_str_equal (key, "version"))
    return true;
  if (g_str_equal (key, "phase")) {
    for (size_t i = 0; i < G_N_ELEMENTS (phases); i++) {
      if (g_str_equal (value, phases[i])) {
        record->phase = (VarvePhase)i;
        return true;
      }
    }
    return false;
  }
  if (g_str_equal (key, "started"))
    return g_ascii_string_to_signed (value, 10, 0, G_MAXINT64, &record->started, NULL);
  if (g_str_equal (key, "expires"))
    return g_ascii_string_to_signed (value, 10, 1, G_MAXINT64, &record->expires, NULL);
  if (g_str_equal (key, "speed"))
    return g_ascii_string_to_unsigned (value, 10, 1, G_MAXUINT64, &record->speed, NULL);
  *out_known = false;
  return true;
}

/* @record is NULL but for [session]. The values of fields are checked later, all at once. */
static bool
parse_key (GKeyFile *file, const char *group, const char *key, gpointer object, const Field *fields,
           const Flag *flags, VarveRecord *record, GError **error)
{
  const Field *field = find_field (fields, key);
  const Flag *flag = find_flag (flags, key);
  g_autofree char *value = g_key_file_get_string (file, group, key, NULL);
  bool ok = value != NULL;
  bool known = field || flag;

  if (field)
    G_STRUCT_MEMBER (char *, object, field->offset) = g_steal_pointer (&value);
  else if (ok && flag)
    ok = parse_flag (value, &G_STRUCT_MEMBER (bool, object, flag->offset));
  else if (ok && record)
    ok = parse_special (record, key, value, &known);

  if (!known)
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "[%s] has a key '%s' that this version does not know.", group, key);
  if (!ok)
    return varve_throw (error, VARVE_ERROR_FAILED, "[%s] has a value for '%s' that is not allowed.",
                        group, key);
  return true;
}

static bool
parse_group (GKeyFile *file, const char *group, gpointer object, const Field *fields,
             const Flag *flags, VarveRecord *record, GError **error)
{
  g_auto (GStrv) keys = g_key_file_get_keys (file, group, NULL, NULL);
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  for (size_t i = 0; keys && keys[i]; i++) {
    if (!g_hash_table_add (seen, keys[i]))
      return varve_throw (error, VARVE_ERROR_FAILED, "[%s] has the key '%s' twice.", group,
                          keys[i]);
    if (!parse_key (file, group, keys[i], object, fields, flags, record, error))
      return false;
  }
  return true;
}

static bool
parse_version (GKeyFile *file, GError **error)
{
  g_autofree char *value = g_key_file_get_string (file, SESSION, "version", NULL);

  if (!value)
    return varve_throw (error, VARVE_ERROR_FAILED, "It has no version in a group [session].");
  if (!g_str_equal (value, G_STRINGIFY (VARVE_RECORD_VERSION)))
    return varve_throw (error, VARVE_ERROR_FAILED,
                        "It has version '%s', and this varve knows version %d. Use the varve that "
                        "wrote it.",
                        value, VARVE_RECORD_VERSION);
  return true;
}

static bool
parse_any_group (GKeyFile *file, const char *group, VarveRecord *record, GError **error)
{
  if (g_str_equal (group, SESSION))
    return parse_group (file, group, record, session_fields, session_flags, record, error);

  if (g_str_has_prefix (group, DISK_PREFIX)) {
    VarveRecordDisk *disk = varve_record_add_disk (record, group + strlen (DISK_PREFIX));
    return parse_group (file, group, disk, disk_fields, disk_flags, NULL, error);
  }
  if (g_str_has_prefix (group, IMAGE_PREFIX)) {
    const char *name = group + strlen (IMAGE_PREFIX);
    VarveRecordImage *image = varve_record_add_image (record, name, NULL, NULL, NULL);
    return parse_group (file, group, image, image_fields, no_flags, NULL, error);
  }
  return varve_throw (error, VARVE_ERROR_FAILED,
                      "It has a group [%s] that this version does not know.", group);
}

VarveRecord *
varve_record_parse (const char *data, size_t length, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (VarveRecord) record = varve_record_new (NULL);
  g_autoptr (GError) local = NULL;

  /* A key file would end strings at a NUL, and show another text than what lies on disk. */
  if (length == 0 || memchr (data, '\0', length) ||
      !g_key_file_load_from_data (file, data, length, G_KEY_FILE_NONE, &local)) {
    varve_throw (error, VARVE_ERROR_FAILED, "It is not a key file: %s",
                 local ? local->message : "it is empty, or has a NUL in it.");
    return NULL;
  }
  if (!parse_version (file, error))
    return NULL;

  g_auto (GStrv) groups = g_key_file_get_groups (file, NULL);
  for (size_t i = 0; groups[i]; i++) {
    if (!parse_any_group (file, groups[i], record, error))
      return NULL;
  }
  if (!varve_record_check (record, error))
    return NULL;
  return g_steal_pointer (&record);
}
