/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who copies.
 *
 * Where the job leaves that open (mode 'auto'): varve, by pull, which promises most to the guest. Only what a
 * driver refuses to have read, as the disks of an iothread of an older QEMU, is pushed, if it takes that.
 *
 * Where one of the targets is an NBD export: varve, through the fleece of a pull, also if the job says push. A server may
 * hang, and a QEMU that has a hung one among its own block devices cannot end the job, stop its guest or answer its
 * monitor any more, frozen view or not: QEMU waits for each request in flight when it drains. So no QEMU ever gets one. */
#include "config.h"

#include "run/backup.h"

#include "fleece/scratch.h"
#include "run/source.h"
#include "store/target.h"
#include "util/error.h"

/* A start of the planned disks, as far as that matters to what is refused whatever the bitmaps are. */
static VarveStart *
make_probe (const VarveBackupRun *run, const char *session, bool push)
{
  VarveStart *start = varve_start_new (session);

  start->push = push;
  start->fleece = push && run->def->fleece && run->look.state != VARVE_DOMAIN_OFF;
  start->policy.pause = run->def->pause_never ? VARVE_PAUSE_NEVER : VARVE_PAUSE_BRIEF;
  start->policy.write_timeout = run->def->write_timeout;
  for (guint i = 0; i < run->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (run->plans, i);

    if (plan->decision != VARVE_DECISION_SKIP)
      varve_start_add_disk (start, plan->disk->name);
  }
  return start;
}

/* *@out_why (transfer full): what the driver refuses; NULL when it takes the start. */
static bool
probe (const VarveBackupRun *run, const char *session, bool push, char **out_why,
       GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStart) start = make_probe (run, session, push);
  g_autofree char *directory = varve_run_source_scratch (run->context, run->def);
  g_autoptr (VarveStartReport) report = NULL;

  if (!push || start->fleece)
    varve_scratch_plan (start, directory);
  if (!varve_domain_check (run->look.domain, start, &report, cancellable, error))
    return false;
  g_ptr_array_add (report->refusals, NULL);
  *out_why = report->refusals->len > 1 ? g_strjoinv (" ", (char **)report->refusals->pdata) : NULL;
  return true;
}

static const char *
find_server (const VarveBackupRun *run)
{
  for (guint i = 0; i < run->def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (run->def->disks, i);

    if (disk->target && varve_target_is_nbd (disk->target))
      return disk->name;
  }
  return NULL;
}

static bool
choose_auto (VarveBackupRun *run, const char *session, GCancellable *cancellable, GError **error)
{
  g_autofree char *why_no_pull = NULL;
  g_autofree char *why_no_push = NULL;

  if (!probe (run, session, false, &why_no_pull, cancellable, error))
    return false;
  if (why_no_pull == NULL)
    return true;
  if (!probe (run, session, true, &why_no_push, cancellable, error))
    return false;
  run->push = why_no_push == NULL;
  if (run->push)
    run->why_mode = g_strdup_printf ("QEMU writes the backup itself (push), as it cannot be read "
                                     "from QEMU: %s",
                                     why_no_pull);
  return true;
}

bool
varve_backup_choose_mode (VarveBackupRun *run, const char *session, GCancellable *cancellable,
                          GError **error)
{
  const char *server = find_server (run);

  if (run->push && server) {
    run->push = false;
    run->why_mode =
        g_strdup_printf ("The target of disk '%s' is an NBD server, which could hang: so "
                         "QEMU gets no connection to it, and varve passes on what it "
                         "reads from frozen views of the disks.",
                         server);
    return true;
  }
  return server || !g_str_equal (run->def->mode, "auto") || !run->look.domain->local ||
         choose_auto (run, session, cancellable, error);
}
