/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "worker.h"

#include <signal.h>
#include <sys/wait.h>

#include "backup.h"

/* --- there ------------------------------------------------------------------------------------ */

static void
do_backup (World *world, char **words)
{
  BackupPlan plan = { .since = g_str_equal (words[1], "-") ? NULL : words[1],
                      .checkpoint = words[2],
                      .never_pause = g_str_equal (words[3], "1") };
  unsigned mask, since;
  VarveSession *session = backup_begin (world, &plan, &mask, &since);

  backup_read (session);
  backup_end (session, g_str_equal (words[4], "1"));
}

static bool
do_checkpoint (World *world, char **words, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  if (g_str_equal (words[0], "remove"))
    return varve_domain_checkpoint_remove (world->domain, words[1], NULL, error);
  for (size_t i = 2; words[i]; i++)
    g_ptr_array_add (names, words[i]);
  if (g_str_equal (words[0], "merge"))
    return varve_domain_checkpoint_merge (world->domain, words[1], names, NULL, error);
  return varve_domain_checkpoint_add (world->domain, words[1], NULL, names, NULL, error);
}

int
worker_main (char **argv)
{
  WorldKind kind;
  g_autoptr (GError) error = NULL;

  g_assert_true (world_kind_parse (argv[0], &kind));
  g_autoptr (World) world = world_attach (kind, argv[1], argv[2], g_str_equal (argv[3], "1"));
  world->running = g_str_equal (argv[4], "1");
  world_open (world);
  if (g_str_equal (argv[5], "backup"))
    do_backup (world, argv + 5);
  else
    do_checkpoint (world, argv + 5, &error);
  g_assert_no_error (error);
  return 0;
}

/* --- here ------------------------------------------------------------------------------------- */

static GPid
spawn (const World *world, const char *const *words, const char *failpoint)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_auto (GStrv) environment = g_get_environ ();
  g_autoptr (GError) error = NULL;
  GPid pid = 0;

  if (failpoint)
    environment = g_environ_setenv (environment, "VARVE_FAILPOINT", failpoint, TRUE);
  g_ptr_array_add (argv, self);
  g_ptr_array_add (argv, (char *)"--worker");
  g_ptr_array_add (argv, (char *)world_kind_name (world->kind));
  g_ptr_array_add (argv, world->dir);
  g_ptr_array_add (argv, world->name);
  g_ptr_array_add (argv, (char *)(world->raw_b ? "1" : "0"));
  g_ptr_array_add (argv, (char *)(world->running ? "1" : "0"));
  for (; *words; words++)
    g_ptr_array_add (argv, (char *)*words);
  g_ptr_array_add (argv, NULL);
  g_spawn_async (NULL, (char **)argv->pdata, environment, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                 &pid, &error);
  g_assert_no_error (error);
  return pid;
}

bool
worker_run (World *world, const char *const *words, const char *failpoint, unsigned delay_us,
            void (*during) (gpointer data), gpointer data)
{
  int status = 0;

  world_close (world); /* QEMU's monitor serves one client */
  GPid pid = spawn (world, words, failpoint);
  if (during)
    during (data);
  if (!failpoint) {
    g_usleep (delay_us);
    kill (pid, SIGKILL);
  }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  /* What it dies of must be what it was meant to. */
  g_assert_true (WIFSIGNALED (status) ? WTERMSIG (status) == SIGKILL : WEXITSTATUS (status) == 0);
  world_open (world);
  return !WIFSIGNALED (status);
}
