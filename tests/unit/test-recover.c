/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who ends a session when several could: a guard takes the domain's lock, and whoever comes upon it waits for it. */
#include "config.h"

#include "run/recover.h"

#include "util/durable.h"
#include "util/error.h"

#define ID   "0123456789abcdef"
#define UUID "00000000-0000-0000-0000-00000000000a"

typedef struct {
  char *root;
  VarveStateDir *state;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->root = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
  f->state = varve_state_dir_open (f->root, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_state_dir_free (f->state);
  varve_remove_tree (f->root, NULL);
  g_free (f->root);
}

/* Of a QEMU that has gone: all that there is to end is the record. */
static void
save_record (Fixture *f)
{
  g_autoptr (VarveRecord) record = varve_record_new (ID);
  g_autoptr (GError) error = NULL;

  record->uri = g_strdup ("qmp+unix:///nowhere");
  record->domain = g_strdup ("web01");
  record->uuid = g_strdup (UUID);
  record->started = 1;
  varve_record_save (record, f->state, &error);
  g_assert_no_error (error);
}

static unsigned
records (Fixture *f)
{
  g_autoptr (GPtrArray) ids = varve_record_list (f->state, NULL);

  return ids->len;
}

static VarveLock *
hold (Fixture *f, const char *name)
{
  g_autoptr (GError) error = NULL;
  VarveLock *lock = varve_lock_take (f->state, name, "a domain", "the test", 0, NULL, &error);

  g_assert_no_error (error);
  return lock;
}

static void
test_nothing (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_recover_as_guard (f->state, ID, NULL, &error));
  g_assert_no_error (error);
}

static void
test_ends (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  save_record (f);
  g_assert_true (varve_recover_as_guard (f->state, ID, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (records (f), ==, 0);
  g_assert_false (varve_lock_is_held (f->state, "domain-" UUID, NULL));
  g_assert_false (varve_run_guard_is_at_work (f->state, UUID));
}

/* A run that is quicker than the guard has the lock: it is waited for, and then it is its turn. */
static void
test_run_is_quicker (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveLock *lock = hold (f, "domain-" UUID);

  save_record (f);
  g_assert_false (varve_recover_as_guard (f->state, ID, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_cmpuint (records (f), ==, 1);
  varve_lock_free (lock);
}

typedef struct {
  VarveLock *guards;
  VarveLock *domain;
} Held;

static gpointer
let_go_later (gpointer data)
{
  Held *held = data;

  g_usleep (700 * 1000);
  varve_lock_free (held->domain);
  varve_lock_free (held->guards);
  return NULL;
}

static void
test_guard_is_waited_for (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveLock) lock = NULL;
  g_autofree char *guards = varve_recover_lock_name (UUID);
  Held held = { hold (f, guards), hold (f, "domain-" UUID) };
  GThread *thread = g_thread_new ("guard", let_go_later, &held);

  lock = varve_run_lock_domain (f->state, "web01", UUID, "a run", 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (lock);
  g_thread_join (thread);
}

/* Anybody else is not, unless he was asked to. */
static void
test_run_is_not (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveLock) other = hold (f, "domain-" UUID);

  g_assert_null (varve_run_lock_domain (f->state, "web01", UUID, "a run", 0, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  g_assert_nonnull (strstr (error->message, "the test"));
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/recover/guard/nothing", test_nothing);
  ADD ("/recover/guard/ends", test_ends);
  ADD ("/recover/guard/run-is-quicker", test_run_is_quicker);
  ADD ("/recover/lock/guard-is-waited-for", test_guard_is_waited_for);
  ADD ("/recover/lock/run-is-not", test_run_is_not);
  return g_test_run ();
}
