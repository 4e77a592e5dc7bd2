/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Starting children. What is set between fork and exec: a process group (or session) of their own, default
 * signal handling with nothing blocked (ours may have SIGTERM blocked, and a child would inherit
 * that), no new privileges, and for some SIGTERM at the end of the thread that started them. */
#include "config.h"
#include "qemu/child.h"

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"

#define MAX_COMPLAINT 4096

typedef struct {
  VarveChildKind kind;
  pid_t parent;
} Setup;

/* The process that we started does nothing but wait for its child, the program, and lets go of all that it has of us. */
static void
keep_child (void)
{
  struct rlimit limit;
  int status = 0;
  pid_t pid;

  if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit (RLIMIT_NOFILE, &limit);
  }
  pid = fork ();
  if (pid == 0)
    return;
  close_range (0, ~0U, 0);
  while (pid > 0 && waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  _exit (pid > 0 && WIFEXITED (status) ? WEXITSTATUS (status) : 1);
}

/* Runs in the child: async-signal-safe calls only. */
static void
set_up_child (gpointer data)
{
  static const int defaults[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGCHLD };
  const Setup *setup = data;
  sigset_t none;

  if (setup->kind == VARVE_CHILD_OUTLIVES_US || setup->kind == VARVE_CHILD_KEPT)
    setsid ();
  else
    setpgid (0, 0);
  for (size_t i = 0; i < G_N_ELEMENTS (defaults); i++)
    signal (defaults[i], SIG_DFL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

  if (setup->kind == VARVE_CHILD_KEPT)
    keep_child ();
  if (setup->kind != VARVE_CHILD_DIES_WITH_US)
    return;
  prctl (PR_SET_PDEATHSIG, SIGTERM);
  if (getppid () != setup->parent) /* it ended before the line above */
    _exit (1);
}

GSubprocessLauncher *
varve_child_launcher (VarveChildKind kind, GSubprocessFlags flags)
{
  GSubprocessLauncher *launcher = g_subprocess_launcher_new (flags);
  Setup *setup = g_new0 (Setup, 1);

  setup->kind = kind;
  setup->parent = getpid ();
  g_subprocess_launcher_set_child_setup (launcher, set_up_child, setup, g_free);
  g_subprocess_launcher_setenv (launcher, "LC_ALL", "C", TRUE);
  return launcher;
}

GSubprocess *
varve_child_spawn (GSubprocessLauncher *launcher, const char *const *argv, GError **error)
{
  g_autoptr (GError) inner = NULL;
  GSubprocess *process = g_subprocess_launcher_spawnv (launcher, argv, &inner);

  if (process)
    return process;
  if (g_error_matches (inner, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT))
    varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                 "The program '%s' was not found; install QEMU's tools.", argv[0]);
  else
    varve_throw (error, VARVE_ERROR_FAILED, "The program '%s' could not be started: %s.", argv[0],
                 inner->message);
  return NULL;
}

GSocket *
varve_child_socket (GSubprocessLauncher *launcher, int fd, GError **error)
{
  int ends[2];

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                       "A socket pair to a child could not be made");
    return NULL;
  }
  g_subprocess_launcher_take_fd (launcher, ends[1], fd);

  GSocket *socket = g_socket_new_from_fd (ends[0], error);
  if (!socket)
    close (ends[0]);
  return socket;
}

int
varve_child_complaints (GSubprocessLauncher *launcher, GError **error)
{
  int fd = memfd_create ("varve-child-stderr", MFD_CLOEXEC);
  int for_child = fd >= 0 ? dup (fd) : -1;

  if (for_child >= 0) {
    g_subprocess_launcher_take_stderr_fd (launcher, for_child);
    return fd;
  }
  varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                     "A memory file for a child's words could not be made");
  if (fd >= 0)
    close (fd);
  return -1;
}

char *
varve_child_complaint (int fd, off_t offset)
{
  char text[MAX_COMPLAINT + 1] = "";
  ssize_t length = fd >= 0 ? pread (fd, text, MAX_COMPLAINT, offset) : 0;

  text[MAX (length, 0)] = '\0';
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  return g_strdup (g_strstrip (valid));
}

bool
varve_child_is_alive (GSubprocess *process, pid_t pid)
{
  siginfo_t info = { 0 };

  if (!process || !g_subprocess_get_identifier (process))
    return false;
  if (waitid (P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
    return false;
  return info.si_pid == 0;
}

void
varve_child_result_free (VarveChildResult *result)
{
  if (!result)
    return;
  g_free (result->output);
  g_free (result->complaint);
  g_free (result);
}

/* Appends what has come on @fd, which is set to -1 behind the end. */
static bool
drain (int *fd, GString *text, GError **error)
{
  char buffer[4096];
  ssize_t length = read (*fd, buffer, sizeof buffer);

  if (length > 0)
    g_string_append_len (text, buffer, length);
  else if (length == 0)
    *fd = -1;
  else if (errno != EINTR && errno != EAGAIN)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Its output cannot be read");
  return true;
}

/* Until both streams are at their end. By poll, as g_subprocess_communicate of GLib 2.74 with a
 * cancellable, which need not fire, now and then waits for ever or damages the heap: it destroys
 * the cancellable's source while the source's main context is freed. */
static bool
collect (GSubprocess *process, GString *const *texts, GCancellable *cancellable, GError **error)
{
  GInputStream *streams[] = { g_subprocess_get_stdout_pipe (process),
                              g_subprocess_get_stderr_pipe (process) };
  GPollFD cancel = { .fd = -1 };
  struct pollfd fds[3] = { 0 };
  bool made = cancellable && g_cancellable_make_pollfd (cancellable, &cancel);
  bool ok = true;

  for (size_t i = 0; i < 2; i++) {
    fds[i].fd = g_unix_input_stream_get_fd (G_UNIX_INPUT_STREAM (streams[i]));
    fds[i].events = POLLIN;
  }
  fds[2] = (struct pollfd){ .fd = cancel.fd, .events = POLLIN };
  while (ok && (fds[0].fd >= 0 || fds[1].fd >= 0)) {
    int ready = poll (fds, G_N_ELEMENTS (fds), -1);

    ok = !g_cancellable_set_error_if_cancelled (cancellable, error);
    for (size_t i = 0; ok && ready > 0 && i < 2; i++)
      ok = fds[i].fd < 0 || fds[i].revents == 0 || drain (&fds[i].fd, texts[i], error);
  }
  if (made)
    g_cancellable_release_fd (cancellable);
  return ok;
}

VarveChildResult *
varve_child_run (const char *const *argv, VarveChildKind kind, GCancellable *cancellable,
                 GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;

  g_autoptr (GSubprocessLauncher) launcher =
      varve_child_launcher (kind, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
  g_autoptr (GSubprocess) process = varve_child_spawn (launcher, argv, error);
  if (!process)
    return NULL;

  g_autoptr (GString) output = g_string_new (NULL);
  g_autoptr (GString) complaint = g_string_new (NULL);
  GString *const texts[] = { output, complaint };
  bool ok = collect (process, texts, kind == VARVE_CHILD_FINISHES ? NULL : cancellable, error);
  if (!ok)
    g_subprocess_force_exit (process);
  g_subprocess_wait (process, NULL, NULL);
  if (!ok) {
    varve_prefix (error, "Running '%s'", argv[0]);
    return NULL;
  }

  VarveChildResult *result = g_new0 (VarveChildResult, 1);
  result->status = g_subprocess_get_if_exited (process) ? g_subprocess_get_exit_status (process)
                                                        : 128 + g_subprocess_get_term_sig (process);
  result->output = g_utf8_make_valid (output->str, (gssize)output->len);
  result->complaint = g_strstrip (g_utf8_make_valid (complaint->str, (gssize)complaint->len));
  return result;
}
