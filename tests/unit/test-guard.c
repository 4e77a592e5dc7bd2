/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The real guard, on sessions of a domain in memory, whose record says that its QEMU has gone: so what
 * the guard can end of it are record and files. */
#include "config.h"

#include "session/guard.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "session/session.h"
#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "virt/fake/fake.h"
#include "wait.h"

#define BACKUP "20260101T000000Z-00000000000000aa"

typedef struct {
  char *root;
  char *id; /* of each test its own, to find the guard's process by */
  VarveStateDir *dir;
} Fixture;

static void
open_fixture (Fixture *f)
{
  g_autoptr (GError) error = NULL;

  f->dir = varve_state_dir_open (f->root, &error);
  g_assert_no_error (error);
  g_unsetenv ("VARVE_GUARD");
}

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->root = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
  f->id = varve_random_hex (8);
  open_fixture (f);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_unsetenv ("VARVE_GUARD_FAILPOINT");
  varve_state_dir_free (f->dir);
  varve_remove_tree (f->root, NULL);
  g_free (f->root);
  g_free (f->id);
}

/* --- processes -------------------------------------------------------------------------------- */

/* Whether process @pid is the guard of that session, and no zombie (which has no command line). */
static bool
is_guard_of (const char *pid, const char *session)
{
  g_autofree char *path = g_build_filename ("/proc", pid, "cmdline", NULL);
  g_autofree char *text = NULL;
  gsize length;

  if (!g_file_get_contents (path, &text, &length, NULL) || length == 0)
    return false;
  for (gsize i = 0; i + 1 < length; i++)
    text[i] = text[i] ? text[i] : ' ';
  return strstr (text, "varve-guard ") && strstr (text, session);
}

static pid_t
find_guard (const char *session)
{
  g_autoptr (GDir) proc = g_dir_open ("/proc", 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (proc))) {
    if (g_ascii_isdigit (name[0]) && is_guard_of (name, session))
      return (pid_t)g_ascii_strtoll (name, NULL, 10);
  }
  return 0;
}

static void
wait_until_gone (const char *session)
{
  wait_until (find_guard (session) == 0);
}

/* --- the guard by itself ------------------------------------------------------------------------ */

static VarveGuard *
start (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  VarveGuard *guard = NULL;

  varve_guard_start (f->dir, f->id, &guard, &error);
  g_assert_no_error (error);
  g_assert_nonnull (guard);
  return guard;
}

static void
test_none (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VarveGuard *guard = NULL;

  g_setenv ("VARVE_GUARD", "none", TRUE);
  g_assert_true (varve_guard_start (f->dir, f->id, &guard, &error));
  g_assert_null (guard);
  varve_guard_beat (guard, 1);
  varve_guard_dismiss (guard);
  varve_guard_free (guard);
}

static void
test_missing (Fixture *f, gconstpointer data)
{
  g_autofree char *old = g_strdup (g_getenv ("VARVE_LIBEXEC_DIR"));
  g_autoptr (GError) error = NULL;
  VarveGuard *guard = NULL;

  g_setenv ("VARVE_LIBEXEC_DIR", f->root, TRUE);
  g_assert_false (varve_guard_start (f->dir, f->id, &guard, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_UNSUPPORTED);
  g_assert_null (guard);
  if (old)
    g_setenv ("VARVE_LIBEXEC_DIR", old, TRUE);
  else
    g_unsetenv ("VARVE_LIBEXEC_DIR");
}

static void
test_dismissed (Fixture *f, gconstpointer data)
{
  VarveGuard *guard = start (f);
  pid_t pid = find_guard (f->id);

  g_assert_cmpint (pid, >, 0);
  g_assert_cmpint (getsid (pid), ==, pid);
  varve_guard_beat (guard, 10);
  varve_guard_dismiss (guard);
  varve_guard_free (guard);
  wait_until_gone (f->id);
}

/* What ends a terminal's other processes does not end it. */
static void
test_signals (Fixture *f, gconstpointer data)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
  VarveGuard *guard = start (f);
  pid_t pid = find_guard (f->id);

  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++)
    kill (pid, signals[i]);
  g_usleep (300 * 1000);
  g_assert_cmpint (find_guard (f->id), ==, pid);
  varve_guard_dismiss (guard);
  varve_guard_free (guard);
  wait_until_gone (f->id);
}

static void
test_replaced (Fixture *f, gconstpointer data)
{
  VarveGuard *guard = start (f);
  pid_t first = find_guard (f->id);

  kill (first, SIGKILL);
  wait_until_gone (f->id);
  /* It is found out when a beat meets nobody; its socket may go a little later than itself. */
  wait_until ((varve_guard_beat (guard, 10), find_guard (f->id) != 0));
  g_assert_cmpint (find_guard (f->id), !=, first);
  varve_guard_dismiss (guard);
  varve_guard_free (guard);
  wait_until_gone (f->id);
}

/* --- sessions --------------------------------------------------------------------------------- */

static VarveDomain *
make_domain (void)
{
  VarveDomain *domain = varve_fake_domain_new ("web01");

  varve_fake_add_disk (domain, "vda");
  varve_fake_set_state (domain, VARVE_DOMAIN_RUNNING);
  return domain;
}

static VarveSession *
begin (Fixture *f, VarveDomain *domain, GError **error)
{
  g_autoptr (VarveStart) start_of_it = varve_start_new (f->id);
  VarveRecord *record = varve_record_new (f->id);
  VarveStartDisk *disk = varve_start_add_disk (start_of_it, "vda");
  VarveQuiesce none = { 0 };
  uint64_t pause_us;
  bool frozen;

  start_of_it->directory = varve_state_dir_file (f->dir, "sockets", f->id);
  disk->scratch = varve_state_dir_file (f->dir, "scratch", f->id);
  record->uri = g_strdup ("qmp+unix:///nowhere");
  record->domain = g_strdup (domain->name);
  record->uuid = g_strdup (domain->uuid);
  record->backup = g_strdup (BACKUP);
  record->started = 1;
  return varve_session_begin (f->dir, domain, start_of_it, record, &none, &pause_us, &frozen, NULL,
                              NULL, error);
}

static unsigned
records (Fixture *f)
{
  g_autoptr (GPtrArray) ids = varve_record_list (f->dir, NULL);

  return ids->len;
}

static void
assert_ended_by_guard (Fixture *f)
{
  g_autofree char *scratch = varve_state_dir_file (f->dir, "scratch", f->id);
  g_autofree char *sockets = varve_state_dir_file (f->dir, "sockets", f->id);

  wait_until_gone (f->id);
  g_assert_cmpuint (records (f), ==, 0);
  g_assert_false (g_file_test (scratch, G_FILE_TEST_EXISTS));
  g_assert_false (g_file_test (sockets, G_FILE_TEST_EXISTS));
}

static void
test_session (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveDomain) domain = make_domain ();
  VarveSession *session = begin (f, domain, &error);

  g_assert_no_error (error);
  g_assert_cmpint (find_guard (f->id), >, 0);
  g_assert_true (varve_session_close (session, &error));
  g_assert_true (varve_session_end (session, &error));
  wait_until_gone (f->id);
  g_assert_cmpuint (records (f), ==, 0);
}

/* What a living worker cannot end, the guard tries. */
static void
test_given_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveDomain) domain = make_domain ();
  VarveSession *session = begin (f, domain, &error);

  g_assert_no_error (error);
  varve_fake_fail (domain, "end", VARVE_ERROR_BUSY, 1);
  g_assert_false (varve_session_end (session, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
  assert_ended_by_guard (f);
}

/* Runs in a process of its own, which dies in the middle of the session. */
static void
die (void)
{
  Fixture f = { .root = g_strdup (g_getenv ("VARVE_TEST_ROOT")),
                .id = g_strdup (g_getenv ("VARVE_TEST_ID")) };
  g_autoptr (VarveDomain) domain = make_domain ();
  g_autofree char *scratch = NULL;

  open_fixture (&f);
  g_assert_nonnull (begin (&f, domain, NULL));
  scratch = varve_state_dir_file (f.dir, "scratch", f.id);
  g_assert_true (g_file_set_contents (scratch, "x", 1, NULL));
  kill (getpid (), SIGKILL);
}

static void
run_until_death (Fixture *f)
{
  g_setenv ("VARVE_TEST_ROOT", f->root, TRUE);
  g_setenv ("VARVE_TEST_ID", f->id, TRUE);
  g_test_trap_subprocess ("/guard/session/subprocess/die", 0, 0);
  g_test_trap_assert_failed ();
}

static void
test_worker_dies (Fixture *f, gconstpointer data)
{
  run_until_death (f);
  assert_ended_by_guard (f);
}

/* And when the guard dies as well, all is left to the next run. */
static void
test_both_die (Fixture *f, gconstpointer data)
{
  g_setenv ("VARVE_GUARD_FAILPOINT", "guard-recover:kill", TRUE);
  run_until_death (f);
  wait_until_gone (f->id);
  g_assert_cmpuint (records (f), ==, 1);
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/guard/none", test_none);
  ADD ("/guard/missing", test_missing);
  ADD ("/guard/dismissed", test_dismissed);
  ADD ("/guard/signals", test_signals);
  ADD ("/guard/replaced", test_replaced);
  ADD ("/guard/session/ended", test_session);
  ADD ("/guard/session/given-up", test_given_up);
  ADD ("/guard/session/worker-dies", test_worker_dies);
  ADD ("/guard/session/both-die", test_both_die);
  g_test_add_func ("/guard/session/subprocess/die", die);
  return g_test_run ();
}
