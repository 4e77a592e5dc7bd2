/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Writing to the disks of a domain that is off: the image driver does it, and libvirt is told of the
 * new checkpoint behind it, as in libvirt-stopped.c. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

typedef struct {
  VarveRewrite base;
  VarveDomain *images;
  VarveRewrite *image_rewrite;
} LibvirtRewrite;

void
varve_libvirt_rewrite_free (VarveRewrite *base)
{
  LibvirtRewrite *rewrite = (LibvirtRewrite *)base;

  g_clear_pointer (&rewrite->image_rewrite, varve_rewrite_free);
  g_clear_pointer (&rewrite->images, varve_domain_free);
  varve_start_free (base->start);
  g_free (rewrite);
}

/* A saved guest has the old disks in its memory: started on others, it would damage them. */
bool
varve_libvirt_rewrite_check (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;
  int saved;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_OFF)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s' is not off, and what it holds of its disks in memory would "
                        "not fit what is written: shut it down first.",
                        self->base.name);
  saved = virDomainHasManagedSaveImage (self->domain, 0);
  if (saved < 0)
    return varve_libvirt_throw (error, "Cannot tell whether domain '%s' has been saved",
                                self->base.name);
  return saved == 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "Domain '%s' was saved (virsh managedsave), and would go on with other disks "
                      "than it had: start it and shut it down, or drop what was saved by 'virsh "
                      "managedsave-remove'.",
                      self->base.name);
}

bool
varve_libvirt_rewrite (VarveDomain *domain, const VarveStart *start, VarveRewrite **out,
                       GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  LibvirtRewrite *rewrite;
  VarveDomain *images;

  if (!varve_libvirt_rewrite_check (domain, cancellable, error) ||
      !varve_libvirt_stopped_need (self, &images, cancellable, error))
    return false;
  rewrite = g_new0 (LibvirtRewrite, 1);
  rewrite->base.domain = domain;
  rewrite->base.start = varve_start_copy (start);
  rewrite->images = images;
  if (!varve_domain_rewrite (images, start, &rewrite->image_rewrite, cancellable, error)) {
    varve_libvirt_rewrite_free (&rewrite->base);
    return false;
  }
  *out = &rewrite->base;
  return true;
}

bool
varve_libvirt_rewrite_endpoint (VarveRewrite *base, const char *disk, VarveEndpoint *out,
                                GCancellable *cancellable, GError **error)
{
  return varve_rewrite_endpoint (((LibvirtRewrite *)base)->image_rewrite, disk, out, cancellable,
                                 error);
}

bool
varve_libvirt_rewrite_finish (VarveRewrite *base, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  return varve_rewrite_finish (((LibvirtRewrite *)base)->image_rewrite, cancellable, error) &&
         varve_libvirt_stopped_register ((VarveLibvirtDomain *)base->domain, base->start, error);
}
