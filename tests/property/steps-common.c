/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "steps.h"

#include "util/error.h"

unsigned
pick (Sequence *s, unsigned n)
{
  return (unsigned)g_rand_int_range (s->rand, 0, (gint32)n);
}

bool
chance (Sequence *s, unsigned percent)
{
  return pick (s, 100) < percent;
}

void
say (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_print ("# %s\n", text);
}

/* A storage daemon may take a moment to follow a worker that was killed. */
GPtrArray *
bitmaps_of (Sequence *s)
{
  for (int i = 0; i < 10000; i++) {
    g_autoptr (GError) error = NULL;
    GPtrArray *bitmaps = NULL;

    if (varve_domain_bitmaps (s->world->domain, &bitmaps, NULL, &error))
      return bitmaps;
    if (!varve_error_matches (error, VARVE_ERROR_BUSY))
      g_error ("bitmaps: %s", error->message);
    g_usleep (10000);
  }
  g_error ("The images stay locked.");
}

static bool
is_sound (const Point *point, const VarveBitmap *bitmap)
{
  return bitmap && !bitmap->inconsistent && (bitmap->recording || point->disabled);
}

/* A chain has no more gaps than its oldest piece is worth. */
static void
forget_older_foreign (Sequence *s, guint before)
{
  for (guint i = MIN (before, s->model->points->len); i-- > 0;) {
    Point *point = g_ptr_array_index (s->model->points, i);

    if (!point->foreign)
      continue;
    g_hash_table_add (s->model->noise, g_strdup (point->name));
    model_drop (s->model, point, 0);
  }
}

static void
check_point (Sequence *s, GPtrArray *bitmaps, guint index, bool may_vanish)
{
  Point *point = g_ptr_array_index (s->model->points, index);
  g_autofree char *name = g_strdup (point->name);
  bool foreign = point->foreign, gone = false;

  for (unsigned disk = 0; disk < DISKS && !gone; disk++) {
    if (!point->image[disk] ||
        is_sound (point, varve_bitmap_find (bitmaps, disk_names[disk], name)))
      continue;
    if (!may_vanish)
      g_error ("Disk %s: the bitmap %s is lost.", disk_names[disk], name);
    model_drop (s->model, point, disk);
    gone = model_find (s->model, name) == NULL;
  }
  if (!foreign || !gone)
    return;
  /* A running libvirt shows what stands in the header, and not whether it is sound. */
  g_hash_table_add (s->model->noise, g_strdup (name));
  forget_older_foreign (s, index);
}

static void
check_known (Sequence *s, GPtrArray *bitmaps)
{
  for (guint i = 0; i < bitmaps->len; i++) {
    const VarveBitmap *bitmap = g_ptr_array_index (bitmaps, i);
    const Point *point = model_find (s->model, bitmap->name);
    unsigned disk = g_str_equal (bitmap->disk, disk_names[1]);

    if (!(point && point->image[disk]) && !bitmap->inconsistent &&
        !g_hash_table_contains (s->model->noise, bitmap->name))
      g_error ("Disk %s has a bitmap %s that nobody made.", bitmap->disk, bitmap->name);
  }
}

void
reconcile (Sequence *s, bool lossy, const char *const *vanishing)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_of (s);

  for (guint i = s->model->points->len; i-- > 0;) {
    if (i >= s->model->points->len)
      continue;
    const Point *point = g_ptr_array_index (s->model->points, i);

    check_point (s, bitmaps, i, lossy || (vanishing && g_strv_contains (vanishing, point->name)));
  }
  check_known (s, bitmaps);
}

bool
chains_work (const Sequence *s)
{
  return s->world->kind != WORLD_LIBVIRT || !s->world->running;
}

Point *
some_point (Sequence *s, const Point *other)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new ();

  for (guint i = 0; i < s->model->points->len; i++) {
    Point *point = g_ptr_array_index (s->model->points, i);

    if (!point->foreign && point != other)
      g_ptr_array_add (found, point);
  }
  return found->len ? g_ptr_array_index (found, pick (s, found->len)) : NULL;
}

bool
must_be_refused (Sequence *s, const Point *into, const Point *from)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_of (s);

  for (unsigned i = 0; i < DISKS; i++) {
    const VarveBitmap *target = varve_bitmap_find (bitmaps, disk_names[i], into->name);

    if ((target && target->inconsistent) ||
        (!target && varve_bitmap_find (bitmaps, disk_names[i], from->name)))
      return true;
  }
  return false;
}

static void
write_once (Sequence *s)
{
  static const unsigned lengths[] = { 512, 4096, BLOCK, 2 * BLOCK + 512 };
  unsigned length = lengths[pick (s, G_N_ELEMENTS (lengths))];
  unsigned offset = pick (s, (SIZE - length) / 512 + 1) * 512;
  unsigned disk = pick (s, DISKS);
  guint8 pattern = chance (s, 10) ? 0 : (guint8)(1 + pick (s, 255));

  world_write (s->world, disk, offset, length, pattern);
  model_write (s->model, disk, offset, length, pattern);
}

bool
step_write (Sequence *s)
{
  unsigned n = 1 + pick (s, s->world->running ? 5 : 2);

  say ("%u writes", n);
  while (n--)
    write_once (s);
  return true;
}

void
write_during (gpointer data)
{
  Sequence *s = data;

  for (unsigned n = pick (s, 4); n > 0; n--)
    write_once (s);
}
