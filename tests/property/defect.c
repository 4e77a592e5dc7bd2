/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "defect.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool
defect_parse (const char *text, Defect *out)
{
  static const char *const names[] = { "none", "merge", "restart" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    *out = (Defect)i;
    if (g_str_equal (text, names[i]))
      return true;
  }
  return false;
}

void
defect_empty (World *world, const char *name, bool disabled)
{
  g_autoptr (GError) error = NULL;

  if (world->running) {
    varve_qmp_run (world->qmp, "block-dirty-bitmap-clear",
                   varve_qmp_args ("{'node':'n0','name':%s}", name), NULL, &error);
    g_assert_no_error (error);
    return;
  }
  run_tool (world, "qemu-img", "bitmap", "--remove", "vda.qcow2", name);
  run_tool (world, "qemu-img", "bitmap", "--add", "vda.qcow2", name);
  if (disabled)
    run_tool (world, "qemu-img", "bitmap", "--disable", "vda.qcow2", name);
}

/* --- flags of bitmaps in a qcow2 image --------------------------------------------------------- */

#define BITMAPS_EXTENSION 0x23852875u
#define FLAGS_AT          12 /* of an entry of the bitmap directory */
#define IN_USE            1u

static uint64_t
number_at (int fd, uint64_t offset, size_t length)
{
  guint8 bytes[8];
  uint64_t number = 0;

  g_assert_cmpint (pread (fd, bytes, length, (off_t)offset), ==, (ssize_t)length);
  for (size_t i = 0; i < length; i++)
    number = number << 8 | bytes[i];
  return number;
}

/* Where the data of the bitmaps extension is; 0: the image has no bitmaps. */
static uint64_t
bitmaps_extension (int fd)
{
  uint64_t at = number_at (fd, 100, 4);

  for (;;) {
    uint64_t magic = number_at (fd, at, 4), length = number_at (fd, at + 4, 4);

    if (magic == BITMAPS_EXTENSION)
      return at + 8;
    if (magic == 0)
      return 0;
    at += 8 + (length + 7) / 8 * 8;
  }
}

static void
clear_in_use (int fd, uint64_t entry)
{
  uint64_t flags = number_at (fd, entry + FLAGS_AT, 4) & ~(uint64_t)IN_USE;
  guint8 bytes[4];

  for (unsigned i = 0; i < 4; i++)
    bytes[i] = (guint8)(flags >> (24 - 8 * i));
  g_assert_cmpint (pwrite (fd, bytes, 4, (off_t)(entry + FLAGS_AT)), ==, 4);
}

static void
call_sound (const char *path)
{
  int fd = open (path, O_RDWR | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  uint64_t extension = bitmaps_extension (fd);
  uint64_t count = extension ? number_at (fd, extension, 4) : 0;
  uint64_t entry = extension ? number_at (fd, extension + 16, 8) : 0;

  for (uint64_t i = 0; i < count; i++) {
    clear_in_use (fd, entry);
    /* 24 bytes, then extra data and the name, up to a multiple of 8. */
    entry += (24 + number_at (fd, entry + 20, 4) + number_at (fd, entry + 18, 2) + 7) / 8 * 8;
  }
  g_assert_cmpint (close (fd), ==, 0);
}

void
defect_call_sound (World *world)
{
  for (unsigned i = 0; i < DISKS; i++) {
    g_autofree char *name = g_strconcat (disk_names[i], ".qcow2", NULL);
    g_autofree char *path = g_build_filename (world->dir, name, NULL);

    if (i == 0 || !world->raw_b)
      call_sound (path);
  }
}
