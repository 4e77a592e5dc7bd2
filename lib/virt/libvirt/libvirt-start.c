/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One instant over several disks: one virDomainBackupBegin with a backup and a checkpoint document.
 *
 * libvirt undoes a start that fails before QEMU's transaction has run. One that fails behind it
 * (the exports) leaves the checkpoint, and one whose answer is lost may have succeeded: so whatever
 * bears our names after a failure is taken away here. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <string.h>

#include "util/failpoint.h"

VarveLibvirtSnapshot *
varve_libvirt_snapshot_new (VarveDomain *domain, const VarveStart *start)
{
  VarveLibvirtSnapshot *snapshot = g_new0 (VarveLibvirtSnapshot, 1);

  snapshot->base.domain = domain;
  snapshot->base.start = varve_start_copy (start);
  return snapshot;
}

/* A bitmap that only the image knows (its metadata was lost, or the domain came from another host)
 * is made known, so that an increment can be taken since it. libvirt looks whether QEMU has it. */
static bool
adopt_base (VarveLibvirtDomain *self, const VarveStart *start, const char *name, GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();

  if (!varve_libvirt_checkpoint_lookup (self, name, &known, error))
    return false;
  if (known)
    return true;
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (g_strcmp0 (disk->since, name) == 0)
      g_ptr_array_add (disks, disk->disk);
  }
  return varve_libvirt_checkpoint_define (self, name, NULL, g_get_real_time () / G_USEC_PER_SEC,
                                          disks, true, error);
}

static bool
adopt_bases (VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->since && !adopt_base (self, start, disk->since, error))
      return false;
  }
  return true;
}

/* The name is to be removed after a failure, so it must be ours alone. */
static bool
checkpoint_is_new (VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  g_autoptr (virDomainCheckpoint) known = NULL;

  if (!start->checkpoint)
    return true;
  if (!varve_libvirt_checkpoint_lookup (self, start->checkpoint, &known, error))
    return false;
  return !known ||
         varve_throw (error, VARVE_ERROR_EXISTS, "Domain '%s' has a checkpoint '%s' already.",
                      self->base.name, start->checkpoint);
}

static bool
prepare (VarveLibvirtDomain *self, const VarveStart *start,
         const VarveLibvirtDefinition *definition, GError **error)
{
  g_autoptr (GPtrArray) refusals = g_ptr_array_new_with_free_func (g_free);

  if (!varve_libvirt_refusals (self, start, definition, refusals, error))
    return false;
  if (refusals->len > 0)
    return varve_throw (error, VARVE_ERROR_REFUSED, "The backup of domain '%s' is refused. %s",
                        self->base.name, (const char *)g_ptr_array_index (refusals, 0));
  if (!checkpoint_is_new (self, start, error) || !adopt_bases (self, start, error))
    return false;
  if (start->push)
    return varve_libvirt_open_targets (self, definition, start, error);
  return start->server.host ||
         varve_libvirt_open_directory (self, definition, start->directory, error);
}

static char *
find_closed_target (const VarveStart *start)
{
  char *closed = NULL;

  for (guint i = 0; !closed && i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    closed = varve_libvirt_closed_directory (disk->target);
  }
  return closed;
}

/* libvirt's words for a closed directory name a file; the directory is what has to be changed. */
static char *
find_closed_directory (const VarveStart *start)
{
  g_autofree char *socket = varve_libvirt_socket_path (start);
  g_autofree char *parent = g_path_get_dirname (socket);
  char *closed;

  /* Below the root of a push he was let through. */
  if (start->push && start->target_root)
    return varve_libvirt_closed_directory (start->target_root);
  if (start->push)
    return find_closed_target (start);
  closed = varve_libvirt_closed_directory (parent);
  for (guint i = 0; !closed && i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    closed = varve_libvirt_closed_directory (disk->scratch);
  }
  return closed;
}

static bool
throw_begin (VarveLibvirtDomain *self, const VarveStart *start, GError **error)
{
  g_autofree char *closed = NULL;

  if (self->base.local && varve_libvirt_error_says ("Permission denied"))
    closed = find_closed_directory (start);
  if (closed)
    return varve_libvirt_throw (error,
                                "Cannot start the backup of domain '%s': QEMU's user may not pass "
                                "through the directory '%s' (chmod o+x, or choose another)",
                                self->base.name, closed);
  return varve_libvirt_throw (error, "Cannot start the backup of domain '%s'", self->base.name);
}

/* A domain that has just ended is refused in many words, by libvirt or by what is left of its monitor:
 * @local becomes what that is for the caller. */
static void
throw_as_gone_when_off (VarveLibvirtDomain *self, GError *local, GError **error)
{
  VarveDomainState state;

  if (varve_libvirt_look (self, &state, NULL, NULL) && state == VARVE_DOMAIN_OFF) {
    g_prefix_error (&local, "Domain '%s' was shut off, or its QEMU died, as its backup began: ",
                    self->base.name);
    local->code = VARVE_ERROR_SOURCE_UNREACHABLE;
  }
  g_propagate_error (error, local);
}

/* The transaction may have run: job first, then the checkpoint that nobody else can have made. */
static void
undo (VarveLibvirtDomain *self, const VarveStart *start)
{
  g_autoptr (GError) failed = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, NULL, &failed) || state == VARVE_DOMAIN_OFF ||
      !varve_libvirt_end_job (self, start, NULL, &failed) ||
      (start->checkpoint &&
       !varve_libvirt_checkpoint_remove (&self->base, start->checkpoint, NULL, &failed)))
    g_debug ("after a start that failed: %s", failed ? failed->message : "the domain is off");
}

static bool
begin (VarveLibvirtDomain *self, const VarveStart *start, const VarveLibvirtDefinition *definition,
       GError **error)
{
  g_autofree char *backup = varve_libvirt_format_backup (start, definition);
  g_autofree char *checkpoint = varve_libvirt_format_checkpoint (start, definition);

  if (!varve_failpoint ("libvirt-start-before", error))
    return false;
  if (virDomainBackupBegin (self->domain, backup, checkpoint,
                            start->push ? VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL : 0) < 0) {
    g_autoptr (GError) local = NULL;

    throw_begin (self, start, &local);
    undo (self, start);
    throw_as_gone_when_off (self, g_steal_pointer (&local), error);
    return false;
  }
  /* libvirt has no way to begin with it. */
  if ((!start->speed || !start->push ||
       varve_libvirt_push_speed (self, start, start->speed, error)) &&
      varve_failpoint ("libvirt-start-after", error))
    return true;
  undo (self, start);
  return false;
}

bool
varve_libvirt_start (VarveDomain *domain, const VarveStart *start, VarveSnapshot **out,
                     uint64_t *out_pause_us, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (VarveLibvirtDefinition) definition = NULL;
  VarveDomainState state;

  *out_pause_us = 0;
  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return varve_libvirt_stopped_start (self, start, out, out_pause_us, cancellable, error);
  definition = varve_libvirt_definition (self, 0, error);
  if (!definition || !prepare (self, start, definition, error) ||
      !begin (self, start, definition, error))
    return false;
  *out = &varve_libvirt_snapshot_new (domain, start)->base;
  return true;
}

bool
varve_libvirt_attach (VarveDomain *domain, const VarveStart *start, VarveSnapshot **out,
                      GCancellable *cancellable, GError **error)
{
  VarveLibvirtSnapshot *snapshot = varve_libvirt_snapshot_new (domain, start);

  snapshot->attached = true;
  *out = &snapshot->base;
  return true;
}
