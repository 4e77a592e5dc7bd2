/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* disk-digest RAW: a digest of a raw disk (XXH3 of 128 bits), the same for the same content, whatever of it is zeros that
 * are written and whatever a hole. Holes are not read: in the tests, whose disks are nearly empty, that is most of them,
 * and half of all that the tests computed when they were hashed. */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define BLOCK 65536

static bool
is_zero (const uint8_t *block, size_t length)
{
  return length == 0 || (block[0] == 0 && memcmp (block, block + 1, length - 1) == 0);
}

/* What is read of the block at @offset; at the end of the disk less than a block. */
static size_t
read_block (int fd, const char *path, uint8_t *block, off_t offset)
{
  size_t done = 0;

  while (done < BLOCK) {
    ssize_t n = pread (fd, block + done, BLOCK - done, offset + (off_t)done);

    if (n < 0)
      err (1, "%s", path);
    if (n == 0)
      break;
    done += (size_t)n;
  }
  return done;
}

/* The first block at or behind @offset that has data, or @size. */
static off_t
next_data (int fd, const char *path, off_t offset, off_t size)
{
  off_t data;

  if (offset >= size)
    return size;
  data = lseek (fd, offset, SEEK_DATA);
  if (data < 0 && errno != ENXIO)
    err (1, "%s", path);
  return data < 0 ? size : data / BLOCK * BLOCK;
}

static void
add (XXH3_state_t *state, uint64_t place, const uint8_t *block, size_t length)
{
  XXH3_128bits_update (state, &place, sizeof place);
  XXH3_128bits_update (state, block, length);
}

int
main (int argc, char **argv)
{
  static uint8_t block[BLOCK];
  XXH3_state_t *state = XXH3_createState ();
  struct stat info;
  XXH128_hash_t digest;
  int fd;

  if (argc != 2 || state == NULL) {
    fprintf (stderr, "usage: disk-digest RAW\n");
    return 2;
  }
  fd = open (argv[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat (fd, &info) < 0)
    err (1, "%s", argv[1]);
  XXH3_128bits_reset (state);
  for (off_t at = next_data (fd, argv[1], 0, info.st_size); at < info.st_size;
       at = next_data (fd, argv[1], at + BLOCK, info.st_size)) {
    size_t length = read_block (fd, argv[1], block, at);

    if (!is_zero (block, length))
      add (state, (uint64_t)at, block, length);
  }
  add (state, (uint64_t)info.st_size, block, 0);
  digest = XXH3_128bits_digest (state);
  printf ("%016" PRIx64 "%016" PRIx64 " of %jd bytes\n", digest.high64, digest.low64,
          (intmax_t)info.st_size);
  XXH3_freeState (state);
  close (fd);
  return 0;
}
