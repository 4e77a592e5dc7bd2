/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One instant over several disks of a running QEMU.
 *
 *   scratch nodes ─▶ NBD server ─▶ job strategies:  transaction {bitmaps, blockdev-backup
 * sync=none} filter strategy: filters, stop, transaction {bitmaps}, put each filter below its
 * device, cont ─▶ snapshot-access on each filter ─▶ export
 *
 * What is slow is done before the instant, and the exports after it: a write that comes between is
 * seen as old data all the same, as the filter is in place. While the guest stands still nothing
 * may be cancelled.
 *
 * A failure takes down by name what is there, as for any left-over session; what names do not tell
 * (that the guest stood still for us, that the checkpoint is ours to remove) has a flag here. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <string.h>
#include <unistd.h>

#include "util/error.h"
#include "util/failpoint.h"
#include "virt/qemu-bitmaps.h"

typedef struct {
  VarveQmpDomain *domain;
  const VarveStart *start;
  VarveQmpStrategy strategy;
  GPtrArray *disks; /* of VarveQmpDisk, in the order of the start */
  bool stopped;     /* the guest stands still for us */
  bool committed;   /* the transaction was made: the checkpoint exists */
  uint64_t pause_us;
} Starting;

static const VarveStartDisk *
wanted_at (const Starting *starting, guint i)
{
  return g_ptr_array_index (starting->start->disks, i);
}

static const VarveQmpDisk *
disk_at (const Starting *starting, guint i)
{
  return g_ptr_array_index (starting->disks, i);
}

static char *
name_at (const Starting *starting, char kind, guint i)
{
  return varve_qmp_name (starting->start->session, kind, i);
}

static bool
run (const Starting *starting, const char *command, JsonObject *arguments,
     GCancellable *cancellable, GError **error)
{
  return varve_qmp_run (starting->domain->qmp, command, arguments, cancellable, error);
}

/* What is unlinked in the end must have been made by us. */
static bool
check_scratch (const Starting *starting, GError **error)
{
  for (guint i = 0; i < starting->disks->len; i++) {
    const VarveStartDisk *wanted = wanted_at (starting, i);

    if (!wanted->scratch)
      return varve_throw (error, VARVE_ERROR_USAGE, "Disk '%s' has no scratch image to be.",
                          wanted->disk);
    if (access (wanted->scratch, F_OK) == 0)
      return varve_throw (error, VARVE_ERROR_EXISTS,
                          "The scratch image '%s' for disk '%s' exists already: remove it.",
                          wanted->scratch, wanted->disk);
  }
  return true;
}

static const char *
scratch_format (const Starting *starting)
{
  return starting->start->foreign_readers ? "qcow2" : "raw";
}

/* For foreign readers an overlay of the disk (qmp-export.c); for varve a plain sparse file, into which each copy is one
 * write: tables to be written beside it would make the guest wait for slow storage several times over. No-flush, as
 * nobody needs it behind a crash. */
static JsonObject *
scratch_node (const Starting *starting, guint i)
{
  g_autofree char *node = name_at (starting, 's', i);
  JsonObject *arguments = varve_qmp_args (
      "{'driver':%s,'node-name':%s,'discard':'unmap','cache':{'no-flush':true},"
      "'file':{'driver':'file','filename':%s,'discard':'unmap','cache':{'no-flush':true}}}",
      scratch_format (starting), node, wanted_at (starting, i)->scratch);

  if (starting->start->foreign_readers)
    json_object_set_string_member (arguments, "backing", disk_at (starting, i)->node);
  return arguments;
}

/* What has been copied to scratch: a plain file does not tell that from what has not. */
static bool
add_witness (const Starting *starting, guint i, GCancellable *cancellable, GError **error)
{
  g_autofree char *node = name_at (starting, 's', i);
  g_autofree char *witness = name_at (starting, 'w', i);

  return starting->start->foreign_readers ||
         run (starting, "block-dirty-bitmap-add",
              varve_qmp_args ("{'node':%s,'name':%s,'persistent':false,'granularity':%u}", node,
                              witness, VARVE_QMP_COPY_UNIT),
              cancellable, error);
}

static bool
add_scratch (const Starting *starting, guint i, GCancellable *cancellable, GError **error)
{
  return varve_qmp_scratch_create (starting->domain, wanted_at (starting, i)->scratch,
                                   scratch_format (starting), disk_at (starting, i)->disk->size,
                                   cancellable, error) &&
         run (starting, "blockdev-add", scratch_node (starting, i), cancellable, error) &&
         add_witness (starting, i, cancellable, error);
}

bool
varve_qmp_start_server (VarveQmpDomain *domain, const VarveStart *start, GCancellable *cancellable,
                        GError **error)
{
  g_autofree char *path = varve_qmp_socket (start);
  g_autoptr (GError) local = NULL;

  if (!varve_qmp_hand_over (domain, start->directory, error))
    return false;
  if (varve_qmp_run (
          domain->qmp, "nbd-server-start",
          varve_qmp_args ("{'addr':{'type':'unix','data':{'path':%s}},'max-connections':0}", path),
          cancellable, &local))
    return true;
  if (strstr (local->message, "already running"))
    return varve_throw (error, VARVE_ERROR_BUSY,
                        "Another client of the QEMU of domain '%s' runs its NBD server, and QEMU "
                        "has but one: let that backup or migration end first. %s",
                        domain->base.name, local->message);
  g_propagate_prefixed_error (error, g_steal_pointer (&local),
                              "QEMU cannot serve NBD at '%s' (its user must be able to reach and "
                              "write that directory): ",
                              path);
  return false;
}

static bool
add_filter (const Starting *starting, guint i, GCancellable *cancellable, GError **error)
{
  g_autofree char *filter = name_at (starting, 'c', i);
  g_autofree char *scratch = name_at (starting, 's', i);

  return run (starting, "blockdev-add",
              varve_qmp_args ("{'driver':'copy-before-write','node-name':%s,'file':%s,"
                              "'target':%s,'on-cbw-error':'break-snapshot','cbw-timeout':%u}",
                              filter, disk_at (starting, i)->node, scratch,
                              starting->start->policy.write_timeout),
              cancellable, error);
}

static JsonArray *
bitmaps_since (const VarveStartDisk *wanted)
{
  JsonArray *names = json_array_new ();

  json_array_add_string_element (names, wanted->since);
  for (guint i = 0; wanted->since_also && i < wanted->since_also->len; i++)
    json_array_add_string_element (names, g_ptr_array_index (wanted->since_also, i));
  return names;
}

void
varve_qmp_add_frozen (const VarveStart *start, guint index, const char *node, JsonArray *actions)
{
  const VarveStartDisk *wanted = g_ptr_array_index (start->disks, index);
  g_autofree char *frozen = varve_qmp_name (start->session, 't', index);

  json_array_add_object_element (
      actions, varve_qmp_args ("{'type':'block-dirty-bitmap-add','data':{'node':%s,'name':%s,"
                               "'disabled':true,'granularity':%u}}",
                               node, frozen, VARVE_BITMAP_GRANULARITY));
  if (wanted->since)
    json_array_add_object_element (
        actions, varve_qmp_args ("{'type':'block-dirty-bitmap-merge','data':{'node':%s,"
                                 "'target':%s,'bitmaps':%a}}",
                                 node, frozen, bitmaps_since (wanted)));
}

static void
add_bitmap_actions (const Starting *starting, guint i, JsonArray *actions)
{
  const VarveStartDisk *wanted = wanted_at (starting, i);
  const char *node = disk_at (starting, i)->node;

  if (wanted->checkpoint)
    varve_qemu_add_bitmap (actions, node, starting->start->checkpoint, !wanted->transient);
  varve_qmp_add_frozen (starting->start, i, node, actions);
}

static JsonObject *
backup_job (const Starting *starting, guint i)
{
  g_autofree char *job = name_at (starting, 'j', i);
  g_autofree char *scratch = name_at (starting, 's', i);
  g_autofree char *filter = name_at (starting, 'c', i);
  JsonObject *data =
      varve_qmp_args ("{'job-id':%s,'device':%s,'target':%s,'sync':'none','filter-node-name':%s,"
                      "'auto-dismiss':false}",
                      job, disk_at (starting, i)->node, scratch, filter);

  if (starting->strategy == VARVE_QMP_JOB_POLICY)
    json_object_set_string_member (data, "on-cbw-error", "break-snapshot");
  if (varve_qmp_schema_has_argument (starting->domain->schema, "blockdev-backup", NULL,
                                     "cbw-timeout"))
    json_object_set_int_member (data, "cbw-timeout", starting->start->policy.write_timeout);
  return varve_qmp_args ("{'type':'blockdev-backup','data':%o}", data);
}

static JsonObject *
job_action (const Starting *starting, guint i)
{
  return starting->strategy == VARVE_QMP_PUSH
             ? varve_qmp_push_action (starting->domain, starting->start, i,
                                      disk_at (starting, i)->node)
             : backup_job (starting, i);
}

/* No "properties": grouped completion is refused next to bitmap actions. */
static bool
transact (Starting *starting, GError **error)
{
  JsonArray *actions = json_array_new ();
  g_autoptr (GError) local = NULL;

  for (guint i = 0; i < starting->disks->len; i++)
    add_bitmap_actions (starting, i, actions);
  for (guint i = 0; i < starting->disks->len && starting->strategy != VARVE_QMP_FILTER; i++)
    json_array_add_object_element (actions, job_action (starting, i));
  if (!varve_qemu_transact (starting->domain->qmp, actions, &local)) {
    /* Refused is not done; where the answer was lost it may have been. */
    starting->committed = !varve_qmp_error_class (local);
    g_propagate_error (error, g_steal_pointer (&local));
    return false;
  }
  starting->committed = true;
  return varve_failpoint ("qmp-start-transaction", error);
}

static bool
switch_drives (const Starting *starting, GError **error)
{
  for (guint i = 0; i < starting->disks->len; i++) {
    g_autofree char *filter = name_at (starting, 'c', i);

    if (!run (starting, "qom-set",
              varve_qmp_args ("{'path':%s,'property':'drive','value':%s}",
                              disk_at (starting, i)->device, filter),
              NULL, error))
      return false;
  }
  return varve_failpoint ("qmp-start-switched", error);
}

static bool
stop_guest (Starting *starting, int64_t *out_since, GError **error)
{
  g_autofree char *status = varve_qmp_domain_status (starting->domain, NULL, error);

  *out_since = g_get_monotonic_time ();
  if (!status)
    return false;
  if (!g_str_equal (status, "running"))
    return true;
  starting->stopped = true;
  return run (starting, "stop", NULL, NULL, error);
}

static bool
resume_guest (Starting *starting, int64_t since, GError **error)
{
  if (!starting->stopped)
    return true;
  if (!run (starting, "cont", NULL, NULL, error))
    return false;
  starting->stopped = false;
  starting->pause_us = (uint64_t)(g_get_monotonic_time () - since);
  return true;
}

static bool
freeze_by_filters (Starting *starting, GCancellable *cancellable, GError **error)
{
  int64_t since;

  for (guint i = 0; i < starting->disks->len; i++) {
    if (!add_filter (starting, i, cancellable, error))
      return false;
  }
  return stop_guest (starting, &since, error) && varve_failpoint ("qmp-start-stopped", error) &&
         transact (starting, error) && switch_drives (starting, error) &&
         resume_guest (starting, since, error) && varve_failpoint ("qmp-start-resumed", error);
}

static bool
push_steps (Starting *starting, GCancellable *cancellable, GError **error)
{
  return varve_qmp_push_open (starting->domain, starting->start, cancellable, error) &&
         (transact (starting, error) || varve_prefix (error, "The backup could not be started"));
}

static bool
publish (const Starting *starting, guint i, GCancellable *cancellable, GError **error)
{
  const char *node = disk_at (starting, i)->node;

  return varve_qmp_export (starting->domain, starting->start, i, node, cancellable, error) &&
         (!starting->start->push ||
          varve_qmp_push_view (starting->domain, starting->start, i, node, cancellable, error));
}

static bool
start_steps (Starting *starting, GCancellable *cancellable, GError **error)
{
  guint n = starting->disks->len;

  for (guint i = 0; i < n; i++) {
    if (!add_scratch (starting, i, cancellable, error))
      return varve_prefix (error, "Disk '%s'", wanted_at (starting, i)->disk);
  }
  if (!varve_failpoint ("qmp-start-scratch", error) ||
      (starting->start->push &&
       !varve_qmp_push_open (starting->domain, starting->start, cancellable, error)) ||
      !varve_qmp_start_server (starting->domain, starting->start, cancellable, error) ||
      !varve_failpoint ("qmp-start-server", error))
    return false;
  if (starting->strategy == VARVE_QMP_FILTER ? !freeze_by_filters (starting, cancellable, error)
                                             : !transact (starting, error))
    return varve_prefix (error, "The snapshot could not be taken");
  for (guint i = 0; i < n; i++) {
    if (!publish (starting, i, cancellable, error))
      return varve_prefix (error, "Disk '%s'", wanted_at (starting, i)->disk);
  }
  return varve_failpoint ("qmp-start-exported", error);
}

/* False when something may be left. */
static bool
undo (Starting *starting)
{
  VarveQmpDomain *domain = starting->domain;
  bool clean = varve_qmp_take_down (domain, starting->start, starting->stopped, NULL, NULL);

  if (starting->committed && starting->start->checkpoint)
    clean = varve_qmp_checkpoint_remove (&domain->base, starting->start->checkpoint, NULL, NULL) &&
            clean;
  return clean;
}

bool
varve_qmp_start (VarveDomain *base, const VarveStart *start, VarveSnapshot **out,
                 uint64_t *out_pause_us, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  Starting starting = { .domain = domain, .start = start };
  g_autoptr (GPtrArray) disks = NULL;
  bool ok;

  *out = NULL;
  ok = varve_qmp_prepare (domain, start, &starting.strategy, &disks, cancellable, error);
  starting.disks = disks;
  if (!ok || !(starting.strategy == VARVE_QMP_PUSH || check_scratch (&starting, error)))
    return false;
  ok = starting.strategy == VARVE_QMP_PUSH ? push_steps (&starting, cancellable, error)
                                           : start_steps (&starting, cancellable, error);
  *out_pause_us = starting.pause_us;
  if (ok || !undo (&starting))
    varve_qmp_attach (base, start, out, NULL, NULL);
  return ok;
}
