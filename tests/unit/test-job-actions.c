/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Jobs put together by calls: what they write reads back as the same job, and what no document
 * could say is found by varve_job_check. */
#include "config.h"

#include <string.h>
#include <glib.h>

#include "effort.h"
#include "job/def.h"

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"

static void
assert_round_trip (VarveJob *job)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_job_check (job, &error));
  g_assert_no_error (error);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", &error);
  g_assert_no_error (error);
  g_autofree char *text_again = varve_job_to_xml (again);
  g_assert_cmpstr (text, ==, text_again);
}

static void
assert_refused (VarveJob *job, const char *words)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_job_check (job, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  if (!strstr (error->message, words))
    g_error ("'%s' does not say '%s'", error->message, words);
  g_assert_false (varve_job_check (job, NULL));
}

static const VarveBackupDef *
backup_def (VarveJob *job, guint index)
{
  return varve_backup_action_def (g_ptr_array_index (varve_job_get_actions (job), index));
}

static VarveJob *
one_backup (VarveBackupAction **out)
{
  VarveJob *job = varve_job_new ("backup");

  *out = varve_job_add_backup (job, "web01", "qemu:///system", "images:/srv/backup");
  return job;
}

static void
test_backup_defaults (void)
{
  VarveBackupAction *action;
  g_autoptr (VarveJob) job = one_backup (&action);
  const VarveBackupDef *def = varve_backup_action_def (action);

  g_assert_cmpstr (varve_job_get_name (job), ==, "backup");
  g_assert_cmpstr (def->domain, ==, "web01");
  g_assert_cmpstr (def->uri, ==, "qemu:///system");
  g_assert_cmpstr (def->store, ==, "images:/srv/backup");
  g_assert_null (def->name);
  g_assert_null (def->owner);
  g_assert_null (def->uuid);
  g_assert_null (def->scratch_directory);
  g_assert_cmpuint (def->disks->len, ==, 0);
  g_assert_cmpstr (def->incremental, ==, "auto");
  g_assert_false (def->quiesce);
  g_assert_false (def->quiesce_required);
  g_assert_cmpuint (def->quiesce_timeout, ==, 20);
  g_assert_cmpuint (def->write_timeout, ==, 4);
  g_assert_cmpuint (def->scratch_limit, ==, 0);
  g_assert_false (def->pause_never);
  g_assert_cmpuint (def->speed, ==, 0);
  g_assert_cmpuint (def->wait, ==, 0);
  g_assert_cmpuint (def->keep, ==, 2);
  g_assert_cmpuint (def->max_chain, ==, 60);
  assert_round_trip (job);
}

static void
test_backup_setters (void)
{
  VarveBackupAction *action;
  g_autoptr (VarveJob) job = one_backup (&action);

  varve_backup_action_set_name (action, "web");
  varve_backup_action_set_owner (action, "nightly");
  varve_backup_action_set_incremental (action, "never");
  varve_backup_action_set_mode (action, "push");
  varve_backup_action_set_verify (action, FALSE);
  varve_backup_action_set_fleece (action, TRUE);
  varve_backup_action_set_compress (action, TRUE);
  varve_backup_action_set_requests (action, 8, 256);
  varve_backup_action_add_disk (action, "vda", TRUE);
  varve_backup_action_add_disk (action, "vdb", FALSE);
  varve_backup_action_set_quiesce (action, TRUE, 5);
  varve_backup_action_set_speed (action, 3 * 1024 * 1024);
  varve_backup_action_set_wait (action, 90);
  assert_round_trip (job);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);
  const VarveBackupDef *def = backup_def (again, 0);
  g_assert_cmpstr (def->name, ==, "web");
  g_assert_cmpstr (def->owner, ==, "nightly");
  g_assert_cmpstr (def->incremental, ==, "never");
  g_assert_cmpstr (def->mode, ==, "push");
  g_assert_false (def->verify);
  g_assert_true (def->fleece);
  g_assert_true (def->compress);
  g_assert_cmpuint (def->workers, ==, 8);
  g_assert_cmpuint (def->chunk, ==, 256);
  g_assert_cmpuint (def->disks->len, ==, 2);
  g_assert_true (((VarveJobDisk *)g_ptr_array_index (def->disks, 0))->backup);
  g_assert_false (((VarveJobDisk *)g_ptr_array_index (def->disks, 1))->backup);
  g_assert_true (def->quiesce);
  g_assert_true (def->quiesce_required);
  g_assert_cmpuint (def->quiesce_timeout, ==, 5);
  g_assert_cmpuint (def->speed, ==, 3 * 1024 * 1024);
  g_assert_cmpuint (def->wait, ==, 90);

  varve_backup_action_set_requests (action, 65, 0);
  assert_refused (job, "number of workers");
  varve_backup_action_set_requests (action, 0, 63);
  assert_refused (job, "chunk");
  varve_backup_action_set_incremental (action, NULL);
  varve_backup_action_set_mode (action, NULL);
  varve_backup_action_set_owner (action, NULL);
  def = varve_backup_action_def (action);
  g_assert_cmpstr (def->incremental, ==, "auto");
  g_assert_cmpstr (def->mode, ==, "pull");
  g_assert_null (def->owner);
}

static void
test_backup_targets (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("copies");
  VarveBackupAction *action = varve_job_add_backup (job, "web01", "qemu:///system", NULL);

  assert_refused (job, "goes nowhere");
  varve_backup_action_set_target (action, "vda", "/mnt/vda.qcow2", "qcow2");
  varve_backup_action_set_target (action, "vdb", "nbd://localhost/vdb", NULL);
  varve_backup_action_set_force (action, TRUE);
  assert_round_trip (job);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);
  const VarveBackupDef *def = backup_def (again, 0);
  const VarveJobDisk *first = g_ptr_array_index (def->disks, 0);
  const VarveJobDisk *second = g_ptr_array_index (def->disks, 1);
  g_assert_null (def->store);
  g_assert_true (def->force);
  g_assert_cmpstr (first->target, ==, "/mnt/vda.qcow2");
  g_assert_cmpstr (first->target_format, ==, "qcow2");
  g_assert_cmpstr (second->target, ==, "nbd://localhost/vdb");
  g_assert_cmpstr (second->target_format, ==, "raw");

  varve_backup_action_set_mode (action, "push");
  assert_round_trip (job);
  varve_backup_action_set_compress (action, TRUE);
  assert_refused (job, "the target of disk 'vdb' is raw");
  varve_backup_action_set_compress (action, FALSE);
  varve_backup_action_set_verify (action, FALSE);
  assert_refused (job, "no sums");
  varve_backup_action_set_verify (action, TRUE);
  varve_backup_action_set_mode (action, NULL);
  varve_backup_action_add_disk (action, "vdc", TRUE);
  assert_refused (job, "each that is backed up needs one");
  varve_backup_action_set_target (action, "vdc", "/mnt/vdc", NULL);
  varve_backup_action_set_target (action, "vdc", "/mnt/other", NULL);
  assert_refused (job, "'vdc'");
}

/* A store for all disks, and a target of one's own. */
static void
test_store_and_target (void)
{
  VarveBackupAction *action;
  g_autoptr (VarveJob) job = one_backup (&action);

  varve_backup_action_set_force (action, TRUE);
  assert_refused (job, "no disk has a target");
  varve_backup_action_set_target (action, "vda", "/mnt/vda", NULL);
  assert_refused (job, "nothing for a store to keep");
}

/* The fields that no setter reaches. */
static void
test_backup_fields (void)
{
  static const char text[] =
      "<job name='j'><backup><domain uri='qemu:///system'>d</domain>"
      "<guard write-timeout='2' scratch-limit='3' unit='GiB' pause='never'/>"
      "<scratch directory='/s'/><checkpoints keep='5'/>"
      "<target><images directory='/t' max-chain='7'/></target></backup></job>";
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveJob) job = varve_job_parse (text, strlen (text), "text", &error);

  g_assert_no_error (error);
  const VarveBackupDef *def = backup_def (job, 0);
  g_assert_cmpuint (def->write_timeout, ==, 2);
  g_assert_cmpuint (def->scratch_limit, ==, UINT64_C (3) << 30);
  g_assert_true (def->pause_never);
  g_assert_cmpstr (def->scratch_directory, ==, "/s");
  g_assert_cmpuint (def->keep, ==, 5);
  g_assert_cmpuint (def->max_chain, ==, 7);
  g_assert_cmpstr (def->store, ==, "images:/t");
}

static bool
is_backed_up (VarveBackupAction *action, const char *name)
{
  const VarveBackupDef *def = varve_backup_action_def (action);
  bool found = false, backup = false;

  for (guint i = 0; i < def->disks->len; i++) {
    const VarveJobDisk *disk = g_ptr_array_index (def->disks, i);

    if (g_str_equal (disk->name, name)) {
      g_assert_false (found);
      found = true;
      backup = disk->backup;
    }
  }
  g_assert_true (found);
  return backup;
}

/* An image alone does not choose a disk; whichever call comes first. */
static void
test_images_and_disks (void)
{
  for (int images_first = 0; images_first < 2; images_first++) {
    g_autoptr (VarveJob) job = varve_job_new ("image");
    VarveBackupAction *action = varve_job_add_backup (job, "old", "image:", "images:/srv/backup");

    varve_backup_action_set_uuid (action, "6695EB01-F6A4-8304-79AA-97F2502E193F");
    g_assert_cmpstr (varve_backup_action_def (action)->uuid, ==, UUID);
    if (!images_first)
      varve_backup_action_add_disk (action, "vda", TRUE);
    varve_backup_action_set_image (action, "vda", "/a.qcow2", "qcow2", NULL);
    varve_backup_action_set_image (action, "vdb", "/b.luks", "luks", "/b.key");
    g_assert_true (is_backed_up (action, "vda"));
    g_assert_true (is_backed_up (action, "vdb") == (images_first == 1));
    if (images_first)
      varve_backup_action_add_disk (action, "vda", TRUE);
    g_assert_true (is_backed_up (action, "vda"));
    g_assert_false (is_backed_up (action, "vdb"));
    assert_round_trip (job);

    varve_backup_action_add_disk (action, "vdc", FALSE);
    g_assert_true (is_backed_up (action, "vda"));
    assert_round_trip (job);
  }
}

static void
test_exclude_image (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("image");
  VarveBackupAction *action = varve_job_add_backup (job, "old", "image:", "images:/srv/backup");

  varve_backup_action_set_image (action, "vda", "/a.raw", "raw", NULL);
  varve_backup_action_set_image (action, "vdb", "/b.raw", "raw", NULL);
  varve_backup_action_add_disk (action, "vdb", FALSE);
  g_assert_true (is_backed_up (action, "vda"));
  g_assert_false (is_backed_up (action, "vdb"));
  assert_round_trip (job);
}

static void
test_revert (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("revert");
  g_autoptr (VarveRevertAction) unused = g_object_new (VARVE_TYPE_REVERT_ACTION, NULL);
  VarveRevertAction *action =
      varve_job_add_revert (job, "web01", "image:", "images:/srv/backup", "web01@latest");
  const VarveRevertDef *def = varve_revert_action_def (action);

  assert_refused (job, "image");
  varve_revert_action_set_image (action, "vda", "/vm/a.qcow2", "qcow2", NULL);
  assert_round_trip (job);
  g_assert_true (def->keep_present);
  g_assert_false (def->dry_run);

  varve_revert_action_set_name (action, "back");
  varve_revert_action_set_owner (action, "nightly");
  varve_revert_action_set_uuid (action, "6695eb01-f6a4-8304-79aa-97f2502e193f");
  varve_revert_action_set_image (action, "vdb", "/vm/b.raw", "raw", NULL);
  varve_revert_action_add_disk (action, "vdb", FALSE);
  varve_revert_action_set_wait (action, 7);
  varve_revert_action_set_keep (action, FALSE);
  varve_revert_action_set_dry_run (action, TRUE);
  varve_revert_action_set_restart (action, TRUE);
  assert_round_trip (job);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);
  def = varve_revert_action_def (g_ptr_array_index (varve_job_get_actions (again), 0));
  g_assert_cmpstr (def->source->name, ==, "back");
  g_assert_cmpstr (def->source->owner, ==, "nightly");
  g_assert_cmpstr (def->source->store, ==, "images:/srv/backup");
  g_assert_cmpuint (def->source->disks->len, ==, 2);
  g_assert_cmpuint (def->source->wait, ==, 7);
  g_assert_cmpstr (def->backup, ==, "web01@latest");
  g_assert_false (def->keep_present);
  g_assert_true (def->dry_run);
  g_assert_true (def->restart);
}

static void
test_restore (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("restore");
  VarveRestoreAction *action = varve_job_add_restore (job, "images:/srv/backup", "web01@latest");
  const VarveRestoreDef *def = varve_restore_action_def (action);

  assert_refused (job, "does not say where to");
  varve_restore_action_add_disk (action, "vda", "/restore/vda", "qcow2");
  varve_restore_action_add_disk (action, "vdb", "/dev/vg0/b", NULL);
  assert_round_trip (job);
  g_assert_false (def->force);
  g_assert_null (def->directory);

  varve_restore_action_set_name (action, "back");
  varve_restore_action_set_directory (action, "/restore", "qcow2");
  varve_restore_action_set_force (action, TRUE);
  assert_round_trip (job);
  varve_restore_action_set_over (action, TRUE);
  assert_refused (job, "one of both");
  varve_restore_action_set_over (action, FALSE);
  varve_restore_action_set_define (action, "web02", "qmp+unix:///run/vm.qmp");
  assert_refused (job, "defined by libvirt");
  varve_restore_action_set_define (action, "web/02", "qemu:///system");
  assert_refused (job, "The new domain's name");
  varve_restore_action_set_define (action, "web02", "qemu:///system");
  assert_round_trip (job);
  varve_restore_action_set_instant (action, TRUE, NULL, 100);
  assert_refused (job, "nothing that exists is replaced");
  varve_restore_action_set_instant (action, FALSE, NULL, 100);
  assert_refused (job, "at a limited speed");
  varve_restore_action_set_instant (action, FALSE, NULL, 0);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);
  def = varve_restore_action_def (g_ptr_array_index (varve_job_get_actions (again), 0));
  const VarveRestoreDisk *first = g_ptr_array_index (def->disks, 0);
  const VarveRestoreDisk *second = g_ptr_array_index (def->disks, 1);
  g_assert_cmpstr (def->name, ==, "back");
  g_assert_cmpstr (def->backup, ==, "web01@latest");
  g_assert_cmpstr (def->directory, ==, "/restore");
  g_assert_cmpstr (def->directory_format, ==, "qcow2");
  g_assert_cmpstr (def->define, ==, "web02");
  g_assert_cmpstr (def->define_uri, ==, "qemu:///system");
  g_assert_true (def->force);
  g_assert_cmpstr (first->path, ==, "/restore/vda");
  g_assert_cmpstr (first->format, ==, "qcow2");
  g_assert_cmpstr (second->path, ==, "/dev/vg0/b");
  g_assert_cmpstr (second->format, ==, "raw");
}

static void
test_verify (void)
{
  g_autoptr (VarveJob) job = varve_job_new ("proof");
  VarveVerifyAction *action = varve_job_add_verify (job, "images:/srv/backup", NULL);
  const VarveVerifyDef *def = varve_verify_action_def (action);

  g_assert_false (def->boot);
  assert_round_trip (job);
  varve_verify_action_set_memory (action, 64 << 20);
  assert_refused (job, "without that only sums");
  varve_verify_action_set_boot (action, 0);
  assert_refused (job, "one backup that is started");

  g_clear_object (&job);
  job = varve_job_new ("proof");
  action = varve_job_add_verify (job, "images:/srv/backup", "web01@latest");
  varve_verify_action_set_name (action, "boot");
  varve_verify_action_set_boot (action, 90);
  varve_verify_action_set_console (action, "web01 login:");
  varve_verify_action_set_screenshot (action, "/srv/screens/web01.png");
  varve_verify_action_set_memory (action, 512 << 20);
  assert_round_trip (job);

  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);
  def = varve_verify_action_def (g_ptr_array_index (varve_job_get_actions (again), 0));
  g_assert_cmpstr (def->name, ==, "boot");
  g_assert_cmpstr (def->store, ==, "images:/srv/backup");
  g_assert_cmpstr (def->backup, ==, "web01@latest");
  g_assert_true (def->boot);
  g_assert_cmpstr (def->console, ==, "web01 login:");
  g_assert_cmpuint (def->timeout, ==, 90);
  g_assert_cmpstr (def->screenshot, ==, "/srv/screens/web01.png");
  g_assert_cmpuint (def->memory, ==, 512 << 20);

  varve_verify_action_set_memory (action, 1 << 20);
  assert_refused (job, "at least 16 MiB");
  varve_verify_action_set_memory (action, 0);
  varve_verify_action_set_mounted (action, "/srv");
  assert_refused (job, "One sign");
  varve_verify_action_set_console (action, NULL);
  assert_round_trip (job);
  varve_verify_action_set_mounted (action, NULL);
  varve_verify_action_set_console (action, "two\nlines");
  assert_refused (job, "in one line");
  varve_verify_action_set_console (action, NULL);
  varve_verify_action_set_boot (action, 86401);
  assert_refused (job, "1 to 86400");
  varve_verify_action_set_boot (action, 0);
  g_assert_cmpuint (varve_verify_action_def (action)->timeout, ==, 300);
  varve_verify_action_set_screenshot (action, "relative.png");
  assert_refused (job, "The screenshot");
}

static void
test_refused_jobs (void)
{
  g_autoptr (VarveJob) empty = varve_job_new ("empty");
  g_autoptr (VarveJob) nameless = varve_job_new (NULL);
  g_autoptr (VarveJob) hollow = varve_job_new ("hollow");
  g_autoptr (VarveJob) twice = varve_job_new ("twice");

  assert_refused (empty, "no action");
  varve_job_add_backup (nameless, "web01", "qemu:///system", "images:/srv");
  assert_refused (nameless, "job's name is missing");
  varve_job_add_backup (hollow, NULL, NULL, NULL);
  varve_job_add_restore (hollow, NULL, NULL);
  varve_job_add_revert (hollow, NULL, NULL, NULL, NULL);
  assert_refused (hollow, "Action 1 (backup): The domain is missing");

  /* Even then there is a text, for a message; it only cannot be read back. */
  g_autofree char *text = varve_job_to_xml (hollow);
  g_assert_null (varve_job_parse (text, strlen (text), "text", NULL));

  for (int i = 0; i < 2; i++)
    varve_backup_action_set_name (
        varve_job_add_backup (twice, "web01", "qemu:///system", "images:/srv"), "same");
  assert_refused (twice, "Action 2 (backup): Two actions are named 'same'");
}

typedef void (*Setter) (VarveBackupAction *action, const char *value);

static void
set_short_quiesce (VarveBackupAction *action, const char *value)
{
  varve_backup_action_set_quiesce (action, FALSE, 0);
}

static void
set_long_wait (VarveBackupAction *action, const char *value)
{
  varve_backup_action_set_wait (action, 604801);
}

static void
add_disk (VarveBackupAction *action, const char *value)
{
  varve_backup_action_add_disk (action, value, TRUE);
}

static void
add_disk_both_ways (VarveBackupAction *action, const char *value)
{
  varve_backup_action_add_disk (action, value, TRUE);
  varve_backup_action_add_disk (action, value, FALSE);
}

static void
set_image (VarveBackupAction *action, const char *value)
{
  varve_backup_action_set_image (action, "vda", value, "raw", NULL);
}

static void
set_target (VarveBackupAction *action, const char *value)
{
  varve_backup_action_set_target (action, "vda", value, NULL);
}

static void
set_target_format (VarveBackupAction *action, const char *value)
{
  varve_backup_action_set_target (action, "vda", "/mnt/vda", value);
}

static void
test_refused_values (void)
{
  static const struct {
    Setter set;
    const char *value;
    const char *words;
  } cases[] = {
    { varve_backup_action_set_name, "", "action's name is ''" },
    { varve_backup_action_set_name, "a b", "action's name is 'a b'" },
    { varve_backup_action_set_name, "a\n", "action's name is 'a\\x0a'" },
    { varve_backup_action_set_owner, "Nightly", "owner is 'Nightly'" },
    { varve_backup_action_set_owner, "0123456789012345678901234567890123456789", "1 to 39" },
    { varve_backup_action_set_mode, "both", "mode is 'both'" },
    { varve_backup_action_set_incremental, "", "incremental is ''" },
    { varve_backup_action_set_incremental, "a/b", "incremental is 'a/b'" },
    { varve_backup_action_set_incremental, "\xff", "incremental is '\xef\xbf\xbd'" },
    { varve_backup_action_set_uuid, UUID, "domain has a uuid" },
    { set_short_quiesce, NULL, "quiesce timeout is 0" },
    { set_long_wait, NULL, "wait is 604801" },
    { add_disk, "", "disk's name is ''" },
    { add_disk, "../x", "disk's name is '../x'" },
    { add_disk_both_ways, "vda", "'vda' is named twice" },
    { set_image, "/a", "libvirt tells" },
    { set_target, "a", "target is 'a'" },
    { set_target, "", "target is ''" },
    { set_target, "nbd://a/b c", "URI of an NBD export" },
    { set_target, "http://a/b", "target is 'http://a/b'" },
    { set_target_format, "vdi", "format is 'vdi'" },
    { varve_backup_action_set_agent, "/a", "quiesce has an agent" },
    { varve_backup_action_set_agent, "a", "quiesce agent is 'a'" },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    VarveBackupAction *action;
    g_autoptr (VarveJob) job = one_backup (&action);

    cases[i].set (action, cases[i].value);
    assert_refused (job, cases[i].words);
  }
}

static void
test_refused_addresses (void)
{
  static const struct {
    const char *domain, *uri, *store, *words;
  } cases[] = {
    { "", "qemu:///system", "images:/s", "domain is ''" },
    { " web", "qemu:///system", "images:/s", "domain is ' web'" },
    { "web ", "qemu:///system", "images:/s", "domain is 'web '" },
    { "a\xff", "qemu:///system", "images:/s", "domain is 'a" },
    { "a\xef\xbf\xbf", "qemu:///system", "images:/s", "domain is 'a" },
    { "web", "", "images:/s", "uri is ''" },
    { "web", "qemu", "images:/s", "uri is 'qemu'" },
    { "web", "qemu:///a b", "images:/s", "uri is" },
    { "web", "qmp+unix:///", "images:/s", "uri is" },
    { "web", "image:", "images:/s", "none is to be backed up" },
    { "web", "qemu:///system", "/s", "store is '/s'" },
    { "web", "qemu:///system", "images:s", "store is 'images:s'" },
    { "web", "qemu:///system", "images:", "store is 'images:'" },
    { "web", "qemu:///system", "s3://bucket", "store is 's3://bucket'" },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (VarveJob) job = varve_job_new ("job");

    varve_job_add_backup (job, cases[i].domain, cases[i].uri, cases[i].store);
    assert_refused (job, cases[i].words);
  }
}

static void
test_refused_restores (void)
{
  static const struct {
    const char *backup, *disk, *path, *format, *directory, *words;
  } cases[] = {
    { "web01", "vda", "/a", "raw", NULL, "backup is 'web01'" },
    { "web01@", "vda", "/a", "raw", NULL, "backup is 'web01@'" },
    { "web01@now", "vda", "/a", "raw", NULL, "backup is 'web01@now'" },
    { "a@latest", "v/a", "/a", "raw", NULL, "disk's name is 'v/a'" },
    { "a@latest", NULL, "/a", "raw", NULL, "disk's name is missing" },
    { "a@latest", "vda", "a", "raw", NULL, "target is 'a'" },
    { "a@latest", "vda", NULL, "raw", NULL, "target is missing" },
    { "a@latest", "vda", "/a", "vdi", NULL, "format is 'vdi'" },
    { "a@latest", "vda", "/a", "raw", "r", "directory is 'r'" },
    { "a@latest", "vda", "/a", "raw", "/r ", "directory is '/r '" },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (VarveJob) job = varve_job_new ("job");
    VarveRestoreAction *action = varve_job_add_restore (job, "images:/s", cases[i].backup);

    varve_restore_action_add_disk (action, cases[i].disk, cases[i].path, cases[i].format);
    if (cases[i].directory)
      varve_restore_action_set_directory (action, cases[i].directory, NULL);
    assert_refused (job, cases[i].words);
  }
}

/* Text of 1 to 8 characters, of which some are not allowed anywhere and most need care in XML. */
static char *
random_text (const char *prefix)
{
  static const char *const pieces[] = { "a", "Z", "0",  "_", ".",  "-",   ":",   "@",
                                        " ", "&", "<",  ">", "'",  "\"",  "]]>", "ü",
                                        "💾", "%", "\\", "/", "\t", "\xff" };
  GString *text = g_string_new (prefix);
  int count = g_test_rand_int_range (1, 9);

  for (int i = 0; i < count; i++)
    g_string_append (text, pieces[g_test_rand_int_range (0, (gint32)G_N_ELEMENTS (pieces))]);
  return g_string_free (text, FALSE);
}

static VarveJob *
random_job (void)
{
  static const char *const uris[] = { "qemu:///system", "image:", "qmp+unix:///run/a.sock" };
  g_autofree char *domain = random_text ("");
  g_autofree char *store = random_text ("images:/");
  g_autofree char *image = random_text ("/");
  g_autofree char *disk = random_text ("");
  g_autofree char *backup = g_strconcat (domain, "@latest", NULL);
  VarveJob *job = varve_job_new ("random");
  VarveBackupAction *save =
      varve_job_add_backup (job, domain, uris[g_test_rand_int_range (0, 3)], store);
  VarveRestoreAction *restore = varve_job_add_restore (job, store, backup);

  if (g_test_rand_bit ())
    varve_backup_action_set_image (save, g_test_rand_bit () ? disk : "vda", image, "raw", NULL);
  if (g_test_rand_bit ())
    varve_backup_action_add_disk (save, "vdb", FALSE);
  varve_backup_action_set_speed (save, ((guint64)g_test_rand_int () & 0xffff)
                                           << g_test_rand_int_range (0, 48));
  if (g_test_rand_bit ())
    varve_restore_action_add_disk (restore, "vda", image, g_test_rand_bit () ? "raw" : "qcow2");
  else
    varve_restore_action_set_directory (restore, image, NULL);
  return job;
}

/* Whatever passes the check can be written and read back; and what reads back passed the check. */
static void
test_random (void)
{
  unsigned good = 0;

  for (unsigned i = 0; i < rounds_of (4000); i++) {
    g_autoptr (VarveJob) job = random_job ();
    g_autofree char *text = varve_job_to_xml (job);
    g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "text", NULL);

    if (varve_job_check (job, NULL)) {
      assert_round_trip (job);
      good++;
    } else if (again) {
      /* Only blanks at the ends of a text, and bytes that are no UTF-8, can be lost in writing. */
      g_autofree char *text_again = varve_job_to_xml (again);
      g_assert_true (varve_job_check (again, NULL));
      g_assert_true (strchr (text, ' ') || strstr (text, "\xef\xbf\xbd") || strchr (text, '\t'));
    }
  }
  g_assert_cmpuint (good, >, rounds_of (40));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/job-actions/backup-defaults", test_backup_defaults);
  g_test_add_func ("/job-actions/backup-setters", test_backup_setters);
  g_test_add_func ("/job-actions/backup-targets", test_backup_targets);
  g_test_add_func ("/job-actions/store-and-target", test_store_and_target);
  g_test_add_func ("/job-actions/backup-fields", test_backup_fields);
  g_test_add_func ("/job-actions/images-and-disks", test_images_and_disks);
  g_test_add_func ("/job-actions/exclude-image", test_exclude_image);
  g_test_add_func ("/job-actions/restore", test_restore);
  g_test_add_func ("/job-actions/revert", test_revert);
  g_test_add_func ("/job-actions/verify", test_verify);
  g_test_add_func ("/job-actions/refused-jobs", test_refused_jobs);
  g_test_add_func ("/job-actions/refused-values", test_refused_values);
  g_test_add_func ("/job-actions/refused-addresses", test_refused_addresses);
  g_test_add_func ("/job-actions/refused-restores", test_refused_restores);
  g_test_add_func ("/job-actions/random", test_random);
  return g_test_run ();
}
