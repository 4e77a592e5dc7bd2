/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "block/qcow2-header.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/error.h"

/* docs/interop/qcow2.txt of QEMU: all numbers big-endian. */
#define MAGIC             0x514649fbu
#define EXTENSION_END     0u
#define EXTENSION_BACKING 0xe2792acau
#define HEADER_MAX        4096u /* our own images keep all of it in the first 4 KiB */
#define BACKING_MAX       1023u

static bool
malformed (GError **error, const char *path, const char *what)
{
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "'%s' is no sound qcow2 image: %s.", path,
                      what);
}

static bool
read_start (int fd, const char *path, uint8_t *buffer, GError **error)
{
  ssize_t n;

  do
    n = pread (fd, buffer, HEADER_MAX, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "The header of '%s' cannot be read", path);
  return n >= 104 || malformed (error, path, "it is too short");
}

/* Extensions lie between the fixed part and the name of the backing file, else the end of the first
 * cluster. */
static bool
find_backing_format (const uint8_t *buffer, uint32_t at, uint32_t end, char **out)
{
  *out = NULL;
  while (at + 8 <= end) {
    uint32_t type = varve_get_be32 (buffer + at), length = varve_get_be32 (buffer + at + 4);

    at += 8;
    if (type == EXTENSION_END)
      return true;
    if (length > end - at)
      return false;
    if (type == EXTENSION_BACKING) {
      g_free (*out);
      *out = g_strndup ((const char *)buffer + at, length);
    }
    at += (length + 7) & ~7u;
  }
  return true;
}

static void
get_numbers (const uint8_t *buffer, BlockQcow2Header *out)
{
  out->cluster_bits = varve_get_be32 (buffer + 20);
  out->size = varve_get_be64 (buffer + 24);
  out->encryption = varve_get_be32 (buffer + 32);
  out->l1_length = varve_get_be32 (buffer + 36);
  out->l1 = varve_get_be64 (buffer + 40);
  out->refcount_table = varve_get_be64 (buffer + 48);
  out->refcount_table_clusters = varve_get_be32 (buffer + 56);
  out->snapshots = varve_get_be32 (buffer + 60);
  out->incompatible = varve_get_be64 (buffer + 72);
}

static bool
parse (const uint8_t *buffer, const char *path, VarveError other_version, BlockQcow2Header *out,
       GError **error)
{
  uint64_t backing_at = varve_get_be64 (buffer + 8);
  uint32_t backing_length = varve_get_be32 (buffer + 16);
  uint32_t header_length = varve_get_be32 (buffer + 100), end;

  if (varve_get_be32 (buffer) != MAGIC)
    return malformed (error, path, "it does not begin as one");
  if (varve_get_be32 (buffer + 4) != 3)
    return varve_throw (error, other_version, "'%s' is a qcow2 image of version %u instead of 3.",
                        path, varve_get_be32 (buffer + 4));
  get_numbers (buffer, out);
  if (out->cluster_bits < 9 || out->cluster_bits > 21)
    return malformed (error, path, "its header has impossible values");
  out->cluster_size = 1u << out->cluster_bits;
  end = MIN (out->cluster_size, HEADER_MAX);
  if (header_length < 104 || header_length > end || header_length % 8 != 0)
    return malformed (error, path, "its header has impossible values");
  if (backing_at != 0 && (backing_length == 0 || backing_length > BACKING_MAX ||
                          backing_at < header_length || backing_at > end - backing_length))
    return malformed (error, path, "the name of its backing file has an impossible place");
  if (!find_backing_format (buffer, header_length, backing_at != 0 ? (uint32_t)backing_at : end,
                            &out->backing_format))
    return malformed (error, path, "an extension of its header has an impossible length");
  if (backing_at != 0)
    out->backing_file = g_strndup ((const char *)buffer + backing_at, backing_length);
  return true;
}

bool
block_qcow2_header_read_fd (int fd, const char *path, BlockQcow2Header *out, GError **error)
{
  uint8_t buffer[HEADER_MAX] = { 0 };

  memset (out, 0, sizeof *out);
  return read_start (fd, path, buffer, error) &&
         parse (buffer, path, VARVE_ERROR_UNSUPPORTED, out, error);
}

bool
block_qcow2_header_read (const char *path, BlockQcow2Header *out, GError **error)
{
  uint8_t buffer[HEADER_MAX] = { 0 };
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  bool ok;

  memset (out, 0, sizeof *out);
  if (fd < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_DAMAGED, errno, "'%s' cannot be read", path);
  ok = read_start (fd, path, buffer, error) &&
       parse (buffer, path, VARVE_ERROR_STORE_DAMAGED, out, error);
  close (fd);
  return ok;
}

void
block_qcow2_header_clear (BlockQcow2Header *header)
{
  g_clear_pointer (&header->backing_file, g_free);
  g_clear_pointer (&header->backing_format, g_free);
}
