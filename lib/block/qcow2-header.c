/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "block/qcow2-header.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"

/* docs/interop/qcow2.txt of QEMU: all numbers big-endian. */
#define MAGIC             0x514649fbu
#define EXTENSION_END     0u
#define EXTENSION_BACKING 0xe2792acau
#define HEADER_MAX        4096u /* our own images keep all of it in the first 4 KiB */
#define BACKING_MAX       1023u

static uint32_t
get32 (const uint8_t *p)
{
  uint32_t value;

  memcpy (&value, p, sizeof value);
  return GUINT32_FROM_BE (value);
}

static uint64_t
get64 (const uint8_t *p)
{
  uint64_t value;

  memcpy (&value, p, sizeof value);
  return GUINT64_FROM_BE (value);
}

static bool
malformed (GError **error, const char *path, const char *what)
{
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "'%s' is no sound qcow2 image: %s.", path,
                      what);
}

static bool
read_start (const char *path, uint8_t *buffer, GError **error)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : pread (fd, buffer, HEADER_MAX, 0);
  int errnum = errno;

  if (fd >= 0)
    close (fd);
  if (n < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_DAMAGED, errnum, "'%s' cannot be read",
                              path);
  return n >= 104 || malformed (error, path, "it is too short");
}

static char *
find_backing_format (const uint8_t *buffer, uint32_t at)
{
  while (at <= HEADER_MAX - 8) {
    uint32_t type = get32 (buffer + at), length = get32 (buffer + at + 4);

    at += 8;
    if (type == EXTENSION_END || length > HEADER_MAX - at)
      return NULL;
    if (type == EXTENSION_BACKING)
      return g_strndup ((const char *)buffer + at, length);
    at += (length + 7) & ~7u;
  }
  return NULL;
}

bool
block_qcow2_header_read (const char *path, BlockQcow2Header *out, GError **error)
{
  uint8_t buffer[HEADER_MAX] = { 0 };
  uint64_t backing_at;
  uint32_t backing_length, bits, header_length;

  memset (out, 0, sizeof *out);
  if (!read_start (path, buffer, error))
    return false;
  if (get32 (buffer) != MAGIC || get32 (buffer + 4) != 3)
    return malformed (error, path, "it has not the header of version 3");
  backing_at = get64 (buffer + 8);
  backing_length = get32 (buffer + 16);
  bits = get32 (buffer + 20);
  header_length = get32 (buffer + 100);
  if (bits < 9 || bits > 21 || header_length < 104 || header_length > HEADER_MAX)
    return malformed (error, path, "its header has impossible values");
  if (backing_at != 0 && (backing_length == 0 || backing_length > BACKING_MAX ||
                          backing_at > HEADER_MAX - backing_length))
    return malformed (error, path, "the name of its backing file has an impossible place");
  out->size = get64 (buffer + 24);
  out->cluster_size = 1u << bits;
  if (backing_at != 0)
    out->backing_file = g_strndup ((const char *)buffer + backing_at, backing_length);
  out->backing_format = find_backing_format (buffer, header_length);
  return true;
}

void
block_qcow2_header_clear (BlockQcow2Header *header)
{
  g_clear_pointer (&header->backing_file, g_free);
  g_clear_pointer (&header->backing_format, g_free);
}
