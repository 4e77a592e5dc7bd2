/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Time and the names made of it. The pairs of text and seconds come from date(1). */
#include "config.h"
#include "util/clock.h"

#include <string.h>

static const struct {
  const char *text;
  int64_t seconds;
} times[] = {
  { "1970-01-01T00:00:00Z", 0 },
  { "2000-02-29T12:34:56Z", 951827696 },
  { "2026-11-21T02:00:00Z", 1795226400 },
  { "2038-01-19T03:14:08Z", 2147483648 },
  { "9999-12-31T23:59:59Z", 253402300799 },
};

static void
test_time (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (times); i++) {
    g_autofree char *text = varve_format_time (times[i].seconds);
    g_assert_cmpstr (text, ==, times[i].text);
    g_assert_cmpint (varve_parse_time (times[i].text), ==, times[i].seconds);
  }
  g_assert_cmpint (varve_parse_time ("2026-11-21"), ==, 1795219200);
}

static void
test_not_a_time (void)
{
  static const char *const wrong[] = {
    "",
    "now",
    "2026",
    "2026-11-21T02:00:00",
    "2026-11-21 02:00:00Z",
    "2026-11-21T02:00:00z",
    "2026-11-21T02:00:00Z ",
    "2026-13-21",
    "2026-02-29",
    "2026-00-10",
    "2026-11-21T24:00:00Z",
    "2026-11-21T02:60:00Z",
    "1969-12-31",
    "1969-12-31T23:00:00Z",
    "+026-11-21",
    "2026-1--21",
  };

  g_assert_cmpint (varve_parse_time (NULL), ==, -1);
  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++)
    g_assert_cmpint (varve_parse_time (wrong[i]), ==, -1);
}

static void
test_backup_id (void)
{
  int64_t before = g_get_real_time () / G_USEC_PER_SEC;
  g_autofree char *a = varve_backup_id_new (NULL);
  g_autofree char *b = varve_backup_id_new (NULL);
  int64_t after = g_get_real_time () / G_USEC_PER_SEC;

  g_assert_cmpuint (strlen (a), ==, 33);
  g_assert_cmpstr (a, !=, b);
  g_assert_true (varve_backup_id_is_valid (a));
  g_assert_cmpint (varve_backup_id_time (a), >=, before);
  g_assert_cmpint (varve_backup_id_time (a), <=, after);
  g_assert_cmpint (varve_backup_id_time ("20261121T020000Z-0123456789abcdef"), ==, 1795226400);
}

/* Chains and "the newest" go by the order of ids. */
static void
test_backup_id_order (void)
{
  g_autofree char *last = varve_backup_id_new (NULL);
  g_autofree char *behind = NULL;

  for (unsigned i = 0; i < 1000; i++) {
    g_autofree char *next = varve_backup_id_new (last);

    g_assert_cmpstr (next, >, last);
    g_free (last);
    last = g_steal_pointer (&next);
  }
  behind = varve_backup_id_new ("29991231T235959Z-ffffffffffffffff");
  g_assert_true (g_str_has_prefix (behind, "30000101T000000Z-"));
}

static void
test_not_a_backup_id (void)
{
  static const char *const wrong[] = {
    "",
    "20261121T020000Z",
    "20261121T020000Z-0123456789abcde",
    "20261121T020000Z-0123456789abcdef0",
    "20261121T020000Z-0123456789abcdeF",
    "20261121T020000Z_0123456789abcdef",
    "20261121T020000Z-0123456789abcde/",
    "20261321T020000Z-0123456789abcdef",
    "20261121T020061Z-0123456789abcdef",
    "../61121T020000Z-0123456789abcdef",
    "2026112 T020000Z-0123456789abcdef",
  };

  g_assert_false (varve_backup_id_is_valid (NULL));
  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_assert_false (varve_backup_id_is_valid (wrong[i]));
    g_assert_cmpint (varve_backup_id_time (wrong[i]), ==, -1);
  }
}

static void
test_random (void)
{
  g_autofree char *none = varve_random_hex (0);
  g_autofree char *a = varve_random_hex (1000);
  g_autofree char *b = varve_random_hex (1000);

  g_assert_cmpstr (none, ==, "");
  g_assert_cmpuint (strlen (a), ==, 2000);
  g_assert_cmpuint (strspn (a, "0123456789abcdef"), ==, 2000);
  g_assert_cmpstr (a, !=, b);
  /* Of 1000 bytes, every hex digit is there but with a chance of 16 × (15/16)^2000 < 10^-54. */
  for (const char *digit = "0123456789abcdef"; *digit; digit++)
    g_assert_nonnull (strchr (a, *digit));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/clock/time", test_time);
  g_test_add_func ("/clock/backup-id-order", test_backup_id_order);
  g_test_add_func ("/clock/not-a-time", test_not_a_time);
  g_test_add_func ("/clock/backup-id", test_backup_id);
  g_test_add_func ("/clock/not-a-backup-id", test_not_a_backup_id);
  g_test_add_func ("/clock/random", test_random);
  return g_test_run ();
}
