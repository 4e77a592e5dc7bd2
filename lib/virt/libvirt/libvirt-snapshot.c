/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The backup job while it runs, known again by its session's id in exportbitmap.
 *
 * The overlay that is exported falls back to the live disk when its job goes, so a reader would be
 * served newer data without an error: `finish` is what makes a backup out of what was read. Readers
 * are closed after `end`, never before: libvirt stops the server first, and QEMU survives that
 * order everywhere. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <string.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/failpoint.h"

/* A job ends within milliseconds, or when the guest's disk lets it. */
#define END_POLL_MIN_US (2 * 1000)
#define END_POLL_US     (50 * 1000)
#define END_TIMEOUT_US  (30 * G_USEC_PER_SEC)
/* Behind it the guard still keeps its bound of 5 s. */
#define START_TIMEOUT_US (3 * G_USEC_PER_SEC)
/* Between an abort and the end of the exports libvirt still lists the job; a second look behind
 * that time sees through it. Measured: the export is gone within 25 ms of the abort. */
#define FINISH_PAUSE_US (100 * 1000)

static VarveLibvirtDomain *
domain_of (VarveLibvirtSnapshot *snapshot)
{
  return (VarveLibvirtDomain *)snapshot->base.domain;
}

/* A push is known by what it writes. */
static bool
is_of (const VarveLibvirtBackup *backup, const VarveStart *start)
{
  if (!start->push)
    return g_strcmp0 (backup->session, start->session) == 0;
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->target &&
        g_ptr_array_find_with_equal_func (backup->targets, disk->target, g_str_equal, NULL))
      return true;
  }
  return false;
}

bool
varve_libvirt_job_is_ours (VarveLibvirtDomain *self, const VarveStart *start, bool *out_ours,
                           GError **error)
{
  g_autoptr (VarveLibvirtBackup) backup = NULL;

  *out_ours = false;
  if (!varve_libvirt_backup (self, &backup, error))
    return false;
  *out_ours = backup && is_of (backup, start);
  return true;
}

/* --- endpoint
 * -------------------------------------------------------------------------------------- */

static char *
tls_uri (const VarveServer *server, const char *export)
{
  g_autofree char *credentials = g_uri_escape_string (server->credentials, "/", false);
  bool literal = strchr (server->host, ':') != NULL;

  return g_strdup_printf ("nbds://%s%s%s:%u/%s?tls-certificates=%s", literal ? "[" : "",
                          server->host, literal ? "]" : "", server->port, export, credentials);
}

/* @out has its socket already. */
static char *
unix_uri (const VarveEndpoint *out, const char *export)
{
  g_autofree char *escaped = g_uri_escape_string (out->socket, "/", false);

  return g_strdup_printf ("nbd+unix:///%s?socket=%s", export, escaped);
}

bool
varve_libvirt_endpoint (VarveSnapshot *base, const char *disk, VarveEndpoint *out,
                        GCancellable *cancellable, GError **error)
{
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;
  const VarveStartDisk *known = varve_start_find_disk (base->start, disk);
  g_autofree char *export = NULL;

  if (snapshot->images)
    return varve_snapshot_endpoint (snapshot->image_snapshot, disk, out, cancellable, error);
  if (!known)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "The backup of domain '%s' does not have a disk '%s'.", base->domain->name,
                        disk);
  export = g_uri_escape_string (disk, NULL, false);
  out->export_name = g_strdup (disk);
  if (base->start->server.host) {
    out->uri = tls_uri (&base->start->server, export);
  } else {
    out->socket = varve_libvirt_socket_path (base->start);
    out->uri = unix_uri (out, export);
  }
  if (known->since)
    out->dirty_context = g_strdup_printf ("qemu:dirty-bitmap:varve-%s", base->start->session);
  out->allocation_context = g_strdup ("base:allocation");
  out->contexts_may_share = true; /* every byte of an overlay can be read */
  out->connections = 2;
  return true;
}

/* --- poll
 * ------------------------------------------------------------------------------------------ */

static void
gone (VarveSnapshotStatus *out, const char *why)
{
  out->state = VARVE_SNAPSHOT_GONE;
  out->why = g_strdup (why);
}

static void
read_stats (VarveLibvirtDomain *self, VarveSnapshotStatus *out)
{
  virTypedParameterPtr params = NULL;
  unsigned long long used = 0;
  int type, count = 0;

  if (virDomainGetJobStats (self->domain, &type, &params, &count, 0) < 0)
    return;
  if (virTypedParamsGetULLong (params, count, VIR_DOMAIN_JOB_DISK_TEMP_USED, &used) == 1)
    out->scratch_used = used;
  virTypedParamsFree (params, count);
}

bool
varve_libvirt_poll (VarveSnapshot *base, VarveSnapshotStatus *out, GCancellable *cancellable,
                    GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;
  VarveLibvirtDomain *self = domain_of (snapshot);
  VarveDomainState state;
  bool ours;

  if (snapshot->images)
    return varve_snapshot_poll (snapshot->image_snapshot, out, cancellable, error);
  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF) {
    gone (out, "the domain was shut down or its QEMU died");
    return true;
  }
  if (!varve_libvirt_job_is_ours (self, base->start, &ours, error))
    return false;
  out->guest_paused = state == VARVE_DOMAIN_PAUSED_IO_ERROR;
  if (!ours && base->start->push)
    return varve_libvirt_push_poll (self, out);
  if (!ours) {
    gone (out, "libvirt does not have the backup job any more");
    return true;
  }
  out->state = VARVE_SNAPSHOT_ALIVE;
  read_stats (self, out);
  return true;
}

/* --- finish
 * ---------------------------------------------------------------------------------------- */

static bool
still_ours (VarveLibvirtSnapshot *snapshot, GCancellable *cancellable, GError **error)
{
  VarveLibvirtDomain *self = domain_of (snapshot);
  VarveDomainState state;
  bool ours = false;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_OFF &&
      !varve_libvirt_job_is_ours (self, snapshot->base.start, &ours, error))
    return false;
  return ours ||
         varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The backup job of domain '%s' was gone when its disks had been read, "
                      "so that what was read may be of a later time. Back up again.",
                      self->base.name);
}

/* What the disks that libvirt's job backs up have to do together, in bytes. False: there is no such job, or libvirt
 * says (varve_libvirt_error_code) why it cannot tell. */
static bool
backup_total (VarveLibvirtDomain *self, const VarveStart *start, uint64_t *out_total)
{
  virTypedParameterPtr params = NULL;
  unsigned long long total = 0;
  int type, count = 0, operation = 0;

  virResetLastError ();
  if (virDomainGetJobStats (self->domain, &type, &params, &count, 0) < 0)
    return false;
  virTypedParamsGetInt (params, count, VIR_DOMAIN_JOB_OPERATION, &operation);
  virTypedParamsGetULLong (params, count,
                           start->push ? VIR_DOMAIN_JOB_DISK_TOTAL : VIR_DOMAIN_JOB_DISK_TEMP_TOTAL,
                           &total);
  virTypedParamsFree (params, count);
  *out_total = total;
  return type != VIR_DOMAIN_JOB_NONE && operation == VIR_DOMAIN_JOB_OPERATION_BACKUP;
}

/* Whether nobody has begun to end the job: QEMU has one for each disk, and libvirt counts all of them. Of disks
 * whose jobs it has told to end it does not from then on (qemuBackupGetJobInfoStats in its qemu_backup.c). False:
 * somebody has, or this libvirt counts otherwise. */
static bool
is_untouched (VarveLibvirtDomain *self, const VarveStart *start)
{
  uint64_t expected = 0, total;

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    virDomainBlockJobInfo job;
    if (virDomainGetBlockJobInfo (self->domain, disk->disk, &job, 0) <= 0)
      return false;
    expected += job.end;
  }
  return backup_total (self, start, &total) && expected > 0 && total == expected;
}

bool
varve_libvirt_finish (VarveSnapshot *base, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;

  if (snapshot->images)
    return varve_snapshot_finish (snapshot->image_snapshot, cancellable, error);
  if (base->start->push)
    return varve_libvirt_push_finish (base, cancellable, error);
  if (!still_ours (snapshot, cancellable, error))
    return false;
  if (is_untouched (domain_of (snapshot), base->start))
    return true;
  g_usleep (FINISH_PAUSE_US);
  return still_ours (snapshot, cancellable, error);
}

/* --- end
 * ------------------------------------------------------------------------------------------- */

/* libvirt removes both, except when QEMU dies: then the socket stays. What is on another host is
 * left to it. */
static bool
remove_files (const VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  if (!self->base.local)
    return true;

  g_autofree char *socket = varve_libvirt_socket_path (start);
  bool ok = varve_durable_unlink (socket, error);

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->scratch && !varve_durable_unlink (disk->scratch, ok ? error : NULL))
      ok = false;
  }
  return ok;
}

/* libvirt has a job, and nothing to tell of its disks yet; or the job of @start, and nothing to be done by it. Of other
 * jobs this is not asked. */
static bool
is_starting (VarveLibvirtDomain *self, const VarveStart *start)
{
  g_autoptr (VarveLibvirtBackup) backup = NULL;
  uint64_t total;

  if (!varve_libvirt_backup (self, &backup, NULL) || (backup && !is_of (backup, start)))
    return false;
  if (!backup_total (self, start, &total))
    return varve_libvirt_error_code () == VIR_ERR_INTERNAL_ERROR;
  return total == 0;
}

/* libvirt goes on with a start whose client has died. While it is at that, its job can be told to end
 * and its checkpoint to go; libvirt 9.0 then undoes the start beside whatever it is asked next,
 * both with QEMU's one monitor, and crashes. So it is let finish first. A job whose disks have all
 * failed looks like one that starts: hence not for long. */
static void
let_start_end (VarveLibvirtDomain *self, const VarveStart *start)
{
  gint64 deadline = g_get_monotonic_time () + START_TIMEOUT_US;

  while (is_starting (self, start) && g_get_monotonic_time () < deadline)
    g_usleep (END_POLL_US);
}

static bool
wait_until_gone (VarveLibvirtDomain *self, const VarveStart *start, GCancellable *cancellable,
                 GError **error)
{
  gint64 deadline = g_get_monotonic_time () + END_TIMEOUT_US;
  gulong pause = END_POLL_MIN_US;
  bool ours;

  for (;;) {
    VarveDomainState state;

    if (!varve_libvirt_look (self, &state, cancellable, error))
      return false;
    if (state == VARVE_DOMAIN_OFF)
      return true;
    if (!varve_libvirt_job_is_ours (self, start, &ours, error))
      return false;
    if (!ours)
      return true;
    if (g_get_monotonic_time () > deadline)
      return varve_throw (error, VARVE_ERROR_BUSY,
                          "The backup job of domain '%s' was told to end %u s ago and is still "
                          "there. See 'virsh domjobinfo %s', then run 'varve recover'.",
                          self->base.name, (unsigned)(END_TIMEOUT_US / G_USEC_PER_SEC),
                          self->base.name);
    g_usleep (pause);
    pause = MIN (pause * 2, END_POLL_US);
  }
}

/* libvirt ends whatever job there is, and knows no owner: hence the look directly before. That a
 * job of somebody else takes the place of ours between the two cannot be excluded, only made
 * unlikely. */
static bool
abort_job (VarveLibvirtDomain *self, const VarveStart *start, GCancellable *cancellable,
           GError **error)
{
  bool ours;

  if (!varve_libvirt_job_is_ours (self, start, &ours, error))
    return false;
  if (!ours)
    return true;
  if (!varve_failpoint ("libvirt-end-before", error))
    return false;
  /* "No job is active": it ended by itself in between. */
  if (virDomainAbortJob (self->domain) < 0 &&
      varve_libvirt_error_code () != VIR_ERR_OPERATION_INVALID)
    return varve_libvirt_throw (error, "Cannot end the backup job of domain '%s'", self->base.name);
  if (!varve_failpoint ("libvirt-end-aborted", error) ||
      !wait_until_gone (self, start, cancellable, error))
    return false;
  if (start->push)
    varve_libvirt_let_images_go (self, start);
  return true;
}

bool
varve_libvirt_end_job (VarveLibvirtDomain *self, const VarveStart *start, GCancellable *cancellable,
                       GError **error)
{
  return abort_job (self, start, cancellable, error) && remove_files (self, start, error);
}

static bool
end_images (VarveLibvirtSnapshot *snapshot, bool start_was_cut, GCancellable *cancellable,
            GError **error)
{
  return varve_snapshot_end (snapshot->image_snapshot, start_was_cut, cancellable, error);
}

/* A snapshot that was attached may be of either kind: a domain that is off has no job, but may have
 * images that a dead worker left; one that runs cannot, as QEMU would not have got their locks. */
bool
varve_libvirt_end (VarveSnapshot *base, bool start_was_cut, GCancellable *cancellable,
                   GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;
  VarveLibvirtDomain *self = domain_of (snapshot);
  g_autoptr (GError) failed = NULL;
  VarveDomainState state;

  if (snapshot->images)
    return end_images (snapshot, start_was_cut, cancellable, error);
  if (!varve_libvirt_look (self, &state, cancellable, &failed)) {
    if (varve_error_matches (failed, VARVE_ERROR_NOT_FOUND))
      return remove_files (self, base->start, error);
    g_propagate_error (error, g_steal_pointer (&failed));
    return false;
  }
  if (state != VARVE_DOMAIN_OFF) {
    if (snapshot->attached)
      let_start_end (self, base->start);
    return varve_libvirt_end_job (self, base->start, cancellable, error);
  }
  return remove_files (self, base->start, error) &&
         varve_libvirt_stopped_end (self, base->start, start_was_cut, cancellable, error);
}

void
varve_libvirt_snapshot_free (VarveSnapshot *base)
{
  VarveLibvirtSnapshot *snapshot = (VarveLibvirtSnapshot *)base;

  varve_snapshot_free (snapshot->image_snapshot);
  varve_domain_free (snapshot->images);
  varve_start_free (base->start);
  g_free (snapshot);
}
