/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who QEMU runs as, and which directory keeps it out. */
#include "config.h"

#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "virt/libvirt/libvirt-private.h"

static void
test_label (void)
{
  uid_t uid = 7;
  gid_t gid = 7;

  g_assert_true (varve_libvirt_parse_label ("+64055:+109", &uid, &gid, NULL));
  g_assert_cmpuint (uid, ==, 64055);
  g_assert_cmpuint (gid, ==, 109);
  g_assert_true (varve_libvirt_parse_label ("root:root", &uid, &gid, NULL));
  g_assert_cmpuint (uid, ==, 0);
  g_assert_cmpuint (gid, ==, 0);
}

static void
test_bad_label (void)
{
  static const char *const bad[] = { "",
                                     ":",
                                     "root",
                                     "root:",
                                     ":root",
                                     "no-such-user-here:root",
                                     "root:no-such-group-here",
                                     "+4294967295:+0" };

  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    uid_t uid;
    gid_t gid;

    g_test_message ("'%s'", bad[i]);
    g_assert_false (varve_libvirt_parse_label (bad[i], &uid, &gid, &error));
    g_assert_error (error, VARVE_ERROR, VARVE_ERROR_HYPERVISOR);
  }
}

static void
test_closed_directory (void)
{
  g_autofree char *top = g_dir_make_tmp ("varve-access-XXXXXX", NULL);
  g_autofree char *inner = g_build_filename (top, "inner", NULL);
  g_autofree char *path = g_build_filename (inner, "file", NULL);
  g_autofree char *both = NULL;
  g_autofree char *one = NULL;
  g_autofree char *none = NULL;

  g_assert_cmpint (g_mkdir (inner, 0700), ==, 0);
  both = varve_libvirt_closed_directory (path);
  g_assert_cmpstr (both, ==, top);
  g_assert_cmpint (chmod (top, 0711), ==, 0);
  one = varve_libvirt_closed_directory (path);
  g_assert_cmpstr (one, ==, inner);
  g_assert_cmpint (chmod (inner, 0701), ==, 0);
  none = varve_libvirt_closed_directory (path);
  g_assert_cmpstr (none, ==, NULL);
  g_assert_cmpint (g_rmdir (inner), ==, 0);
  g_assert_cmpint (g_rmdir (top), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-access/label", test_label);
  g_test_add_func ("/libvirt-access/bad-label", test_bad_label);
  g_test_add_func ("/libvirt-access/closed-directory", test_closed_directory);
  return g_test_run ();
}
