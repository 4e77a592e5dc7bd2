/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Push: libvirt has QEMU write each disk to an image of our making (REUSE_EXTERNAL; an increment that libvirt made
 * itself would be linked to the live disk).
 *
 *   images made ─▶ given to QEMU's user, who is let through the directories of the store ─▶ BackupBegin
 *   (what was there already, a device or a raw copy that is brought up to date, libvirt gives to him, and takes back)
 *   ─▶ libvirt waits for all disks, and takes down what it has ─▶ the job is gone; how it went is told by the
 *      statistics of the last job
 *
 * All disks or none is libvirt's doing: one that fails has the others cancelled. The job is known by its images, as a
 * push has no place for a session's name. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/pass.h"

/* --- before the start ------------------------------------------------------------------------- */

/* libvirt does this, too, but not where it was told to leave ownership alone (dynamic_ownership). */
static bool
give (const char *target, uid_t uid, gid_t gid, GError **error)
{
  return lchown (target, uid, gid) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                            "'%s' cannot be given to QEMU's user (%u)", target, (unsigned)uid);
}

bool
varve_libvirt_open_targets (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                            const VarveStart *start, GError **error)
{
  bool other;
  uid_t uid;
  gid_t gid;

  if (!varve_libvirt_qemu_user (self, definition, &other, &uid, &gid, error))
    return false;
  for (guint i = 0; other && i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->target_in_place)
      continue;
    if ((start->target_root &&
         !varve_pass_allow_way (start->target_root, disk->target, uid, error)) ||
        !give (disk->target, uid, gid, error))
      return varve_prefix (error, "The target of disk '%s' cannot be made ready for QEMU",
                           disk->disk);
  }
  return true;
}

/* --- how it went ------------------------------------------------------------------------------ */

typedef struct {
  int type; /* virDomainJobType */
  int operation;
  unsigned long long done, total;
  bool success;
  char *words;
} Stats;

static void
stats_clear (Stats *stats)
{
  g_free (stats->words);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Stats, stats_clear)

static void
read_stats (virTypedParameterPtr params, int count, Stats *out)
{
  const char *words = NULL;
  int success = 1;

  virTypedParamsGetInt (params, count, VIR_DOMAIN_JOB_OPERATION, &out->operation);
  virTypedParamsGetULLong (params, count, VIR_DOMAIN_JOB_DISK_PROCESSED, &out->done);
  virTypedParamsGetULLong (params, count, VIR_DOMAIN_JOB_DISK_TOTAL, &out->total);
  virTypedParamsGetBoolean (params, count, VIR_DOMAIN_JOB_SUCCESS, &success);
  virTypedParamsGetString (params, count, VIR_DOMAIN_JOB_ERRMSG, &words);
  out->success = success;
  out->words = g_strdup (words);
}

static bool
ask (VarveLibvirtDomain *self, bool last, Stats *out, GError **error)
{
  virTypedParameterPtr params = NULL;
  unsigned flags = last ? VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED : 0;
  int count = 0;

  if (virDomainGetJobStats (self->domain, &out->type, &params, &count, flags) < 0)
    return varve_libvirt_throw (error, "Cannot tell how far the backup job of domain '%s' is",
                                self->base.name);
  read_stats (params, count, out);
  virTypedParamsFree (params, count);
  return true;
}

static VarveError
whose_fault (const char *words)
{
  if (words && strstr (words, "No space left"))
    return VARVE_ERROR_NO_SPACE;
  if (words && (strstr (words, "cancel") || strstr (words, "Cancel")))
    return VARVE_ERROR_SOURCE_LOST;
  return VARVE_ERROR_STORE_UNREACHABLE;
}

/* Of the job that was ours and is not there any more: NULL when it ended well. */
static char *
find_trouble (VarveLibvirtDomain *self, Stats *out, VarveError *out_code)
{
  g_autoptr (GError) failed = NULL;

  *out_code = VARVE_ERROR_SOURCE_LOST;
  if (!ask (self, true, out, &failed))
    return g_strdup_printf ("its job is gone, and nothing tells how it ended: %s", failed->message);
  if (out->operation != VIR_DOMAIN_JOB_OPERATION_BACKUP)
    return g_strdup ("libvirt does not have the backup job any more, nor can tell how it ended");
  if (out->type == VIR_DOMAIN_JOB_COMPLETED && out->success)
    return NULL;
  if (out->type == VIR_DOMAIN_JOB_CANCELLED)
    return g_strdup ("its job was ended by somebody else");
  *out_code = whose_fault (out->words);
  return g_strdup_printf ("the copy failed: %s",
                          out->words ? out->words : "libvirt gives no reason");
}

bool
varve_libvirt_push_poll (VarveLibvirtDomain *self, VarveSnapshotStatus *out)
{
  g_auto (Stats) stats = { 0 };

  out->why = find_trouble (self, &stats, &out->code);
  out->state = out->why ? VARVE_SNAPSHOT_BROKEN : VARVE_SNAPSHOT_ALIVE;
  return true;
}

/* --- the ops ---------------------------------------------------------------------------------- */

static VarveLibvirtDomain *
domain_of (VarveSnapshot *snapshot)
{
  return (VarveLibvirtDomain *)snapshot->domain;
}

/* False for errors, and where the job is neither there nor ended well. */
static bool
is_running (VarveSnapshot *base, bool *out_running, GCancellable *cancellable, GError **error)
{
  VarveLibvirtDomain *self = domain_of (base);
  g_auto (Stats) stats = { 0 };
  g_autofree char *why = NULL;
  VarveDomainState state;
  VarveError code;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                        "Domain '%s' was shut down, or its QEMU died, before all was written.",
                        self->base.name);
  if (!varve_libvirt_job_is_ours (self, base->start, out_running, error))
    return false;
  if (*out_running)
    return true;
  why = find_trouble (self, &stats, &code);
  return !why || varve_throw (error, code, "QEMU gave up writing the backup: %s.", why);
}

static bool
has_block_job (VarveLibvirtDomain *self, const char *disk, virDomainBlockJobInfo *out)
{
  return virDomainGetBlockJobInfo (self->domain, disk, out, 0) > 0;
}

/* A disk whose block job is gone is done, or libvirt is about to say that it failed: so as long as the whole is there,
 * one disk is not. */
static GArray *
progress_of (VarveLibvirtDomain *self, const VarveStart *start, bool running)
{
  GArray *all = g_array_new (FALSE, TRUE, sizeof (VarvePushProgress));
  bool ready = true;

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    virDomainBlockJobInfo info = { 0 };
    VarvePushProgress progress = { .ready = !running || !has_block_job (self, disk->disk, &info) };

    progress.done = info.cur;
    progress.total = info.end;
    ready = ready && progress.ready;
    g_array_append_val (all, progress);
  }
  if (running && ready)
    g_array_index (all, VarvePushProgress, all->len - 1).ready = false;
  return all;
}

bool
varve_libvirt_progress (VarveSnapshot *base, GArray **out, GCancellable *cancellable,
                        GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;
  bool running;

  if (snapshot->images)
    return varve_snapshot_progress (snapshot->image_snapshot, out, cancellable, error);
  if (!is_running (base, &running, cancellable, error))
    return false;
  *out = progress_of (domain_of (base), base->start, running);
  return true;
}

/* One whose job has ended meanwhile takes none. */
static bool
set_disk_speed (VarveLibvirtDomain *self, const char *disk, uint64_t speed, GError **error)
{
  return virDomainBlockJobSetSpeed (self->domain, disk, speed,
                                    VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES) == 0 ||
         varve_libvirt_error_says ("cannot accept command verb") ||
         varve_libvirt_error_says ("does not have an active block job") ||
         varve_libvirt_throw (error, "The speed of the backup of disk '%s' cannot be set", disk);
}

bool
varve_libvirt_push_speed (VarveLibvirtDomain *self, const VarveStart *start, uint64_t speed,
                          GError **error)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();

  for (guint i = 0; i < start->disks->len; i++) {
    VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    virDomainBlockJobInfo info;

    if (has_block_job (self, disk->disk, &info))
      g_ptr_array_add (disks, disk->disk);
  }
  for (guint i = 0; i < disks->len; i++) {
    if (!set_disk_speed (self, g_ptr_array_index (disks, i),
                         speed ? MAX (speed / disks->len, 1) : 0, error))
      return false;
  }
  return true;
}

bool
varve_libvirt_set_speed (VarveSnapshot *base, uint64_t speed, GCancellable *cancellable,
                         GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;
  bool running;

  if (snapshot->images)
    return varve_snapshot_set_speed (snapshot->image_snapshot, speed, cancellable, error);
  return is_running (base, &running, cancellable, error) &&
         (!running || varve_libvirt_push_speed (domain_of (base), base->start, speed, error));
}

void
varve_libvirt_let_images_go (VarveLibvirtDomain *self, const VarveStart *start)
{
  virDomainBlockJobInfo info;

  has_block_job (self, ((const VarveStartDisk *)g_ptr_array_index (start->disks, 0))->disk, &info);
}

bool
varve_libvirt_push_finish (VarveSnapshot *base, GCancellable *cancellable, GError **error)
{
  bool running;

  if (!is_running (base, &running, cancellable, error))
    return false;
  if (running)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "The disks of domain '%s' are not all written yet.", base->domain->name);
  varve_libvirt_let_images_go (domain_of (base), base->start);
  return true;
}
