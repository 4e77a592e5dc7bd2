/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* usage: property KIND COUNT [STEPS]
 *        property --find DEFECT KIND COUNT [STEPS]
 *
 * COUNT random sequences on the driver KIND (image, qmp, libvirt), each in a process of its own, as
 * a TAP test. The seed of each is printed, and the whole of one that fails; VARVE_SEED=N does that one
 * alone, aloud. With --find they have a defect (merge, restart), and one of them has to find it:
 * VARVE_SEED=N is the first that tries. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "libvirtd.h"

#include "backup.h"
#include "sequence.h"
#include "worker.h"

#define USAGE                                                                                      \
  "usage: property [--find merge|restart] image|qmp|libvirt COUNT [STEPS]\n"                       \
  "VARVE_SEED=N does the one sequence of that seed, aloud; with --find it is the first that is "   \
  "done.\n"

typedef struct {
  const char *defect;
  const char *kind;
  const char *steps;
  unsigned count;
} Options;

/* Ends the process for what is no number. */
static guint32
number_of (const char *text)
{
  g_autoptr (GError) error = NULL;
  guint64 number = 0;

  g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32, &number, &error);
  g_assert_no_error (error);
  return (guint32)number;
}

/* --- one ------------------------------------------------------------------------------------ */

static int
one_sequence (char **argv)
{
  WorldKind kind;
  Defect defect;
  unsigned counts[STEP_KINDS] = { 0 };

  g_assert_true (defect_parse (argv[0], &defect));
  g_assert_true (world_kind_parse (argv[1], &kind));
  /* What a dead worker left is ended here, and not by two at once. */
  g_setenv ("VARVE_GUARD", "none", TRUE);
  sequence_run (kind, number_of (argv[2]), number_of (argv[3]), defect, counts);
  g_print ("counted %u %u %u %u", backup_counts.backups, backup_counts.changed, backup_counts.clean,
           backup_counts.spare);
  for (unsigned i = 0; i < STEP_KINDS; i++)
    g_print (" %u", counts[i]);
  g_print ("\n");
  return 0;
}

/* --- many ----------------------------------------------------------------------------------- */

/* Of all sequences. */
typedef struct {
  BackupCounts compared;
  unsigned steps[STEP_KINDS];
} Totals;

static void
add_counts (const char *output, Totals *totals)
{
  const char *line = strstr (output, "\ncounted ");
  g_auto (GStrv) words = line ? g_strsplit_set (line + 1, " \n", STEP_KINDS + 6) : NULL;

  if (!words || g_strv_length (words) < STEP_KINDS + 5)
    return;
  totals->compared.backups += number_of (words[1]);
  totals->compared.changed += number_of (words[2]);
  totals->compared.clean += number_of (words[3]);
  totals->compared.spare += number_of (words[4]);
  for (unsigned i = 0; i < STEP_KINDS; i++)
    totals->steps[i] += number_of (words[5 + i]);
}

/* Lines of a TAP comment. */
static void
print_output (const char *output)
{
  g_auto (GStrv) lines = g_strsplit (output, "\n", -1);

  for (size_t i = 0; lines[i]; i++) {
    if (*lines[i])
      g_print ("%s%s\n", lines[i][0] == '#' ? "" : "# ", lines[i]);
  }
}

/* What is not installed, or NULL. */
static const char *
lacking (const char *kind)
{
  static const char *const programs[] = { "qemu-img", "qemu-io", "qemu-storage-daemon",
                                          "qemu-system-x86_64" };

  for (guint i = 0; i < G_N_ELEMENTS (programs); i++) {
    g_autofree char *path = g_find_program_in_path (programs[i]);

    if (!path)
      return programs[i];
  }
  return g_str_equal (kind, "libvirt") && !libvirtd_is_there () ? "libvirtd, or not root" : NULL;
}

/* What a sequence that failed could not. */
static void
take_away (const char *kind_name, const char *output)
{
  const char *line = strstr (output, "# world ");
  g_auto (GStrv) words = line ? g_strsplit_set (line, " \n", 5) : NULL;
  WorldKind kind;

  if (!words || g_strv_length (words) < 4 || !g_file_test (words[2], G_FILE_TEST_IS_DIR) ||
      !world_kind_parse (kind_name, &kind))
    return;
  g_autoptr (World) world = world_attach (kind, words[2], words[3], false);
  world_remove (world);
}

/* Whether it ended well; *@out_output is all that it said. */
static bool
run_sequence (const Options *options, guint32 seed, char **out_output)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *number = g_strdup_printf ("%u", seed);
  const char *argv[] = { self,           "--sequence", options->defect, options->kind, number,
                         options->steps, NULL };
  g_autoptr (GSubprocess) process = NULL;
  g_autoptr (GError) error = NULL;

  process = g_subprocess_newv (
      argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, NULL, NULL, out_output, NULL, &error);
  g_assert_no_error (error);
  bool ok = g_subprocess_get_successful (process);
  if (!ok && lacking (options->kind) == NULL)
    take_away (options->kind, *out_output);
  return ok;
}

/* One sequence may be too short to compare anything, or for one of the steps; many are not. */
static bool
is_enough (const Options *options, const Totals *totals)
{
  unsigned missing = 0;

  g_print ("# steps:");
  for (unsigned i = 0; i < STEP_KINDS; i++) {
    g_print (" %s %u%s", sequence_step_name (i), totals->steps[i], i + 1 < STEP_KINDS ? "," : "\n");
    missing += totals->steps[i] == 0;
  }
  g_print ("# %u disks compared; of their blocks %u had changed, %u were called clean, %u were "
           "called dirty in vain\n",
           totals->compared.backups, totals->compared.changed, totals->compared.clean,
           totals->compared.spare);
  if (options->count < 10)
    return true;
  /* The few on libvirt and on images need not have all of them. */
  return totals->compared.changed > options->count && totals->compared.clean > options->count &&
         (missing == 0 || options->count < 30);
}

static int
all_sequences (const Options *options, guint32 first, bool aloud)
{
  Totals totals = { 0 };
  unsigned failed = 0;

  g_print ("1..%u\n", options->count + 1);
  for (unsigned i = 0; i < options->count; i++) {
    g_autofree char *output = NULL;
    bool ok = run_sequence (options, first + i, &output);

    if (!ok || aloud)
      print_output (output);
    add_counts (output, &totals);
    failed += !ok;
    g_print ("%s %u - VARVE_SEED=%u property %s 1 %s\n", ok ? "ok" : "not ok", i + 1, first + i,
             options->kind, options->steps);
  }
  bool enough = is_enough (options, &totals);
  g_print ("%s %u - something was compared\n", enough ? "ok" : "not ok", options->count + 1);
  return failed || !enough;
}

/* --- a defect ------------------------------------------------------------------------------- */

static int
find_defect (const Options *options, guint32 first)
{
  bool found = false;

  g_print ("1..1\n");
  for (unsigned i = 0; i < options->count && !found; i++) {
    g_autofree char *output = NULL;
    bool ok = run_sequence (options, first + i, &output);

    found = !ok && strstr (output, "and the map misses it");
    if (!ok)
      print_output (output);
    if (!ok && !found)
      break;
    g_print ("# VARVE_SEED=%u property --find %s %s 1 %s: %s\n", first + i, options->defect,
             options->kind, options->steps, found ? "found" : "not met");
  }
  g_print ("%s 1 - the defect '%s' is found\n", found ? "ok" : "not ok", options->defect);
  return !found;
}

/* --- main ----------------------------------------------------------------------------------- */

static bool
parse_options (int argc, char **argv, Options *options)
{
  int at = argc > 2 && g_str_equal (argv[1], "--find") ? 3 : 1;
  WorldKind kind;
  Defect defect;

  options->defect = at == 3 ? argv[2] : "none";
  if (argc < at + 2 || argc > at + 3 || !world_kind_parse (argv[at], &kind) ||
      !defect_parse (options->defect, &defect) || (defect != DEFECT_NONE && kind == WORLD_LIBVIRT))
    return false;
  options->kind = argv[at];
  options->count = number_of (argv[at + 1]);
  options->steps = argc > at + 2 ? argv[at + 2] : "12";
  return true;
}

int
main (int argc, char **argv)
{
  const char *given = g_getenv ("VARVE_SEED");
  const char *missing;
  Options options;

  if (argc > 6 && g_str_equal (argv[1], "--worker"))
    return worker_main (argv + 2);
  if (argc == 6 && g_str_equal (argv[1], "--sequence"))
    return one_sequence (argv + 2);
  if (!parse_options (argc, argv, &options)) {
    g_printerr (USAGE);
    return 2;
  }
  missing = lacking (options.kind);
  if (missing) {
    g_print ("1..0 # SKIP no %s\n", missing);
    return 0;
  }
  guint32 first = given ? number_of (given) : g_random_int ();
  if (!g_str_equal (options.defect, "none"))
    return find_defect (&options, first);
  options.count = given ? 1 : options.count;
  return all_sequences (&options, first, given != NULL);
}
