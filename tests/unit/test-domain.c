/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "virt/domain.h"

#include <string.h>

#include "util/error.h"
#include "virt/fake/fake.h"

/* The value is a contract: checkpoints and backups of domains without a uuid hang on it. */
static void
test_uuid (void)
{
  g_autofree char *one = varve_domain_uuid_from_name ("vm1");
  g_autofree char *other = varve_domain_uuid_from_name ("vm2");

  g_assert_true (g_uuid_string_is_valid (one));
  g_assert_cmpint (one[14], ==, '5');
  g_assert_nonnull (strchr ("89ab", one[19]));
  g_assert_cmpstr (one, ==, "83a5292b-4a33-5337-bf87-0f14d653f645");
  g_assert_cmpstr (one, !=, other);
}

static void
assert_open_fails (const char *uri, const char *name, const char *uuid, VarveError code)
{
  VarveDomainAddress address = { .uri = uri, .name = name, .uuid = uuid };
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_domain_open (&address, NULL, &error));
  if (!g_error_matches (error, VARVE_ERROR, (int)code))
    g_error ("%s: code %d: %s", uri, error->code, error->message);
}

static void
test_open (void)
{
  assert_open_fails ("http://x", "vm1", NULL, VARVE_ERROR_USAGE);
  assert_open_fails ("qmp+unix://relative", "vm1", NULL, VARVE_ERROR_USAGE);
  assert_open_fails ("qmp+unix:///", "vm1", NULL, VARVE_ERROR_USAGE);
  assert_open_fails ("qmp+unix:///nonexistent/monitor", "vm1", NULL,
                     VARVE_ERROR_SOURCE_UNREACHABLE);
  assert_open_fails ("image:", "vm1", NULL, VARVE_ERROR_USAGE);
  assert_open_fails ("image:", NULL, NULL, VARVE_ERROR_USAGE);
}

static void
test_start (void)
{
  g_autoptr (VarveStart) start = varve_start_new ("0123456789abcdef");
  VarveStartDisk *disk = varve_start_add_disk (start, "vda");

  start->checkpoint = g_strdup ("CK");
  start->directory = g_strdup ("/run/x");
  start->policy.scratch_limit = 5;
  disk->since = g_strdup ("OLD");
  disk->scratch = g_strdup ("/s");
  varve_start_disk_also (disk, "OLDER");
  varve_start_disk_also (disk, "OLDEST");
  disk->checkpoint = disk->transient = true;
  disk->target = g_strdup ("/t");
  start->push = true;
  start->speed = 7;

  g_autoptr (VarveStart) copy = varve_start_copy (start);
  const VarveStartDisk *found = varve_start_find_disk (copy, "vda");
  g_assert_cmpstr (copy->session, ==, start->session);
  g_assert_cmpstr (copy->checkpoint, ==, "CK");
  g_assert_cmpstr (copy->directory, ==, "/run/x");
  g_assert_cmpuint (copy->policy.scratch_limit, ==, 5);
  g_assert_true (found != disk);
  g_assert_cmpstr (found->since, ==, "OLD");
  g_assert_cmpstr (found->scratch, ==, "/s");
  g_assert_true (found->since_also != disk->since_also);
  g_assert_cmpuint (found->since_also->len, ==, 2);
  g_assert_cmpstr (found->since_also->pdata[1], ==, "OLDEST");
  g_assert_true (found->checkpoint && found->transient);
  g_assert_cmpstr (found->target, ==, "/t");
  g_assert_true (copy->push);
  g_assert_cmpuint (copy->speed, ==, 7);
  g_assert_null (varve_start_find_disk (copy, "vdb"));
}

/* An error names the domain once, whoever made it. */
static void
test_named_errors (void)
{
  g_autoptr (VarveDomain) domain = varve_fake_domain_new ("vm1");
  g_autoptr (GPtrArray) disks = NULL;
  g_autoptr (GError) error = NULL;
  VarveDomainOps mute = *domain->ops;

  varve_fake_fail (domain, "inventory", VARVE_ERROR_BUSY, 1);
  g_assert_false (varve_domain_inventory (domain, &disks, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_true (g_str_has_prefix (error->message, "The fake domain 'vm1'"));
  g_clear_error (&error);

  mute.freeze = NULL;
  domain->ops = &mute;
  g_assert_false (varve_domain_freeze (domain, 1, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_assert_true (g_str_has_prefix (error->message, "Domain 'vm1'"));
}

/* A driver that knows nothing of push is not asked. */
static void
test_no_push (void)
{
  g_autoptr (VarveDomain) domain = varve_fake_domain_new ("vm1");
  g_autoptr (VarveStart) start = varve_start_new ("0123456789abcdef");
  g_autoptr (VarveStartReport) report = NULL;
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GError) error = NULL;
  VarveDomainOps old = *domain->ops;
  uint64_t pause_us;

  start->push = true;
  old.progress = NULL;
  domain->ops = &old;
  g_assert_true (varve_domain_check (domain, start, &report, NULL, &error));
  g_assert_cmpuint (report->refusals->len, ==, 1);
  g_assert_nonnull (strstr (report->refusals->pdata[0], "use pull"));
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_assert_null (snapshot);
  g_assert_cmpstr (varve_fake_calls (domain)[0], ==, NULL);
}

static void
assert_calls (VarveDomain *domain, const char *expected)
{
  g_autofree char *calls = g_strjoinv (", ", (char **)varve_fake_calls (domain));

  g_assert_cmpstr (calls, ==, expected);
}

static void
test_fake (void)
{
  g_autoptr (VarveDomain) domain = varve_fake_domain_new ("vm1");
  g_autoptr (VarveStart) start = varve_start_new ("0123456789abcdef");
  g_autoptr (VarveSnapshot) snapshot = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  varve_fake_add_disk (domain, "vda");
  varve_start_add_disk (start, "vda")->checkpoint = true;
  start->checkpoint = g_strdup ("CK");
  varve_fake_fail (domain, "start", VARVE_ERROR_HYPERVISOR, 1);
  g_assert_false (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  g_assert_cmpuint (varve_fake_snapshots (domain), ==, 0);
  g_clear_error (&error);
  g_assert_true (varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error));
  g_assert_cmpuint (varve_fake_snapshots (domain), ==, 1);
  g_assert_true (varve_domain_bitmaps (domain, &bitmaps, NULL, &error));
  g_assert_nonnull (varve_bitmap_find (bitmaps, "vda", "CK"));
  varve_fake_set_snapshot_state (domain, VARVE_SNAPSHOT_BROKEN);
  g_assert_false (varve_snapshot_finish (snapshot, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_LOST);
  g_clear_error (&error);
  g_assert_true (varve_snapshot_end (snapshot, true, NULL, &error));
  g_assert_true (varve_snapshot_end (snapshot, false, NULL, &error));
  g_assert_cmpuint (varve_fake_snapshots (domain), ==, 0);
  g_assert_true (varve_domain_checkpoint_remove (domain, "CK", NULL, &error));
  g_clear_pointer (&bitmaps, g_ptr_array_unref);
  g_assert_true (varve_domain_bitmaps (domain, &bitmaps, NULL, &error));
  g_assert_cmpuint (bitmaps->len, ==, 0);
  assert_calls (domain,
                "start, start, bitmaps, finish, end cut, end, checkpoint_remove CK, bitmaps");
}

static GPtrArray *
names (const char *first, const char *second)
{
  GPtrArray *array = g_ptr_array_new_with_free_func (g_free);

  g_ptr_array_add (array, g_strdup (first));
  if (second)
    g_ptr_array_add (array, g_strdup (second));
  return array;
}

/* What records the hypervisor has, as "NAME:DISK DISK;…". */
static void
assert_metadata (VarveDomain *domain, const char *expected)
{
  g_autoptr (GPtrArray) metadata = NULL;
  g_autoptr (GString) found = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_metadata (domain, &metadata, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < metadata->len; i++) {
    const VarveCheckpointMetadata *record = g_ptr_array_index (metadata, i);

    g_ptr_array_add (record->disks, NULL);
    g_autofree char *disks = g_strjoinv (" ", (char **)record->disks->pdata);
    g_string_append_printf (found, "%s:%s;", record->name, disks);
  }
  g_assert_cmpstr (found->str, ==, expected);
}

static void
test_fake_checkpoints (void)
{
  g_autoptr (VarveDomain) domain = varve_fake_domain_new ("vm1");
  g_autoptr (GPtrArray) both = names ("vda", "vdb");
  g_autoptr (GPtrArray) vda = names ("vda", NULL);
  g_autoptr (GPtrArray) newer = names ("C2", NULL);
  g_autoptr (GPtrArray) bitmaps = NULL;
  g_autoptr (GError) error = NULL;

  varve_fake_add_disk (domain, "vda");
  varve_fake_add_disk (domain, "vdb");
  g_assert_true (varve_domain_checkpoint_add (domain, "C0", NULL, vda, NULL, &error));
  assert_metadata (domain, "");
  varve_fake_keep_metadata (domain);
  g_assert_true (varve_domain_checkpoint_add (domain, "C1", "first", both, NULL, &error));
  g_assert_true (varve_domain_checkpoint_add (domain, "C2", NULL, both, NULL, &error));
  g_assert_false (varve_domain_checkpoint_add (domain, "C2", NULL, both, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_EXISTS);
  g_clear_error (&error);
  assert_metadata (domain, "C1:vda vdb;C2:vda vdb;");
  g_assert_true (varve_domain_checkpoint_merge (domain, "C1", newer, NULL, &error));
  assert_metadata (domain, "C1:vda vdb;");
  g_assert_true (varve_domain_checkpoint_forget (domain, "C1", NULL, &error));
  assert_metadata (domain, "");
  g_assert_true (varve_domain_checkpoint_redefine (domain, "C1", "again", 7, both, NULL, &error));
  assert_metadata (domain, "C1:vda vdb;");
  g_assert_false (varve_domain_checkpoint_redefine (domain, "C2", NULL, 7, both, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_CHECKPOINT);
  g_clear_error (&error);
  g_assert_true (varve_domain_checkpoint_remove (domain, "C1", NULL, &error));
  assert_metadata (domain, "");
  g_assert_true (varve_domain_bitmaps (domain, &bitmaps, NULL, &error));
  g_assert_cmpuint (bitmaps->len, ==, 1);
}

/* A driver that keeps no records says so by having none; one that cannot merge fails. */
static void
test_left_out_ops (void)
{
  g_autoptr (VarveDomain) domain = varve_fake_domain_new ("vm1");
  g_autoptr (GPtrArray) vda = names ("vda", NULL);
  g_autoptr (GError) error = NULL;
  VarveDomainOps mute = *domain->ops;

  mute.checkpoint_metadata = NULL;
  mute.checkpoint_redefine = NULL;
  mute.checkpoint_forget = NULL;
  mute.checkpoint_merge = NULL;
  mute.checkpoint_add = NULL;
  domain->ops = &mute;
  assert_metadata (domain, "");
  g_assert_true (varve_domain_checkpoint_redefine (domain, "C", NULL, 0, vda, NULL, &error));
  g_assert_true (varve_domain_checkpoint_forget (domain, "C", NULL, &error));
  g_assert_false (varve_domain_checkpoint_add (domain, "C", NULL, vda, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_clear_error (&error);
  g_assert_false (varve_domain_checkpoint_merge (domain, "C", vda, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/domain/uuid", test_uuid);
  g_test_add_func ("/domain/open", test_open);
  g_test_add_func ("/domain/start", test_start);
  g_test_add_func ("/domain/named-errors", test_named_errors);
  g_test_add_func ("/domain/no-push", test_no_push);
  g_test_add_func ("/domain/fake", test_fake);
  g_test_add_func ("/domain/fake-checkpoints", test_fake_checkpoints);
  g_test_add_func ("/domain/left-out-ops", test_left_out_ops);
  return g_test_run ();
}
