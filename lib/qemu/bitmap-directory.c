/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* docs/interop/qcow2.txt of QEMU: an extension of the header tells where the directory of bitmaps is;
 * all numbers are big-endian. QEMU may be changing the image meanwhile, as under `qemu-img info -U`: a new directory
 * is written elsewhere, and only then named. Nothing that is read is trusted; whatever is odd makes the whole of it
 * unread. */
#include "config.h"
#include "qemu/bitmap-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "qemu/image-info.h"
#include "util/bytes.h"
#include "util/error.h"

#define MAGIC             0x514649fbu
#define EXTENSION_END     0u
#define EXTENSION_BITMAPS 0x23852875u
#define AUTOCLEAR_BITMAPS 1u /* whoever wrote the image last knew of them */
#define HEADER_V3         104u
#define HEADER_MAX        4096u
#define ENTRY             24u
#define ENTRIES_MAX       65535u /* as QEMU has it */
#define DIRECTORY_MAX     (1u << 20)
#define FLAG_IN_USE       1u
#define FLAG_AUTO         2u
#define FLAGS_KNOWN       3u /* what a foreign program may have meant by more is QEMU's to know */
#define TYPE_TRACKING     1u
#define GRANULARITY_MAX   31u

typedef struct {
  uint32_t count;
  uint64_t offset, size;
} Place;

static bool
odd (GError **error, const char *path)
{
  return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                      "The header of '%s' has something that only QEMU may understand.", path);
}

/* All of it: an image that ends before is odd. */
static bool
read_at (int fd, const char *path, uint8_t *buffer, size_t size, uint64_t offset, GError **error)
{
  for (size_t at = 0; at < size;) {
    ssize_t n = pread (fd, buffer + at, size - at, (off_t)(offset + at));

    if (n == 0)
      return odd (error, path);
    if (n < 0 && errno != EINTR)
      return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "'%s' cannot be read", path);
    at += (size_t)MAX (n, 0);
  }
  return true;
}

/* @out stays empty where there are no bitmaps. */
static bool
find_directory (const uint8_t *header, const char *path, uint32_t cluster_size, Place *out,
                GError **error)
{
  uint32_t at = varve_get_be32 (header + 100), end = MIN (cluster_size, HEADER_MAX);

  if (at < HEADER_V3 || at > end)
    return odd (error, path);
  while (at + 8 <= end) {
    uint32_t type = varve_get_be32 (header + at), length = varve_get_be32 (header + at + 4);

    at += 8;
    if (type == EXTENSION_END)
      return true;
    if (length > end - at)
      return odd (error, path);
    if (type == EXTENSION_BITMAPS) {
      if (length != 24)
        return odd (error, path);
      *out = (Place){ varve_get_be32 (header + at), varve_get_be64 (header + at + 16),
                      varve_get_be64 (header + at + 8) };
    }
    at += (length + 7) & ~7u;
  }
  return odd (error, path);
}

/* Returns the length of the entry; 0: it is odd. */
static uint64_t
read_entry (const uint8_t *entry, uint64_t left, GPtrArray *bitmaps)
{
  uint32_t flags, name_length, extra;
  uint64_t length;
  VarveImageBitmap *bitmap;

  if (left < ENTRY)
    return 0;
  flags = varve_get_be32 (entry + 12);
  name_length = (uint32_t)entry[18] << 8 | entry[19];
  extra = varve_get_be32 (entry + 20);
  length = ((uint64_t)ENTRY + extra + name_length + 7) & ~UINT64_C (7);
  if (length > left || extra != 0 || (flags & ~FLAGS_KNOWN) || entry[16] != TYPE_TRACKING ||
      entry[17] > GRANULARITY_MAX || name_length == 0 || memchr (entry + ENTRY, 0, name_length) ||
      !g_utf8_validate_len ((const char *)entry + ENTRY, name_length, NULL))
    return 0;
  bitmap = g_new0 (VarveImageBitmap, 1);
  bitmap->name = g_strndup ((const char *)entry + ENTRY, name_length);
  bitmap->granularity = 1u << entry[17];
  bitmap->recording = flags & FLAG_AUTO;
  bitmap->inconsistent = flags & FLAG_IN_USE;
  g_ptr_array_add (bitmaps, bitmap);
  return length;
}

static bool
read_directory (int fd, const char *path, const Place *place, GPtrArray *bitmaps, GError **error)
{
  g_autofree uint8_t *directory = NULL;
  uint64_t at = 0;

  if (place->count > ENTRIES_MAX || place->size > DIRECTORY_MAX || place->offset > G_MAXINT64 / 2)
    return odd (error, path);
  directory = g_malloc (place->size + 1);
  if (!read_at (fd, path, directory, place->size, place->offset, error))
    return false;
  for (uint32_t i = 0; i < place->count; i++) {
    uint64_t length = read_entry (directory + at, place->size - at, bitmaps);

    if (length == 0)
      return odd (error, path);
    at += length;
  }
  return at == place->size || odd (error, path);
}

static bool
read_header (int fd, const char *path, VarveImageInfo *info, GError **error)
{
  uint8_t header[HEADER_MAX];
  Place place = { 0 };
  uint32_t version, cluster_bits;

  if (!read_at (fd, path, header, sizeof header, 0, error))
    return false;
  version = varve_get_be32 (header + 4);
  cluster_bits = varve_get_be32 (header + 20);
  if (varve_get_be32 (header) != MAGIC || (version != 2 && version != 3) || cluster_bits < 9 ||
      cluster_bits > 21)
    return odd (error, path);
  info->cluster_size = UINT64_C (1) << cluster_bits;
  info->can_persist = version == 3;
  if (version == 2 || !(varve_get_be64 (header + 88) & AUTOCLEAR_BITMAPS))
    return true;
  return find_directory (header, path, 1u << cluster_bits, &place, error) &&
         read_directory (fd, path, &place, info->bitmaps, error);
}

VarveImageInfo *
varve_bitmap_directory_read (const char *path, GError **error)
{
  g_autoptr (VarveImageInfo) info = varve_image_info_new ("qcow2");
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  bool ok;

  if (fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "'%s' cannot be opened", path);
    return NULL;
  }
  ok = read_header (fd, path, info, error);
  close (fd);
  return ok ? g_steal_pointer (&info) : NULL;
}

VarveImageInfo *
varve_image_bitmaps (const VarveImage *image, GCancellable *cancellable, GError **error)
{
  VarveImageInfo *info = NULL;

  if (g_strcmp0 (image->format, "qcow2") == 0)
    info = varve_bitmap_directory_read (image->path, NULL);
  return info ? info : varve_image_info (image, true, cancellable, error);
}
