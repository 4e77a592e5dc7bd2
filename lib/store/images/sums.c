/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "store/images/sums.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/checked.h"
#include "util/durable.h"
#include "util/error.h"
#include "util/hex.h"
#include "util/xxh3.h"

#define MAGIC     "varvesum"
#define VERSION   1u
#define RECORD    32u
#define HASH      16u
#define KIND_DATA 1u
#define KIND_ZERO 2u
#define MAX_BYTES (1ull << 32) /* 128 TiB of data */

struct VarveSumsWriter {
  char *path;
  FILE *file;
  XXH3_state_t *hash;
  uint64_t count;
};

/* --- writing ---------------------------------------------------------------------------------- */

static bool
append (VarveSumsWriter *writer, const uint8_t *bytes, size_t length, GError **error)
{
  XXH3_128bits_update (writer->hash, bytes, length);
  if (fwrite (bytes, 1, length, writer->file) == length)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "The sums file '%s' cannot be written", writer->path);
}

VarveSumsWriter *
varve_sums_writer_new (const char *path, uint64_t disk_size, GError **error)
{
  g_autoptr (VarveSumsWriter) writer = g_new0 (VarveSumsWriter, 1);
  uint8_t header[RECORD] = { 0 };

  writer->path = g_strdup (path);
  writer->hash = XXH3_createState ();
  XXH3_128bits_reset (writer->hash);
  writer->file = fopen (path, "wbxe");
  if (writer->file == NULL) {
    varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                       "The sums file '%s' cannot be made", path);
    return NULL;
  }
  memcpy (header, MAGIC, 8);
  varve_put_le32 (header + 8, VERSION);
  varve_put_le64 (header + 16, disk_size);
  return append (writer, header, sizeof header, error) ? g_steal_pointer (&writer) : NULL;
}

bool
varve_sums_writer_add (const BlockSum *sum, gpointer data, GError **error)
{
  VarveSumsWriter *writer = data;
  uint8_t entry[RECORD];

  varve_put_le64 (entry, sum->offset);
  varve_put_le32 (entry + 8, sum->length);
  varve_put_le32 (entry + 12, sum->state == VARVE_EXTENT_DATA ? KIND_DATA : KIND_ZERO);
  memcpy (entry + 16, sum->hash, HASH);
  writer->count++;
  return append (writer, entry, sizeof entry, error);
}

bool
varve_sums_writer_finish (VarveSumsWriter *writer, char **out_hash, GError **error)
{
  uint8_t count[16] = { 0 };
  XXH128_canonical_t hash;

  varve_put_le64 (count, writer->count);
  if (!append (writer, count, sizeof count, error))
    return false;
  XXH128_canonicalFromHash (&hash, XXH3_128bits_digest (writer->hash));
  *out_hash = varve_hex (hash.digest, HASH);
  if (!append (writer, hash.digest, HASH, error))
    return false;
  if (fflush (writer->file) == 0 && fchmod (fileno (writer->file), 0400) == 0 &&
      fsync (fileno (writer->file)) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "The sums file '%s' cannot be written", writer->path);
}

void
varve_sums_writer_free (VarveSumsWriter *writer)
{
  if (writer == NULL)
    return;
  g_clear_pointer (&writer->file, fclose);
  XXH3_freeState (writer->hash);
  g_free (writer->path);
  g_free (writer);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool
damaged (GError **error, const char *name, const char *what)
{
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "The sums file '%s' is damaged: %s.", name,
                      what);
}

static bool
check_frame (const uint8_t *data, size_t length, const char *name, GError **error)
{
  XXH128_canonical_t hash;

  if (length < 2 * RECORD || length % RECORD != 0)
    return damaged (error, name, "its length is wrong");
  if (memcmp (data, MAGIC, 8) != 0 || varve_get_le32 (data + 8) != VERSION)
    return damaged (error, name, "it has not the header of a sums file");
  if (varve_get_le64 (data + length - RECORD) != length / RECORD - 2)
    return damaged (error, name, "its count is wrong");
  XXH128_canonicalFromHash (&hash, XXH3_128bits (data, length - HASH));
  if (memcmp (hash.digest, data + length - HASH, HASH) != 0)
    return damaged (error, name, "its own hash is wrong");
  return true;
}

static bool
parse_entry (const uint8_t *p, uint64_t disk_size, uint64_t *end, BlockSum *out, const char *name,
             GError **error)
{
  uint32_t kind = varve_get_le32 (p + 12);
  uint64_t next;

  out->offset = varve_get_le64 (p);
  out->length = varve_get_le32 (p + 8);
  if (kind != KIND_DATA && kind != KIND_ZERO)
    return damaged (error, name, "an entry is neither data nor zero");
  if (out->length == 0 || out->offset < *end || !varve_add (out->offset, out->length, &next) ||
      next > disk_size)
    return damaged (error, name, "its entries overlap, or lie beyond the disk");
  out->state = kind == KIND_DATA ? VARVE_EXTENT_DATA : VARVE_EXTENT_ZERO;
  memcpy (out->hash, p + 16, HASH);
  *end = next;
  return true;
}

VarveSums *
varve_sums_parse (const uint8_t *data, size_t length, const char *name, GError **error)
{
  g_autoptr (VarveSums) sums = g_new0 (VarveSums, 1);
  uint64_t end = 0;

  if (!check_frame (data, length, name, error))
    return NULL;
  sums->disk_size = varve_get_le64 (data + 16);
  sums->count = length / RECORD - 2;
  sums->entries = g_new0 (BlockSum, sums->count);
  sums->hash = varve_hex (data + length - HASH, HASH);
  for (size_t i = 0; i < sums->count; i++)
    if (!parse_entry (data + RECORD * (i + 1), sums->disk_size, &end, &sums->entries[i], name,
                      error))
      return NULL;
  return g_steal_pointer (&sums);
}

VarveSums *
varve_sums_load (const char *path, GError **error)
{
  g_autofree char *data = NULL;
  size_t length;

  if (!varve_read_file (path, MAX_BYTES, &data, &length, error))
    return NULL;
  return varve_sums_parse ((const uint8_t *)data, length, path, error);
}

void
varve_sums_free (VarveSums *sums)
{
  if (sums == NULL)
    return;
  g_free (sums->entries);
  g_free (sums->hash);
  g_free (sums);
}
