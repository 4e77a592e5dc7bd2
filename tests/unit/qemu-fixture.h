/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the tests of lib/qemu share: a directory that goes away, and a QEMU that runs no guest. */
#pragma once

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "util/durable.h"
#include "util/error.h"
#include "wait.h"

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

/* A socket is there a while before it is listened on. */
static inline bool
is_listening (const char *socket)
{
  g_autofree char *text = NULL;
  g_autofree char *end = g_strdup_printf (" %s", socket);
  bool found = false;

  g_assert_true (g_file_get_contents ("/proc/net/unix", &text, NULL, NULL));
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  /* The flag is __SO_ACCEPTCON. */
  for (char **line = lines; *line && !found; line++)
    found = g_str_has_suffix (*line, end) && strstr (*line, " 00010000 ");
  return found;
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

  wait_until (is_listening (socket));
  return process;
}

/* Whether a program succeeds. @out_output (may be NULL) is its stdout. */
static inline bool
try_program (const char *const *argv, char **out_output)
{
  g_autoptr (GSubprocess) process = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE, NULL);

  g_assert_nonnull (process);
  g_assert_true (g_subprocess_communicate_utf8 (process, NULL, NULL, out_output, NULL, NULL));
  return g_subprocess_get_successful (process);
}

/* Runs a program that must succeed; gives back its stdout. */
static inline char *
run_program (const char *const *argv)
{
  char *output = NULL;

  g_assert_true (try_program (argv, &output));
  return output;
}

#define run(...)        g_free (run_program ((const char *const[]){ __VA_ARGS__, NULL }))
#define run_output(...) run_program ((const char *const[]){ __VA_ARGS__, NULL })

/* Makes an encrypted image, with a key that costs no seconds to try. QEMU measures how fast the
 * machine is, and on a busy one gives up now and then ("Unable to get accurate CPU usage"): hence
 * the tries. */
static inline void
create_encrypted (const char *path, const char *format, const char *key_file, const char *size)
{
  g_auto (GStrv) parts = g_strsplit (key_file, ",", -1);
  g_autofree char *doubled = g_strjoinv (",,", parts);
  g_autofree char *secret = g_strdup_printf ("secret,id=s,file=%s", doubled);
  const char *options = g_str_equal (format, "luks")
                            ? "key-secret=s,iter-time=10"
                            : "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
  const char *argv[] = { "qemu-img", "create", "-q",    "-f", format, "--object",
                         secret,     "-o",     options, path, size,   NULL };
  bool made = false;

  for (int i = 0; i < 20 && !made; i++)
    made = try_program (argv, NULL);
  g_assert_true (made);
}

#define assert_varve_error(error, expected, part)                                                  \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_assert_error ((error), VARVE_ERROR, (int)(expected));                                        \
    if (!strstr ((error)->message, (part)))                                                        \
      g_error ("'%s' is not in: %s", (part), (error)->message);                                    \
  }                                                                                                \
  G_STMT_END
