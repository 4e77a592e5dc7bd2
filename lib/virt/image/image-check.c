/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a start over stopped images cannot do. */
#include "config.h"
#include "virt/image/image-domain.h"

G_GNUC_PRINTF (2, 3)
static void
refuse (VarveStartReport *report, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_ptr_array_add (report->refusals, g_strdup_vprintf (format, args));
  va_end (args);
}

static void
check_since (const char *disk, const char *name, const VarveImageInfo *info,
             VarveStartReport *report)
{
  const VarveImageBitmap *since = varve_image_domain_bitmap (info, name);

  if (!since)
    refuse (report, "%s: there is no bitmap '%s' to read by; take a full backup.", disk, name);
  else if (since->inconsistent)
    refuse (report, "%s: the bitmap '%s' is inconsistent; take a full backup.", disk, name);
}

static bool
check_disk (VarveImageDomain *domain, const VarveStartDisk *wanted, VarveStartReport *report,
            GCancellable *cancellable, GError **error)
{
  if (!g_hash_table_contains (domain->images, wanted->disk)) {
    refuse (report, "%s: the domain has no such disk.", wanted->disk);
    return true;
  }

  g_autoptr (VarveImageInfo) info =
      varve_image_domain_info (domain, wanted->disk, cancellable, error);
  if (!info)
    return false;
  if (info->size == 0)
    refuse (report, "%s: it cannot be backed up: it is empty.", wanted->disk);
  if (wanted->checkpoint && wanted->transient)
    refuse (report,
            "%s: its domain is off, so there is nothing that a checkpoint which is not "
            "stored could live in.",
            wanted->disk);
  else if (wanted->checkpoint && !info->can_persist)
    refuse (report,
            "%s: no checkpoint can be added: its image cannot store bitmaps (only qcow2 of "
            "version 3 can).",
            wanted->disk);
  if (wanted->since)
    check_since (wanted->disk, wanted->since, info, report);
  for (guint i = 0; wanted->since_also && i < wanted->since_also->len; i++)
    check_since (wanted->disk, g_ptr_array_index (wanted->since_also, i), info, report);
  return true;
}

bool
varve_image_domain_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
                          GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStartReport) report = varve_start_report_new ();

  for (guint i = 0; i < start->disks->len; i++) {
    if (!check_disk ((VarveImageDomain *)base, g_ptr_array_index (start->disks, i), report,
                     cancellable, error))
      return false;
  }
  if (start->allow_trim)
    refuse (report,
            "TRIM cannot be allowed: the images of a stopped domain are read-only, and need no "
            "scratch that could be given back.");
  report->strategy = g_strdup (start->push ? "image-push" : "image");
  *out = g_steal_pointer (&report);
  return true;
}
