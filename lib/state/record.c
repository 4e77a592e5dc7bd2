/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Session records as files: sessions/ID.session. A record is there before anything is done to the
 * guest, and goes last; so whatever a kill leaves behind has a record that says how to end it. */
#include "config.h"
#include "state/record.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "state/record-priv.h"
#include "util/durable.h"
#include "util/error.h"

#define SUFFIX   ".session"
#define MAX_SIZE (1024 * 1024)

static void
disk_free (gpointer data)
{
  VarveRecordDisk *disk = data;

  g_free (disk->name);
  g_free (disk->since);
  g_free (disk->scratch);
  g_free (disk->target);
  g_free (disk);
}

static void
image_free (gpointer data)
{
  VarveRecordImage *image = data;

  g_free (image->disk);
  g_free (image->path);
  g_free (image->format);
  g_free (image->key_file);
  g_free (image);
}

VarveRecord *
varve_record_new (const char *id)
{
  VarveRecord *record = g_new0 (VarveRecord, 1);

  record->id = g_strdup (id);
  record->disks = g_ptr_array_new_with_free_func (disk_free);
  record->images = g_ptr_array_new_with_free_func (image_free);
  return record;
}

bool
varve_record_is_revert (const VarveRecord *record)
{
  return record->phase >= VARVE_PHASE_REVERTING && record->phase <= VARVE_PHASE_REVERTED;
}

bool
varve_record_is_instant (const VarveRecord *record)
{
  return record->phase >= VARVE_PHASE_PREPARING;
}

void
varve_record_free (VarveRecord *record)
{
  if (!record)
    return;
  g_free (record->id);
  g_free (record->uri);
  g_free (record->domain);
  g_free (record->uuid);
  g_free (record->owner);
  g_free (record->backup);
  g_free (record->checkpoint);
  g_free (record->store);
  g_free (record->strategy);
  g_free (record->directory);
  g_free (record->nvram);
  g_free (record->tpm);
  g_free (record->socket);
  g_free (record->agent);
  g_ptr_array_unref (record->disks);
  g_ptr_array_unref (record->images);
  g_free (record);
}

VarveRecordDisk *
varve_record_add_disk (VarveRecord *record, const char *name)
{
  VarveRecordDisk *disk = g_new0 (VarveRecordDisk, 1);

  disk->name = g_strdup (name);
  g_ptr_array_add (record->disks, disk);
  return disk;
}

VarveRecordImage *
varve_record_add_image (VarveRecord *record, const char *disk, const char *path, const char *format,
                        const char *key_file)
{
  VarveRecordImage *image = g_new0 (VarveRecordImage, 1);

  image->disk = g_strdup (disk);
  image->path = g_strdup (path);
  image->format = g_strdup (format);
  image->key_file = g_strdup (key_file);
  g_ptr_array_add (record->images, image);
  return image;
}

static char *
record_path (const VarveStateDir *dir, const char *id)
{
  g_autofree char *file = g_strconcat (id, SUFFIX, NULL);

  return varve_state_dir_file (dir, "sessions", file);
}

bool
varve_record_save (const VarveRecord *record, const VarveStateDir *dir, GError **error)
{
  /* What load would refuse must fail here, while nothing is done that would need it. */
  if (!varve_record_check (record, error))
    return varve_prefix (error, "Cannot record the session for domain '%s'",
                         record->domain ? record->domain : "");

  g_autofree char *text = varve_record_format (record);
  g_autofree char *path = record_path (dir, record->id);
  if (!varve_durable_replace (path, text, strlen (text), 0600, error))
    return varve_prefix (error, "Cannot record the session for domain '%s'", record->domain);
  return true;
}

bool
varve_record_unlink (const VarveRecord *record, const VarveStateDir *dir, GError **error)
{
  g_autofree char *path = record_path (dir, record->id);

  return varve_durable_unlink (path, error);
}

VarveRecord *
varve_record_load (const VarveStateDir *dir, const char *id, GError **error)
{
  if (!varve_record_id_is_valid (id)) {
    varve_throw (error, VARVE_ERROR_USAGE,
                 "'%s' is not the id of a session, which has 16 hex digits.", id);
    return NULL;
  }

  g_autofree char *path = record_path (dir, id);
  g_autofree char *data = NULL;
  size_t length;
  if (!varve_read_file (path, MAX_SIZE, &data, &length, error)) {
    varve_prefix (error, "Cannot read the record of session %s", id);
    return NULL;
  }

  g_autoptr (VarveRecord) record = varve_record_parse (data, length, error);
  if (!record) {
    varve_prefix (error, "The session record '%s' is not acted upon", path);
    return NULL;
  }
  if (!g_str_equal (record->id, id)) {
    varve_throw (error, VARVE_ERROR_FAILED,
                 "The session record '%s' is not acted upon: it is about session %s. Give it its "
                 "name back.",
                 path, record->id);
    return NULL;
  }
  return g_steal_pointer (&record);
}

typedef struct {
  char *id;
  int64_t time;
} Listed;

static void
listed_free (gpointer data)
{
  Listed *listed = data;

  g_free (listed->id);
  g_free (listed);
}

static int
compare_listed (gconstpointer a, gconstpointer b)
{
  const Listed *x = *(const Listed *const *)a;
  const Listed *y = *(const Listed *const *)b;

  if (x->time != y->time)
    return x->time < y->time ? -1 : 1;
  return strcmp (x->id, y->id);
}

static int64_t
file_time (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 ? st.st_mtim.tv_sec : 0;
}

/* When the session was started; of a record that cannot be read, when it was written last. */
static int64_t
record_time (const VarveStateDir *dir, const char *id)
{
  g_autoptr (VarveRecord) record = varve_record_load (dir, id, NULL);
  g_autofree char *path = record_path (dir, id);

  return record ? record->started : file_time (path);
}

/* ".ID.session.tmp-XXXXXX" is what a kill in the middle of a save leaves. Only who has the session's lock saves: while
 * nobody has it, it is ours to remove. */
static void
sweep_temporary (const VarveStateDir *dir, const char *name)
{
  g_autofree char *id = strlen (name) > 17 ? g_strndup (name + 1, 16) : NULL;

  if (!id || name[0] != '.' || !varve_record_id_is_valid (id) ||
      !g_str_has_prefix (name + 17, SUFFIX ".tmp-"))
    return;

  g_autofree char *lock = g_strconcat ("session-", id, NULL);
  g_autofree char *path = varve_state_dir_file (dir, "sessions", name);
  if (!varve_lock_is_held (dir, lock, NULL))
    varve_durable_unlink (path, NULL);
}

GPtrArray *
varve_record_list (const VarveStateDir *dir, GError **error)
{
  g_autofree char *path = varve_state_dir_file (dir, "sessions", NULL);
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) handle = g_dir_open (path, 0, &local);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (listed_free);
  const char *name;

  if (!handle) {
    varve_throw (error, VARVE_ERROR_FAILED, "Cannot list the session records: %s", local->message);
    return NULL;
  }
  while ((name = g_dir_read_name (handle))) {
    g_autofree char *id = g_strndup (name, 16);
    if (!varve_record_id_is_valid (id) || !g_str_equal (name + 16, SUFFIX)) {
      sweep_temporary (dir, name);
      continue;
    }
    Listed *listed = g_new0 (Listed, 1);
    listed->time = record_time (dir, id);
    listed->id = g_steal_pointer (&id);
    g_ptr_array_add (found, listed);
  }
  g_ptr_array_sort (found, compare_listed);

  GPtrArray *ids = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < found->len; i++)
    g_ptr_array_add (ids, g_steal_pointer (&((Listed *)found->pdata[i])->id));
  return ids;
}
