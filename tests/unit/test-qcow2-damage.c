/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Chains that cannot be read: those that somebody else has to read, and those that are damaged. No
 * damage may be read as zeros, or as anything that QEMU would not read there. */
#include "config.h"
#include "block/qcow2-source.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "patient.h"
#include "qcow2-fixture.h"

#define CLUSTER 512u

static void
expect (const Images *f, unsigned i, VarveError code, const char *words)
{
  g_autofree char *path = image_path (f, i);
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockSource) source = block_qcow2_source_open (path, NULL, &error);
  g_autofree uint8_t *bytes = source != NULL ? read_all (source, f->rand, &error) : NULL;

  g_assert_null (bytes);
  g_assert_error (error, VARVE_ERROR, (int)code);
  if (strstr (error->message, words) == NULL || strstr (error->message, f->dir) == NULL)
    g_error ("'%s' names neither '%s' nor the file", error->message, words);
}

/* --- unsupported ------------------------------------------------------------------------------ */

static void
test_unsupported (Images *f, gconstpointer data)
{
  static const struct {
    const char *options, *words;
  } cases[] = {
    { "-o compat=0.10 0.qcow2 1M", "version 2" },
    { "-o data_file=0.data 0.qcow2 1M", "features" },
    { "-o extended_l2=on 0.qcow2 1M", "features" },
    { "-o compression_type=zstd 0.qcow2 1M", "features" },
    { "--object secret,id=s,data=x -o "
      "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 "
      "0.qcow2 1M",
      "encrypted" },
    { "-F raw -b base.raw 0.qcow2 1M", "format" },
    { "-F qcow2 -b json:{\"driver\":\"qcow2\",\"file.filename\":\"base.qcow2\"} 0.qcow2 1M",
      "relative" },
    { "-F qcow2 -b nbd:unix:/x 0.qcow2 -u 1M", "relative" },
    { "-F qcow2 -b /x/y.qcow2 0.qcow2 -u 1M", "relative" },
  };

  run (f, "qemu-img create -q -f raw base.raw 1M");
  run (f, "qemu-img create -q -f qcow2 base.qcow2 1M");
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *command = g_strconcat ("qemu-img create -q -f qcow2 ", cases[i].options, NULL);

    if (strstr (command, "luks"))
      run_patiently (f->dir, command);
    else
      run (f, "%s", command);
    expect (f, 0, VARVE_ERROR_UNSUPPORTED, cases[i].words);
  }
  run (f, "qemu-img create -q -f qcow2 0.qcow2 1M");
  run (f, "qemu-img snapshot -c one 0.qcow2");
  expect (f, 0, VARVE_ERROR_UNSUPPORTED, "snapshots");
}

/* --- damage ----------------------------------------------------------------------------------- */

static uint64_t
get (const char *path, uint64_t at, unsigned bytes)
{
  uint64_t value = 0;
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (pread (fd, (uint8_t *)&value + 8 - bytes, bytes, (off_t)at), ==, bytes);
  close (fd);
  return GUINT64_FROM_BE (value);
}

static void
put (const char *path, uint64_t at, unsigned bytes, uint64_t value)
{
  uint64_t be = GUINT64_TO_BE (value);
  int fd = open (path, O_WRONLY | O_CLOEXEC);

  g_assert_cmpint (pwrite (fd, (uint8_t *)&be + 8 - bytes, bytes, (off_t)at), ==, bytes);
  close (fd);
}

/* Number 1 on number 0, both with data, zeros and holes. */
static void
make_pair (const Images *f)
{
  static const char *const bases[] = { "", "-F qcow2 -b 0.qcow2 " };

  for (unsigned i = 0; i < 2; i++) {
    g_autofree char *path = image_path (f, i);

    run (f, "qemu-img create -q -f qcow2 -o cluster_size=%u %s%u.qcow2 96k", CLUSTER, bases[i], i);
    qemu_io (f, path,
             i == 0 ? "write -P 1 0 40k;write -z 2k 2k;write -P 2 64k 8k"
                    : "write -P 3 1k 3k;write -z 8k 4k;write -P 4 66k 1k");
  }
}

typedef struct {
  uint64_t at; /* in the header; or an index, of L1 or of L2's first table */
  unsigned bytes;
  uint64_t value;
  bool flip; /* value: bits to be turned over */
  const char *words;
} Damage;

static void
damage_each (const Images *f, uint64_t from, const Damage *cases, size_t n_cases)
{
  g_autofree char *path = image_path (f, 1);

  for (size_t i = 0; i < n_cases; i++) {
    uint64_t at = from + cases[i].at, old = get (path, at, cases[i].bytes);

    put (path, at, cases[i].bytes, cases[i].flip ? old ^ cases[i].value : cases[i].value);
    expect (f, 1, VARVE_ERROR_STORE_DAMAGED, cases[i].words);
    put (path, at, cases[i].bytes, old);
  }
  assert_like_qemu (f, 1);
}

static void
test_header (Images *f, gconstpointer data)
{
  static const Damage cases[] = {
    { 0, 4, 0, false, "begin" },
    { 8, 8, 1 << 20, false, "backing" },
    { 8, 8, 40, false, "backing" },
    { 16, 4, 2000, false, "backing" },
    { 20, 4, 8, false, "impossible" },
    { 20, 4, 22, false, "impossible" },
    { 24, 8, UINT64_C (1) << 63, false, "size" },
    { 24, 8, UINT64_C (1) << 40, false, "L1" },
    { 36, 4, 0, false, "L1" },
    { 36, 4, UINT32_MAX, false, "L1" },
    { 40, 8, 1, true, "cluster" },
    { 40, 8, 0, false, "L1" },
    { 40, 8, UINT64_C (1) << 40, false, "L1" },
    { 40, 8, -(uint64_t)512, false, "L1" },
    { 48, 8, 0, false, "refcount" },
    { 48, 8, -(uint64_t)512, false, "refcount" },
    { 56, 4, 0, false, "refcount" },
    { 56, 4, UINT32_MAX, false, "refcount" },
    { 72, 8, 2, false, "corrupt" },
    { 100, 4, 1 << 20, false, "impossible" },
    { 100, 4, 96, false, "impossible" },
  };

  make_pair (f);
  damage_each (f, 0, cases, G_N_ELEMENTS (cases));
}

static void
test_tables (Images *f, gconstpointer data)
{
  /* L1 of the upper: guest offsets 0 and 64 KiB are in entries 0 and 2; L2: 1 KiB is entry 2. */
  static const Damage l1[] = {
    { 0, 8, 1, true, "offset 0:" },
    { 0, 8, UINT64_C (1) << 56, true, "offset 0:" },
    { 0, 8, UINT64_C (1) << 62, true, "offset 0:" },
    { 16, 8, UINT64_C (1) << 40, true, "offset 65536:" },
    { 16, 8, CLUSTER, false, "offset 65536:" },
    { 0, 8, UINT64_C (1) << 63, false, "offset 0:" },
    { 0, 8, 0, false, NULL }, /* another table's place: filled in below */
  };
  static const Damage l2[] = {
    { 16, 8, 2, true, "offset 1024:" },
    { 16, 8, UINT64_C (1) << 57, true, "offset 1024:" },
    { 16, 8, UINT64_C (1) << 45, true, "offset 1024:" },
    { 16, 8, 0x55fffffffffe00, true, "offset 1024:" },
    { 16, 8, UINT64_C (1) << 63, false, "offset 1024:" },
    { 16, 8, CLUSTER, false, "impossible" },
    { 128, 8, UINT64_C (1) << 45 | 1, false, "offset 8192:" },
  };
  g_autofree char *path = image_path (f, 1);
  Damage first[G_N_ELEMENTS (l1)], into_header = { 16, 8, 0, false, "impossible place" };

  make_pair (f);
  uint64_t l1_at = get (path, 40, 8);
  memcpy (first, l1, sizeof l1);
  first[G_N_ELEMENTS (l1) - 1] =
      (Damage){ 0, 8, get (path, l1_at + 16, 8), false, "that of another place" };
  damage_each (f, l1_at, first, G_N_ELEMENTS (first));

  uint64_t l2_at = get (path, l1_at, 8) & UINT64_C (0x00fffffffffffe00);
  Damage rest[G_N_ELEMENTS (l2)];
  memcpy (rest, l2, sizeof l2);
  rest[5].value = l1_at; /* data in the place of the L1 table */
  damage_each (f, l2_at, rest, G_N_ELEMENTS (rest));
  into_header.value = get (path, 48, 8); /* … of the refcount table */
  damage_each (f, l2_at, &into_header, 1);
}

/* A compressed cluster: where it is, and what it is. */
static void
test_packed (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 1);
  uint64_t mask = (UINT64_C (1) << 54) - 1, l2_at, entry;

  run (f, "qemu-img create -q -f qcow2 1.qcow2 1M");
  qemu_io (f, "1.qcow2", "write -c -P 2 64k 64k");
  l2_at = get (path, get (path, 40, 8), 8) & UINT64_C (0x00fffffffffffe00);
  entry = get (path, l2_at + 8, 8);

  Damage table[] = {
    { 8, 8, (entry & ~mask) | UINT64_C (1) << 40, false, "impossible place" },
    { 8, 8, (entry & ~mask) | mask, false, "impossible place" },
    { 8, 8, entry & ~mask, false, "impossible place" },
    { 8, 8, (entry & ~mask) | get (path, 40, 8), false, "impossible place" },
  };
  Damage stream = { 0, 8, UINT64_MAX, false,
                    "offset 65536: its compressed data cannot be unpacked" };
  damage_each (f, l2_at, table, G_N_ELEMENTS (table));
  damage_each (f, entry & mask, &stream, 1);
}

/* Cut at each cluster: what was cut off is missed, in whichever link. */
static void
test_short (Images *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = image_path (f, 0), *whole = NULL;
  unsigned refused = 0, rounds = 0;
  gsize length;

  make_pair (f);
  g_assert_true (g_file_get_contents (path, &whole, &length, &error));
  for (gsize cut = length - 1; cut > 600; cut -= 600, rounds++) {
    g_autofree char *top = image_path (f, 1);
    g_autoptr (BlockSource) source = NULL;
    g_autofree uint8_t *bytes = NULL;

    g_assert_cmpint (truncate (path, (off_t)cut), ==, 0);
    source = block_qcow2_source_open (top, NULL, &error);
    bytes = source != NULL ? read_all (source, f->rand, &error) : NULL;
    if (bytes == NULL) {
      g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED);
      refused++;
    }
    g_clear_error (&error);
  }
  g_assert_cmpuint (refused, ==, rounds);
}

static void
test_links (Images *f, gconstpointer data)
{
  make_pair (f);
  run (f, "qemu-img rebase -u -f qcow2 -F qcow2 -b ./1.qcow2 0.qcow2");
  expect (f, 1, VARVE_ERROR_STORE_DAMAGED, "its own backing file");
  run (f, "qemu-img rebase -u -f qcow2 -F qcow2 -b gone/2.qcow2 0.qcow2");
  expect (f, 1, VARVE_ERROR_STORE_DAMAGED, "missing");
}

static void
test_missing (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 0);

  make_pair (f);
  g_assert_cmpint (remove (path), ==, 0);
  expect (f, 1, VARVE_ERROR_STORE_DAMAGED, "missing");
  expect (f, 0, VARVE_ERROR_STORE_DAMAGED, "missing");
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  expect (f, 0, VARVE_ERROR_UNSUPPORTED, "regular");
}

static void
test_endless (Images *f, gconstpointer data)
{
  g_auto (Model) model = { 0 };

  for (unsigned i = 0; i < BLOCK_QCOW2_MAX_LINKS + 1; i++)
    add_layer (f, i, 4096, 512, 0, &model);
  expect (f, BLOCK_QCOW2_MAX_LINKS, VARVE_ERROR_STORE_DAMAGED, "");
}

/* --- every byte ------------------------------------------------------------------------------- */

/* Where both read, they read the same; and where QEMU finds damage, so do we. The other way round we
 * may be the stricter. */
static void
compare_with_qemu (const Images *f, const char *path, const uint8_t *bytes, uint64_t size,
                   unsigned at)
{
  g_autoptr (GBytes) qemu = ask_qemu (f, path);

  if (qemu == NULL && bytes != NULL)
    g_test_message ("byte %u: QEMU reads nothing", at);
  if (qemu == NULL || bytes == NULL)
    return;
  g_assert_cmpuint (g_bytes_get_size (qemu), ==, size);
  assert_bytes (bytes, g_bytes_get_data (qemu, NULL), size);
}

static void
flip_byte (const Images *f, const char *path, unsigned at, bool ask, unsigned *errors)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockSource) source = NULL;
  g_autofree uint8_t *bytes = NULL;
  uint64_t old = get (path, at, 1);

  put (path, at, 1, old ^ (1u << g_rand_int_range (f->rand, 0, 8)));
  source = block_qcow2_source_open (path, NULL, &error);
  if (source != NULL && source->size <= 1 << 20)
    bytes = read_all (source, f->rand, &error);
  if (error != NULL) {
    g_assert_true (g_error_matches (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED) ||
                   g_error_matches (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED));
    ++*errors;
  }
  if (ask && bytes != NULL) {
    uint64_t size = source->size;

    g_clear_pointer (&source, block_source_free);
    compare_with_qemu (f, path, bytes, size, at);
  }
  put (path, at, 1, old);
}

static void
test_every_byte (Images *f, gconstpointer data)
{
  g_autofree char *path = image_path (f, 1);
  uint64_t l1, l2;
  unsigned errors = 0;

  make_pair (f);
  l1 = get (path, 40, 8);
  l2 = get (path, l1, 8) & UINT64_C (0x00fffffffffffe00);
  for (unsigned round = 0; round < 4; round++) {
    for (unsigned at = 0; at < CLUSTER; at++) {
      bool ask = g_rand_int_range (f->rand, 0, 100) == 0;

      flip_byte (f, path, at, ask, &errors);
      flip_byte (f, path, (unsigned)l2 + at, ask, &errors);
      if (at < 24)
        flip_byte (f, path, (unsigned)l1 + at, ask, &errors);
    }
  }
  g_test_message ("%u of 4192 flips were refused", errors);
  g_assert_cmpuint (errors, >, 1000);
  assert_like_qemu (f, 1);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*test) (Images *, gconstpointer);
  } tests[] = {
    { "/qcow2-damage/unsupported", test_unsupported },
    { "/qcow2-damage/header", test_header },
    { "/qcow2-damage/tables", test_tables },
    { "/qcow2-damage/packed", test_packed },
    { "/qcow2-damage/short", test_short },
    { "/qcow2-damage/links", test_links },
    { "/qcow2-damage/missing", test_missing },
    { "/qcow2-damage/endless", test_endless },
    { "/qcow2-damage/every-byte", test_every_byte },
  };

  g_test_init (&argc, &argv, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Images, NULL, images_set_up, tests[i].test, images_tear_down);
  return g_test_run ();
}
