/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Time and names made of it. All time in files and names is UTC with whole seconds; both spellings
 * are of fixed width, so that text sorts as time does. Years 1970 to 9999: nothing older was backed
 * up. */
#include "config.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "util/hex.h"

#define ID_TIME_LENGTH 16 /* YYYYMMDDThhmmssZ */
#define ID_BYTES       8
#define ID_LENGTH      (ID_TIME_LENGTH + 1 + 2 * ID_BYTES)
/* In hex: enough for a microsecond. */
#define ID_FRACTION_LENGTH 5
#define ID_FRACTIONS       (1u << (4 * ID_FRACTION_LENGTH))

/* In both templates a 0 stands for any digit and everything else for itself. */
#define ID_TIME_TEMPLATE "00000000T000000Z"
#define TIME_TEMPLATE    "0000-00-00T00:00:00Z"
#define DATE_TEMPLATE    "0000-00-00"

static bool
fits_template (const char *text, const char *template)
{
  for (; *template; text++, template ++) {
    if (*template == '0' ? !g_ascii_isdigit (*text) : *text != *template)
      return false;
  }
  return true;
}

static int
digits (const char *text, size_t count)
{
  int value = 0;

  for (size_t i = 0; i < count; i++)
    value = value * 10 + g_ascii_digit_value (text[i]);
  return value;
}

static int64_t
to_unix (int year, int month, int day, int hour, int minute, int second)
{
  g_autoptr (GDateTime) time = g_date_time_new_utc (year, month, day, hour, minute, second);

  return time ? MAX (g_date_time_to_unix (time), -1) : -1;
}

static char *
format_unix (int64_t unix_seconds, const char *format)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (unix_seconds);

  /* Outside of the years 1 to 9999: only a caller's mistake can lead here. */
  g_return_val_if_fail (time != NULL, NULL);
  return g_date_time_format (time, format);
}

/* getrandom(2) blocks only until the kernel's pool is ready, once after boot; requests of up to 256
 * bytes come back whole unless a signal arrives first. */
static void
fill_random (uint8_t *bytes, size_t length)
{
  while (length > 0) {
    ssize_t got = getrandom (bytes, MIN (length, 256), 0);
    if (got < 0) {
      if (errno != EINTR)
        g_error ("The kernel gives no random numbers: %s", g_strerror (errno));
      continue;
    }
    bytes += got;
    length -= (size_t)got;
  }
}

char *
varve_random_hex (size_t bytes)
{
  g_autofree uint8_t *raw = g_malloc (bytes);

  fill_random (raw, bytes);
  return varve_hex (raw, bytes);
}

/* @fraction is what sorts ids of one second. */
static char *
format_id (int64_t seconds, unsigned fraction)
{
  g_autofree char *time = format_unix (seconds, "%Y%m%dT%H%M%SZ");
  g_autofree char *random = varve_random_hex (ID_BYTES);

  return g_strdup_printf ("%s-%0*x%s", time, ID_FRACTION_LENGTH, fraction,
                          random + ID_FRACTION_LENGTH);
}

char *
varve_backup_id_new (const char *last)
{
  int64_t now = g_get_real_time ();
  char *id = format_id (now / G_USEC_PER_SEC, (unsigned)(now % G_USEC_PER_SEC));
  int64_t seconds = varve_backup_id_time (last);

  if (seconds < 0 || strcmp (id, last) > 0)
    return id;
  g_free (id);
  g_autofree char *text = g_strndup (last + ID_TIME_LENGTH + 1, ID_FRACTION_LENGTH);
  guint64 fraction = 0;
  g_ascii_string_to_unsigned (text, 16, 0, ID_FRACTIONS, &fraction, NULL);
  return fraction + 1 < ID_FRACTIONS ? format_id (seconds, (unsigned)fraction + 1)
                                     : format_id (seconds + 1, 0);
}

int64_t
varve_backup_id_time (const char *id)
{
  if (!id || strlen (id) != ID_LENGTH || !fits_template (id, ID_TIME_TEMPLATE "-"))
    return -1;
  if (strspn (id + ID_TIME_LENGTH + 1, "0123456789abcdef") != 2 * ID_BYTES)
    return -1;
  return to_unix (digits (id, 4), digits (id + 4, 2), digits (id + 6, 2), digits (id + 9, 2),
                  digits (id + 11, 2), digits (id + 13, 2));
}

bool
varve_backup_id_is_valid (const char *id)
{
  return varve_backup_id_time (id) >= 0;
}

char *
varve_format_time (int64_t unix_seconds)
{
  return format_unix (unix_seconds, "%Y-%m-%dT%H:%M:%SZ");
}

int64_t
varve_parse_time (const char *text)
{
  if (!text)
    return -1;

  size_t length = strlen (text);
  if (length == strlen (DATE_TEMPLATE) && fits_template (text, DATE_TEMPLATE))
    return to_unix (digits (text, 4), digits (text + 5, 2), digits (text + 8, 2), 0, 0, 0);
  if (length == strlen (TIME_TEMPLATE) && fits_template (text, TIME_TEMPLATE))
    return to_unix (digits (text, 4), digits (text + 5, 2), digits (text + 8, 2),
                    digits (text + 11, 2), digits (text + 14, 2), digits (text + 17, 2));
  return -1;
}
