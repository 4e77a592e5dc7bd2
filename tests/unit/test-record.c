/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Session records: what is written is read back, and nothing else is. */
#include "config.h"
#include "state/record.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "effort.h"
#include "state-fixture.h"
#include "util/error.h"

#define ID     "0123456789abcdef"
#define BACKUP "20261121T020000Z-0123456789abcdef"

#define UUID "c7a5fdbd-cdaf-9455-926a-d65c16db1809"
#define HEAD "[session]\nversion=1\nuri=x\n"
#define MINIMAL                                                                                    \
  "[session]\nversion=1\nid=" ID "\nphase=starting\nuri=qemu:///system\ndomain=web01\nuuid=" UUID  \
  "\n"

static VarveRecord *
small_record (const char *id, int64_t started)
{
  VarveRecord *record = varve_record_new (id);

  record->uri = g_strdup ("qemu:///system");
  record->domain = g_strdup ("web01");
  record->uuid = g_strdup (UUID);
  record->started = started;
  return record;
}

static VarveRecord *
full_record (void)
{
  VarveRecord *record = small_record (ID, 1795226400);

  record->phase = VARVE_PHASE_STARTED;
  record->expires = 1795240800;
  record->speed = 104857600;
  record->stuck = true;
  g_free (record->domain);
  record->domain = g_strdup ("wéb 01 = [x] \\n # ;, ");
  record->owner = g_strdup ("nightly-01234567");
  record->backup = g_strdup (BACKUP);
  record->checkpoint = g_strdup ("varve.nightly-01234567." BACKUP ".89abcdef");
  record->store = g_strdup ("images:/srv/back up ");
  record->strategy = g_strdup ("copy-before-write");
  record->directory = g_strdup ("/var/lib/varve/sockets/" ID);
  record->socket = g_strdup ("/var/lib/varve/sockets/" ID "/nbd.sock");
  record->was_running = true;
  record->frozen = true;
  record->kept = true;

  VarveRecordDisk *vda = varve_record_add_disk (record, "vda");
  vda->since = g_strdup ("some bitmap of another's");
  vda->scratch = g_strdup ("/");
  vda->target = g_strdup ("/t");
  vda->checkpoint = true;
  varve_record_add_disk (record, "#block123");
  varve_record_add_image (record, "vda", "/images/a;b=c.qcow2", "qcow2", "/etc/key");
  varve_record_add_image (record, "vdb", "/images/b", "raw", NULL);
  return record;
}

static void
assert_full_record (const VarveRecord *record)
{
  g_autoptr (VarveRecord) full = full_record ();
  const VarveRecordDisk *disk;
  const VarveRecordImage *image;

  g_assert_cmpstr (record->id, ==, full->id);
  g_assert_cmpint (record->phase, ==, full->phase);
  g_assert_cmpstr (record->uri, ==, full->uri);
  g_assert_cmpstr (record->domain, ==, full->domain);
  g_assert_cmpstr (record->uuid, ==, full->uuid);
  g_assert_cmpstr (record->owner, ==, full->owner);
  g_assert_cmpstr (record->backup, ==, full->backup);
  g_assert_cmpstr (record->checkpoint, ==, full->checkpoint);
  g_assert_cmpstr (record->store, ==, full->store);
  g_assert_cmpstr (record->strategy, ==, full->strategy);
  g_assert_cmpstr (record->directory, ==, full->directory);
  g_assert_cmpstr (record->socket, ==, full->socket);
  g_assert_true (record->was_running && record->frozen && record->kept);
  g_assert_cmpint (record->started, ==, full->started);
  g_assert_cmpint (record->expires, ==, full->expires);
  g_assert_cmpuint (record->speed, ==, full->speed);
  g_assert_true (record->stuck);

  g_assert_cmpuint (record->disks->len, ==, 2);
  disk = record->disks->pdata[0];
  g_assert_cmpstr (disk->name, ==, "vda");
  g_assert_cmpstr (disk->since, ==, "some bitmap of another's");
  g_assert_cmpstr (disk->scratch, ==, "/");
  g_assert_cmpstr (disk->target, ==, "/t");
  g_assert_true (disk->checkpoint);
  disk = record->disks->pdata[1];
  g_assert_cmpstr (disk->name, ==, "#block123");
  g_assert_null (disk->since);
  g_assert_null (disk->scratch);
  g_assert_null (disk->target);
  g_assert_false (disk->checkpoint);

  g_assert_cmpuint (record->images->len, ==, 2);
  image = record->images->pdata[0];
  g_assert_cmpstr (image->disk, ==, "vda");
  g_assert_cmpstr (image->path, ==, "/images/a;b=c.qcow2");
  g_assert_cmpstr (image->format, ==, "qcow2");
  g_assert_cmpstr (image->key_file, ==, "/etc/key");
  image = record->images->pdata[1];
  g_assert_cmpstr (image->disk, ==, "vdb");
  g_assert_null (image->key_file);
}

static void
test_round_trip (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) full = full_record ();
  g_autofree char *text = varve_record_format (full);
  g_autoptr (VarveRecord) record = varve_record_parse (text, strlen (text), &error);

  g_assert_no_error (error);
  assert_full_record (record);
}

static void
test_minimal (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = varve_record_parse (MINIMAL, strlen (MINIMAL), &error);

  g_assert_no_error (error);
  g_assert_cmpstr (record->id, ==, ID);
  g_assert_cmpint (record->phase, ==, VARVE_PHASE_STARTING);
  g_assert_null (record->checkpoint);
  g_assert_false (record->kept);
}

static void
test_refused (void)
{
  static const struct {
    const char *text;
    const char *says;
  } table[] = {
    { "", "empty" },
    { "\n", "version" },
    { "[session]\n", "version" },
    { "no key file", "key file" },
    { "[session]\nversion=2\n", "version '2'" },
    { "[session]\nversion=1 \n", "version" },
    { "[session]\nversion=1\nphase=starting\nuri=x\ndomain=y\n", "lacks 'id'" },
    { "[session]\nversion=1\nid=" ID "\nuri=x\n", "lacks 'domain'" },
    { "[session]\nversion=1\nid=" ID "\nuri=x\ndomain=y\n", "lacks 'uuid'" },
    { "[session]\nversion=1\nid=" ID "\ndomain=x\n", "lacks 'uri'" },
    { HEAD "domain=y\nid=" ID "\nphase=paused\n", "'phase'" },
    { MINIMAL "started=-1\n", "'started'" },
    { MINIMAL "started=99999999999999999999\n", "'started'" },
    { MINIMAL "started=1x\n", "'started'" },
    { MINIMAL "expires=0\n", "'expires'" },
    { MINIMAL "expires=1x\n", "'expires'" },
    { MINIMAL "speed=0\n", "'speed'" },
    { MINIMAL "speed=-1\n", "'speed'" },
    { MINIMAL "frozen=1\n", "'frozen'" },
    { MINIMAL "new-key=x\n", "new-key" },
    { MINIMAL "store=a\nstore=b\n", "twice" },
    { MINIMAL "[disk vda]\n[session]\ndomain=b\n", "twice" },
    { HEAD "domain=y\nid=0123456789abcdeF\n", "'id'" },
    { HEAD "domain=y\nid=../../../../../x\n", "'id'" },
    { HEAD "id=" ID "\ndomain=../x\n", "'domain'" },
    { HEAD "id=" ID "\ndomain=..\n", "'domain'" },
    { HEAD "id=" ID "\ndomain=\n", "'domain'" },
    { HEAD "id=" ID "\ndomain=a\\nb\n", "'domain'" },
    { HEAD "id=" ID "\ndomain=\xff\n", "'domain'" },
    { HEAD "domain=y\nid=" ID "\nuuid=xyz\n", "'uuid'" },
    { MINIMAL "owner=a b\n", "'owner'" },
    { MINIMAL "backup=latest\n", "'backup'" },
    { MINIMAL "checkpoint=a/b\n", "'checkpoint'" },
    { MINIMAL "checkpoint=a b\n", "'checkpoint'" },
    { MINIMAL "directory=relative\n", "'directory'" },
    { MINIMAL "socket=nbd.sock\n", "'socket'" },
    { MINIMAL "[other]\n", "[other]" },
    { MINIMAL "[disk]\n", "[disk]" },
    { MINIMAL "[disk ]\n", "name of a disk" },
    { MINIMAL "[disk ../vda]\n", "name of a disk" },
    { MINIMAL "[disk ..]\n", "name of a disk" },
    { MINIMAL "[disk a b]\n", "name of a disk" },
    { MINIMAL "[disk vda]\nscratch=x\n", "'scratch'" },
    { MINIMAL "[disk vda]\ntarget=x\n", "'target'" },
    { MINIMAL "[disk vda]\nsince=a/b\n", "'since'" },
    { MINIMAL "[disk vda]\ncheckpoint=yes\n", "'checkpoint'" },
    { MINIMAL "[disk vda]\nphase=started\n", "phase" },
    { MINIMAL "[image vda]\nformat=raw\n", "lacks 'path'" },
    { MINIMAL "[image vda]\npath=/x\n", "lacks 'format'" },
    { MINIMAL "[image vda]\npath=x\nformat=raw\n", "'path'" },
    { MINIMAL "[image vda]\npath=/x\nformat=raw,y\n", "'format'" },
    { MINIMAL "[image vda]\npath=/x\nformat=raw\nkey-file=y\n", "'key-file'" },
  };

  for (size_t i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (VarveRecord) record =
        varve_record_parse (table[i].text, strlen (table[i].text), &error);
    g_test_message ("row %zu", i);
    g_assert_null (record);
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, table[i].says));
  }
}

static void
test_refused_bytes (void)
{
  static const char with_nul[] = MINIMAL "store=a\0b\n";
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) many = g_string_new (MINIMAL);

  g_assert_null (varve_record_parse (with_nul, sizeof with_nul - 1, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_null (varve_record_parse (NULL, 0, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);

  for (int i = 0; i <= 1024; i++)
    g_string_append_printf (many, "[disk d%d]\n", i);
  g_assert_null (varve_record_parse (many->str, many->len, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
}

/* Damaged text is refused, or gives a record that can be written and read again as it is. */
static void
test_damaged (void)
{
  g_autoptr (VarveRecord) full = full_record ();
  g_autofree char *text = varve_record_format (full);
  size_t length = strlen (text);
  unsigned refused = 0;

  for (unsigned round = 0; round < rounds_of (3000); round++) {
    g_autofree char *damaged = g_memdup2 (text, length);
    for (int i = g_test_rand_int_range (1, 4); i > 0; i--)
      damaged[g_test_rand_int_range (0, (int)length)] = (char)g_test_rand_int_range (0, 256);

    g_autoptr (VarveRecord) record = varve_record_parse (damaged, length, NULL);
    if (!record) {
      refused++;
      continue;
    }
    g_autoptr (GError) error = NULL;
    g_autofree char *once = varve_record_format (record);
    g_autoptr (VarveRecord) again = varve_record_parse (once, strlen (once), &error);
    g_assert_no_error (error);
    g_autofree char *twice = varve_record_format (again);
    g_assert_cmpstr (once, ==, twice);
  }
  g_assert_cmpuint (refused, >, rounds_of (1000));
}

static void
test_save_and_load (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) full = full_record ();
  g_autofree char *path = varve_state_dir_file (f->dir, "sessions", ID ".session");
  struct stat st;

  g_assert_null (varve_record_load (f->dir, ID, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_clear_error (&error);

  for (int phase = VARVE_PHASE_STARTING; phase <= VARVE_PHASE_REVERTED; phase++) {
    g_autoptr (VarveRecord) again = NULL;

    full->phase = (VarvePhase)phase;
    g_assert_true (varve_record_save (full, f->dir, &error));
    again = varve_record_load (f->dir, ID, &error);
    g_assert_no_error (error);
    g_assert_cmpint (again->phase, ==, phase);
    g_assert_cmpint (varve_record_is_revert (again), ==, phase >= VARVE_PHASE_REVERTING);
  }
  full->phase = VARVE_PHASE_STARTED;
  g_assert_true (varve_record_save (full, f->dir, &error));
  g_assert_no_error (error);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 07777, ==, 0600);

  g_autoptr (VarveRecord) record = varve_record_load (f->dir, ID, &error);
  g_assert_no_error (error);
  assert_full_record (record);

  g_assert_true (varve_record_unlink (record, f->dir, &error));
  g_assert_true (varve_record_unlink (record, f->dir, &error));
  g_assert_no_error (error);
  g_assert_cmpint (access (path, F_OK), ==, -1);
}

static void
test_save_refuses (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveRecord) record = small_record (ID, 1);
  g_autoptr (VarveRecord) twice = small_record (ID, 1);

  record->directory = g_strdup ("relative");
  g_assert_false (varve_record_save (record, f->dir, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_clear_error (&error);

  varve_record_add_disk (twice, "vda");
  varve_record_add_disk (twice, "vda");
  g_assert_false (varve_record_save (twice, f->dir, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);

  g_autoptr (GPtrArray) ids = varve_record_list (f->dir, NULL);
  g_assert_cmpuint (ids->len, ==, 0);
}

static void
test_load_refuses (Fixture *f, gconstpointer data)
{
  g_autofree char *path = varve_state_dir_file (f->dir, "sessions", "fedcba9876543210.session");
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_record_load (f->dir, "../locks/x", &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);

  /* A file that was renamed: acting on it would remove another session's file. */
  g_assert_true (g_file_set_contents (path, MINIMAL, -1, NULL));
  g_assert_null (varve_record_load (f->dir, "fedcba9876543210", &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, ID));
}

static void
save (Fixture *f, const char *id, int64_t started)
{
  g_autoptr (VarveRecord) record = small_record (id, started);

  g_assert_true (varve_record_save (record, f->dir, NULL));
}

static void
test_list (Fixture *f, gconstpointer data)
{
  static const char *const expected[] = { "bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa",
                                          "cccccccccccccccc", "dddddddddddddddd" };
  g_autofree char *damaged = varve_state_dir_file (f->dir, "sessions", "dddddddddddddddd.session");
  g_autofree char *odd = varve_state_dir_file (f->dir, "sessions", "README.session");
  g_autoptr (GError) error = NULL;

  save (f, "aaaaaaaaaaaaaaaa", 200);
  save (f, "bbbbbbbbbbbbbbbb", 100);
  save (f, "cccccccccccccccc", 200);
  g_assert_true (g_file_set_contents (damaged, "damaged", -1, NULL));
  g_assert_true (g_file_set_contents (odd, "x", -1, NULL));

  g_autoptr (GPtrArray) ids = varve_record_list (f->dir, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (ids->len, ==, G_N_ELEMENTS (expected));
  for (size_t i = 0; i < G_N_ELEMENTS (expected); i++)
    g_assert_cmpstr (ids->pdata[i], ==, expected[i]);
}

static char *
make_temporary (Fixture *f, const char *name)
{
  char *path = varve_state_dir_file (f->dir, "sessions", name);

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  return path;
}

static void
test_list_sweeps (Fixture *f, gconstpointer data)
{
  g_autofree char *dead = make_temporary (f, ".aaaaaaaaaaaaaaaa.session.tmp-123456");
  g_autofree char *live = make_temporary (f, ".cccccccccccccccc.session.tmp-123456");
  g_autofree char *other = make_temporary (f, ".dddddddddddddddd.session");
  g_autoptr (VarveLock) lock =
      varve_lock_take (f->dir, "session-cccccccccccccccc", "x", "y", 0, NULL, NULL);
  g_autoptr (GPtrArray) ids = varve_record_list (f->dir, NULL);

  g_assert_cmpuint (ids->len, ==, 0);
  g_assert_cmpint (access (dead, F_OK), ==, -1);
  g_assert_cmpint (access (live, F_OK), ==, 0);
  g_assert_cmpint (access (other, F_OK), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)
  g_test_add_func ("/record/round-trip", test_round_trip);
  g_test_add_func ("/record/minimal", test_minimal);
  g_test_add_func ("/record/refused", test_refused);
  g_test_add_func ("/record/refused-bytes", test_refused_bytes);
  g_test_add_func ("/record/damaged", test_damaged);
  ADD ("/record/save-and-load", test_save_and_load);
  ADD ("/record/save-refuses", test_save_refuses);
  ADD ("/record/load-refuses", test_load_refuses);
  ADD ("/record/list", test_list);
  ADD ("/record/list-sweeps", test_list_sweeps);
#undef ADD
  return g_test_run ();
}
