/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What libvirt and its QEMU cannot do, or would do at the guest's cost, found before anything is
 * started. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The first QEMU whose NBD server may serve disks of an iothread, as virConnectGetVersion counts.
 */
#define QEMU_NBD_IOTHREAD_SAFE (9 * 1000000UL)

static void refuse (GPtrArray *refusals, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
refuse (GPtrArray *refusals, const char *format, ...)
{
  va_list ap;

  va_start (ap, format);
  g_ptr_array_add (refusals, g_strdup_vprintf (format, ap));
  va_end (ap);
}

/* --- is somebody else at work?
 * -------------------------------------------------------------------- */

static bool
no_other_backup (VarveLibvirtDomain *self, GError **error)
{
  g_autoptr (VarveLibvirtBackup) backup = NULL;

  if (!varve_libvirt_backup (self, &backup, error))
    return false;
  if (!backup)
    return true;
  if (backup->session)
    return varve_throw (error, VARVE_ERROR_BUSY,
                        "Domain '%s' is being backed up by varve's session %s. Wait for it, or end "
                        "what a dead one left behind with 'varve recover'.",
                        self->base.name, backup->session);
  return varve_throw (
      error, VARVE_ERROR_BUSY,
      "Another program is backing up domain '%s' (libvirt has a %s backup job that is "
      "not varve's). Wait for it, or end it with 'virsh domjobabort %s'.",
      self->base.name, backup->mode ? backup->mode : "push", self->base.name);
}

/* Migration, save, dump, snapshot: BackupBegin would wait 30 s for their end. */
static bool
no_other_job (VarveLibvirtDomain *self, GError **error)
{
  virTypedParameterPtr params = NULL;
  int type = VIR_DOMAIN_JOB_NONE, count = 0;

  /* A job that keeps libvirt from answering is told by the time-out of the start itself. */
  if (virDomainGetJobStats (self->domain, &type, &params, &count, 0) == 0)
    virTypedParamsFree (params, count);
  if (type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED)
    return varve_throw (error, VARVE_ERROR_BUSY,
                        "libvirt has another job on domain '%s' (a migration, save, dump or "
                        "snapshot). Try again when 'virsh domjobinfo %s' shows none.",
                        self->base.name, self->base.name);
  return true;
}

static bool
no_block_job (VarveLibvirtDomain *self, const char *disk, GError **error)
{
  virDomainBlockJobInfo info;

  if (virDomainGetBlockJobInfo (self->domain, disk, &info, 0) <= 0)
    return true;
  return varve_throw (error, VARVE_ERROR_BUSY,
                      "Disk '%s' of domain '%s' has a block job (copy, commit or pull). Try again "
                      "when 'virsh blockjob %s %s' shows none.",
                      disk, self->base.name, self->base.name, disk);
}

static bool
nobody_at_work (VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  if (!no_other_backup (self, error) || !no_other_job (self, error))
    return false;
  for (guint i = 0; i < start->disks->len; i++)
    if (!no_block_job (self, ((VarveStartDisk *)g_ptr_array_index (start->disks, i))->disk, error))
      return false;
  return true;
}

/* --- what this libvirt and QEMU can
 * --------------------------------------------------------------- */

static bool
get_features (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
              const char *emulator, VarveLibvirtFeatures *out, GError **error)
{
  g_autofree char *xml = virConnectGetDomainCapabilities (
      self->connection, emulator, definition->arch, definition->machine, definition->type, 0);

  if (!xml)
    return varve_libvirt_throw (error, "Cannot read what the QEMU of domain '%s' can do",
                                self->base.name);
  return varve_libvirt_features_parse (xml, out, error);
}

/* QEMU replaced by a package update while the domain runs: the old binary is then a deleted file. Seen only by root,
 * and for the system's libvirt. */
static bool
binary_was_replaced (VarveLibvirtDomain *self)
{
  g_autofree char *pid_file = g_strdup_printf ("/run/libvirt/qemu/%s.pid", self->base.name);
  g_autofree char *pid = NULL;
  g_autofree char *link = NULL;
  g_autofree char *target = NULL;

  if (!self->base.local)
    return true;
  if (!g_file_get_contents (pid_file, &pid, NULL, NULL))
    return false;
  link = g_strdup_printf ("/proc/%s/exe", g_strstrip (pid));
  target = g_file_read_link (link, NULL);
  return target && g_str_has_suffix (target, " (deleted)");
}

/* libvirt tells the version of its default QEMU only. The guest's life is at stake: so a QEMU of the domain's own, and
 * one that is known to be replaced, count as old; so
 * does one that nobody can look at from here. */
static bool
nbd_is_iothread_safe (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition)
{
  g_auto (VarveLibvirtFeatures) standard = { 0 };
  unsigned long version = 0;

  if (virConnectGetVersion (self->connection, &version) < 0 || version < QEMU_NBD_IOTHREAD_SAFE)
    return false;
  return get_features (self, definition, NULL, &standard, NULL) &&
         g_strcmp0 (standard.emulator, definition->emulator) == 0 && !binary_was_replaced (self);
}

static void
check_iothreads (VarveLibvirtDomain *self, const VarveStart *start,
                 const VarveLibvirtDefinition *definition, GPtrArray *refusals)
{
  bool asked = false, safe = false;

  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    const VarveLibvirtDisk *known = varve_libvirt_definition_find (definition, disk->disk);

    if (!known || !known->iothread)
      continue;
    if (!asked)
      safe = nbd_is_iothread_safe (self, definition);
    asked = true;
    if (!safe)
      refuse (refusals,
              "Disk '%s' is served by an iothread, and a QEMU older than 9.0 (or one whose version "
              "cannot be told) aborts the whole guest when a reader of such a disk disconnects. "
              "Back the domain up while it is off, leave the disk out, or take the iothread from "
              "the disk (and from its SCSI controller) until QEMU is 9.0 or newer.",
              disk->disk);
  }
}

/* --- the start itself
 * ----------------------------------------------------------------------------- */

static void
check_scratch (const VarveLibvirtDomain *self, const VarveStartDisk *disk, GPtrArray *refusals)
{
  struct stat st;

  if (!disk->scratch)
    refuse (refusals, "Disk '%s' has no scratch file, which libvirt needs for every disk.",
            disk->disk);
  else if (self->base.local && lstat (disk->scratch, &st) == 0)
    refuse (refusals,
            "The scratch file '%s' of disk '%s' exists already, and libvirt wants to make it "
            "itself. Remove it, or choose another scratch directory.",
            disk->scratch, disk->disk);
}

static void
check_format (const VarveStartDisk *disk, const VarveLibvirtDisk *known, GPtrArray *refusals)
{
  if ((!disk->checkpoint && !disk->since) || g_strcmp0 (known->format, "qcow2") == 0)
    return;
  refuse (refusals,
          "Disk '%s' is of format '%s', on which libvirt makes no checkpoint. Back it up without "
          "one (by a rescan), or convert it to qcow2.",
          disk->disk, known->format ? known->format : "unknown");
}

/* A job wants both ends to be of one size, and libvirt cannot tell QEMU to use a part of a device. */
static void
check_device (const VarveStartDisk *disk, GPtrArray *refusals)
{
  int fd = open (disk->target, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek (fd, 0, SEEK_END);

  if (fd >= 0)
    close (fd);
  if (size >= 0 && (uint64_t)size != disk->target_size)
    refuse (
        refusals,
        "Disk '%s' has %" G_GUINT64_FORMAT " bytes and its target '%s' %" G_GINT64_FORMAT
        ", and libvirt can only have QEMU write to a device of just that size: use one, or pull.",
        disk->disk, disk->target_size, disk->target, (gint64)size);
}

static void
check_disk (const VarveLibvirtDomain *self, const VarveStartDisk *disk, bool push,
            const VarveLibvirtDefinition *definition, GPtrArray *refusals)
{
  const VarveLibvirtDisk *known = varve_libvirt_definition_find (definition, disk->disk);
  g_autofree char *why = known ? varve_libvirt_disk_why_not (known, false) : NULL;

  if (!known) {
    refuse (refusals, "The domain has no disk '%s'; leave it out.", disk->disk);
    return;
  }
  if (why) {
    refuse (refusals, "Disk '%s' cannot be backed up: %s; leave it out.", disk->disk, why);
    return;
  }
  check_format (disk, known, refusals);
  if (disk->since_also && disk->since_also->len > 0)
    refuse (refusals,
            "Disk '%s' is to be read by several bitmaps at once, and libvirt takes one: merge them "
            "while the domain is off, or back it up then.",
            disk->disk);
  if (!push)
    check_scratch (self, disk, refusals);
  else if (disk->target && disk->target_form == VARVE_PUSH_DEVICE)
    check_device (disk, refusals);
}

static void
check_server (const VarveLibvirtDomain *self, const VarveStart *start, GPtrArray *refusals)
{
  g_autofree char *socket = varve_libvirt_socket_path (start);

  if (start->server.host)
    return;
  if (!self->base.local)
    refuse (refusals, "The domain is on another host, whose UNIX sockets cannot be reached: its "
                      "disks can be read by TCP and TLS only.");
  else if (strlen (socket) >= sizeof ((struct sockaddr_un){ 0 }.sun_path))
    refuse (refusals,
            "The path of the socket '%s' is too long for a UNIX socket; choose a shorter "
            "directory.",
            socket);
}

bool
varve_libvirt_refusals (VarveLibvirtDomain *self, const VarveStart *start,
                        const VarveLibvirtDefinition *definition, GPtrArray *refusals,
                        GError **error)
{
  g_auto (VarveLibvirtFeatures) features = { 0 };

  if (start->disks->len == 0)
    return varve_throw (error, VARVE_ERROR_USAGE, "No disk was named to be backed up.");
  if (!nobody_at_work (self, start, error) ||
      !get_features (self, definition, definition->emulator, &features, error))
    return false;
  if (!features.backup)
    refuse (refusals,
            "This libvirt has no incremental backup for the QEMU of the domain "
            "(<backup supported='yes'/> is not among its capabilities). Update libvirt to "
            "7.6 or newer, or back the domain up while it is off.");
  if (start->allow_trim)
    refuse (refusals, "TRIM cannot be allowed: libvirt exports the disks read-only.");
  if (start->push && !self->base.local)
    refuse (refusals,
            "The domain is on another host, whose QEMU does not reach this store: have it "
            "read by TCP and TLS (mode pull).");
  for (guint i = 0; i < start->disks->len; i++)
    check_disk (self, g_ptr_array_index (start->disks, i), start->push, definition, refusals);
  if (start->push && (start->compress || start->workers || start->chunk))
    refuse (refusals, "libvirt cannot tell QEMU to compress, nor how many requests to make or how "
                      "large: leave that out, or back the domain up while it is off.");
  if (start->push && start->fleece)
    refuse (refusals,
            "libvirt cannot have QEMU write through a fleece: leave that out, use pull, or "
            "back the domain up while it is off.");
  /* A push needs no NBD server. */
  if (start->push)
    return true;
  check_server (self, start, refusals);
  check_iothreads (self, start, definition, refusals);
  return true;
}

/* --- the op
 * --------------------------------------------------------------------------------------- */

/* What QEMU does when the copy of old data fails for another reason than a lack of room. */
static bool
all_stop_on_error (const VarveStart *start, const VarveLibvirtDefinition *definition)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    const VarveLibvirtDisk *known = varve_libvirt_definition_find (definition, disk->disk);

    if (known && !known->stops_on_error)
      return false;
  }
  return true;
}

static void
add_weaker (VarveStartReport *report, const VarveStart *start,
            const VarveLibvirtDefinition *definition)
{
  g_ptr_array_add (
      report->weaker,
      g_strconcat (start->push
                       ? "QEMU writes the backup itself, and what the guest overwrites "
                         "meanwhile it saves there first: if the target is slow, so is such "
                         "a write, and if it runs full, the guest is paused until the backup "
                         "has been given up."
                       : "libvirt cannot tell QEMU to give up the backup rather than a guest "
                         "write: if the scratch space fills up, the guest is paused until "
                         "the backup has been ended and the guest resumed.",
                   all_stop_on_error (start, definition)
                       ? NULL
                       : " If it fails otherwise, a write of the guest fails too, as "
                         "not every disk has error_policy='stop'.",
                   NULL));
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);
    const VarveLibvirtDisk *known = varve_libvirt_definition_find (definition, disk->disk);

    if (known && known->encrypted && !start->push)
      g_ptr_array_add (report->weaker,
                       g_strdup_printf ("Disk '%s' is encrypted; its scratch file and what is "
                                        "exported are not.",
                                        disk->disk));
  }
}

bool
varve_libvirt_check (VarveDomain *domain, const VarveStart *start, VarveStartReport **out,
                     GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (VarveLibvirtDefinition) definition = NULL;
  g_autoptr (VarveStartReport) report = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return varve_libvirt_stopped_check (self, start, out, cancellable, error);
  definition = varve_libvirt_definition (self, 0, error);
  report = varve_start_report_new ();
  if (!definition || !varve_libvirt_refusals (self, start, definition, report->refusals, error))
    return false;
  report->strategy = g_strdup (start->push ? "push" : "overlay");
  report->needs_scratch = !start->push;
  add_weaker (report, start, definition);
  *out = g_steal_pointer (&report);
  return true;
}
