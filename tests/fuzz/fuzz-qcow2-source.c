/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Images: whatever the bytes are, there is a source or an error of the store; and a source gives
 * bytes that its map agrees with, or an error. A backing file is not followed far: it is looked for
 * among the open files of this process, where there is no other image. */
#include "config.h"
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "block/qcow2-source.h"
#include "util/error.h"

#define PART (UINT64_C (256) << 10)

static void
check_error (const GError *error)
{
  g_assert_nonnull (error);
  g_assert_true (g_error_matches (error, VARVE_ERROR, VARVE_ERROR_STORE_DAMAGED) ||
                 g_error_matches (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED) ||
                 g_error_matches (error, VARVE_ERROR, VARVE_ERROR_STORE_UNREACHABLE));
}

static void
read_part (BlockSource *source, uint64_t offset, uint64_t length)
{
  g_autoptr (VarveExtents) map = varve_extents_new ();
  g_autofree uint8_t *bytes = g_malloc (length + 1);
  g_autoptr (GError) error = NULL;

  if (!block_source_read (source, offset, bytes, length, &error)) {
    check_error (error);
    return;
  }
  g_assert_true (block_source_extents (source, offset, length, map, &error));
  for (size_t i = 0; i < varve_extents_count (map); i++) {
    const VarveExtent *extent = varve_extents_get (map, i);
    for (uint64_t j = 0; extent->state != VARVE_EXTENT_DATA && j < extent->length; j++)
      g_assert_cmphex (bytes[extent->offset - offset + j], ==, 0);
  }
}

static void
try_image (const char *path, bool alone)
{
  BlockQcow2SourceOptions options = { .alone = alone };
  g_autoptr (GError) error = NULL;
  g_autoptr (BlockSource) source = block_qcow2_source_open (path, &options, &error);

  if (source == NULL) {
    check_error (error);
    return;
  }
  read_part (source, 0, MIN (source->size, PART));
  read_part (source, source->size - MIN (source->size, PART), MIN (source->size, PART));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  int fd = memfd_create ("image", MFD_CLOEXEC);
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", fd);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, data, size), ==, (ssize_t)size);
  try_image (path, true);
  try_image (path, false);
  close (fd);
  return 0;
}
