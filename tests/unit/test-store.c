/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The public objects of a store, as a caller may come to hold them: a backup that is not in the store any more, a disk
 * whose backup is gone, and objects that g_object_new() made, which is how other languages make them. */
#include "config.h"
#include "store/store.h"

#include "run/varve-run.h"
#include "state/record.h"
#include "util/durable.h"
#include "util/error.h"

#define ID    "20260101T000000Z-00000000000000aa"
#define LATER "20260102T000000Z-00000000000000bb"
#define UUID  "11111111-2222-3333-4444-555555555555"

typedef struct {
  char *dir;
  char *state;
  VarveStore *store;
} Fixture;

/* A manifest is all that a listing reads. */
static void
add_backup (Fixture *f, const char *id, const char *base)
{
  g_autofree char *directory = g_build_filename (f->dir, "store", "web01-11111111", id, NULL);
  g_autofree char *path = g_build_filename (directory, "manifest.xml", NULL);
  g_autoptr (VarveManifest) manifest = varve_manifest_new (id);
  VarveManifestDisk *disk = varve_manifest_add_disk (manifest, "vda");
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;

  manifest->domain = g_strdup ("web01");
  manifest->uuid = g_strdup (UUID);
  manifest->uri = g_strdup ("image:");
  manifest->owner = g_strdup ("nightly-1f0c77ab");
  manifest->strategy = g_strdup ("image");
  manifest->consistency = g_strdup ("off");
  manifest->started = manifest->finished = 1767225600;
  disk->size = 1048576;
  disk->source_format = g_strdup ("qcow2");
  disk->decision = g_strdup (base ? "incremental" : "full");
  disk->reason = g_strdup ("first backup of this disk");
  disk->base = g_strdup (base);
  disk->links = base ? 2 : 1;
  disk->file = g_strdup ("vda.qcow2");
  text = varve_manifest_format (manifest);
  g_assert_true (varve_make_directories (directory, 0700, &error));
  g_assert_no_error (error);
  g_file_set_contents (path, text, -1, &error);
  g_assert_no_error (error);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autofree char *directory = NULL, *name = NULL;
  g_autoptr (GError) error = NULL;
  VarveStoreImpl *made;

  f->dir = g_dir_make_tmp ("varve-store-XXXXXX", &error);
  g_assert_no_error (error);
  f->state = g_build_filename (f->dir, "state", NULL);
  directory = g_build_filename (f->dir, "store", NULL);
  name = g_strconcat ("images:", directory, NULL);
  made = varve_store_impl_open (name, true, &error);
  g_assert_no_error (error);
  varve_store_impl_free (made);
  add_backup (f, ID, NULL);
  add_backup (f, LATER, ID);
  f->store = varve_store_open (name, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_object_unref (f->store);
  varve_remove_tree (f->dir, &error);
  g_assert_no_error (error);
  g_free (f->state);
  g_free (f->dir);
}

static VarveBackup *
find (Fixture *f, const char *name)
{
  g_autoptr (GError) error = NULL;
  VarveBackup *backup = varve_store_find (f->store, name, NULL, &error);

  g_assert_no_error (error);
  return backup;
}

static void
test_deleted (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveBackup) backup = find (f, ID);
  g_autoptr (GPtrArray) deleted = NULL, problems = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (varve_store_delete (f->store, backup, FALSE, f->state, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_REFUSED);
  g_clear_error (&error);
  g_assert_true (varve_store_delete (f->store, backup, TRUE, f->state, &deleted, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (deleted->len, ==, 2);
  g_assert_cmpstr (g_ptr_array_index (deleted, 0), ==, LATER);
  g_assert_cmpstr (g_ptr_array_index (deleted, 1), ==, ID);

  /* The caller still holds it, and the store does not. */
  g_assert_false (varve_store_delete (f->store, backup, TRUE, f->state, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, ID));
  g_clear_error (&error);
  g_assert_false (varve_store_verify (f->store, backup, NULL, NULL, &problems, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_assert_null (problems);
}

static void
save_record (const Fixture *f, VarvePhase phase)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveStateDir) state = varve_state_dir_open (f->state, &error);
  g_autoptr (VarveRecord) record = varve_record_new ("0123456789abcdef");

  g_assert_no_error (error);
  record->phase = phase;
  record->uri = g_strdup ("image:");
  record->domain = g_strdup ("web01");
  record->uuid = g_strdup (UUID);
  record->owner = g_strdup ("varve-1f0c77ab");
  record->backup = g_strdup (LATER);
  varve_record_save (record, state, &error);
  g_assert_no_error (error);
}

/* Only what disks are yet to be finished with stays, and what it builds on. */
static void
test_wanted (Fixture *f, gconstpointer data)
{
  static const struct {
    VarvePhase phase;
    const char *what; /* NULL: it may go */
  } cases[] = {
    { VARVE_PHASE_STARTED, NULL },
    { VARVE_PHASE_REVERTING, "the revert of domain 'web01'" },
    { VARVE_PHASE_HALTED, NULL },
    { VARVE_PHASE_REVERTED, NULL },
    { VARVE_PHASE_PREPARING, NULL },
    { VARVE_PHASE_BOOTING, "the instant restore of" },
    { VARVE_PHASE_FILLING, "the instant restore of domain 'web01'" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (VarveBackup) first = find (f, ID);
    g_autoptr (VarveBackup) later = find (f, LATER);
    g_autoptr (GError) error = NULL;

    save_record (f, cases[i].phase);
    if (!cases[i].what) {
      g_assert_true (varve_store_delete (f->store, later, FALSE, f->state, NULL, NULL, &error));
      g_assert_no_error (error);
      add_backup (f, LATER, ID);
      continue;
    }
    g_assert_false (varve_store_delete (f->store, first, TRUE, f->state, NULL, NULL, &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_assert_nonnull (strstr (error->message, cases[i].what));
    g_assert_nonnull (strstr (error->message, LATER));
    g_object_unref (find (f, LATER));
  }
}

/* Where it cannot be told what is wanted, nothing goes. */
static void
test_record_damaged (Fixture *f, gconstpointer data)
{
  g_autofree char *path = g_build_filename (f->state, "sessions", "0123456789abcdef.session", NULL);
  g_autofree char *nowhere = g_build_filename (f->dir, "file", "state", NULL);
  g_autofree char *file = g_path_get_dirname (nowhere);
  g_autoptr (VarveBackup) later = find (f, LATER);
  g_autoptr (GError) error = NULL;

  save_record (f, VARVE_PHASE_STARTED);
  g_file_set_contents (path, "nonsense", -1, &error);
  g_assert_no_error (error);
  g_assert_false (varve_store_delete (f->store, later, FALSE, f->state, NULL, NULL, &error));
  g_assert_true (g_str_has_prefix (error->message, "No backup is deleted: "));
  g_assert_nonnull (strstr (error->message, "0123456789abcdef"));
  g_clear_error (&error);
  g_file_set_contents (file, "", -1, &error);
  g_assert_no_error (error);
  g_assert_false (varve_store_delete (f->store, later, FALSE, nowhere, NULL, NULL, &error));
  g_assert_nonnull (strstr (error->message, "state directory"));
  g_object_unref (find (f, LATER));
}

static void
test_disk_outlives (Fixture *f, gconstpointer data)
{
  VarveBackup *backup = find (f, "web01@latest");
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (VarveBackupDisk) disk = NULL;

  g_assert_cmpuint (disks->len, ==, 1);
  disk = g_boxed_copy (VARVE_TYPE_BACKUP_DISK, g_ptr_array_index (disks, 0));
  g_object_unref (backup);
  g_assert_cmpstr (disk->name, ==, "vda");
  g_assert_cmpuint (disk->size, ==, 1048576);
  g_assert_cmpstr (disk->decision, ==, "incremental");
  g_assert_cmpstr (disk->reason, ==, "first backup of this disk");
  g_assert_cmpstr (disk->base, ==, ID);
  g_assert_cmpuint (disk->links, ==, 2);
  g_assert_cmpstr (disk->format, ==, "qcow2");
  g_assert_cmpstr (disk->file, ==, "vda.qcow2");
  varve_backup_disk_free (NULL);
}

static void
test_not_opened (void)
{
  g_autoptr (VarveStore) store = g_object_new (VARVE_TYPE_STORE, NULL);
  g_autoptr (VarveBackup) backup = g_object_new (VARVE_TYPE_BACKUP, NULL);
  g_autofree char *state = g_dir_make_tmp ("varve-store-XXXXXX", NULL);
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_store_get_uuid (store));
  g_assert_null (varve_store_list (store, NULL, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (varve_store_find (store, ID, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_false (varve_store_verify (store, NULL, NULL, NULL, &problems, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_false (varve_store_delete (store, backup, FALSE, state, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_USAGE);
  g_clear_error (&error);
  varve_remove_tree (state, &error);
  g_assert_no_error (error);
}

static void
test_empty_backup (Fixture *f, gconstpointer data)
{
  g_autoptr (VarveBackup) backup = g_object_new (VARVE_TYPE_BACKUP, NULL);
  g_autoptr (GPtrArray) problems = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_backup_get_id (backup));
  g_assert_null (varve_backup_get_directory (backup));
  g_assert_cmpuint (varve_backup_get_disks (backup)->len, ==, 0);
  g_assert_false (varve_store_verify (f->store, backup, NULL, NULL, &problems, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (varve_store_delete (f->store, backup, TRUE, f->state, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

typedef struct {
  const char *name;
  char *uuid;
  GError *error;
} Maker;

static gpointer
make (gpointer data)
{
  Maker *maker = data;
  g_autoptr (VarveStoreImpl) store = varve_store_impl_open (maker->name, true, &maker->error);

  maker->uuid = store ? g_strdup (store->uuid) : NULL;
  return NULL;
}

/* Several first backups at once make one store. */
static void
test_made_once (Fixture *f, gconstpointer data)
{
  for (int round = 0; round < 20; round++) {
    g_autofree char *name = g_strdup_printf ("images:%s/made-%d", f->dir, round);
    GThread *threads[4];
    Maker makers[4] = { { 0 } };

    for (size_t i = 0; i < G_N_ELEMENTS (makers); i++) {
      makers[i].name = name;
      threads[i] = g_thread_new ("maker", make, &makers[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS (makers); i++)
      g_thread_join (threads[i]);
    for (size_t i = 0; i < G_N_ELEMENTS (makers); i++) {
      g_assert_no_error (makers[i].error);
      g_assert_cmpstr (makers[i].uuid, ==, makers[0].uuid);
    }
    for (size_t i = 0; i < G_N_ELEMENTS (makers); i++)
      g_free (makers[i].uuid);
  }
}

#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/store/deleted", test_deleted);
  ADD ("/store/wanted", test_wanted);
  ADD ("/store/record-damaged", test_record_damaged);
  ADD ("/store/disk-outlives", test_disk_outlives);
  ADD ("/store/empty-backup", test_empty_backup);
  ADD ("/store/made-once", test_made_once);
  g_test_add_func ("/store/not-opened", test_not_opened);
  return g_test_run ();
}
