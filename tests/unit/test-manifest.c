/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/manifest.h"

#include "util/error.h"

#define ID "20260101T000000Z-00000000000000aa"
/* printf nvram | xxhsum -H2 */
#define NVRAM_SUM "e120b25302ee797c9aa0e50aeaf02576"
#define BASE      "20251231T000000Z-00000000000000bb"

static VarveManifest *
make_manifest (void)
{
  VarveManifest *manifest = varve_manifest_new (ID);
  VarveManifestDisk *disk = varve_manifest_add_disk (manifest, "vda");
  g_autoptr (GBytes) nvram = g_bytes_new_static ("nvram", 5);

  manifest->domain = g_strdup ("web <01> & more");
  manifest->uuid = g_strdup ("11111111-2222-3333-4444-555555555555");
  manifest->uri = g_strdup ("qemu:///system");
  manifest->owner = g_strdup ("nightly-1f0c77ab");
  manifest->checkpoint = g_strdup ("varve.nightly-1f0c77ab." ID ".00000001");
  manifest->strategy = g_strdup ("filter");
  manifest->consistency = g_strdup ("crash");
  manifest->started = 1767225600;
  manifest->finished = 1767225660;
  manifest->pause_us = 1234;
  manifest->why_not_xml = g_strdup ("bare QEMU has no 'XML'");
  manifest->has_nvram = true;
  varve_manifest_sum_file (manifest, "nvram", nvram);
  g_ptr_array_add (manifest->notes, g_strdup ("weaker than hoped"));
  disk->size = 6442450945;
  disk->source_format = g_strdup ("qcow2");
  disk->decision = g_strdup ("incremental");
  disk->reason = g_strdup ("changed since backup " BASE);
  disk->base = g_strdup (BASE);
  disk->links = 2;
  disk->checkpoint = true;
  disk->file = g_strdup ("vda.qcow2");
  disk->file_size = 655360;
  disk->sums_file = g_strdup ("vda.sums");
  disk->sums_hash = g_strdup ("00112233445566778899aabbccddeeff");
  disk->read = 1048576;
  disk->stored = 524288;
  disk->zeroed = 524288;
  return manifest;
}

static void
test_round_trip (void)
{
  g_autoptr (VarveManifest) manifest = make_manifest ();
  g_autofree char *text = varve_manifest_format (manifest);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveManifest) read = varve_manifest_parse (text, strlen (text), "test", &error);
  g_autofree char *again = NULL;

  g_assert_no_error (error);
  again = varve_manifest_format (read);
  g_assert_cmpstr (text, ==, again);
  g_assert_cmpstr (read->domain, ==, "web <01> & more");
  g_assert_cmpuint (varve_manifest_find_disk (read, "vda")->size, ==, 6442450945);
}

static void
assert_file (const VarveManifest *manifest, const char *name, const char *text, bool good)
{
  g_autoptr (GBytes) data = g_bytes_new_static (text, strlen (text));
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_manifest_check_file (manifest, name, data, &error) == good);
  if (!good)
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
}

static void
test_files (void)
{
  g_autoptr (VarveManifest) manifest = make_manifest ();
  g_autofree char *text = varve_manifest_format (manifest);
  g_autoptr (VarveManifest) read = varve_manifest_parse (text, strlen (text), "test", NULL);

  g_assert_true (read->has_nvram);
  g_assert_nonnull (strstr (text, "<file name='nvram' bytes='5' xxh3='" NVRAM_SUM "'/>"));
  assert_file (read, "nvram", "nvram", true);
  assert_file (read, "nvram", "nvran", false);
  assert_file (read, "nvram", "nvram ", false);
  /* As from before there were sums. */
  assert_file (read, "domain.xml", "<domain/>", true);
}

/* Each replacement makes it wrong, and is said so with the line. */
static void
test_malformed (void)
{
  static const char *const wrong[][2] = {
    { "<backup version='1'", "<backup version='2'" },
    { "id='" ID "'", "id='../../etc'" },
    { "file='vda.qcow2'", "file='../vda.qcow2'" },
    { "file='vda.qcow2'", "file='/etc/passwd'" },
    { "base='" BASE "'", "base='..'" },
    { "bytes='655360'", "bytes='-1'" },
    { "links='2'", "links='99999999999999999999'" },
    { "read='1048576'", "" },
    { "name='nvram'", "name='../nvram'" },
    { "bytes='5'", "" },
    { "xxh3='" NVRAM_SUM "'", "" },
    { "type='incremental'", "type='surely'" },
    { "</disks>", "</disks><extra/>" },
    { "started='2026-01-01T00:00:00Z'", "started='yesterday'" },
  };
  g_autoptr (VarveManifest) manifest = make_manifest ();
  g_autofree char *text = varve_manifest_format (manifest);

  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GString) bad = g_string_new (text);
    g_autoptr (GError) error = NULL;

    g_assert_cmpuint (g_string_replace (bad, wrong[i][0], wrong[i][1], 1), ==, 1);
    g_assert_null (varve_manifest_parse (bad->str, bad->len, "test", &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
    g_assert_true (g_str_has_prefix (error->message, "test:"));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/manifest/round-trip", test_round_trip);
  g_test_add_func ("/manifest/files", test_files);
  g_test_add_func ("/manifest/malformed", test_malformed);
  return g_test_run ();
}
