/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/images/sums.h"

#include <glib/gstdio.h>
#include <xxhash.h>

#include "util/durable.h"
#include "util/error.h"

static BlockSum
make_sum (uint64_t offset, uint32_t length, const char *bytes)
{
  BlockSum sum = { .offset = offset, .length = length, .state = VARVE_EXTENT_ZERO };

  if (bytes) {
    XXH128_canonical_t hash;

    XXH128_canonicalFromHash (&hash, XXH3_128bits (bytes, strlen (bytes)));
    memcpy (sum.hash, hash.digest, sizeof sum.hash);
    sum.state = VARVE_EXTENT_DATA;
  }
  return sum;
}

/* A file of three entries; its bytes are returned. */
static char *
write_file (size_t *out_length, char **out_hash)
{
  g_autofree char *dir = g_dir_make_tmp ("varve-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (dir, "vda.sums", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveSumsWriter) writer = varve_sums_writer_new (path, 1 << 30, &error);
  BlockSum sums[] = { make_sum (0, 4, "data"), make_sum (65536, 65536, NULL),
                      make_sum (1 << 20, 5, "bytes") };
  char *data = NULL;

  g_assert_no_error (error);
  for (size_t i = 0; i < G_N_ELEMENTS (sums); i++)
    g_assert_true (varve_sums_writer_add (&sums[i], writer, &error));
  g_assert_true (varve_sums_writer_finish (writer, out_hash, &error));
  g_assert_true (varve_read_file (path, 1 << 20, &data, out_length, &error));
  g_remove (path);
  g_rmdir (dir);
  return data;
}

static void
test_round_trip (void)
{
  size_t length;
  g_autofree char *hash = NULL;
  g_autofree char *data = write_file (&length, &hash);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveSums) sums = varve_sums_parse ((const uint8_t *)data, length, "test", &error);
  BlockSum first = make_sum (0, 4, "data");

  g_assert_no_error (error);
  g_assert_cmpuint (length, ==, 32 * 5);
  g_assert_cmpuint (sums->count, ==, 3);
  g_assert_cmpuint (sums->disk_size, ==, 1 << 30);
  g_assert_cmpstr (sums->hash, ==, hash);
  g_assert_cmpmem (sums->entries[0].hash, 16, first.hash, 16);
  g_assert_cmpint (sums->entries[1].state, ==, VARVE_EXTENT_ZERO);
  g_assert_cmpuint (sums->entries[2].offset, ==, 1 << 20);
}

/* Whatever single byte is damaged, and wherever the file is cut, it is noticed. */
static void
test_damage (void)
{
  size_t length;
  g_autofree char *hash = NULL;
  g_autofree char *data = write_file (&length, &hash);

  for (size_t i = 0; i < length; i++) {
    g_autoptr (GError) error = NULL;

    data[i] ^= 0x10;
    g_assert_null (varve_sums_parse ((const uint8_t *)data, length, "test", &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
    data[i] ^= 0x10;
  }
  for (size_t cut = 0; cut < length; cut++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (varve_sums_parse ((const uint8_t *)data, cut, "test", &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sums/round-trip", test_round_trip);
  g_test_add_func ("/sums/damage", test_damage);
  return g_test_run ();
}
