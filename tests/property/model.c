/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "model.h"

#include <string.h>

static void
point_free (gpointer data)
{
  Point *point = data;

  for (unsigned i = 0; i < DISKS; i++)
    g_clear_pointer (&point->image[i], g_bytes_unref);
  g_free (point->name);
  g_free (point);
}

Model *
model_new (void)
{
  Model *model = g_new0 (Model, 1);

  for (unsigned i = 0; i < DISKS; i++)
    model->now[i] = g_malloc0 (SIZE);
  model->points = g_ptr_array_new_with_free_func (point_free);
  model->noise = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return model;
}

void
model_free (Model *model)
{
  for (unsigned i = 0; i < DISKS; i++)
    g_free (model->now[i]);
  g_ptr_array_unref (model->points);
  g_hash_table_unref (model->noise);
  g_free (model);
}

void
model_write (Model *model, unsigned disk, unsigned offset, unsigned length, guint8 pattern)
{
  memset (model->now[disk] + offset, pattern, length);
}

GBytes *
model_image (const Model *model, unsigned disk)
{
  return g_bytes_new (model->now[disk], SIZE);
}

char *
model_name (Model *model, bool foreign)
{
  unsigned number = ++model->counter;

  return foreign ? g_strdup_printf ("old.%u", number)
                 : g_strdup_printf ("varve.prop-00000000.b%04u.00000000", number);
}

Point *
model_add (Model *model, const char *name, unsigned mask)
{
  Point *point = g_new0 (Point, 1);

  point->name = g_strdup (name);
  for (unsigned i = 0; i < DISKS; i++)
    point->image[i] = mask & (1u << i) ? model_image (model, i) : NULL;
  g_ptr_array_add (model->points, point);
  return point;
}

Point *
model_find (const Model *model, const char *name)
{
  for (guint i = 0; i < model->points->len; i++) {
    Point *point = g_ptr_array_index (model->points, i);

    if (g_str_equal (point->name, name))
      return point;
  }
  return NULL;
}

void
model_remove (Model *model, const char *name)
{
  Point *point = model_find (model, name);

  if (point)
    g_ptr_array_remove (model->points, point);
}

void
model_drop (Model *model, Point *point, unsigned disk)
{
  g_clear_pointer (&point->image[disk], g_bytes_unref);
  for (unsigned i = 0; i < DISKS; i++) {
    if (point->image[i])
      return;
  }
  g_ptr_array_remove (model->points, point);
}
