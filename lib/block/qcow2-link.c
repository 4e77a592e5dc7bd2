/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Opening of one link, after docs/interop/qcow2.txt of QEMU. What is not as the format has it is
 * damage; what is, and is not done here, is unsupported. Everything that a later read relies on is
 * checked here once, save the entries of L2 tables, which are checked when they are met.
 */
#include "config.h"
#include "block/qcow2-link.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/qcow2-map.h"
#include "util/checked.h"
#include "util/error.h"

#define L1_HOST     UINT64_C (0x00fffffffffffe00)
#define L1_RESERVED UINT64_C (0x7f000000000001ff) /* all but the offset and COPIED */

/* Of 8 bytes each, 16 KiB: small, as a chain of many links with large clusters would otherwise need
 * more memory, or read more table than data. */
#define SLICE_BITS_MAX 11u

/* Bytes of the file that QEMU's file driver (block/file-posix.c) locks: who writes has byte 101
 * locked; who has byte 201 locked suffers no writer. */
#define LOCK_WRITES    101
#define LOCK_NO_WRITER 201

bool
block_qcow2_link_damaged (const BlockQcow2Link *link, uint64_t guest, const char *what,
                          GError **error)
{
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                      "The qcow2 image '%s' is damaged at guest offset %" G_GUINT64_FORMAT ": %s.",
                      link->path, guest, what);
}

static bool
damaged_header (const BlockQcow2Link *link, const char *what, GError **error)
{
  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                      "The qcow2 image '%s' is damaged in its header: %s.", link->path, what);
}

static bool
unsupported (const BlockQcow2Link *link, const char *what, GError **error)
{
  return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                      "The qcow2 image '%s' cannot be read without QEMU: %s.", link->path, what);
}

static bool
within_file (const BlockQcow2Link *link, uint64_t host, uint64_t length)
{
  uint64_t end;

  return varve_add (host, length, &end) && end <= link->file_size;
}

static bool
overlaps (uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
  return a < b + b_length && b < a + a_length;
}

static uint64_t
refcount_table_bytes (const BlockQcow2Header *header)
{
  return (uint64_t)header->refcount_table_clusters << header->cluster_bits;
}

bool
block_qcow2_link_holds (const BlockQcow2Link *link, uint64_t host, uint64_t length)
{
  const BlockQcow2Header *header = &link->header;

  return host >= header->cluster_size && within_file (link, host, length) &&
         !overlaps (host, length, header->l1, (uint64_t)header->l1_length * 8) &&
         !overlaps (host, length, header->refcount_table, refcount_table_bytes (header));
}

uint64_t
block_qcow2_link_slice_span (const BlockQcow2Link *link)
{
  return UINT64_C (1) << (link->header.cluster_bits + link->slice_bits);
}

bool
block_qcow2_link_pread (const BlockQcow2Link *link, void *buffer, size_t length, uint64_t host,
                        uint64_t guest, GError **error)
{
  uint8_t *to = buffer;

  while (length > 0) {
    ssize_t got = pread (link->fd, to, length, (off_t)host);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                                "Cannot read the qcow2 image '%s', for guest offset "
                                "%" G_GUINT64_FORMAT,
                                link->path, guest);
    if (got == 0)
      return block_qcow2_link_damaged (link, guest, "the file ends before it", error);
    to += got;
    host += (size_t)got;
    length -= (size_t)got;
  }
  return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool
open_file (BlockQcow2Link *link, int directory, const char *path, GError **error)
{
  struct stat st;

  /* O_NONBLOCK: a FIFO in this place gives an error, and does not wait for a writer. */
  link->fd = openat (directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (link->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "The qcow2 image '%s' is missing.",
                        link->path);
  if (link->fd < 0 || fstat (link->fd, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "Cannot open the qcow2 image '%s'", link->path);
  if (!S_ISREG (st.st_mode))
    return unsupported (link, "it is not a regular file", error);
  link->device = st.st_dev;
  link->inode = st.st_ino;
  link->file_size = (uint64_t)st.st_size;
  return true;
}

/* A file system without such locks has no QEMU that keeps to them either. */
static bool
lock (const BlockQcow2Link *link, GError **error)
{
  struct flock no_writer = {
    .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = LOCK_NO_WRITER, .l_len = 1
  };
  struct flock writes = {
    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_WRITES, .l_len = 1
  };

  if (fcntl (link->fd, F_OFD_SETLK, &no_writer) < 0 && errno != EAGAIN && errno != EACCES)
    return true;
  if (fcntl (link->fd, F_OFD_GETLK, &writes) < 0 || writes.l_type == F_UNLCK)
    return true;
  return varve_throw (error, VARVE_ERROR_BUSY,
                      "The qcow2 image '%s' is open for writing in a QEMU: end that first.",
                      link->path);
}

static bool
check_features (const BlockQcow2Link *link, GError **error)
{
  const BlockQcow2Header *header = &link->header;

  if ((header->incompatible & BLOCK_QCOW2_CORRUPT) != 0)
    return damaged_header (link, "QEMU has marked it as corrupt", error);
  if ((header->incompatible & BLOCK_QCOW2_DIRTY) != 0)
    return unsupported (link, "it was not closed cleanly", error);
  if (header->incompatible != 0)
    return unsupported (link, "it uses features of the format that varve does not", error);
  if (header->encryption != 0)
    return unsupported (link, "it is encrypted", error);
  if (header->snapshots != 0)
    return unsupported (link, "it has internal snapshots", error);
  if (header->size % 512 != 0)
    return unsupported (link, "its size is not a multiple of 512", error);
  if (header->backing_file != NULL && g_strcmp0 (header->backing_format, "qcow2") != 0)
    return unsupported (link, "the format of its backing file is not given as qcow2", error);
  return true;
}

static bool
check_layout (const BlockQcow2Link *link, GError **error)
{
  const BlockQcow2Header *header = &link->header;
  uint64_t mask = header->cluster_size - 1, l1_bytes = (uint64_t)header->l1_length * 8;

  if (header->size > INT64_MAX)
    return damaged_header (link, "the size of the disk is impossible", error);
  if (((header->l1 | header->refcount_table) & mask) != 0)
    return damaged_header (link, "a table does not begin at a cluster", error);
  if (l1_bytes > BLOCK_QCOW2_MAX_L1_BYTES || header->l1_length < link->l1_length)
    return damaged_header (link, "the L1 table does not fit the size of the disk", error);
  if (header->l1_length > 0 &&
      (header->l1 < header->cluster_size || !within_file (link, header->l1, l1_bytes)))
    return damaged_header (link, "the L1 table is not in the file", error);
  if (header->refcount_table_clusters == 0 ||
      refcount_table_bytes (header) > BLOCK_QCOW2_MAX_REFTABLE ||
      header->refcount_table < header->cluster_size ||
      !within_file (link, header->refcount_table, refcount_table_bytes (header)))
    return damaged_header (link, "the refcount table is not in the file", error);
  if (overlaps (header->l1, l1_bytes, header->refcount_table, refcount_table_bytes (header)))
    return damaged_header (link, "two tables lie in one place", error);
  return true;
}

/* Without snapshots no two entries lead to one table. */
static bool
check_twice (const BlockQcow2Link *link, GHashTable *seen, uint32_t index, uint64_t guest,
             GError **error)
{
  return g_hash_table_add (seen, &link->l1[index]) ||
         block_qcow2_link_damaged (link, guest, "its L2 table is also that of another place",
                                   error);
}

static bool
load_l1 (BlockQcow2Link *link, GError **error)
{
  const BlockQcow2Header *header = &link->header;
  g_autoptr (GHashTable) seen = g_hash_table_new (g_int64_hash, g_int64_equal);

  link->l1 = g_new0 (uint64_t, link->l1_length);
  if (!block_qcow2_link_pread (link, link->l1, (size_t)link->l1_length * 8, header->l1, 0, error))
    return false;
  for (uint32_t i = 0; i < link->l1_length; i++) {
    uint64_t entry = GUINT64_FROM_BE (link->l1[i]), host = entry & L1_HOST;
    uint64_t guest = (uint64_t)i << (2 * header->cluster_bits - 3);
    if ((entry & L1_RESERVED) != 0 || (host & (header->cluster_size - 1)) != 0 ||
        (host == 0 && entry != 0))
      return block_qcow2_link_damaged (link, guest, "its L1 entry has impossible bits", error);
    if (host != 0 && !block_qcow2_link_holds (link, host, header->cluster_size))
      return block_qcow2_link_damaged (link, guest, "its L2 table has an impossible place", error);
    link->l1[i] = host;
    if (host != 0 && !check_twice (link, seen, i, guest, error))
      return false;
  }
  return true;
}

static bool
link_load (BlockQcow2Link *link, int directory, const char *path, GError **error)
{
  if (!open_file (link, directory, path, error) || !lock (link, error) ||
      !block_qcow2_header_read_fd (link->fd, link->path, &link->header, error) ||
      !check_features (link, error))
    return false;

  uint32_t shift = 2 * link->header.cluster_bits - 3;
  uint64_t needed = link->header.size >> shift;
  if ((link->header.size & ((UINT64_C (1) << shift) - 1)) != 0)
    needed++;
  link->l1_length = (uint32_t)MIN (needed, UINT32_MAX);
  link->slice_bits = MIN (link->header.cluster_bits - 3, SLICE_BITS_MAX);
  return check_layout (link, error) && load_l1 (link, error);
}

BlockQcow2Link *
block_qcow2_link_open (int directory, const char *path, const char *shown, GError **error)
{
  g_autoptr (BlockQcow2Link) link = g_new0 (BlockQcow2Link, 1);

  link->fd = -1;
  link->path = g_strdup (shown);
  return link_load (link, directory, path, error) ? g_steal_pointer (&link) : NULL;
}

void
block_qcow2_link_free (BlockQcow2Link *link)
{
  if (link == NULL)
    return;
  if (link->fd >= 0)
    close (link->fd);
  block_qcow2_header_clear (&link->header);
  g_free (link->path);
  g_free (link->l1);
  g_free (link);
}
