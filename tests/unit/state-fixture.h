/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A state directory of a test's own. */
#pragma once

#include "state/state-dir.h"
#include "util/durable.h"

typedef struct {
  char *path;
  VarveStateDir *dir;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->path = g_dir_make_tmp ("varve-state-XXXXXX", NULL);
  f->dir = varve_state_dir_open (f->path, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  varve_state_dir_free (f->dir);
  g_assert_true (varve_remove_tree (f->path, NULL));
  g_free (f->path);
}
