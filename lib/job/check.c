/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a single value of a job may be, whether a document or a call gave it. Names become parts of
 * paths, of bitmap names and of other programs' options, so that each kind states the few
 * characters that it takes; whatever passes here can be written to XML and read back unchanged. */
#include "config.h"
#include "job/element.h"

#include <string.h>

#include "util/clock.h"

#define LOWER   "abcdefghijklmnopqrstuvwxyz"
#define UPPER   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"
#define LETTERS LOWER UPPER

#define NAME_MAX_BYTES       64
#define OWNER_MAX_BYTES      39
#define DOMAIN_MAX_BYTES     255
#define PATH_MAX_BYTES       4095
#define CHECKPOINT_MAX_BYTES 120
#define HOST_MAX_BYTES       255
#define GROUP_MAX_BYTES      32
#define SIGN_MAX_BYTES       255

void
varve_job_complain (const VarveJobChecker *checker, const char *place, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  checker->complain (checker->data, place, message);
}

static bool
consists_of (const char *value, const char *characters, size_t max)
{
  size_t length = strlen (value);

  return length > 0 && length <= max && strspn (value, characters) == length;
}

/* UTF-8 that XML 1.0 can hold, without anything that moves a terminal's cursor or that a reader of
 * an attribute would turn into a blank. */
static bool
is_clean_text (const char *value, size_t max)
{
  size_t length = strlen (value);

  if (length == 0 || length > max || !g_utf8_validate (value, (gssize)length, NULL))
    return false;
  for (const char *p = value; *p; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (g_unichar_iscntrl (c) || c == 0xFFFE || c == 0xFFFF)
      return false;
  }
  return true;
}

static bool
is_name (const char *value)
{
  return consists_of (value, LETTERS DIGITS "_.-", NAME_MAX_BYTES);
}

static bool
is_owner (const char *value)
{
  return consists_of (value, LOWER DIGITS "-", OWNER_MAX_BYTES);
}

/* The text of an element loses the blanks at its ends, so a name cannot have any there. */
static bool
is_domain (const char *value)
{
  return is_clean_text (value, DOMAIN_MAX_BYTES) && !strchr (value, '/') && value[0] != ' ' &&
         value[strlen (value) - 1] != ' ';
}

static bool
is_disk (const char *value)
{
  return consists_of (value, LETTERS DIGITS "_.:@-", NAME_MAX_BYTES);
}

static bool
is_path (const char *value)
{
  return value[0] == '/' && is_clean_text (value, PATH_MAX_BYTES);
}

/* One that stands as an element's text. */
static bool
is_directory (const char *value)
{
  return is_path (value) && value[strlen (value) - 1] != ' ';
}

static bool
is_uuid (const char *value)
{
  return g_uuid_string_is_valid (value);
}

/* What a scheme means is up to the drivers; the two that are varve's own have one form each. */
static bool
is_uri (const char *value)
{
  g_autofree char *scheme = g_uri_parse_scheme (value);

  if (!scheme || !is_clean_text (value, PATH_MAX_BYTES) || strchr (value, ' '))
    return false;
  if (g_str_equal (scheme, "image"))
    return g_str_equal (value, "image:");
  if (g_str_has_prefix (scheme, "qmp"))
    return g_str_has_prefix (value, "qmp+unix:///") && value[strlen ("qmp+unix:///")] != '\0';
  return strstr (value, "://") != NULL;
}

static bool
is_checkpoint (const char *value)
{
  return consists_of (value, LETTERS DIGITS "_.-", CHECKPOINT_MAX_BYTES) && value[0] != '.';
}

static bool
is_qdev (const char *value)
{
  return is_clean_text (value, DOMAIN_MAX_BYTES) && !strchr (value, ' ');
}

/* A domain's name may have '@' in it, a time may not. */
static bool
is_backup (const char *value)
{
  const char *at = strrchr (value, '@');

  if (!at)
    return varve_backup_id_is_valid (value);

  g_autofree char *domain = g_strndup (value, (gsize)(at - value));
  return is_domain (domain) && (g_str_equal (at + 1, "latest") || varve_parse_time (at + 1) >= 0);
}

static bool
is_store (const char *value)
{
  return g_str_has_prefix (value, VARVE_JOB_IMAGES) && is_path (value + strlen (VARVE_JOB_IMAGES));
}

/* An address, with or without the brackets of IPv6, or a name. */
static bool
is_host (const char *value)
{
  return consists_of (value, LETTERS DIGITS "_.:%-", HOST_MAX_BYTES);
}

static bool
is_group (const char *value)
{
  return consists_of (value, LETTERS DIGITS "_.-", GROUP_MAX_BYTES);
}

static bool
is_command (const char *value)
{
  return is_clean_text (value, PATH_MAX_BYTES) && value[0] != ' ' &&
         value[strlen (value) - 1] != ' ';
}

bool
varve_job_is_nbd (const char *value)
{
  static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

  for (size_t i = 0; i < G_N_ELEMENTS (schemes); i++)
    if (g_str_has_prefix (value, schemes[i]))
      return true;
  return false;
}

static bool
is_nbd (const char *value)
{
  return varve_job_is_nbd (value) && is_clean_text (value, PATH_MAX_BYTES) && !strchr (value, ' ');
}

/* It stands as an element's text. */
static bool
is_sign (const char *value)
{
  return is_clean_text (value, SIGN_MAX_BYTES) && value[0] != ' ' &&
         value[strlen (value) - 1] != ' ';
}

static const struct {
  bool (*is) (const char *value);
  const char *rule;
} kinds[] = {
  [VARVE_JOB_VALUE_NAME] = { is_name, "1 to 64 letters, digits, '_', '.' and '-'" },
  [VARVE_JOB_VALUE_OWNER] = { is_owner, "1 to 39 lower-case letters, digits and '-'" },
  [VARVE_JOB_VALUE_DOMAIN] = { is_domain, "a name or uuid: at most 255 bytes, without '/' and "
                                          "control characters, and with no blank at its ends" },
  [VARVE_JOB_VALUE_DISK] = { is_disk, "1 to 64 letters, digits, '_', '.', ':', '@' and '-'" },
  [VARVE_JOB_VALUE_PATH] = { is_path, "an absolute path without control characters" },
  [VARVE_JOB_VALUE_DIRECTORY] = { is_directory, "an absolute path without control characters, and "
                                                "without a blank at its end" },
  [VARVE_JOB_VALUE_UUID] = { is_uuid, "a uuid, such as 6695eb01-f6a4-8304-79aa-97f2502e193f" },
  [VARVE_JOB_VALUE_URI] = { is_uri, "a URI: a local libvirt one such as qemu:///system, "
                                    "qmp+unix:///PATH, or image:" },
  [VARVE_JOB_VALUE_CHECKPOINT] = { is_checkpoint,
                                   "'auto', 'never' or a checkpoint: 1 to 120 letters, "
                                   "digits, '_', '.' and '-', with no '.' in front" },
  [VARVE_JOB_VALUE_QDEV] = { is_qdev, "a qdev id, a qdev path or a node name, without blanks" },
  [VARVE_JOB_VALUE_BACKUP] = { is_backup,
                               "a backup's id, DOMAIN@latest, or DOMAIN@TIME, with a TIME "
                               "like 2026-01-31 or 2026-01-31T23:59:00Z" },
  [VARVE_JOB_VALUE_HOST] = { is_host, "an address, or the name of a host" },
  [VARVE_JOB_VALUE_GROUP] = { is_group,
                              "the name of a group: 1 to 32 letters, digits, '_', '.' and "
                              "'-'" },
  [VARVE_JOB_VALUE_COMMAND] = { is_command, "a command in one line, without control characters" },
  [VARVE_JOB_VALUE_NBD] = { is_nbd,
                            "the URI of an NBD export, such as nbd+unix:///NAME?socket=PATH" },
  [VARVE_JOB_VALUE_SIGN] = { is_sign, "a text of at most 255 bytes in one line, without control "
                                      "characters, and with no blank at its ends" },
  [VARVE_JOB_VALUE_STORE] = { is_store, "images:DIRECTORY, with an absolute path" },
};

void
varve_job_check_value (const VarveJobChecker *checker, const char *place, VarveJobValue kind,
                       const char *what, const char *value)
{
  if (!value) {
    varve_job_complain (checker, place, "%s is missing: it must be %s.", what, kinds[kind].rule);
    return;
  }

  if (kinds[kind].is (value))
    return;

  g_autofree char *printable = varve_xml_printable (value);
  varve_job_complain (checker, place, "%s is '%s': it must be %s.", what, printable,
                      kinds[kind].rule);
}

void
varve_job_check_range (const VarveJobChecker *checker, const char *place, const char *what,
                       unsigned value, unsigned min, unsigned max)
{
  if (value < min || value > max)
    varve_job_complain (checker, place, "%s is %u: it can be %u to %u.", what, value, min, max);
}

void
varve_job_check_word (const VarveJobChecker *checker, const char *place, const char *what,
                      const char *value, const char *words)
{
  g_auto (GStrv) list = g_strsplit (words, " ", -1);

  if (value && g_strv_contains ((const char *const *)list, value))
    return;
  g_autofree char *choices = varve_xml_list_choices (words);
  varve_job_complain (checker, place, "%s is '%s': it can be %s.", what, value ? value : "",
                      choices);
}
