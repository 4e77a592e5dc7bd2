/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which driver serves an address, and the wrappers through which everyone above calls a driver's
 * ops. A wrapper names the domain in front of an error that does not name it, so that a message is
 * complete wherever it ends up. */
#include "config.h"
#include "virt/domain.h"

#include <string.h>

#include "util/error.h"

/* varve's own name space for version 5 uuids (RFC 4122, 4.3); drawn once, never to be changed: the
 * identity of every domain without a uuid hangs on it. */
static const guint8 uuid_namespace[16] = { 0x5c, 0x1f, 0x0e, 0x3a, 0x9b, 0x27, 0x4d, 0x68,
                                           0xa4, 0xd2, 0x71, 0x06, 0xee, 0x83, 0x0b, 0x94 };

char *
varve_domain_uuid_from_name (const char *name)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA1);
  guint8 d[20];
  gsize length = sizeof d;

  g_checksum_update (sum, uuid_namespace, sizeof uuid_namespace);
  g_checksum_update (sum, (const guchar *)name, (gssize)strlen (name));
  g_checksum_get_digest (sum, d, &length);
  d[6] = (d[6] & 0x0f) | 0x50;
  d[8] = (d[8] & 0x3f) | 0x80;
  return g_strdup_printf ("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                          d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11],
                          d[12], d[13], d[14], d[15]);
}

static bool
is_libvirt_uri (const char *uri)
{
  return g_str_has_prefix (uri, "qemu:") || g_str_has_prefix (uri, "qemu+") ||
         g_str_has_prefix (uri, "test:") || g_str_has_prefix (uri, "libvirt:");
}

static VarveDomain *
open_libvirt (const VarveDomainAddress *address, GCancellable *cancellable, GError **error)
{
#ifdef HAVE_LIBVIRT
  return varve_libvirt_domain_open (address, cancellable, error);
#else
  varve_throw (error, VARVE_ERROR_UNSUPPORTED,
               "Domain '%s' at '%s' needs libvirt, and this varve was built without it: use the "
               "QEMU monitor (qmp+unix:///PATH) instead.",
               address->name, address->uri);
  return NULL;
#endif
}

VarveDomain *
varve_domain_open (const VarveDomainAddress *address, GCancellable *cancellable, GError **error)
{
  if (g_str_has_prefix (address->uri, "qmp+unix:"))
    return varve_qmp_domain_open (address, cancellable, error);
  if (g_str_equal (address->uri, "image:"))
    return varve_image_domain_open (address, cancellable, error);
  if (is_libvirt_uri (address->uri))
    return open_libvirt (address, cancellable, error);

  varve_throw (error, VARVE_ERROR_USAGE,
               "'%s' is no URI of a domain: it is qemu:///system or another libvirt URI, "
               "qmp+unix:///PATH of a QEMU monitor, or image:.",
               address->uri);
  return NULL;
}

void
varve_domain_free (VarveDomain *domain)
{
  if (domain)
    domain->ops->free (domain);
}

void
varve_snapshot_free (VarveSnapshot *snapshot)
{
  if (snapshot)
    snapshot->domain->ops->snapshot_free (snapshot);
}

void
varve_rewrite_free (VarveRewrite *rewrite)
{
  if (rewrite)
    rewrite->domain->ops->rewrite_free (rewrite);
}

/* Passes @ok on; a failure gets the domain's name in front unless its message has it already. */
static bool
named (const VarveDomain *domain, bool ok, GError **error)
{
  if (ok || !error || !*error)
    return ok;

  g_autofree char *quoted = g_strdup_printf ("'%s'", domain->name);
  if (strstr ((*error)->message, quoted))
    return false;
  return varve_prefix (error, "Domain '%s'", domain->name);
}

static bool
unsupported (const VarveDomain *domain, const char *what, GError **error)
{
  return varve_throw (error, VARVE_ERROR_UNSUPPORTED, "Domain '%s': the driver '%s' cannot %s.",
                      domain->name, domain->ops->name, what);
}

bool
varve_domain_inventory (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                        GError **error)
{
  return named (domain, domain->ops->inventory (domain, out, cancellable, error), error);
}

bool
varve_domain_bitmaps (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                      GError **error)
{
  return named (domain, domain->ops->bitmaps (domain, out, cancellable, error), error);
}

bool
varve_domain_find_bitmaps (VarveDomain *domain, GPtrArray *names, GPtrArray *bitmaps,
                           GCancellable *cancellable, GError **error)
{
  return !domain->ops->find_bitmaps ||
         named (domain, domain->ops->find_bitmaps (domain, names, bitmaps, cancellable, error),
                error);
}

bool
varve_domain_state (VarveDomain *domain, VarveDomainState *out, GCancellable *cancellable,
                    GError **error)
{
  return named (domain, domain->ops->state (domain, out, cancellable, error), error);
}

bool
varve_domain_freeze (VarveDomain *domain, unsigned timeout_s, GCancellable *cancellable,
                     GError **error)
{
  if (!domain->ops->freeze)
    return unsupported (domain, "freeze the file systems of the guest", error);
  return named (domain, domain->ops->freeze (domain, timeout_s, cancellable, error), error);
}

bool
varve_domain_thaw (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  if (!domain->ops->thaw)
    return unsupported (domain, "thaw the file systems of the guest", error);
  return named (domain, domain->ops->thaw (domain, cancellable, error), error);
}

bool
varve_domain_files (VarveDomain *domain, VarveDomainFiles *out, GCancellable *cancellable,
                    GError **error)
{
  *out = (VarveDomainFiles){ NULL };
  return named (domain, domain->ops->files (domain, out, cancellable, error), error);
}

void
varve_domain_files_clear (VarveDomainFiles *files)
{
  g_clear_pointer (&files->xml, g_free);
  g_clear_pointer (&files->nvram, g_bytes_unref);
  g_clear_pointer (&files->tpm, g_bytes_unref);
  g_clear_pointer (&files->why_not, g_free);
  g_clear_pointer (&files->why_no_tpm, g_free);
}

/* Above all drivers: one that knows nothing of push is not to take a start for that of a frozen view. */
static VarveStartReport *
refuse_push (const VarveDomain *domain)
{
  VarveStartReport *report = varve_start_report_new ();

  report->strategy = g_strdup ("push");
  g_ptr_array_add (
      report->refusals,
      g_strdup_printf ("Push is not available for domains of the driver '%s': use pull.",
                       domain->ops->name));
  return report;
}

bool
varve_domain_check (VarveDomain *domain, const VarveStart *start, VarveStartReport **out,
                    GCancellable *cancellable, GError **error)
{
  if (start->push && !domain->ops->progress) {
    *out = refuse_push (domain);
    return true;
  }
  return named (domain, domain->ops->check (domain, start, out, cancellable, error), error);
}

bool
varve_domain_start (VarveDomain *domain, const VarveStart *start, VarveSnapshot **out,
                    uint64_t *out_pause_us, GCancellable *cancellable, GError **error)
{
  if (start->push && !domain->ops->progress) {
    *out = NULL;
    return unsupported (domain, "have QEMU write a backup itself", error);
  }
  return named (domain, domain->ops->start (domain, start, out, out_pause_us, cancellable, error),
                error);
}

bool
varve_domain_attach (VarveDomain *domain, const VarveStart *start, VarveSnapshot **out,
                     GCancellable *cancellable, GError **error)
{
  return named (domain, domain->ops->attach (domain, start, out, cancellable, error), error);
}

bool
varve_domain_left_overs (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                         GError **error)
{
  if (domain->ops->left_overs)
    return named (domain, domain->ops->left_overs (domain, out, cancellable, error), error);
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_left_over_free);
  return true;
}

bool
varve_domain_resume (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  return named (domain, domain->ops->resume (domain, cancellable, error), error);
}

bool
varve_domain_halt (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  return !domain->ops->halt ||
         named (domain, domain->ops->halt (domain, cancellable, error), error);
}

bool
varve_domain_restart (VarveDomain *domain, bool afresh, bool *out_runs, GCancellable *cancellable,
                      GError **error)
{
  *out_runs = false;
  return !domain->ops->restart ||
         named (domain, domain->ops->restart (domain, afresh, out_runs, cancellable, error), error);
}

bool
varve_domain_rewrite_check (VarveDomain *domain, GPtrArray *disks, bool halt,
                            GCancellable *cancellable, GError **error)
{
  return !domain->ops->rewrite_check ||
         named (domain, domain->ops->rewrite_check (domain, disks, halt, cancellable, error),
                error);
}

bool
varve_domain_rewrite (VarveDomain *domain, const VarveStart *start, VarveRewrite **out,
                      GCancellable *cancellable, GError **error)
{
  if (!domain->ops->rewrite)
    return unsupported (domain, "write to its disks", error);
  return named (domain, domain->ops->rewrite (domain, start, out, cancellable, error), error);
}

bool
varve_domain_fill_check (VarveDomain *domain, const VarveFill *fill, GCancellable *cancellable,
                         GError **error)
{
  if (!domain->ops->fill_boot)
    return unsupported (domain, "run on disks that are being filled", error);
  return !domain->ops->fill_check ||
         named (domain, domain->ops->fill_check (domain, fill, cancellable, error), error);
}

bool
varve_domain_fill_boot (VarveDomain *domain, const VarveFill *fill, GCancellable *cancellable,
                        GError **error)
{
  return named (domain, domain->ops->fill_boot (domain, fill, cancellable, error), error);
}

bool
varve_domain_fill_step (VarveDomain *domain, VarveFill *fill, GCancellable *cancellable,
                        GError **error)
{
  return named (domain, domain->ops->fill_step (domain, fill, cancellable, error), error);
}

bool
varve_domain_checkpoint_remove (VarveDomain *domain, const char *name, GCancellable *cancellable,
                                GError **error)
{
  return named (domain, domain->ops->checkpoint_remove (domain, name, cancellable, error), error);
}

bool
varve_domain_checkpoint_add (VarveDomain *domain, const char *name, const char *description,
                             GPtrArray *disks, GCancellable *cancellable, GError **error)
{
  if (!domain->ops->checkpoint_add)
    return unsupported (domain, "add a checkpoint without a backup", error);
  return named (domain,
                domain->ops->checkpoint_add (domain, name, description, disks, cancellable, error),
                error);
}

bool
varve_domain_checkpoint_merge (VarveDomain *domain, const char *into, GPtrArray *from,
                               GCancellable *cancellable, GError **error)
{
  if (!domain->ops->checkpoint_merge)
    return unsupported (domain, "merge checkpoints", error);
  return named (domain, domain->ops->checkpoint_merge (domain, into, from, cancellable, error),
                error);
}

bool
varve_domain_checkpoint_redefine (VarveDomain *domain, const char *name, const char *description,
                                  int64_t created, GPtrArray *disks, GCancellable *cancellable,
                                  GError **error)
{
  return !domain->ops->checkpoint_redefine ||
         named (domain,
                domain->ops->checkpoint_redefine (domain, name, description, created, disks,
                                                  cancellable, error),
                error);
}

bool
varve_domain_checkpoint_forget (VarveDomain *domain, const char *name, GCancellable *cancellable,
                                GError **error)
{
  return !domain->ops->checkpoint_forget ||
         named (domain, domain->ops->checkpoint_forget (domain, name, cancellable, error), error);
}

bool
varve_domain_checkpoint_metadata (VarveDomain *domain, GPtrArray **out, GCancellable *cancellable,
                                  GError **error)
{
  if (domain->ops->checkpoint_metadata)
    return named (domain, domain->ops->checkpoint_metadata (domain, out, cancellable, error),
                  error);
  *out = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_checkpoint_metadata_free);
  return true;
}

bool
varve_snapshot_endpoint (VarveSnapshot *snapshot, const char *disk, VarveEndpoint *out,
                         GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = snapshot->domain;

  return named (domain, domain->ops->endpoint (snapshot, disk, out, cancellable, error), error);
}

bool
varve_snapshot_progress (VarveSnapshot *snapshot, GArray **out, GCancellable *cancellable,
                         GError **error)
{
  VarveDomain *domain = snapshot->domain;

  if (!snapshot->start->push || !domain->ops->progress)
    return unsupported (domain, "tell how far a snapshot is that it does not write", error);
  return named (domain, domain->ops->progress (snapshot, out, cancellable, error), error);
}

bool
varve_snapshot_set_speed (VarveSnapshot *snapshot, uint64_t bytes_per_second,
                          GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = snapshot->domain;

  if (!snapshot->start->push || !domain->ops->set_speed)
    return unsupported (domain, "change the speed of a snapshot that it does not write", error);
  return named (domain, domain->ops->set_speed (snapshot, bytes_per_second, cancellable, error),
                error);
}

bool
varve_snapshot_poll (VarveSnapshot *snapshot, VarveSnapshotStatus *out, GCancellable *cancellable,
                     GError **error)
{
  VarveDomain *domain = snapshot->domain;

  return named (domain, domain->ops->poll (snapshot, out, cancellable, error), error);
}

bool
varve_snapshot_finish (VarveSnapshot *snapshot, GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = snapshot->domain;

  return named (domain, domain->ops->finish (snapshot, cancellable, error), error);
}

bool
varve_snapshot_end (VarveSnapshot *snapshot, bool start_was_cut, GCancellable *cancellable,
                    GError **error)
{
  VarveDomain *domain = snapshot->domain;

  return named (domain, domain->ops->end (snapshot, start_was_cut, cancellable, error), error);
}

bool
varve_rewrite_endpoint (VarveRewrite *rewrite, const char *disk, VarveEndpoint *out,
                        GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = rewrite->domain;

  if (!varve_start_find_disk (rewrite->start, disk))
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "Disk '%s' is not among those of domain '%s' that are written.", disk,
                        domain->name);
  return named (domain, domain->ops->rewrite_endpoint (rewrite, disk, out, cancellable, error),
                error);
}

bool
varve_rewrite_finish (VarveRewrite *rewrite, GCancellable *cancellable, GError **error)
{
  VarveDomain *domain = rewrite->domain;

  return named (domain, domain->ops->rewrite_finish (rewrite, cancellable, error), error);
}
