/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The program of the test guest: it takes commands, one a line, from its serial console and answers
 * each with one line that begins "guest: ok" or "guest: failed". Static, without GLib, so that an
 * initramfs of a few MiB holds all that the guest needs.
 *
 *   numbers [DISK...] [offset=] [blocks=] [stride=] [delay=US]
 *                                                      write rising numbers in the background (below)
 *   stop                                               end that, and tell how it went
 *   status                                             tell it while it goes on
 *   latency                                            how long writes of numbers took since the last time
 *   fill DISK [offset=] length= [seed=]                data that `check` can prove
 *   check DISK [offset=] length= [seed=]
 *   discard DISK [offset=] length=                     BLKDISCARD, what fstrim does
 *   zero DISK [offset=] length=                        BLKZEROOUT
 *   sh COMMAND...                                      by busybox, for file systems
 *   quit                                               leaves; the machine powers off
 *
 * `numbers`: one 64-bit number, rising by 1 from 1, is written in turn to each disk (number N to
 * disk (N-1) mod K), O_DIRECT and O_DSYNC, each write completed before the next begins. On its disk
 * number N takes block ((N-1) / K) mod `blocks` of a ring of 4 KiB blocks at `offset` (`stride` bytes
 * from one to the next, 4 KiB by default): the magic, then 511 times N, little-endian. So at any instant
 * the highest numbers of two disks differ by at most 1 and no number of a ring is missing;
 * check-numbers.py holds restored disks to that. After a reboot it goes on behind the highest number
 * found. A write that fails is told at once with its errno, and tried again. Before each write the block
 * is read: a number that is not the one written there is told, and is an error too.
 *
 * `fill` goes through the page cache, and refuses the ring: a kernel that cannot drop a page from there because it is
 * being written fails the next fsync with EIO, though the disk did not.
 *
 * Outside the guest: `writer fill|check FILE ...` does the same to a file. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

#define BLOCK       4096
#define BLOCK_WORDS (BLOCK / 8)
#define MAGIC       UINT64_C (0x4d554e4556524156) /* "VARVENUM" */
#define MAX_DISKS   8
#define MAX_TIMES   (1u << 17)

typedef struct {
  const char *verb;
  const char *disks[MAX_DISKS];
  int n_disks;
  uint64_t offset, length, seed, blocks, stride, delay;
  const char *rest; /* all behind the verb */
} Command;

/* Shared by the console and the process that writes numbers. */
typedef struct {
  atomic_bool stop;
  _Atomic uint64_t last; /* highest number that was written */
  _Atomic uint64_t errors;
  _Atomic uint64_t longest_us;
  _Atomic uint64_t writes;   /* how many there were, the first being number 0 here */
  uint64_t writes_told;      /* what `latency` has told of */
  uint32_t times[MAX_TIMES]; /* of write I, in us, at I mod MAX_TIMES */
} Numbers;

typedef struct {
  Numbers *numbers;
  pid_t child;   /* 0: nobody writes numbers */
  Command where; /* they are written: its disks and numbers */
} Guest;

static bool
answer (bool ok, const char *format, ...)
{
  va_list args;
  char line[512];

  va_start (args, format);
  vsnprintf (line, sizeof line, format, args);
  va_end (args);
  printf ("guest: %s %s\n", ok ? "ok" : "failed", line);
  fflush (stdout);
  return ok;
}

static bool
answer_errno (const char *verb, const char *name)
{
  return answer (false, "%s %s: errno %d (%s)", verb, name, errno, strerror (errno));
}

static uint64_t
now_us (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* "4096", "64K", "16M", "2G". */
static uint64_t
parse_size (const char *text)
{
  char *end;
  uint64_t value = strtoull (text, &end, 0);

  switch (*end) {
  case 'k':
  case 'K':
    return value << 10;
  case 'm':
  case 'M':
    return value << 20;
  case 'g':
  case 'G':
    return value << 30;
  default:
    return value;
  }
}

static bool
take_option (Command *command, const char *word)
{
  struct {
    const char *name;
    uint64_t *value;
  } options[] = {
    { "offset=", &command->offset }, { "length=", &command->length }, { "seed=", &command->seed },
    { "blocks=", &command->blocks }, { "stride=", &command->stride }, { "delay=", &command->delay },
  };

  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    size_t length = strlen (options[i].name);

    if (strncmp (word, options[i].name, length) == 0) {
      *options[i].value = parse_size (word + length);
      return true;
    }
  }
  return false;
}

/* For the life of the process: few, and small. */
static const char *
keep (const char *directory, const char *name)
{
  char *path = NULL;

  if (asprintf (&path, "%s%s", directory, name) < 0)
    abort ();
  return path;
}

/* A name without a slash is a disk of the guest. */
static const char *
disk_path (const char *name)
{
  return keep (strchr (name, '/') ? "" : "/dev/", name);
}

static Command
parse_command (char *line, char *copy)
{
  Command command = { .seed = 1, .blocks = 1024, .stride = BLOCK };
  char *state = NULL;

  command.verb = strtok_r (line, " \t\r\n", &state);
  if (command.verb == NULL)
    return command;
  command.rest = copy + (command.verb - line) + strlen (command.verb);
  for (char *word; (word = strtok_r (NULL, " \t\r\n", &state));) {
    if (!take_option (&command, word) && command.n_disks < MAX_DISKS)
      command.disks[command.n_disks++] = disk_path (word);
  }
  return command;
}

/* splitmix64 of place and seed: no block of it repeats, and every word can be checked by itself. */
static uint64_t
fill_word (uint64_t seed, uint64_t offset)
{
  uint64_t z = seed * UINT64_C (0x9e3779b97f4a7c15) + offset / 8 + 1;

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static bool
hits_numbers (const Guest *guest, const Command *command)
{
  const Command *where = &guest->where;
  uint64_t end = where->offset + (where->blocks - 1) * where->stride + BLOCK;

  if (!guest->child || command->offset >= end || command->offset + command->length <= where->offset)
    return false;
  for (int i = 0; i < where->n_disks; i++)
    if (strcmp (where->disks[i], command->disks[0]) == 0)
      return true;
  return false;
}

static bool
fill (const Guest *guest, const Command *command)
{
  static _Alignas(BLOCK) uint64_t buffer[256 * BLOCK_WORDS];
  const char *path = command->disks[0];
  int fd;

  if (hits_numbers (guest, command))
    return answer (false, "fill %s: numbers are being written there", path);
  fd = open (path, O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return answer_errno ("fill", path);
  for (uint64_t done = 0; done < command->length;) {
    uint64_t left = command->length - done;
    size_t n = left < sizeof buffer ? left : sizeof buffer;
    ssize_t written;

    for (size_t i = 0; i < (n + 7) / 8; i++)
      buffer[i] = fill_word (command->seed, command->offset + done + i * 8);
    written = pwrite (fd, buffer, n, (off_t)(command->offset + done));
    if (written <= 0) {
      answer_errno ("fill", path);
      close (fd);
      return false;
    }
    done += (uint64_t)written & ~UINT64_C (7);
    if (written < 8)
      break;
  }
  if (fsync (fd) < 0) {
    answer_errno ("fill", path);
    close (fd);
    return false;
  }
  close (fd);
  return answer (true, "filled %" PRIu64 " bytes of %s", command->length, path);
}

static bool
check (const Command *command)
{
  static _Alignas(BLOCK) uint64_t buffer[BLOCK_WORDS];
  const char *path = command->disks[0];
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return answer_errno ("check", path);
  for (uint64_t done = 0; done + 8 <= command->length;) {
    uint64_t left = command->length - done;
    ssize_t n =
        pread (fd, buffer, left < sizeof buffer ? left : BLOCK, (off_t)(command->offset + done));

    if (n < 8) {
      answer_errno ("check", path);
      close (fd);
      return false;
    }
    for (size_t i = 0; i < (size_t)n / 8; i++) {
      uint64_t place = command->offset + done + i * 8;

      if (buffer[i] != fill_word (command->seed, place)) {
        close (fd);
        return answer (false, "check %s: other data at offset %" PRIu64, path, place);
      }
    }
    done += (uint64_t)n & ~UINT64_C (7);
  }
  close (fd);
  return answer (true, "%s holds what seed %" PRIu64 " filled", path, command->seed);
}

static bool
range_ioctl (const Command *command, unsigned long request)
{
  uint64_t range[2] = { command->offset, command->length };
  const char *path = command->disks[0];
  int fd = open (path, O_RDWR | O_CLOEXEC);
  bool ok;

  if (fd < 0)
    return answer_errno (command->verb, path);
  ok = ioctl (fd, request, range) == 0 && fsync (fd) == 0;
  if (!ok)
    answer_errno (command->verb, path);
  close (fd);
  return ok && answer (true, "%s of %" PRIu64 " bytes of %s", command->verb, command->length, path);
}

/* The highest number in the ring of @fd, 0 for none. */
static uint64_t
highest_number (int fd, const Command *command, uint64_t *block)
{
  uint64_t highest = 0;

  for (uint64_t i = 0; i < command->blocks; i++) {
    if (pread (fd, block, BLOCK, (off_t)(command->offset + i * command->stride)) != BLOCK)
      return highest;
    if (block[0] == MAGIC && block[1] > highest)
      highest = block[1];
  }
  return highest;
}

static void
keep_time (Numbers *numbers, uint64_t took)
{
  uint64_t n = atomic_load (&numbers->writes);

  if (took > atomic_load (&numbers->longest_us))
    atomic_store (&numbers->longest_us, took);
  numbers->times[n % MAX_TIMES] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
  atomic_store (&numbers->writes, n + 1);
}

/* What the block must hold that is written next. */
static void
check_number (Numbers *numbers, int fd, const char *path, off_t offset, uint64_t expected)
{
  static _Alignas(BLOCK) uint64_t block[BLOCK_WORDS];
  ssize_t n = pread (fd, block, BLOCK, offset);
  int saved = n < 0 ? errno : EIO;

  if (n == BLOCK && block[0] == MAGIC && block[1] == expected && block[BLOCK_WORDS - 1] == expected)
    return;
  atomic_fetch_add (&numbers->errors, 1);
  if (n == BLOCK)
    printf ("numbers: write of %" PRIu64 " to %s failed: read again it is %" PRIu64 "\n", expected,
            path, block[1]);
  else
    printf ("numbers: read of %" PRIu64 " from %s failed: errno %d (%s)\n", expected, path, saved,
            strerror (saved));
  fflush (stdout);
}

/* One number, until it is written: time and errors are kept, a failure is told at once. */
static void
write_number (Numbers *numbers, int fd, const char *path, off_t offset, const uint64_t *block)
{
  for (;;) {
    uint64_t start = now_us (), took;
    ssize_t n = pwrite (fd, block, BLOCK, offset);
    int saved = n < 0 ? errno : EIO;

    took = now_us () - start;
    keep_time (numbers, took);
    if (n == BLOCK)
      return;
    atomic_fetch_add (&numbers->errors, 1);
    printf ("numbers: write of %" PRIu64 " to %s failed: errno %d (%s) after %" PRIu64 " us\n",
            block[1], path, saved, strerror (saved), took);
    fflush (stdout);
    if (atomic_load (&numbers->stop))
      return;
    usleep (100000);
  }
}

static void
numbers_loop (Numbers *numbers, const Command *command, const int *fds)
{
  static _Alignas(BLOCK) uint64_t block[BLOCK_WORDS];
  uint64_t k = (uint64_t)command->n_disks;

  for (uint64_t n = atomic_load (&numbers->last) + 1; !atomic_load (&numbers->stop); n++) {
    int fd = fds[(n - 1) % k];
    const char *path = command->disks[(n - 1) % k];
    uint64_t slot = (n - 1) / k % command->blocks;
    off_t at = (off_t)(command->offset + slot * command->stride);

    if (n > k * command->blocks)
      check_number (numbers, fd, path, at, n - k * command->blocks);
    block[0] = MAGIC;
    for (size_t i = 1; i < BLOCK_WORDS; i++)
      block[i] = n;
    write_number (numbers, fd, path, at, block);
    atomic_store (&numbers->last, n);
    if (command->delay)
      usleep ((useconds_t)command->delay);
  }
}

static bool
numbers_start (Guest *guest, Command *command)
{
  static _Alignas(BLOCK) uint64_t block[BLOCK_WORDS];
  int fds[MAX_DISKS];
  uint64_t last = 0;

  if (guest->child)
    return answer (false, "numbers: they are being written already");
  if (command->n_disks == 0) {
    command->disks[command->n_disks++] = "/dev/vda";
    command->disks[command->n_disks++] = "/dev/vdb";
  }
  if (command->offset == 0)
    command->offset = 16 << 20;
  for (int i = 0; i < command->n_disks; i++) {
    uint64_t highest;

    fds[i] = open (command->disks[i], O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fds[i] < 0)
      return answer_errno ("numbers", command->disks[i]);
    highest = highest_number (fds[i], command, block);
    last = highest > last ? highest : last;
  }
  memset (guest->numbers, 0, sizeof *guest->numbers);
  atomic_store (&guest->numbers->last, last);
  guest->child = fork ();
  if (guest->child == 0) {
    numbers_loop (guest->numbers, command, fds);
    _exit (0);
  }
  for (int i = 0; i < command->n_disks; i++)
    close (fds[i]);
  guest->where = *command;
  return answer (true, "numbers from %" PRIu64, last + 1);
}

static bool
numbers_report (Guest *guest, const char *what)
{
  return answer (true,
                 "numbers %s at %" PRIu64 " with %" PRIu64 " errors, longest write %" PRIu64 " us",
                 what, atomic_load (&guest->numbers->last), atomic_load (&guest->numbers->errors),
                 atomic_load (&guest->numbers->longest_us));
}

static bool
numbers_stop (Guest *guest)
{
  if (guest->child == 0)
    return answer (false, "stop: no numbers are being written");
  atomic_store (&guest->numbers->stop, true);
  waitpid (guest->child, NULL, 0);
  guest->child = 0;
  return numbers_report (guest, "stopped");
}

static int
compare_times (const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

  return (x > y) - (x < y);
}

static bool
tell_latency (Numbers *numbers)
{
  static uint32_t sorted[MAX_TIMES];
  uint64_t end = atomic_load (&numbers->writes), start = numbers->writes_told;
  size_t n = 0;

  if (end - start > MAX_TIMES)
    start = end - MAX_TIMES;
  for (uint64_t i = start; i < end; i++)
    sorted[n++] = numbers->times[i % MAX_TIMES];
  numbers->writes_told = end;
  if (n == 0)
    return answer (false, "latency: nothing was written");
  qsort (sorted, n, sizeof sorted[0], compare_times);
  return answer (true, "latency of %zu writes in us: p50 %u p99 %u longest %u", n, sorted[n / 2],
                 sorted[n - 1 - n / 100], sorted[n - 1]);
}

static bool
shell (const Command *command)
{
  int status;

  fflush (stdout);
  status = system (command->rest);
  return answer (status == 0, "sh: status %d", status);
}

/* False: there is nothing more to do here. */
static bool
obey (Guest *guest, Command *command, bool *ok)
{
  const char *verb = command->verb;
  bool on_disk = command->n_disks > 0;

  if (strcmp (verb, "quit") == 0)
    return false;
  if (strcmp (verb, "numbers") == 0)
    *ok = numbers_start (guest, command);
  else if (strcmp (verb, "stop") == 0)
    *ok = numbers_stop (guest);
  else if (strcmp (verb, "status") == 0)
    *ok = numbers_report (guest, guest->child ? "running" : "stopped");
  else if (strcmp (verb, "latency") == 0)
    *ok = tell_latency (guest->numbers);
  else if (strcmp (verb, "sh") == 0)
    *ok = shell (command);
  else if (strcmp (verb, "fill") == 0 && on_disk)
    *ok = fill (guest, command);
  else if (strcmp (verb, "check") == 0 && on_disk)
    *ok = check (command);
  else if (strcmp (verb, "discard") == 0 && on_disk)
    *ok = range_ioctl (command, BLKDISCARD);
  else if (strcmp (verb, "zero") == 0 && on_disk)
    *ok = range_ioctl (command, BLKZEROOUT);
  else
    *ok = answer (false, "no such command: %s", verb);
  return true;
}

static bool
obey_line (Guest *guest, const char *text, bool *ok)
{
  char line[1024], copy[1024];
  Command command;

  snprintf (line, sizeof line, "%s", text);
  snprintf (copy, sizeof copy, "%s", text);
  command = parse_command (line, copy);
  return command.verb == NULL || obey (guest, &command, ok);
}

/* Commands of the kernel's command line: run=numbers,vda,vdb;status (comma for space). */
static void
obey_kernel_command_line (Guest *guest)
{
  char text[4096] = "", *run, *state = NULL;
  FILE *file = fopen ("/proc/cmdline", "re");
  bool ok = true;

  if (file == NULL)
    return;
  if (fgets (text, sizeof text, file) == NULL)
    text[0] = '\0';
  fclose (file);
  run = strstr (text, " run=");
  if (run == NULL)
    return;
  run += strlen (" run=");
  run[strcspn (run, " \n")] = '\0';
  for (char *p = run; *p; p++)
    *p = *p == ',' ? ' ' : *p;
  for (char *part = strtok_r (run, ";", &state); part; part = strtok_r (NULL, ";", &state))
    obey_line (guest, part, &ok);
}

static int
console (Guest *guest)
{
  char line[1024];
  bool ok = true;

  setvbuf (stdin, NULL, _IOLBF, 0);
  obey_kernel_command_line (guest);
  answer (true, "ready"); /* last: whoever sends commands from here on gets their answers only */
  while (fgets (line, sizeof line, stdin) && obey_line (guest, line, &ok))
    continue;
  if (guest->child)
    numbers_stop (guest);
  sync ();
  answer (true, "bye");
  return 0;
}

int
main (int argc, char **argv)
{
  Guest guest = { 0 };
  char line[1024] = "";
  bool ok = true;

  guest.numbers =
      mmap (NULL, sizeof *guest.numbers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (guest.numbers == MAP_FAILED)
    return 1;
  if (argc < 2)
    return console (&guest);
  for (int i = 1; i < argc; i++) {
    strncat (line, argv[i], sizeof line - strlen (line) - 1);
    strncat (line, " ", sizeof line - strlen (line) - 1);
  }
  obey_line (&guest, line, &ok);
  return ok ? 0 : 1;
}
