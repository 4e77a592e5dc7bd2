/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Scratch images: made by us, written by QEMU, which may run as another user. They hold the guest's
 * old data, so nobody else may read them. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/error.h"

bool
varve_qmp_hand_over (VarveQmpDomain *domain, const char *path, GError **error)
{
  if (domain->uid == geteuid () || domain->uid == 0)
    return true;
  if (lchown (path, domain->uid, domain->gid) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_REFUSED, errno,
                            "'%s' cannot be given to user %u, as whom the QEMU of domain '%s' "
                            "runs; run varve as that user or as root",
                            path, domain->uid, domain->base.name);
}

bool
varve_qmp_scratch_create (VarveQmpDomain *domain, const char *path, uint64_t size,
                          GCancellable *cancellable, GError **error)
{
  /* qemu-img truncates a file that is there, and leaves its mode alone. */
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  g_autoptr (VarveImage) image = varve_image_new (path, "qcow2", NULL);

  if (fd < 0)
    return varve_throw_errno (error, errno == EEXIST ? VARVE_ERROR_EXISTS : VARVE_ERROR_FAILED,
                              errno, "The scratch image '%s' for domain '%s' cannot be made", path,
                              domain->base.name);
  close (fd);
  if (varve_image_create (image, size, NULL, NULL, cancellable, error) &&
      varve_qmp_hand_over (domain, path, error))
    return true;
  unlink (path);
  return false;
}
