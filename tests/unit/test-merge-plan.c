/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Each row: the bitmaps of a domain, what is merged, and the whole plan or the error. */
#include "config.h"
#include "virt/merge-plan.h"

#include <string.h>

#include "util/error.h"

/* "DISK/NAME" and flags: r recording, - disabled, i inconsistent, b busy. */
typedef struct {
  const char *name;
  const char *bitmaps;
  const char *into;
  const char *from;
  const char *plan; /* "DISK[+] content > removed;", + where the target is made to record */
  VarveError code;  /* 0: none */
} Row;

static const Row rows[] = {
  { "recording", "vda/A r,vda/B r", "A", "B", "vda B > B;", 0 },
  { "all-disks", "vda/A r,vdb/A r,vda/B r,vdb/B r", "A", "B", "vda B > B;vdb B > B;", 0 },
  { "in-order", "vda/C r,vda/A -,vda/B -", "A", "B C", "vda+ B C > B C;", 0 },
  /* Whatever the disk has may know of a span of time that was left out. */
  { "others", "vda/A -,vda/B -,vda/X r,vda/Y -,vda/Z i,vdb/A r", "A", "B",
    "vda+ B X Y > B;vdb  > ;", 0 },
  { "others-not-needed", "vda/A r,vda/B -,vda/X r,vda/Y -", "A", "B", "vda B > B;", 0 },
  { "other-busy", "vda/A -,vda/B r,vda/X -b", "A", "B", NULL, VARVE_ERROR_BUSY },
  { "no-recorder", "vda/A -,vda/B -", "A", "B", "vda+ B > B;", 0 },
  /* The rest of a merge that was cut off. */
  { "cut-off", "vda/A r,vdb/A -,vdb/B -,vdb/C r", "A", "B C", "vda  > ;vdb+ B C > B C;", 0 },
  { "broken-newer", "vda/A r,vda/B i", "A", "B", "vda  > B;", 0 },
  { "nothing-to-merge", "vda/A r", "A", "", "vda  > ;", 0 },
  { "gap-missing", "vda/A -,vda/C r", "A", "B C", NULL, VARVE_ERROR_CHECKPOINT },
  { "gap-broken", "vda/A -,vda/B i,vda/C r", "A", "B C", NULL, VARVE_ERROR_CHECKPOINT },
  { "broken-target", "vda/A i,vda/B r", "A", "B", NULL, VARVE_ERROR_CHECKPOINT },
  { "other-disk", "vda/A r,vda/B r,vdb/B r", "A", "B", NULL, VARVE_ERROR_CHECKPOINT },
  { "unknown", "vda/X r", "A", "B", NULL, VARVE_ERROR_NOT_FOUND },
  { "itself", "vda/A r", "A", "A", NULL, VARVE_ERROR_USAGE },
  { "twice", "vda/A r,vda/B r", "A", "B B", NULL, VARVE_ERROR_USAGE },
  { "busy", "vda/A r,vda/B rb", "A", "B", NULL, VARVE_ERROR_BUSY },
  { "busy-target", "vda/A rb,vda/B r", "A", "B", NULL, VARVE_ERROR_BUSY },
};

static GPtrArray *
parse_bitmaps (const char *text)
{
  GPtrArray *bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  g_auto (GStrv) items = g_strsplit (text, ",", -1);

  for (size_t i = 0; items[i]; i++) {
    g_auto (GStrv) parts = g_strsplit_set (items[i], "/ ", 3);
    VarveBitmap *bitmap = varve_bitmap_new (parts[0], parts[1]);

    bitmap->recording = strchr (parts[2], 'r') != NULL;
    bitmap->inconsistent = strchr (parts[2], 'i') != NULL;
    bitmap->busy = strchr (parts[2], 'b') != NULL;
    g_ptr_array_add (bitmaps, bitmap);
  }
  return bitmaps;
}

static char *
joined (GPtrArray *names)
{
  g_ptr_array_add (names, NULL);
  return g_strjoinv (" ", (char **)names->pdata);
}

static char *
describe (GPtrArray *plan)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < plan->len; i++) {
    VarveMergeDisk *disk = g_ptr_array_index (plan, i);
    g_autofree char *content = joined (disk->content);
    g_autofree char *removed = joined (disk->remove);

    g_string_append_printf (text, "%s%s %s > %s;", disk->disk, disk->enable ? "+" : "", content,
                            removed);
  }
  return g_string_free (text, FALSE);
}

static void
test_row (gconstpointer data)
{
  const Row *row = data;
  g_autoptr (GPtrArray) bitmaps = parse_bitmaps (row->bitmaps);
  g_auto (GStrv) names = g_strsplit (row->from, " ", -1);
  g_autoptr (GPtrArray) from = g_ptr_array_new ();
  g_autoptr (GPtrArray) plan = NULL;
  g_autoptr (GError) error = NULL;

  for (size_t i = 0; names[i]; i++)
    g_ptr_array_add (from, names[i]);
  if (!varve_merge_plan (bitmaps, row->into, from, &plan, &error)) {
    g_test_message ("%s", error->message);
    g_assert_null (row->plan);
    g_assert_error (error, VARVE_ERROR, (int)row->code);
    return;
  }
  g_autofree char *found = describe (plan);
  g_assert_cmpstr (found, ==, row->plan);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *path = g_strconcat ("/merge-plan/", rows[i].name, NULL);

    g_test_add_data_func (path, &rows[i], test_row);
  }
  return g_test_run ();
}
