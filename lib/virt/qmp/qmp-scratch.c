/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Scratch images: made by us, written by QEMU, which may run as another user. They hold the guest's
 * old data, so nobody else may read them. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <errno.h>
#include <unistd.h>

#include "util/error.h"

bool
varve_qmp_can_read_ours (const VarveQmpDomain *domain)
{
  return domain->uid == geteuid () || domain->uid == 0;
}

bool
varve_qmp_hand_over (VarveQmpDomain *domain, const char *path, GError **error)
{
  if (varve_qmp_can_read_ours (domain))
    return true;
  if (lchown (path, domain->uid, domain->gid) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_REFUSED, errno,
                            "'%s' cannot be given to user %u, as whom the QEMU of domain '%s' "
                            "runs; run varve as that user or as root",
                            path, domain->uid, domain->base.name);
}

bool
varve_qmp_scratch_create (VarveQmpDomain *domain, const char *path, const char *format,
                          uint64_t size, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveImage) image = varve_image_new (path, format, NULL);

  return varve_image_create (image, size, NULL, NULL, cancellable, error) &&
         varve_qmp_hand_over (domain, path, error);
}
