/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the tests of lib/qemu share: a directory that goes away, and a QEMU that runs no guest. */
#pragma once

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>

#include "util/durable.h"
#include "util/error.h"

typedef struct {
  char *directory;
} Fixture;

static inline void
fixture_set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("varve-test-XXXXXX", &error);
  g_assert_no_error (error);
}

static inline void
fixture_tear_down (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  varve_remove_tree (fixture->directory, &error);
  g_assert_no_error (error);
  g_free (fixture->directory);
}

static inline char *
fixture_path (Fixture *fixture, const char *name)
{
  return g_build_filename (fixture->directory, name, NULL);
}

static inline void
die_with_parent (gpointer data)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static inline GSubprocess *
start_child (const char *const *argv)
{
  g_autoptr (GSubprocessLauncher) launcher =
      g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
  g_autoptr (GError) error = NULL;

  g_subprocess_launcher_set_child_setup (launcher, die_with_parent, NULL, NULL);
  GSubprocess *process = g_subprocess_launcher_spawnv (launcher, argv, &error);
  g_assert_no_error (error);
  return process;
}

static inline void
stop_child (GSubprocess *process)
{
  g_subprocess_force_exit (process);
  g_subprocess_wait (process, NULL, NULL);
  g_object_unref (process);
}

static inline void
wait_for_file (const char *path)
{
  for (int i = 0; i < 3000 && !g_file_test (path, G_FILE_TEST_EXISTS); i++)
    g_usleep (10000);
  g_assert_true (g_file_test (path, G_FILE_TEST_EXISTS));
}

/* A QEMU without a machine, whose monitor listens on @socket. */
static inline GSubprocess *
start_qemu (const char *socket)
{
  g_autofree char *qmp = g_strdup_printf ("unix:%s,server=on,wait=off", socket);
  const char *argv[] = { "qemu-system-x86_64",
                         "-machine",
                         "none",
                         "-nodefaults",
                         "-display",
                         "none",
                         "-S",
                         "-qmp",
                         qmp,
                         NULL };
  GSubprocess *process = start_child (argv);

  wait_for_file (socket);
  return process;
}

/* Runs a program that must succeed; gives back its stdout. */
static inline char *
run_program (const char *const *argv)
{
  g_autoptr (GSubprocess) process = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE, NULL);
  char *output = NULL;

  g_assert_nonnull (process);
  g_assert_true (g_subprocess_communicate_utf8 (process, NULL, NULL, &output, NULL, NULL));
  g_assert_true (g_subprocess_get_successful (process));
  return output;
}

#define run(...)        g_free (run_program ((const char *const[]){ __VA_ARGS__, NULL }))
#define run_output(...) run_program ((const char *const[]){ __VA_ARGS__, NULL })

#define assert_varve_error(error, expected, part)                                                  \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_assert_error ((error), VARVE_ERROR, (int)(expected));                                        \
    if (!strstr ((error)->message, (part)))                                                        \
      g_error ("'%s' is not in: %s", (part), (error)->message);                                    \
  }                                                                                                \
  G_STMT_END
