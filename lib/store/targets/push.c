/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Targets that QEMU writes itself (push): a file under its partial name, made empty before, and taken over behind; a
 * device, or a raw copy that gets what has changed, in place. An NBD export is none of them: see run/backup-mode.c. */
#include "config.h"

#include "store/targets/write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"

#define SECTOR 512u

bool
varve_targets_add_target (VarveStoreWrite *owned, VarveManifestDisk *disk,
                          const VarveManifest *base, VarveStoreTarget *out,
                          GCancellable *cancellable, GError **error)
{
  VarveTargetsDisk *target = varve_targets_find (owned->store, disk->name);
  VarveTargetsWriting *writing;

  if (!varve_targets_look (target, error))
    return false;
  if (target->kind == VARVE_TARGET_NBD)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The target of disk '%s' is an NBD export, which QEMU does not write.",
                        disk->name);
  writing = varve_targets_open ((VarveTargetsWrite *)owned, target, cancellable, error);
  if (writing == NULL || !block_sink_flush (writing->sink, error))
    return varve_prefix (error, "The target for disk '%s' could not be made", disk->name);
  g_clear_pointer (&writing->sink, block_sink_free);
  *out = (VarveStoreTarget){
    .path = g_strdup (writing->partial ? writing->partial : target->as.path),
    .raw = g_str_equal (target->as.format, "raw"),
    .device = target->kind == VARVE_TARGET_DEVICE,
    .in_place = writing->partial == NULL,
  };
  return true;
}

/* What is written in place QEMU has open itself by now, and could not have opened if it were part of a disk. */
bool
varve_targets_check_again (VarveStoreWrite *owned, GError **error)
{
  VarveTargetsWrite *write = (VarveTargetsWrite *)owned;

  for (guint i = 0; i < write->disks->len; i++) {
    const VarveTargetsWriting *writing = g_ptr_array_index (write->disks, i);
    VarveTargetKind kind;

    if (writing->partial && !varve_target_check (&writing->target->as, &kind, error))
      return false;
  }
  return true;
}

/* QEMU writes zeros so that room is kept for them; they become holes again. What cannot is as good as it is. */
static void
dig_holes (int fd, off_t size)
{
  off_t hole = lseek (fd, 0, SEEK_HOLE);

  while (hole >= 0 && hole < size) {
    off_t data = lseek (fd, hole, SEEK_DATA);
    off_t end = data < 0 ? size : data;

    if (fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole, end - hole) < 0)
      return;
    hole = lseek (fd, end, SEEK_HOLE);
  }
}

/* A file is ours again, if it was given to QEMU's user. */
static bool
settle (const VarveTargetsWriting *writing, int fd, struct stat *out, GError **error)
{
  bool ok = fstat (fd, out) == 0;

  if (ok && writing->partial) {
    ok = out->st_uid == geteuid () || fchown (fd, geteuid (), getegid ()) == 0;
    if (g_str_equal (writing->target->as.format, "raw"))
      dig_holes (fd, out->st_size);
  }
  return (ok && fsync (fd) == 0 && fstat (fd, out) == 0) ||
         varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                            "'%s', which QEMU has written, cannot be made durable",
                            writing->target->as.path);
}

bool
varve_targets_adopt_disk (VarveStoreWrite *owned, VarveManifestDisk *disk, bool read_back,
                          BlockTickFunc tick, gpointer tick_data, GCancellable *cancellable,
                          GError **error)
{
  VarveTargetsWriting *writing = varve_targets_writing ((VarveTargetsWrite *)owned, disk->name);
  const char *path = writing->partial ? writing->partial : writing->target->as.path;
  int fd = open (path, O_CLOEXEC | (writing->partial ? O_RDWR | O_NOFOLLOW : O_RDONLY));
  struct stat st;
  bool ok;

  if (fd < 0)
    return varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errno,
                              "'%s', which QEMU has written, cannot be opened", path);
  ok = settle (writing, fd, &st, error);
  close (fd);
  /* Of what was there already nobody knows what of it is new. */
  if (ok && writing->partial)
    disk->stored = (uint64_t)st.st_blocks * SECTOR;
  return ok;
}
