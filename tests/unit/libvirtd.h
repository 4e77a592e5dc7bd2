/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The libvirtd of this host, for tests that need one: they share it. */
#pragma once

#include <stdbool.h>
#include <unistd.h>
#include <gio/gio.h>

static inline bool
libvirtd_run (const char *const *argv)
{
  g_autofree char *out = NULL;
  g_autofree char *errors = NULL;
  int status = -1;

  return g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &errors,
                       &status, NULL) &&
         status == 0;
}

#define LIBVIRTD_RUN(...) libvirtd_run ((const char *const[]){ __VA_ARGS__, NULL })

static inline bool
libvirtd_answers (void)
{
  return LIBVIRTD_RUN ("virsh", "-q", "-c", "qemu:///system", "uri");
}

/* Starts libvirtd where it is installed and does not run; it is left running, as others may use it.
 */
static inline bool
libvirtd_is_there (void)
{
  if (geteuid () != 0)
    return false;
  if (libvirtd_answers ())
    return true;
  LIBVIRTD_RUN ("virtlogd", "-d"); /* it may be there without the other */
  if (!LIBVIRTD_RUN ("libvirtd", "-d"))
    return false;
  for (int i = 0; i < 1000; i++) {
    if (libvirtd_answers ())
      return true;
    g_usleep (100 * 1000);
  }
  return false;
}
