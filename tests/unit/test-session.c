/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Sessions over a domain in memory: whatever fails, nothing is left, or it is on record. */
#include "config.h"

#include "session/session.h"

#include <stdio.h>

#include "util/durable.h"
#include "util/error.h"
#include "virt/fake/fake.h"

#define ID         "0123456789abcdef"
#define BACKUP     "20260101T000000Z-00000000000000aa"
#define CHECKPOINT "varve.nightly-1f0c77ab." BACKUP ".00000001"

typedef struct {
  char *root;
  VarveStateDir *dir;
  VarveDomain *domain;
  VarveStart *start;
  bool without_store;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->root = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
  f->dir = varve_state_dir_open (f->root, &error);
  g_assert_no_error (error);
  f->domain = varve_fake_domain_new ("web01");
  varve_fake_add_disk (f->domain, "vda");
  varve_fake_set_state (f->domain, VARVE_DOMAIN_RUNNING);
  f->start = varve_start_new (ID);
  f->start->checkpoint = g_strdup (CHECKPOINT);
  f->start->directory = varve_state_dir_file (f->dir, "sockets", ID);
  varve_start_add_disk (f->start, "vda")->checkpoint = true;
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_start_free (f->start);
  varve_domain_free (f->domain);
  varve_state_dir_free (f->dir);
  varve_remove_tree (f->root, NULL);
  g_free (f->root);
}

static VarveRecord *
make_record (Fixture *f)
{
  VarveRecord *record = varve_record_new (ID);

  record->uri = g_strdup ("qmp+unix:///nowhere");
  record->domain = g_strdup (f->domain->name);
  record->uuid = g_strdup (f->domain->uuid);
  record->owner = g_strdup ("nightly-1f0c77ab");
  record->backup = g_strdup (BACKUP);
  record->store = f->without_store ? NULL : g_strdup ("images:/nowhere");
  record->started = 1;
  return record;
}

static VarveSession *
begin (Fixture *f, const VarveQuiesce *quiesce, bool *out_frozen, GPtrArray *weaker, GError **error)
{
  uint64_t pause_us;

  return varve_session_begin (f->dir, f->domain, f->start, make_record (f), quiesce, &pause_us,
                              out_frozen, weaker, NULL, error);
}

static unsigned
records (Fixture *f)
{
  g_autoptr (GPtrArray) ids = varve_record_list (f->dir, NULL);

  return ids->len;
}

static bool
was_called (Fixture *f, const char *call)
{
  return g_strv_contains (varve_fake_calls (f->domain), call);
}

static void
assert_clean (Fixture *f)
{
  g_assert_cmpuint (records (f), ==, 0);
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 0);
  g_assert_false (varve_session_is_live (f->dir, ID));
  g_assert_false (g_file_test (f->start->directory, G_FILE_TEST_EXISTS));
}

static void
test_kept (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session = begin (f, &none, &frozen, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (records (f), ==, 1);
  g_assert_true (varve_session_is_live (f->dir, ID));
  g_assert_true (varve_session_finish (session, NULL, &error));
  g_assert_true (varve_session_close (session, &error));
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 0);
  g_assert_cmpuint (records (f), ==, 1);
  g_assert_true (varve_session_keep (session, &error));
  g_assert_true (varve_session_end (session, &error));
  g_assert_false (was_called (f, "checkpoint_remove " CHECKPOINT));
  assert_clean (f);
}

/* What could not be written down is not so: whoever is told of a failure has no checkpoint. */
static void
test_keep_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *sessions = g_build_filename (f->root, "sessions", NULL);
  g_autofree char *away = g_build_filename (f->root, "away", NULL);
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session;

  f->without_store = true;
  session = begin (f, &none, &frozen, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (varve_session_close (session, &error));
  g_assert_cmpint (rename (sessions, away), ==, 0);
  g_assert_false (varve_session_keep (session, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_assert_cmpint (rename (away, sessions), ==, 0);
  g_assert_true (varve_session_end (session, &error));
  g_assert_true (was_called (f, "checkpoint_remove " CHECKPOINT));
  assert_clean (f);
}

static void
test_dropped (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session = begin (f, &none, &frozen, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (varve_session_end (session, &error));
  g_assert_true (was_called (f, "checkpoint_remove " CHECKPOINT));
  assert_clean (f);
}

static void
test_start_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;

  varve_fake_fail (f->domain, "start", VARVE_ERROR_HYPERVISOR, 1);
  g_assert_null (begin (f, &none, &frozen, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  assert_clean (f);
}

/* The guest is thawed whatever becomes of the start. */
static void
test_quiesce (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce wanted = { .quiesce = true, .quiesce_timeout = 5 };
  bool frozen;
  VarveSession *session;

  varve_fake_fail (f->domain, "start", VARVE_ERROR_HYPERVISOR, 1);
  g_assert_null (begin (f, &wanted, &frozen, NULL, &error));
  g_assert_true (was_called (f, "thaw"));
  assert_clean (f);
  session = begin (f, &wanted, &frozen, NULL, NULL);
  g_assert_true (frozen);
  varve_session_free (session);
  assert_clean (f);
}

static void
test_quiesce_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) weaker = g_ptr_array_new_with_free_func (g_free);
  VarveQuiesce wanted = { .quiesce = true, .quiesce_timeout = 5 };
  VarveQuiesce required = { .quiesce = true, .quiesce_required = true, .quiesce_timeout = 5 };
  bool frozen;

  varve_fake_fail (f->domain, "freeze", VARVE_ERROR_UNSUPPORTED, 2);
  g_assert_null (begin (f, &required, &frozen, weaker, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  assert_clean (f);
  varve_session_free (begin (f, &wanted, &frozen, weaker, NULL));
  g_assert_false (frozen);
  g_assert_cmpuint (weaker->len, ==, 1);
  assert_clean (f);
}

typedef struct {
  bool committed;
  bool known;
} Answer;

static bool
answer (const VarveRecord *record, bool *out_known, gpointer data)
{
  const Answer *a = data;

  *out_known = a->known;
  return a->committed;
}

static VarveSession *
begin_at (Fixture *f, int64_t started, const VarveQuiesce *quiesce, GPtrArray *weaker)
{
  g_autoptr (GError) error = NULL;
  VarveRecord *record = make_record (f);
  VarveSession *session;
  uint64_t pause_us;
  bool frozen = true;

  record->started = started;
  session = varve_session_begin (f->dir, f->domain, f->start, record, quiesce, &pause_us, &frozen,
                                 weaker, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (frozen);
  return session;
}

/* An agent that does not answer in time may freeze late: a thaw is due until one was answered. */
static void
test_late_freeze (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) weaker = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (VarveRecord) record = NULL;
  VarveQuiesce wanted = { .quiesce = true, .quiesce_timeout = 5 };
  VarveSession *session;

  varve_fake_fail (f->domain, "freeze", VARVE_ERROR_SOURCE_UNREACHABLE, 1);
  varve_fake_fail (f->domain, "thaw", VARVE_ERROR_SOURCE_UNREACHABLE, 1);
  session = begin_at (f, g_get_real_time () / G_USEC_PER_SEC, &wanted, weaker);
  g_assert_cmpuint (weaker->len, ==, 2);
  record = varve_record_load (f->dir, ID, &error);
  g_assert_no_error (error);
  g_assert_true (record->frozen);
  g_assert_true (varve_session_end (session, &error));
  assert_clean (f);
}

/* … by whoever comes; the rest is ended all the same. */
static void
test_thaw_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = NULL;
  VarveQuiesce wanted = { .quiesce = true, .quiesce_timeout = 5 };
  Answer a = { .known = true };
  VarveSession *session;

  varve_fake_fail (f->domain, "freeze", VARVE_ERROR_SOURCE_UNREACHABLE, 1);
  varve_fake_fail (f->domain, "thaw", VARVE_ERROR_SOURCE_UNREACHABLE, 2);
  session = begin_at (f, g_get_real_time () / G_USEC_PER_SEC, &wanted, NULL);
  g_assert_false (varve_session_end (session, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
  g_assert_true (was_called (f, "checkpoint_remove " CHECKPOINT));
  g_assert_cmpuint (varve_fake_snapshots (f->domain), ==, 0);
  g_clear_error (&error);
  record = varve_record_load (f->dir, ID, &error);
  g_assert_no_error (error);
  g_assert_true (varve_session_recover (f->dir, f->domain, record, answer, &a, NULL, &error));
  assert_clean (f);
}

/* … but not for ever. */
static void
test_thaw_given_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce wanted = { .quiesce = true, .quiesce_timeout = 5 };
  VarveSession *session;

  varve_fake_fail (f->domain, "freeze", VARVE_ERROR_SOURCE_UNREACHABLE, 1);
  varve_fake_fail (f->domain, "thaw", VARVE_ERROR_SOURCE_UNREACHABLE, G_MAXUINT);
  session = begin_at (f, 1, &wanted, NULL);
  g_assert_true (varve_session_end (session, &error));
  assert_clean (f);
}

/* What cannot be ended now stays on record, and is ended later by recover. */
static void
test_end_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session = begin (f, &none, &frozen, NULL, &error);

  g_assert_no_error (error);
  varve_fake_fail (f->domain, GPOINTER_TO_INT (data) ? "checkpoint_remove" : "end",
                   VARVE_ERROR_SOURCE_UNREACHABLE, 1);
  g_assert_false (varve_session_end (session, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
  g_assert_cmpuint (records (f), ==, 1);
  g_assert_false (varve_session_is_live (f->dir, ID));
}

static void
recover_with (Fixture *f, Answer a, bool expect_removal)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = NULL;

  test_end_fails (f, GINT_TO_POINTER (0));
  record = varve_record_load (f->dir, ID, &error);
  g_assert_no_error (error);
  g_assert_true (varve_session_recover (f->dir, f->domain, record, answer, &a, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (was_called (f, "checkpoint_remove " CHECKPOINT), ==, expect_removal);
  assert_clean (f);
}

static void
test_recover_uncommitted (Fixture *f, gconstpointer data)
{
  recover_with (f, (Answer){ .committed = false, .known = true }, true);
}

static void
test_recover_committed (Fixture *f, gconstpointer data)
{
  recover_with (f, (Answer){ .committed = true, .known = true }, false);
}

static void
test_recover_unknown (Fixture *f, gconstpointer data)
{
  recover_with (f, (Answer){ .committed = false, .known = false }, false);
}

/* A domain that is gone for good: only our own files go. */
static void
test_recover_gone (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = make_record (f);
  VarveRecordDisk *disk = varve_record_add_disk (record, "vda");
  Answer a = { .known = true };

  disk->scratch = varve_state_dir_file (f->dir, "scratch", ID "-vda.qcow2");
  record->directory = g_strdup (f->start->directory);
  g_assert_true (g_file_set_contents (disk->scratch, "x", 1, NULL));
  g_assert_true (varve_record_save (record, f->dir, &error));
  g_assert_true (varve_session_recover (f->dir, NULL, record, answer, &a, NULL, &error));
  g_assert_false (g_file_test (disk->scratch, G_FILE_TEST_EXISTS));
  g_assert_cmpuint (records (f), ==, 0);
}

/* QEMU writes: nothing is read, and all of it counts only when all disks are ready. */
static void
test_push (Fixture *f, gconstpointer data)
{
  g_autoptr (GArray) progress = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) found = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session;

  f->start->push = true;
  varve_fake_set_progress (f->domain, 5, 10, false);
  session = begin (f, &none, &frozen, NULL, &error);
  g_assert_no_error (error);
  found = varve_record_load (f->dir, ID, &error);
  g_assert_no_error (error);
  g_assert_true (found->push);
  g_assert_true (varve_session_progress (session, &progress, NULL, &error));
  g_assert_cmpuint (progress->len, ==, 1);
  g_assert_cmpuint (g_array_index (progress, VarvePushProgress, 0).done, ==, 5);
  g_assert_true (varve_session_set_speed (session, 1000, NULL, &error));
  g_assert_true (was_called (f, "set_speed 1000"));
  g_assert_false (varve_session_finish (session, NULL, &error));
  g_clear_error (&error);
  varve_fake_set_progress (f->domain, 10, 10, true);
  g_assert_true (varve_session_finish (session, NULL, &error));
  g_assert_true (varve_session_keep (session, &error));
  g_assert_true (varve_session_end (session, &error));
  assert_clean (f);
}

/* A disk that fails ends it all, and the checkpoint goes. */
static void
test_push_fails (Fixture *f, gconstpointer data)
{
  g_autoptr (GArray) progress = NULL;
  g_autoptr (GError) error = NULL;
  VarveQuiesce none = { 0 };
  bool frozen;
  VarveSession *session;

  f->start->push = true;
  session = begin (f, &none, &frozen, NULL, &error);
  g_assert_no_error (error);
  varve_fake_fail (f->domain, "progress", VARVE_ERROR_NO_SPACE, 1);
  g_assert_false (varve_session_progress (session, &progress, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
  g_clear_error (&error);
  g_assert_true (varve_session_end (session, &error));
  g_assert_true (was_called (f, "checkpoint_remove " CHECKPOINT));
  assert_clean (f);
}

#define ADD(path, data, test) g_test_add (path, Fixture, data, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/session/kept", NULL, test_kept);
  ADD ("/session/keep-fails", NULL, test_keep_fails);
  ADD ("/session/dropped", NULL, test_dropped);
  ADD ("/session/start-fails", NULL, test_start_fails);
  ADD ("/session/quiesce", NULL, test_quiesce);
  ADD ("/session/quiesce-fails", NULL, test_quiesce_fails);
  ADD ("/session/late-freeze", NULL, test_late_freeze);
  ADD ("/session/thaw-fails", NULL, test_thaw_fails);
  ADD ("/session/thaw-given-up", NULL, test_thaw_given_up);
  ADD ("/session/end-fails", GINT_TO_POINTER (0), test_end_fails);
  ADD ("/session/drop-fails", GINT_TO_POINTER (1), test_end_fails);
  ADD ("/session/push", NULL, test_push);
  ADD ("/session/push-fails", NULL, test_push_fails);
  ADD ("/session/recover/uncommitted", NULL, test_recover_uncommitted);
  ADD ("/session/recover/committed", NULL, test_recover_committed);
  ADD ("/session/recover/unknown", NULL, test_recover_unknown);
  ADD ("/session/recover/gone", NULL, test_recover_gone);
  return g_test_run ();
}
