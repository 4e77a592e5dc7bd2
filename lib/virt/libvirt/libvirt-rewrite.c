/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Writing to the disks of a domain that is off, or that is turned off for it: the image driver does it, and
 * libvirt is told of the new checkpoint behind it, as in libvirt-stopped.c. */
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

/* --- whether -------------------------------------------------------------------------------- */

/* A saved guest has the old disks in its memory: started on others, it would damage them. */
static bool
check_not_saved (VarveLibvirtDomain *self, GError **error)
{
  int saved = virDomainHasManagedSaveImage (self->domain, 0);

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

/* Without a definition it would be gone with its QEMU. */
static bool
check_comes_back (VarveLibvirtDomain *self, GError **error)
{
  int persistent = virDomainIsPersistent (self->domain);

  if (persistent < 0)
    return varve_libvirt_throw (error, "Cannot tell whether domain '%s' is defined",
                                self->base.name);
  return persistent > 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "Domain '%s' is transient: turned off, it would be gone, and could not be "
                      "started again. Define it first (virsh define).",
                      self->base.name);
}

static bool
look_and_check (VarveLibvirtDomain *self, bool halt, VarveDomainState *out,
                GCancellable *cancellable, GError **error)
{
  if (!varve_libvirt_look (self, out, cancellable, error))
    return false;
  if (*out == VARVE_DOMAIN_OFF)
    return check_not_saved (self, error);
  return halt ? check_comes_back (self, error)
              : varve_throw (error, VARVE_ERROR_REFUSED,
                             "Domain '%s' is not off, and what it holds of its disks in memory "
                             "would not fit what is written: shut it down first.",
                             self->base.name);
}

bool
varve_libvirt_rewrite_check (VarveDomain *domain, GPtrArray *disks, bool halt,
                             GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveDomainState state;

  return look_and_check ((VarveLibvirtDomain *)domain, halt, &state, cancellable, error);
}

/* --- off and on ------------------------------------------------------------------------------- */

/* QEMU is asked to go (graceful), as one that is killed cannot store its bitmaps. */
bool
varve_libvirt_halt (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (VarveLibvirtBackup) backup = NULL;
  VarveDomainState state;

  if (!look_and_check (self, true, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return true;
  if (!varve_libvirt_backup (self, &backup, error))
    return false;
  if (backup)
    return varve_throw (
        error, VARVE_ERROR_BUSY,
        "Domain '%s' is being backed up: it is not turned off until that has ended.", domain->name);
  return virDomainDestroyFlags (self->domain, VIR_DOMAIN_DESTROY_GRACEFUL) == 0 ||
         varve_libvirt_throw (error, "Cannot turn off domain '%s'", domain->name);
}

bool
varve_libvirt_restart (VarveDomain *domain, bool afresh, bool *out_runs, GCancellable *cancellable,
                       GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  *out_runs = varve_libvirt_look (self, &state, cancellable, error) &&
              (state != VARVE_DOMAIN_OFF || virDomainCreate (self->domain) == 0 ||
               varve_libvirt_throw (error, "Cannot start domain '%s' again", domain->name));
  return *out_runs;
}

/* --- writing ---------------------------------------------------------------------------------- */

bool
varve_libvirt_rewrite (VarveDomain *domain, const VarveStart *start, VarveRewrite **out,
                       GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  LibvirtRewrite *rewrite;
  VarveDomain *images;

  if (!varve_libvirt_rewrite_check (domain, NULL, false, cancellable, error) ||
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
