/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How a start would be done on this QEMU, by what its schema offers, and what must not be done at
 * all.
 *
 *   what there is                                        strategy           guest first by
 *   blockdev-backup with on-cbw-error (QEMU ≥ 10.1)      job-filter-policy  QEMU
 *   copy-before-write with on-cbw-error (≥ 7.1), ids
 *     on all devices, and the guest may pause            filter             QEMU
 *   copy-before-write with on-cbw-error                  job-filter         whoever watches scratch
 *   less                                                 refused            -
 *
 * QEMU before 7.1 cannot export a bitmap that lies on another node than the export.
 */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <unistd.h>

/* The first series whose NBD server survives a client of an iothread's disk going away. No schema
 * shows it: this is the one comparison of versions. */
#define IOTHREAD_SAFE_VERSION 90000u

static const char *const strategy_names[] = {
  [VARVE_QMP_JOB_POLICY] = "job-filter-policy",
  [VARVE_QMP_FILTER] = "filter",
  [VARVE_QMP_JOB] = "job-filter",
  [VARVE_QMP_PUSH] = "push",
};

G_GNUC_PRINTF (2, 3)
static void
say (GPtrArray *sentences, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_ptr_array_add (sentences, g_strdup_vprintf (format, args));
  va_end (args);
}

/* Why the filters cannot be put in by us; NULL when they can. */
static const char *
why_no_filter (const VarveStart *start, GPtrArray *disks)
{
  if (start->policy.pause == VARVE_PAUSE_NEVER)
    return "that needs a pause of some milliseconds, and the job forbids it";
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    if (!disk->has_id)
      return "that needs a device id (-device …,id=NAME) on every disk";
  }
  return NULL;
}

/* What QEMU does when the copy of old data fails for another reason than a lack of room: only where all
 * devices stop for any error does no guest see one. */
static const char *
other_errors (VarveQmpDomain *domain, GPtrArray *disks)
{
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);
    g_autofree char *policy =
        disk->device ? varve_qmp_property (domain, disk->device, "werror", NULL) : NULL;

    if (g_strcmp0 (policy, "stop") != 0)
      return " If it fails otherwise, a write of the guest fails too, as not every disk has "
             "werror=stop.";
  }
  return "";
}

static void
choose (VarveQmpDomain *domain, const VarveStart *start, GPtrArray *disks, VarveStartReport *report,
        VarveQmpStrategy *out)
{
  const char *no_filter = why_no_filter (start, disks);

  *out = VARVE_QMP_JOB;
  if (!varve_qmp_schema_has_variant (domain->schema, "blockdev-add", "snapshot-access") ||
      !varve_qmp_schema_has_argument (domain->schema, "blockdev-add", "copy-before-write",
                                      "on-cbw-error")) {
    say (report->refusals,
         "This QEMU is older than 7.1 and cannot export a frozen view of a disk in use: upgrade "
         "it, or back the domain up while it is off.");
    return;
  }
  if (varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "on-cbw-error"))
    *out = VARVE_QMP_JOB_POLICY;
  else if (!no_filter)
    *out = VARVE_QMP_FILTER;
  else
    say (report->weaker,
         "If the scratch space runs full, the guest is paused until the backup has been given up: "
         "this QEMU could only be told to give up by itself through a filter of varve's own, and "
         "%s.%s",
         no_filter, other_errors (domain, disks));
}

/* What both forms of a push need. */
static void
check_push (VarveQmpDomain *domain, const VarveStart *start, VarveStartReport *report)
{
  if (!varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "bitmap-mode") ||
      !varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "filter-node-name"))
    say (report->refusals,
         "This QEMU is older than 4.2 and cannot write a backup by a bitmap: upgrade it, or back "
         "the domain up while it is off.");
  if (!varve_qmp_can_read_ours (domain) && geteuid () != 0)
    say (report->refusals,
         "The QEMU of domain '%s' runs as user %u, to whom the new layers can be given by root "
         "only: run varve as root or as that user, or use pull.",
         domain->base.name, domain->uid);
  if ((start->workers || start->chunk || start->fleece) &&
      !varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "x-perf"))
    say (report->refusals,
         "This QEMU cannot be told how many requests to make, or how large: leave out the number "
         "of workers, the chunk and the fleece.");
}

/* With `report` a target that fails ends the job. But while a write of the guest waits for old data to be copied to the
 * target, it shares that one's fate. */
static void
choose_push (VarveQmpDomain *domain, GPtrArray *disks, VarveStartReport *report,
             VarveQmpStrategy *out)
{
  *out = VARVE_QMP_PUSH;
  if (varve_qmp_schema_has_argument (domain->schema, "blockdev-backup", NULL, "on-cbw-error"))
    return;
  say (report->weaker,
       "QEMU writes the backup itself, and what the guest overwrites meanwhile it saves there "
       "first: if the target is slow, so is such a write, and if it runs full, the guest is paused "
       "until the backup has been given up.%s",
       other_errors (domain, disks));
}

static void
check_since (const char *disk, const char *name, GPtrArray *bitmaps, VarveStartReport *report)
{
  const VarveBitmap *since = varve_bitmap_find (bitmaps, disk, name);

  if (!since)
    say (report->refusals, "%s: there is no bitmap '%s' to read by; take a full backup.", disk,
         name);
  else if (since->inconsistent)
    say (report->refusals, "%s: the bitmap '%s' is inconsistent; take a full backup.", disk, name);
}

static void
check_bitmaps (VarveQmpDomain *domain, const VarveStartDisk *wanted, const VarveQmpDisk *disk,
               GPtrArray *bitmaps, VarveStartReport *report)
{
  if (wanted->since)
    check_since (wanted->disk, wanted->since, bitmaps, report);
  for (guint i = 0; wanted->since_also && i < wanted->since_also->len; i++)
    check_since (wanted->disk, g_ptr_array_index (wanted->since_also, i), bitmaps, report);
  if (!wanted->checkpoint)
    return;
  if (wanted->transient)
    say (report->weaker, "%s: its checkpoint is lost when its QEMU exits: %s.", wanted->disk,
         disk->disk->why_not_persist ? disk->disk->why_not_persist : "it was asked for so");
  else if (!disk->disk->can_persist)
    say (report->refusals, "%s: no checkpoint can be added: %s.", wanted->disk,
         disk->disk->why_not_persist);
}

static void
check_disk (VarveQmpDomain *domain, const VarveStart *start, const VarveQmpDisk *disk,
            GPtrArray *bitmaps, VarveStartReport *report)
{
  const VarveStartDisk *wanted = varve_start_find_disk (start, disk->disk->name);

  if (!disk->disk->can_back_up)
    say (report->refusals, "%s: it cannot be backed up: %s.", wanted->disk, disk->disk->why_not);
  else if (disk->disk->size == 0)
    say (report->refusals, "%s: it cannot be backed up: it is empty.", wanted->disk);
  if ((!start->push || start->fleece) && disk->disk->iothread &&
      varve_qmp_version (domain->qmp) < IOTHREAD_SAFE_VERSION)
    say (report->refusals,
         "%s: an iothread serves it, and a QEMU before 9.0 aborts, guest and all, when an NBD "
         "client of such a disk goes away: upgrade QEMU, take the iothread from the disk, or back "
         "the domain up while it is off.",
         wanted->disk);
  check_bitmaps (domain, wanted, disk, bitmaps, report);
}

static void
check_policy (const VarveStart *start, VarveStartReport *report)
{
  if (start->policy.write_timeout < 1 || start->policy.write_timeout > 4)
    say (report->refusals,
         "The write time-out of %u s is refused: QEMU keeps it as nanoseconds in 32 bits, so it "
         "must be 1 to 4 s.",
         start->policy.write_timeout);
}

/* Moves what @start names from @all to the result, in its order; what is missing is a refusal. */
static GPtrArray *
pick_disks (const VarveStart *start, GPtrArray *all, VarveStartReport *report)
{
  GPtrArray *picked = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_qmp_disk_free);

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *wanted = g_ptr_array_index (start->disks, i);
    VarveQmpDisk *disk = varve_qmp_disks_find (all, wanted->disk);
    guint at;

    if (disk && g_ptr_array_find (all, disk, &at))
      g_ptr_array_add (picked, g_ptr_array_steal_index (all, at));
    else
      say (report->refusals, "%s: the domain has no such disk.", wanted->disk);
  }
  return picked;
}

static bool
look (VarveQmpDomain *domain, GPtrArray **out_all, GPtrArray **out_bitmaps,
      GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) nodes = NULL;

  if (!domain->schema)
    domain->schema = varve_qmp_schema_query (domain->qmp, cancellable, error);
  if (!domain->schema || !varve_qmp_bitmaps (&domain->base, out_bitmaps, cancellable, error))
    return false;
  nodes = varve_qmp_nodes (domain, cancellable, error);
  *out_all = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;
  return *out_all != NULL;
}

static VarveStartReport *
examine (VarveQmpDomain *domain, const VarveStart *start, VarveQmpStrategy *out_strategy,
         GPtrArray **out_disks, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) all = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;

  if (!look (domain, &all, &bitmaps, cancellable, error))
    return NULL;

  VarveStartReport *report = varve_start_report_new ();
  g_autoptr (GPtrArray) disks = pick_disks (start, all, report);
  for (guint i = 0; i < disks->len; i++) {
    const VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    check_disk (domain, start, disk, bitmaps, report);
  }
  check_policy (start, report);
  if (start->push)
    check_push (domain, start, report);
  if (start->push && !start->fleece)
    choose_push (domain, disks, report, out_strategy);
  else
    choose (domain, start, disks, report, out_strategy);
  report->needs_scratch = *out_strategy != VARVE_QMP_PUSH;
  report->strategy = start->fleece ? g_strconcat ("push-", strategy_names[*out_strategy], NULL)
                                   : g_strdup (strategy_names[*out_strategy]);
  *out_disks = g_steal_pointer (&disks);
  return report;
}

bool
varve_qmp_check (VarveDomain *base, const VarveStart *start, VarveStartReport **out,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) disks = NULL;
  VarveQmpStrategy strategy;

  *out = examine ((VarveQmpDomain *)base, start, &strategy, &disks, cancellable, error);
  return *out != NULL;
}

bool
varve_qmp_prepare (VarveQmpDomain *domain, const VarveStart *start, VarveQmpStrategy *out_strategy,
                   GPtrArray **out_disks, GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStartReport) report =
      examine (domain, start, out_strategy, out_disks, cancellable, error);

  return report && varve_start_report_allows (report, error);
}
