/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The watch over a domain in memory: what it finds wrong it ends, and says why. */
#include "config.h"

#include "session/watch.h"

#include "util/error.h"
#include "virt/fake/fake.h"
#include "wait.h"

#define ID "0123456789abcdef"

typedef struct {
  VarveDomain *domain;
  VarveStart *start;
  VarveSnapshot *snapshot;
  VarveRecord *record;
  VarveWatchOptions options;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  uint64_t pause_us;

  f->domain = varve_fake_domain_new ("web01");
  varve_fake_add_disk (f->domain, "vda");
  varve_fake_set_state (f->domain, VARVE_DOMAIN_RUNNING);
  f->start = varve_start_new (ID);
  varve_start_add_disk (f->start, "vda");
  f->record = varve_record_new (ID);
  f->record->was_running = true;
  varve_domain_start (f->domain, f->start, &f->snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  f->options = (VarveWatchOptions){ .snapshot = f->snapshot,
                                    .record = f->record,
                                    .watermark = 1000,
                                    .interval_ms = 20,
                                    .tolerance_ms = 300 };
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_snapshot_free (f->snapshot);
  varve_start_free (f->start);
  varve_record_free (f->record);
  varve_domain_free (f->domain);
}

static GError *
find_trouble (VarveWatch *watch)
{
  GError *error = NULL;

  wait_until (!varve_watch_check (watch, &error));
  return error;
}

static unsigned
count_calls (Fixture *f, const char *call)
{
  return varve_fake_count_calls (f->domain, call);
}

static void
assert_trouble (Fixture *f, VarveError code, const char *words)
{
  g_autoptr (VarveWatch) watch = varve_watch_start (&f->options);
  g_autoptr (GError) found = find_trouble (watch);

  g_assert_error (found, VARVE_ERROR, (int)code);
  g_assert_nonnull (strstr (found->message, words));
  /* The reason is the same however often one asks. */
  g_clear_error (&found);
  g_assert_false (varve_watch_is_well (watch, &found));
  g_assert_nonnull (strstr (found->message, words));
  g_clear_pointer (&watch, varve_watch_free);
  g_assert_cmpuint (count_calls (f, "end"), >=, 1);
}

static void
test_well (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = NULL;
  VarveSnapshotStatus status;

  varve_fake_set_scratch_used (f->domain, 1000);
  watch = varve_watch_start (&f->options);
  wait_until (count_calls (f, "poll") >= 3);
  g_assert_true (varve_watch_check (watch, NULL));
  varve_watch_status (watch, &status);
  g_assert_cmpuint (status.scratch_used, ==, 1000);
  g_clear_pointer (&watch, varve_watch_free);
  g_assert_cmpuint (count_calls (f, "end"), ==, 0);
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 1);
}

static void
test_watermark (Fixture *f, gconstpointer data)
{
  varve_fake_set_scratch_used (f->domain, 1001);
  assert_trouble (f, VARVE_ERROR_NO_SPACE, "beyond the limit");
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 0);
  g_assert_cmpuint (count_calls (f, "resume"), ==, 0);
}

static void
test_no_watermark (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = NULL;

  f->options.watermark = 0;
  varve_fake_set_scratch_used (f->domain, UINT64_MAX);
  watch = varve_watch_start (&f->options);
  wait_until (count_calls (f, "poll") >= 3);
  g_assert_true (varve_watch_is_well (watch, NULL));
}

static void
test_guest_paused (Fixture *f, gconstpointer data)
{
  varve_fake_set_state (f->domain, VARVE_DOMAIN_PAUSED_IO_ERROR);
  assert_trouble (f, VARVE_ERROR_NO_SPACE, "paused by an I/O error");
  g_assert_cmpuint (count_calls (f, "resume"), ==, 1);
}

/* One that did not run when we came is left as it is. */
static void
test_guest_paused_before (Fixture *f, gconstpointer data)
{
  f->record->was_running = false;
  varve_fake_set_state (f->domain, VARVE_DOMAIN_PAUSED_IO_ERROR);
  assert_trouble (f, VARVE_ERROR_NO_SPACE, "paused by an I/O error");
  g_assert_cmpuint (count_calls (f, "resume"), ==, 0);
}

static void
test_broken (Fixture *f, gconstpointer data)
{
  varve_fake_set_snapshot_state (f->domain, VARVE_SNAPSHOT_BROKEN);
  assert_trouble (f, VARVE_ERROR_SOURCE_LOST, "the script says so");
}

/* A hypervisor that does not answer for a moment is no trouble. */
static void
test_restarted (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = NULL;

  f->options.tolerance_ms = 100000;
  varve_fake_fail (f->domain, "poll", VARVE_ERROR_SOURCE_UNREACHABLE, 3);
  watch = varve_watch_start (&f->options);
  wait_until (count_calls (f, "poll") >= 6);
  g_assert_true (varve_watch_check (watch, NULL));
}

static void
test_unreachable (Fixture *f, gconstpointer data)
{
  varve_fake_fail (f->domain, "poll", VARVE_ERROR_SOURCE_UNREACHABLE, G_MAXUINT);
  assert_trouble (f, VARVE_ERROR_SOURCE_UNREACHABLE, "Nobody could tell");
}

/* What cannot be ended at once is tried again. */
static void
test_end_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = NULL;
  g_autoptr (GError) found = NULL;

  varve_fake_fail (f->domain, "end", VARVE_ERROR_BUSY, 3);
  varve_fake_set_scratch_used (f->domain, 1001);
  watch = varve_watch_start (&f->options);
  found = find_trouble (watch);
  g_assert_error (found, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  wait_until (count_calls (f, "end") >= 4);
  g_clear_pointer (&watch, varve_watch_free);
  g_assert_cmpuint (count_calls (f, "end"), ==, 4);
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 0);
}

/* A thaw that is due is made up for. */
static void
test_thaw (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = NULL;

  f->record->frozen = true;
  watch = varve_watch_start (&f->options);
  wait_until (varve_watch_has_thawed (watch));
  g_assert_true (varve_watch_is_well (watch, NULL));
  g_clear_pointer (&watch, varve_watch_free);
  g_assert_cmpuint (count_calls (f, "thaw"), ==, 1);
}

static void
test_no_thaw (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveWatch) watch = varve_watch_start (&f->options);

  wait_until (count_calls (f, "poll") >= 3);
  g_assert_false (varve_watch_has_thawed (watch));
  g_clear_pointer (&watch, varve_watch_free);
  g_assert_cmpuint (count_calls (f, "thaw"), ==, 0);
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/watch/well", test_well);
  ADD ("/watch/watermark", test_watermark);
  ADD ("/watch/no-watermark", test_no_watermark);
  ADD ("/watch/guest-paused", test_guest_paused);
  ADD ("/watch/guest-paused-before", test_guest_paused_before);
  ADD ("/watch/broken", test_broken);
  ADD ("/watch/restarted", test_restarted);
  ADD ("/watch/unreachable", test_unreachable);
  ADD ("/watch/end-fails", test_end_fails);
  ADD ("/watch/thaw", test_thaw);
  ADD ("/watch/no-thaw", test_no_thaw);
  return g_test_run ();
}
