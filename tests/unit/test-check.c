/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Damage in, findings out. Each case begins with the same healthy domain, two disks with two backups'
 * checkpoints each and a stranger's, and does one thing to it. What a finding offers as its repair is
 * then done to the facts, and must have made it go. */
#include "config.h"

#include "check-fixture.h"

/* --- damage ----------------------------------------------------------------------------------- */

static void
broken_everywhere (Fixture *f)
{
  get_bitmap (f, "vda", CK_B)->inconsistent = true;
  get_bitmap (f, "vdb", CK_B)->inconsistent = true;
}

static void
broken_on_one (Fixture *f)
{
  get_bitmap (f, "vdb", CK_B)->inconsistent = true;
}

static void
broken_all_of_them (Fixture *f)
{
  broken_everywhere (f);
  get_bitmap (f, "vda", CK_A)->inconsistent = true;
  get_bitmap (f, "vdb", CK_A)->inconsistent = true;
}

static void
not_closed (Fixture *f)
{
  broken_everywhere (f);
  f->facts.off = true;
}

static void
disabled (Fixture *f)
{
  get_bitmap (f, "vda", CK_A)->recording = false;
  get_bitmap (f, "vdb", CK_A)->recording = false;
}

static void
of_no_backup (Fixture *f)
{
  add_bitmap (f, "vda", CK_C);
  add_record (f, CK_C);
}

static void
of_no_backup_store_half_read (Fixture *f)
{
  of_no_backup (f);
  g_ptr_array_remove_index (get_record (f, CK_C)->disks, 1);
  g_ptr_array_set_size (f->facts.stores, 0);
  g_ptr_array_add (f->facts.stores, g_strdup (STORE "!"));
}

static void
newest_removed (Fixture *f)
{
  drop_bitmap (f, "vda", CK_B);
  drop_bitmap (f, "vdb", CK_B);
  drop_bitmap (f, "vdb", CK_A);
  g_ptr_array_remove (f->facts.records, get_record (f, CK_B));
  g_ptr_array_remove_index (get_record (f, CK_A)->disks, 1);
}

static void
raw_lost (Fixture *f)
{
  newest_removed (f);
  get_disk (f, "vda")->can_persist = false;
  get_disk (f, "vdb")->can_persist = false;
}

static void
transient (Fixture *f)
{
  get_bitmap (f, "vda", CK_B)->persistent = false;
}

static void
transient_raw (Fixture *f)
{
  transient (f);
  get_disk (f, "vda")->can_persist = false;
}

static void
coarse (Fixture *f)
{
  get_bitmap (f, "vda", CK_B)->granularity = 1u << 20;
}

static void
fine (Fixture *f)
{
  get_bitmap (f, "vda", CK_B)->granularity = 4096;
}

static void
copied (Fixture *f)
{
  for (unsigned i = 0; i < 2; i++) {
    g_free (get_backup (f, i)->uuid);
    get_backup (f, i)->uuid = g_strdup (ANOTHER);
  }
  /* A copy that was defined anew: what goes needs no record. */
  g_ptr_array_remove (f->facts.records, get_record (f, CK_A));
}

static void
shrunk (Fixture *f)
{
  get_disk (f, "vdb")->size = GIB / 2;
}

static void
shrunk_both (Fixture *f)
{
  shrunk (f);
  get_disk (f, "vda")->size = GIB / 2;
}

static void
not_in_backup (Fixture *f)
{
  g_ptr_array_remove_index (get_backup (f, 0)->disks, 1);
}

static void
backup_damaged (Fixture *f)
{
  f->damaged = ID_B;
}

static void
record_lost (Fixture *f)
{
  g_ptr_array_remove (f->facts.records, get_record (f, CK_A));
}

static void
record_lost_of_one_disk (Fixture *f)
{
  g_ptr_array_remove_index (get_record (f, CK_A)->disks, 1);
}

static void
record_lost_no_records (Fixture *f)
{
  record_lost (f);
  f->facts.keeps_records = false;
}

static void
only_record (Fixture *f)
{
  drop_bitmap (f, "vda", CK_A);
  drop_bitmap (f, "vdb", CK_A);
}

static void
only_record_as_told (Fixture *f)
{
  get_bitmap (f, "vda", CK_A)->missing = get_bitmap (f, "vda", CK_A)->inconsistent = true;
  get_bitmap (f, "vdb", CK_A)->missing = get_bitmap (f, "vdb", CK_A)->inconsistent = true;
}

static void
only_record_of_no_backup (Fixture *f)
{
  add_record (f, CK_C);
}

static void
record_of_one_too_many (Fixture *f)
{
  drop_bitmap (f, "vdb", CK_A);
}

static void
disk_unplugged (Fixture *f)
{
  g_ptr_array_remove (f->facts.disks, get_disk (f, "vdb"));
  g_ptr_array_remove (f->facts.records, get_record (f, CK_B));
  add_record (f, CK_B);
  g_ptr_array_remove_index (get_record (f, CK_A)->disks, 1);
}

static void
dead_session (Fixture *f)
{
  add_session (f);
  add_bitmap (f, "vda", CK_C);
  add_record (f, CK_C);
}

static void
dead_session_in_qemu (Fixture *f)
{
  VarveCheckSession *session = add_session (f);

  session->in_hypervisor = true;
  g_ptr_array_add (session->files, g_strdup ("/state/scratch/a"));
}

static void
dead_session_committed (Fixture *f)
{
  dead_session (f);
  add_bitmap (f, "vdb", CK_C);
  add_backup (f, ID_C, CK_C);
}

static void
cut_revert (Fixture *f)
{
  add_session (f)->reverting = true;
}

static void
empty_record (Fixture *f)
{
  add_session (f);
}

static void
live_session (Fixture *f)
{
  dead_session_in_qemu (f);
  add_bitmap (f, "vda", CK_C)->inconsistent = true;
  ((VarveCheckSession *)g_ptr_array_index (f->facts.sessions, 0))->live = true;
}

static void
unrecorded (Fixture *f)
{
  VarveCheckSession *session = varve_check_session_new (SESSION);

  session->in_hypervisor = true;
  g_ptr_array_add (f->facts.sessions, session);
}

static void
unrecorded_elsewhere (Fixture *f)
{
  unrecorded (f);
  ((VarveCheckSession *)g_ptr_array_index (f->facts.sessions, 0))->in_use = g_strdup ("elsewhere");
}

static void
unrecorded_elsewhere_no_backup (Fixture *f)
{
  unrecorded_elsewhere (f);
  add_bitmap (f, "vda", CK_C);
}

static void
files (Fixture *f)
{
  unrecorded (f);
  VarveCheckSession *session = g_ptr_array_index (f->facts.sessions, 0);

  session->in_hypervisor = false;
  g_ptr_array_add (session->files, g_strdup ("/state/sockets/x"));
}

static void
files_in_use (Fixture *f)
{
  files (f);
  ((VarveCheckSession *)g_ptr_array_index (f->facts.sessions, 0))->in_use =
      g_strdup ("QEMU has it");
}

static void
unreadable (Fixture *f)
{
  VarveCheckSession *session = varve_check_session_new (SESSION);

  session->recorded = true;
  session->unreadable = g_strdup ("The record is of version 9.");
  g_ptr_array_add (f->facts.sessions, session);
}

static void
no_store (Fixture *f)
{
  g_ptr_array_set_size (f->facts.stores, 0);
  g_ptr_array_set_size (f->facts.backups, 0);
}

static void
no_store_broken (Fixture *f)
{
  no_store (f);
  broken_everywhere (f);
}

static void
another_owner (Fixture *f)
{
  broken_everywhere (f);
  f->facts.owner = "weekly";
}

static void
owner_spelt_out (Fixture *f)
{
  broken_everywhere (f);
  f->facts.owner = OWNER;
}

static void
vendor (Fixture *f)
{
  add_bitmap (f, "vda", CK_X);
  add_bitmap (f, "vdb", CK_X);
  add_record (f, CK_X);
}

static void
vendor_broken (Fixture *f)
{
  vendor (f);
  get_bitmap (f, "vda", CK_X)->inconsistent = true;
  get_bitmap (f, "vdb", CK_X)->inconsistent = true;
  f->facts.owner = "acme";
}

static void
nothing (Fixture *f)
{
}

static void
disk_plugged_in (Fixture *f)
{
  VarveDisk *disk = varve_disk_new ("vdc");

  disk->size = GIB;
  disk->can_persist = true;
  g_ptr_array_add (f->facts.disks, disk);
}

static void
disk_grown (Fixture *f)
{
  get_disk (f, "vda")->size = 2 * GIB;
}

/* --- the table -------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  void (*damage) (Fixture *);
  unsigned findings; /* in all; 0: healthy. Of the first: */
  VarveCheckKind kind;
  const char *checkpoint, *disk;
  VarveRepair repair;
  const char *what, *meaning, *cure; /* parts */
  bool is_note;
  unsigned left; /* findings after all repairs that are offered */
} Case;

#define RECORD VARVE_REPAIR_RECORD
#define REMOVE VARVE_REPAIR_REMOVE
#define FORGET VARVE_REPAIR_FORGET
#define NONE   VARVE_REPAIR_NONE

static const Case cases[] = {
  { "healthy", nothing },
  { "healthy: a disk plugged in", disk_plugged_in },
  { "healthy: a disk grown", disk_grown },
  { "healthy: finer grains", fine },
  { "healthy: bitmaps of a raw disk", transient_raw },
  { "healthy: a vendor's", vendor },
  { "healthy: a live session", live_session },
  { "healthy: no records are kept", record_lost_no_records },
  { "broken", broken_everywhere, 2, VARVE_CHECK_BITMAP_BROKEN, CK_B, "vda", REMOVE, "inconsistent",
    "incremental on disk 'vda', since " ID_A, "is removed", .left = 2 },
  { "broken on one disk", broken_on_one, 1, VARVE_CHECK_BITMAP_BROKEN, CK_B, "vdb", NONE,
    "inconsistent", "since " ID_A, "can still be used on disk 'vda'", .left = 1 },
  { "all broken", broken_all_of_them, 4, VARVE_CHECK_BITMAP_BROKEN, CK_A, "vda", REMOVE,
    "inconsistent", "reads all of disk 'vda' and stores what differs from " ID_B, "is removed",
    .left = 2 },
  { "not closed", not_closed, 2, VARVE_CHECK_IMAGE_NOT_CLOSED, CK_B, "vda", REMOVE, "not closed",
    .left = 2 },
  { "disabled", disabled, 2, VARVE_CHECK_BITMAP_DISABLED, CK_A, "vda", REMOVE,
    "has not recorded every write", "since " ID_B },
  { "no backup", of_no_backup, 1, VARVE_CHECK_NO_BACKUP, CK_C, NULL, REMOVE, "does not have backup",
    "No backup can use it" },
  { "no backup, manifests unreadable", of_no_backup_store_half_read, 1, VARVE_CHECK_STORE_UNKNOWN,
    NULL, NULL, NONE, "cannot be told", .is_note = true, .left = 1 },
  { "newest removed", newest_removed, 2, VARVE_CHECK_BITMAP_MISSING, CK_B, "vda", NONE,
    "bitmap of the newest backup", "incremental on disk 'vda', since " ID_A, "known to nobody",
    .is_note = true, .left = 2 },
  { "bitmaps of raw disks died", raw_lost, 2, VARVE_CHECK_BITMAP_MISSING, CK_B, "vda", NONE,
    "cannot store it", .is_note = true, .left = 2 },
  { "transient", transient, 1, VARVE_CHECK_BITMAP_TRANSIENT, CK_B, "vda", NONE, "dies with QEMU",
    "as long as this QEMU runs", "A backup before", .left = 1 },
  { "coarse", coarse, 1, VARVE_CHECK_BITMAP_COARSE, CK_B, "vda", NONE, "1024 KiB", "since " ID_B,
    "larger than need be", .is_note = true, .left = 1 },
  { "copied", copied, 4, VARVE_CHECK_IMAGE_COPIED, CK_A, "vda", REMOVE, "the image is a copy",
    "full one of disk 'vda'", "is removed" },
  { "shrunk", shrunk, 2, VARVE_CHECK_DISK_SHRUNK, CK_A, "vdb", NONE, "has shrunk", "full one",
    "can still be used on disk 'vda'", .left = 2 },
  { "both shrunk", shrunk_both, 4, VARVE_CHECK_DISK_SHRUNK, CK_A, "vda", REMOVE, "has shrunk",
    "full one", "is removed", .left = 2 },
  { "disk not in backup", not_in_backup, 1, VARVE_CHECK_DISK_NOT_IN_BACKUP, CK_A, "vdb", NONE,
    "does not have this disk", "since " ID_B, .left = 1 },
  { "backup damaged", backup_damaged, 2, VARVE_CHECK_BACKUP_DAMAGED, CK_B, "vda", NONE,
    "a file is too short", "since " ID_A, "varve verify", .left = 2 },
  { "bitmap without record", record_lost, 1, VARVE_CHECK_BITMAP_WITHOUT_RECORD, CK_A, "vda", RECORD,
    "no record of it" },
  { "record lacks a disk", record_lost_of_one_disk, 1, VARVE_CHECK_BITMAP_WITHOUT_RECORD, CK_A,
    "vdb", RECORD, "no record of it" },
  { "record without bitmap", only_record, 2, VARVE_CHECK_RECORD_WITHOUT_BITMAP, CK_A, "vda", FORGET,
    "does not have its bitmap", "refuses to delete" },
  { "record without bitmap, as libvirt tells it", only_record_as_told, 2,
    VARVE_CHECK_RECORD_WITHOUT_BITMAP, CK_A, "vda", FORGET, "does not have its bitmap" },
  { "record without bitmap and without backup", only_record_of_no_backup, 2,
    VARVE_CHECK_RECORD_WITHOUT_BITMAP, CK_C, "vda", FORGET },
  { "record names one disk too many", record_of_one_too_many, 1, VARVE_CHECK_RECORD_WITHOUT_BITMAP,
    CK_A, "vdb", RECORD },
  { "record names a disk that is gone", disk_unplugged, 1, VARVE_CHECK_RECORD_OF_LOST_DISK, CK_B,
    "vdb", RECORD, "does not have any more" },
  { "dead session", dead_session, 1, VARVE_CHECK_SESSION_DEAD, NULL, NULL, VARVE_REPAIR_RECOVER,
    "a checkpoint whose backup is not complete" },
  { "dead session in QEMU", dead_session_in_qemu, 1, VARVE_CHECK_SESSION_DEAD, NULL, NULL,
    VARVE_REPAIR_RECOVER, "'/state/scratch/a'" },
  { "dead session, backup complete", dead_session_committed, 1, VARVE_CHECK_SESSION_EMPTY, NULL,
    NULL, VARVE_REPAIR_RECOVER, "nothing of it is left" },
  { "revert that was cut off", cut_revert, 1, VARVE_CHECK_SESSION_DEAD, NULL, NULL,
    VARVE_REPAIR_RECOVER, "partly as at that backup", "finishes the revert first" },
  { "empty record", empty_record, 1, VARVE_CHECK_SESSION_EMPTY, NULL, NULL, VARVE_REPAIR_RECOVER,
    "nothing of it is left" },
  { "unrecorded session", unrecorded, 1, VARVE_CHECK_SESSION_UNRECORDED, NULL, NULL,
    VARVE_REPAIR_END, "not on record here" },
  { "unrecorded session of another state directory", unrecorded_elsewhere, 1,
    VARVE_CHECK_SESSION_UNRECORDED, NULL, NULL, NONE, .cure = "elsewhere", .left = 1 },
  { "a checkpoint that may be its own", unrecorded_elsewhere_no_backup, 2,
    VARVE_CHECK_SESSION_UNRECORDED, NULL, NULL, NONE, .cure = "elsewhere", .left = 2 },
  { "files of a session", files, 1, VARVE_CHECK_SESSION_FILES, NULL, NULL,
    VARVE_REPAIR_REMOVE_FILES, "/state/sockets/x" },
  { "files in use", files_in_use, 1, VARVE_CHECK_SESSION_FILES, NULL, NULL, NONE,
    .cure = "QEMU has it", .left = 1 },
  { "record unreadable", unreadable, 1, VARVE_CHECK_SESSION_UNREADABLE, NULL, NULL, NONE,
    "version 9", .left = 1 },
  { "store not at hand", no_store, 1, VARVE_CHECK_STORE_UNKNOWN, NULL, NULL, NONE, "cannot be told",
    .cure = "--from", .is_note = true, .left = 1 },
  { "store not at hand, broken", no_store_broken, 3, VARVE_CHECK_STORE_UNKNOWN, NULL, NULL, NONE,
    .is_note = true, .left = 3 },
  { "another owner's", another_owner, 2, VARVE_CHECK_BITMAP_BROKEN, CK_B, "vda", NONE,
    .cure = "'--owner " OWNER "'", .left = 2 },
  { "owner spelt out", owner_spelt_out, 2, VARVE_CHECK_BITMAP_BROKEN, CK_B, "vda", REMOVE,
    .left = 2 },
  { "a vendor's, broken", vendor_broken, 2, VARVE_CHECK_BITMAP_BROKEN, CK_X, "vda", REMOVE,
    "inconsistent", "cannot tell from it" },
};

/* --- repairs, done to the facts --------------------------------------------------------------- */

static void
forget (Fixture *f, const char *name)
{
  VarveCheckpointMetadata *record = get_record (f, name);

  if (record)
    g_ptr_array_remove (f->facts.records, record);
}

static void
remove_checkpoint (Fixture *f, const char *name)
{
  for (guint i = f->facts.bitmaps->len; i > 0; i--) {
    const VarveBitmap *bitmap = g_ptr_array_index (f->facts.bitmaps, i - 1);

    if (g_str_equal (bitmap->name, name))
      g_ptr_array_remove_index (f->facts.bitmaps, i - 1);
  }
  forget (f, name);
}

static void
redefine (Fixture *f, const VarveFindingFacts *finding)
{
  VarveCheckpointMetadata *record;

  forget (f, finding->checkpoint);
  record = varve_checkpoint_metadata_new (finding->checkpoint);
  for (guint i = 0; i < finding->disks->len; i++)
    g_ptr_array_add (record->disks, g_strdup (g_ptr_array_index (finding->disks, i)));
  g_ptr_array_add (f->facts.records, record);
}

static void
repair (Fixture *f, const VarveFindingFacts *finding)
{
  switch (finding->repair) {
  case VARVE_REPAIR_NONE:
    return;
  case VARVE_REPAIR_REMOVE:
    remove_checkpoint (f, finding->checkpoint);
    return;
  case VARVE_REPAIR_FORGET:
    forget (f, finding->checkpoint);
    return;
  case VARVE_REPAIR_RECORD:
    g_assert_cmpuint (finding->disks->len, >, 0);
    redefine (f, finding);
    return;
  case VARVE_REPAIR_RECOVER:
    if (finding->kind == VARVE_CHECK_SESSION_DEAD)
      remove_checkpoint (f, CK_C);
    break;
  case VARVE_REPAIR_END:
  case VARVE_REPAIR_REMOVE_FILES:
    break;
  }
  g_assert_cmpstr (finding->session, ==, SESSION);
  g_ptr_array_set_size (f->facts.sessions, 0);
}

static void
assert_part (const char *text, const char *part)
{
  if (part != NULL && strstr (text, part) == NULL)
    g_error ("It does not say: %s\n%s", part, text);
}

static void
assert_sentence (const char *text)
{
  g_assert_nonnull (text);
  g_assert_true (g_str_has_suffix (text, "."));
  g_assert_true (g_ascii_isupper (text[0]) || text[0] == '\'' || g_ascii_islower (text[0]));
}

static void
assert_first (const Case *c, const VarveFindingFacts *first)
{
  g_assert_cmpstr (varve_check_kind_name (first->kind), ==, varve_check_kind_name (c->kind));
  g_assert_cmpstr (first->checkpoint, ==, c->checkpoint);
  g_assert_cmpstr (first->disk, ==, c->disk);
  g_assert_cmpint (first->repair, ==, c->repair);
  g_assert_true (first->damage != c->is_note);
  assert_part (first->what, c->what);
  assert_part (first->meaning, c->meaning);
  assert_part (first->cure, c->cure);
}

static void
assert_untouched (Fixture *f)
{
  g_assert_nonnull (get_bitmap (f, "vda", FOREIGN));
  g_assert_nonnull (get_bitmap (f, "vdb", FOREIGN));
  g_assert_cmpuint (get_record (f, FOREIGN)->disks->len, ==, 2);
}

static bool
is_among (GPtrArray *findings, const VarveFindingFacts *finding)
{
  for (guint i = 0; i < findings->len; i++)
    if (varve_finding_facts_same (g_ptr_array_index (findings, i), finding))
      return true;
  return false;
}

static void
test_case (gconstpointer data)
{
  const Case *c = data;
  Fixture f;
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (GPtrArray) after = NULL;

  fixture_init (&f);
  c->damage (&f);
  findings = varve_check (&f.facts);
  for (guint i = 0; i < findings->len; i++) {
    const VarveFindingFacts *finding = g_ptr_array_index (findings, i);

    g_test_message ("%s %s %s: %s %s %s", varve_check_kind_name (finding->kind),
                    finding->checkpoint, finding->disk, finding->what, finding->meaning,
                    finding->cure);
    assert_sentence (finding->what);
    assert_sentence (finding->meaning);
    assert_sentence (finding->cure);
    g_assert_cmpstr (finding->checkpoint, !=, FOREIGN);
  }
  g_assert_cmpuint (findings->len, ==, c->findings);
  if (findings->len > 0)
    assert_first (c, g_ptr_array_index (findings, 0));

  for (guint i = 0; i < findings->len; i++)
    repair (&f, g_ptr_array_index (findings, i));
  after = varve_check (&f.facts);
  for (guint i = 0; i < findings->len; i++) {
    const VarveFindingFacts *finding = g_ptr_array_index (findings, i);

    g_assert_true (is_among (after, finding) == (finding->repair == VARVE_REPAIR_NONE));
  }
  g_assert_cmpuint (after->len, ==, c->left);
  assert_untouched (&f);
  fixture_clear (&f);
}

/* The manual and programs go by them. */
static void
test_kind_names (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  g_autofree char *path =
      g_test_build_filename (G_TEST_DIST, "..", "..", "docs", "man", "varve-checkpoint.pod", NULL);
  g_autofree char *page = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &page, NULL, &error);
  g_assert_no_error (error);
  for (unsigned kind = 0; kind < VARVE_CHECK_KINDS; kind++) {
    const char *name = varve_check_kind_name (kind);
    g_autofree char *item = g_strdup_printf ("=item C<%s>", name);

    g_assert_true (g_hash_table_add (seen, (gpointer)name));
    assert_part (page, item);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/check/kind-names", test_kind_names);
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strdup_printf ("/check/%s", cases[i].name);

    g_test_add_data_func (path, &cases[i], test_case);
  }
  return g_test_run ();
}
