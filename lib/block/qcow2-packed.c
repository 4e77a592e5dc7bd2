/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "block/qcow2-packed.h"

#include <string.h>

#define SECTOR UINT64_C (512)

typedef struct {
  uint64_t host;
  size_t length;
} Place;

/* The last sector may be cut off by the end of the file. */
static bool
find (const BlockQcow2Link *link, uint64_t entry, uint64_t guest, Place *out, GError **error)
{
  uint32_t shift = 70 - link->header.cluster_bits;
  uint64_t sectors = ((entry & ~(UINT64_C (3) << 62)) >> shift) + 1;

  out->host = entry & ((UINT64_C (1) << shift) - 1);
  if (!block_qcow2_link_holds (link, out->host, 1))
    return block_qcow2_link_damaged (link, guest, "its compressed data has an impossible place",
                                     error);
  out->length = (size_t)MIN (sectors * SECTOR - out->host % SECTOR, link->file_size - out->host);
  return true;
}

/* All of @room is filled, or it is damage. */
static bool
unpack (const uint8_t *packed, size_t length, uint8_t *to, size_t room)
{
  g_autoptr (GZlibDecompressor) inflate = g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_RAW);
  GConverterResult result = G_CONVERTER_CONVERTED;

  while (room > 0 && result == G_CONVERTER_CONVERTED) {
    gsize taken = 0, given = 0;

    result = g_converter_convert (G_CONVERTER (inflate), packed, length, to, room,
                                  G_CONVERTER_INPUT_AT_END, &taken, &given, NULL);
    packed += taken;
    length -= taken;
    to += given;
    room -= given;
  }
  return room == 0;
}

bool
block_qcow2_packed_check (const BlockQcow2Link *link, uint64_t entry, uint64_t guest,
                          GError **error)
{
  Place place = { 0 };

  return find (link, entry, guest, &place, error);
}

bool
block_qcow2_packed_read (const BlockQcow2Link *link, uint64_t entry, uint64_t guest, size_t skip,
                         uint8_t *to, size_t length, GError **error)
{
  size_t cluster = link->header.cluster_size;
  bool all = skip == 0 && length == cluster;
  g_autofree uint8_t *whole = all ? NULL : g_malloc (cluster);
  g_autofree uint8_t *packed = NULL;
  Place place = { 0 };

  if (!find (link, entry, guest, &place, error))
    return false;
  packed = g_malloc (place.length);
  if (!block_qcow2_link_pread (link, packed, place.length, place.host, guest, error))
    return false;
  if (!unpack (packed, place.length, all ? to : whole, cluster))
    return block_qcow2_link_damaged (link, guest, "its compressed data cannot be unpacked", error);
  if (!all)
    memcpy (to, whole + skip, length);
  return true;
}
