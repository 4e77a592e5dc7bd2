/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Descriptions of images as qemu-img could print them, also ones that it should not. (Chains are
 * walked in test-storage-daemon.c.) */
#include "config.h"
#include "qemu/image-info.h"

#include "qemu-fixture.h"

static VarveImageInfo *
parse (const char *text)
{
  g_autoptr (GError) error = NULL;
  VarveImageInfo *info = varve_image_info_parse ("/disk", text, &error);

  g_assert_no_error (error);
  return info;
}

static void
test_full (void)
{
  g_autoptr (VarveImageInfo) info = parse (
      "{\"format\":\"qcow2\",\"virtual-size\":4194304,\"cluster-size\":65536,\"actual-size\":7,"
      "\"encrypted\":true,\"backing-filename\":\"../b\",\"backing-filename-format\":\"raw\","
      "\"full-backing-filename\":\"/x/../b\",\"format-specific\":{\"type\":\"qcow2\",\"data\":{"
      "\"compat\":\"1.1\",\"bitmaps\":["
      "{\"name\":\"a\",\"granularity\":65536,\"flags\":[\"auto\"]},"
      "{\"name\":\"b\",\"granularity\":2147483648,\"flags\":[\"auto\",\"in-use\"]},"
      "{\"name\":\"c\",\"granularity\":512,\"flags\":[]}]}}}");
  const VarveImageBitmap *a = info->bitmaps->pdata[0], *b = info->bitmaps->pdata[1],
                         *c = info->bitmaps->pdata[2];

  g_assert_cmpuint (info->size, ==, 4194304);
  g_assert_cmpuint (info->allocated, ==, 7);
  g_assert_true (info->encrypted && info->can_persist);
  g_assert_cmpstr (info->backing_file, ==, "../b");
  g_assert_cmpstr (info->backing_format, ==, "raw");
  g_assert_cmpstr (info->full_backing_file, ==, "/x/../b");
  g_assert_true (a->recording && !a->inconsistent);
  g_assert_true (b->recording && b->inconsistent);
  g_assert_cmpuint (b->granularity, ==, 2147483648u);
  g_assert_true (!c->recording && !c->inconsistent);
}

static void
test_odd (void)
{
  g_autoptr (VarveImageInfo) info = parse (
      "{\"format\":\"qcow2\",\"virtual-size\":0,\"cluster-size\":-1,\"actual-size\":\"x\","
      "\"backing-filename\":7,\"format-specific\":{\"data\":{\"compat\":\"0.10\",\"bitmaps\":["
      "1,{},{\"name\":\"a\"},{\"name\":\"a\",\"granularity\":0},"
      "{\"name\":\"a\",\"granularity\":4294967296}]}}}");

  g_assert_cmpuint (info->cluster_size, ==, 0);
  g_assert_cmpuint (info->allocated, ==, 0);
  g_assert_null (info->backing_file);
  g_assert_false (info->can_persist);
  g_assert_cmpuint (info->bitmaps->len, ==, 0);
}

static void
test_refused (void)
{
  static const char *const texts[] = { "",
                                       "[]",
                                       "{}",
                                       "{\"format\":\"raw\"}",
                                       "{\"virtual-size\":1}",
                                       "{\"format\":\"raw\",\"virtual-size\":-1}",
                                       "{\"format\":\"raw\",\"virtual-size\":\"1\"}" };

  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (varve_image_info_parse ("/disk", texts[i], &error));
    assert_varve_error (error, VARVE_ERROR_FAILED, "'/disk'");
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image-info/full", test_full);
  g_test_add_func ("/image-info/odd", test_odd);
  g_test_add_func ("/image-info/refused", test_refused);
  return g_test_run ();
}
