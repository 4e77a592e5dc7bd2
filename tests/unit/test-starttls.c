/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/starttls.h"

#include <string.h>

static const uint8_t flags[] = { 0, 0, 0, 3 };
static const uint8_t starttls[] = "IHAVEOPT\0\0\0\5\0\0\0"; /* the last 0 is C's */
static const uint8_t list[] = "IHAVEOPT\0\0\0\3\0\0\0";
static const uint8_t abort_it[] = "IHAVEOPT\0\0\0\2\0\0\0";
static const uint8_t export_name[] = "IHAVEOPT\0\0\0\1\0\0\0\3vda";
static const uint8_t go[] = "IHAVEOPT\0\0\0\7\0\0\0\11\0\0\0\3vda\0";

#define ACK_STARTTLS "\0\3\350\211\4\125\145\251\0\0\0\5\0\0\0\1\0\0\0\0"

static VarveStarttls *
begin (GByteArray *out)
{
  VarveStarttls *self = g_new0 (VarveStarttls, 1);

  varve_starttls_init (self, out);
  g_assert_cmpmem (out->data, out->len, "NBDMAGICIHAVEOPT\0\3", 18);
  g_byte_array_set_size (out, 0);
  return self;
}

static VarveStarttlsState
feed (VarveStarttls *self, const void *data, size_t length, GByteArray *out)
{
  return varve_starttls_feed (self, data, length, out);
}

static void
test_straight (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);

  g_assert_cmpint (feed (self, flags, 4, out), ==, VARVE_STARTTLS_GOES_ON);
  g_assert_cmpuint (out->len, ==, 0);
  g_assert_cmpint (feed (self, starttls, 16, out), ==, VARVE_STARTTLS_READY);
  g_assert_cmpmem (out->data, out->len, ACK_STARTTLS, 20);
  g_assert_cmpuint (self->flags, ==, 3);
}

static void
test_byte_by_byte (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);

  for (size_t i = 0; i < 4; i++)
    g_assert_cmpint (feed (self, flags + i, 1, out), ==, VARVE_STARTTLS_GOES_ON);
  for (size_t i = 0; i < 25; i++)
    g_assert_cmpint (feed (self, go + i, 1, out), ==, VARVE_STARTTLS_GOES_ON);
  for (size_t i = 0; i < 15; i++)
    g_assert_cmpint (feed (self, starttls + i, 1, out), ==, VARVE_STARTTLS_GOES_ON);
  g_assert_cmpint (feed (self, starttls + 15, 1, out), ==, VARVE_STARTTLS_READY);
}

/* Any other option is answered with "TLS is required", and its data is not looked at. */
static void
test_required (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);

  feed (self, flags, 4, out);
  g_assert_cmpint (feed (self, list, 16, out), ==, VARVE_STARTTLS_GOES_ON);
  g_assert_cmpmem (out->data, out->len, "\0\3\350\211\4\125\145\251\0\0\0\3\200\0\0\5\0\0\0\0", 20);
  g_byte_array_set_size (out, 0);
  g_assert_cmpint (feed (self, go, 25, out), ==, VARVE_STARTTLS_GOES_ON);
  g_assert_cmpmem (out->data, out->len, "\0\3\350\211\4\125\145\251\0\0\0\7\200\0\0\5\0\0\0\0", 20);
  g_assert_cmpint (feed (self, starttls, 16, out), ==, VARVE_STARTTLS_READY);
}

/* What comes behind STARTTLS in clear text is not taken for something that was said under TLS. */
static void
test_injected (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);
  uint8_t both[32];

  feed (self, flags, 4, out);
  memcpy (both, starttls, 16);
  memcpy (both + 16, list, 16);
  g_assert_cmpint (feed (self, both, 32, out), ==, VARVE_STARTTLS_REFUSED);
  g_assert_cmpint (feed (self, starttls, 16, out), ==, VARVE_STARTTLS_REFUSED);
}

static void
refuse (const void *first, size_t first_length, const void *second, size_t second_length)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);

  feed (self, first, first_length, out);
  g_assert_cmpint (feed (self, second, second_length, out), ==, VARVE_STARTTLS_REFUSED);
}

static void
test_refused (void)
{
  refuse ("\0\0\0\2", 4, starttls, 16);               /* not fixed newstyle */
  refuse ("\0\0\0\7", 4, starttls, 16);               /* unknown flags */
  refuse (flags, 4, export_name, 19);                 /* an option without an answer */
  refuse (flags, 4, abort_it, 16);                    /* goodbye */
  refuse (flags, 4, "GET / HTTP/1.1\r\n", 16);        /* something else */
  refuse (flags, 4, "IHAVEOPT\0\0\0\7\0\0\20\1", 16); /* more data than anybody needs */
  refuse (flags, 4, "IHAVEOPT\0\0\0\7\377\377\377\377", 16);
}

static void
test_many_options (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);
  unsigned n = 0;

  feed (self, flags, 4, out);
  while (n < 1000 && feed (self, list, 16, out) == VARVE_STARTTLS_GOES_ON)
    n++;
  g_assert_cmpuint (n, >=, 8);
  g_assert_cmpuint (n, <=, 64);
}

/* A STARTTLS with data is wrong, and said to be. */
static void
test_starttls_data (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree VarveStarttls *self = begin (out);

  feed (self, flags, 4, out);
  g_assert_cmpint (feed (self, "IHAVEOPT\0\0\0\5\0\0\0\1x", 17, out), ==, VARVE_STARTTLS_GOES_ON);
  g_assert_cmpmem (out->data, out->len, "\0\3\350\211\4\125\145\251\0\0\0\5\200\0\0\3\0\0\0\0", 20);
  g_assert_cmpint (feed (self, starttls, 16, out), ==, VARVE_STARTTLS_READY);
}

static void
test_suits (void)
{
  g_assert_true (varve_starttls_suits ((const uint8_t *)"NBDMAGICIHAVEOPT\0\3", 3));
  g_assert_true (varve_starttls_suits ((const uint8_t *)"NBDMAGICIHAVEOPT\0\3", 1));
  g_assert_false (varve_starttls_suits ((const uint8_t *)"NBDMAGICIHAVEOPT\0\1", 3));
  g_assert_false (varve_starttls_suits ((const uint8_t *)"NBDMAGICIHAVEOPS\0\3", 3));
  g_assert_false (
      varve_starttls_suits ((const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/starttls/straight", test_straight);
  g_test_add_func ("/starttls/byte-by-byte", test_byte_by_byte);
  g_test_add_func ("/starttls/required", test_required);
  g_test_add_func ("/starttls/injected", test_injected);
  g_test_add_func ("/starttls/refused", test_refused);
  g_test_add_func ("/starttls/many-options", test_many_options);
  g_test_add_func ("/starttls/starttls-data", test_starttls_data);
  g_test_add_func ("/starttls/suits", test_suits);
  return g_test_run ();
}
