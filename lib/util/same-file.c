/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What two paths have in common: a symbolic link, a bind mount, a second node of a device are other words for the same. */
#include "config.h"

#include "util/same-file.h"

#include <sys/stat.h>

bool
varve_same_file (const char *a, const char *b)
{
  g_autofree char *name_a = g_path_get_basename (a);
  g_autofree char *name_b = g_path_get_basename (b);
  g_autofree char *parent_a = g_path_get_dirname (a);
  g_autofree char *parent_b = g_path_get_dirname (b);
  struct stat x, y;
  bool is_a = stat (a, &x) == 0, is_b = stat (b, &y) == 0;

  if (g_str_equal (a, b))
    return true;
  if (is_a && is_b && S_ISBLK (x.st_mode) && S_ISBLK (y.st_mode))
    return x.st_rdev == y.st_rdev;
  if (!is_a && !is_b && g_str_equal (name_a, name_b))
    is_a = is_b = stat (parent_a, &x) == 0 && stat (parent_b, &y) == 0;
  return is_a && is_b && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}
