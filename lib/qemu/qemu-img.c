/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Runs qemu-img. Images are given as json: names without a backing file: no format is probed, no
 * file but the one named is opened, and no character of a path is special. QEMU's words are in
 * English (LC_ALL=C), and the few that mean a decision are recognised in throw_complaint, and
 * nowhere else. */
#include "config.h"
#include "qemu/qemu-img.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/child.h"
#include "qemu/image-info.h"
#include "qemu/image-node.h"
#include "qemu/json-get.h"
#include "util/error.h"

#define SECRET_ID "key"

/* qemu-img's exit statuses for "check" (man qemu-img). */
#define CHECK_CORRUPT     2
#define CHECK_LEAKS       3
#define CHECK_UNSUPPORTED 63

static const struct {
  const char *words;
  VarveError code;
  const char *advice;
} known_complaints[] = {
  { "No space left on device", VARVE_ERROR_NO_SPACE, "" },
  { "Cannot store dirty bitmaps in qcow2 v2 files", VARVE_ERROR_UNSUPPORTED,
    " Make it version 3 with: qemu-img amend -f qcow2 -o compat=1.1 IMAGE" },
  { "Can't store persistent bitmaps", VARVE_ERROR_UNSUPPORTED, "" },
  { "Bitmap already exists", VARVE_ERROR_EXISTS, "" },
};

static VarveError
code_of (const char *words, const char **out_advice)
{
  *out_advice = "";
  for (size_t i = 0; i < G_N_ELEMENTS (known_complaints); i++) {
    if (strstr (words, known_complaints[i].words)) {
      *out_advice = known_complaints[i].advice;
      return known_complaints[i].code;
    }
  }
  if (strstr (words, "Dirty bitmap '") && g_str_has_suffix (words, "' not found"))
    return VARVE_ERROR_NOT_FOUND;
  return VARVE_ERROR_FAILED;
}

/* QEMU's words with the path in place of our json: name, and without the name of the program. */
static char *
plain_words (const char *complaint, const char *node_name, const char *path)
{
  g_auto (GStrv) parts = g_strsplit (complaint, node_name, -1);
  g_autofree char *words = g_strjoinv (path, parts);
  const char *start = g_str_has_prefix (words, "qemu-img: ") ? words + 10 : words;

  return g_strdup (*start ? start : "it did not say why");
}

static bool
throw_complaint (const VarveImage *image, const char *doing, const char *words, GError **error)
{
  const char *advice = "";
  VarveError code = code_of (words, &advice);

  if (varve_is_lock_failure (words))
    return varve_throw_locked (error, image->path, doing, words);
  if (access (image->path, F_OK) != 0 && errno == ENOENT)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND, "%s failed: there is no such image '%s'.",
                        doing, image->path);
  return varve_throw (error, code, "%s failed for image '%s': %s%s%s", doing, image->path, words,
                      *advice ? "." : "", advice);
}

/* A comma is doubled in the text of an option. */
static char *
double_commas (const char *text)
{
  g_auto (GStrv) parts = g_strsplit (text, ",", -1);

  return g_strjoinv (",,", parts);
}

static void
add_argument (GPtrArray *argv, const char *argument)
{
  g_ptr_array_add (argv, g_strdup (argument));
}

static void
add_secret_object (GPtrArray *argv, const VarveImage *image)
{
  if (!image->key_file)
    return;

  g_autofree char *file = double_commas (image->key_file);
  add_argument (argv, "--object");
  g_ptr_array_add (argv, g_strdup_printf ("secret,id=" SECRET_ID ",file=%s", file));
}

static GPtrArray *
start_argv (const char *command)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);

  add_argument (argv, "qemu-img");
  add_argument (argv, command);
  return argv;
}

static VarveChildResult *
run_argv (GPtrArray *argv, VarveChildKind kind, GCancellable *cancellable, GError **error)
{
  g_ptr_array_add (argv, NULL);
  return varve_child_run ((const char *const *)argv->pdata, kind, cancellable, error);
}

VarveImageInfo *
varve_image_info (const VarveImage *image, bool shared, GCancellable *cancellable, GError **error)
{
  g_autofree char *node = varve_image_node_name (image, &(VarveNodeOptions){ 0 });
  g_autoptr (GPtrArray) argv = start_argv ("info");

  /* Needs no key: only what is encrypted needs one, and the header is not. */
  add_argument (argv, "--output=json");
  if (shared)
    add_argument (argv, "-U");
  add_argument (argv, "--");
  add_argument (argv, node);

  g_autoptr (VarveChildResult) result =
      run_argv (argv, VARVE_CHILD_MAY_BE_ENDED, cancellable, error);
  if (!result)
    return NULL;
  if (result->status != 0) {
    g_autofree char *words = plain_words (result->complaint, node, image->path);

    throw_complaint (image, "Reading the header", words, error);
    return NULL;
  }
  return varve_image_info_parse (image->path, result->output, error);
}

static bool
run_bitmap (const VarveImage *image, const char *doing, const char *const *options,
            const char *name, GCancellable *cancellable, GError **error)
{
  VarveNodeOptions access = { .writable = true, .secret = image->key_file ? SECRET_ID : NULL };
  g_autofree char *node = varve_image_node_name (image, &access);
  g_autoptr (GPtrArray) argv = start_argv ("bitmap");

  for (; *options; options++)
    add_argument (argv, *options);
  add_secret_object (argv, image);
  add_argument (argv, "--");
  add_argument (argv, node);
  add_argument (argv, name);

  g_autoptr (VarveChildResult) result = run_argv (argv, VARVE_CHILD_FINISHES, cancellable, error);
  if (!result)
    return varve_prefix (error, "%s", doing);
  if (result->status == 0)
    return true;

  g_autofree char *words = plain_words (result->complaint, node, image->path);
  return throw_complaint (image, doing, words, error);
}

bool
varve_image_bitmap_add (const VarveImage *image, const char *name, uint32_t granularity,
                        GCancellable *cancellable, GError **error)
{
  g_autofree char *doing = g_strdup_printf ("Adding the bitmap '%s'", name);
  g_autofree char *size = g_strdup_printf ("%u", granularity);
  const char *options[] = { "--add", granularity ? "-g" : NULL, size, NULL };

  return run_bitmap (image, doing, options, name, cancellable, error);
}

bool
varve_image_bitmap_remove (const VarveImage *image, const char *name, GCancellable *cancellable,
                           GError **error)
{
  g_autofree char *doing = g_strdup_printf ("Removing the bitmap '%s'", name);
  const char *options[] = { "--remove", NULL };

  return run_bitmap (image, doing, options, name, cancellable, error);
}

bool
varve_image_bitmap_merge (const VarveImage *image, const char *into, const char *from,
                          GCancellable *cancellable, GError **error)
{
  g_autofree char *doing = g_strdup_printf ("Merging the bitmap '%s' into '%s'", from, into);
  const char *options[] = { "--merge", from, NULL };

  return run_bitmap (image, doing, options, into, cancellable, error);
}

static bool
throw_damaged (const VarveImage *image, const char *output, const char *words, GError **error)
{
  g_autoptr (JsonObject) report = varve_json_parse_object (output, strlen (output), NULL);

  return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                      "Image '%s' is damaged (%" G_GINT64_FORMAT " corruptions, %" G_GINT64_FORMAT
                      " errors while it was checked): %s",
                      image->path, varve_json_int (report, "corruptions", 0),
                      varve_json_int (report, "check-errors", 0), words);
}

/* Why "check" did not even begin. Where the file is there, is ours to read and nobody holds it,
 * what is left is a header that QEMU does not take. */
static bool
throw_unopened (const VarveImage *image, const char *output, const char *words, GError **error)
{
  if (varve_is_lock_failure (words) || access (image->path, R_OK) != 0 ||
      strstr (words, "Invalid password") || strstr (words, "secret"))
    return throw_complaint (image, "Checking", words, error);
  return throw_damaged (image, output, words, error);
}

bool
varve_image_check (const VarveImage *image, GCancellable *cancellable, GError **error)
{
  VarveNodeOptions access = { .secret = image->key_file ? SECRET_ID : NULL };
  g_autofree char *node = varve_image_node_name (image, &access);
  g_autoptr (GPtrArray) argv = start_argv ("check");

  add_argument (argv, "--output=json");
  add_secret_object (argv, image);
  add_argument (argv, "--");
  add_argument (argv, node);

  g_autoptr (VarveChildResult) result =
      run_argv (argv, VARVE_CHILD_MAY_BE_ENDED, cancellable, error);
  if (!result)
    return varve_prefix (error, "Checking image '%s'", image->path);
  if (result->status == 0 || result->status == CHECK_LEAKS || result->status == CHECK_UNSUPPORTED)
    return true;

  g_autofree char *words = plain_words (result->complaint, node, image->path);
  return result->status == CHECK_CORRUPT ? throw_damaged (image, result->output, words, error)
                                         : throw_unopened (image, result->output, words, error);
}

/* Makes the file before qemu-img does: private from the start, and never over another. @out_made
 * says whether it is ours to remove after a failure. */
static bool
reserve_file (const char *path, bool *out_made, GError **error)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat info;

  *out_made = fd >= 0;
  if (fd >= 0)
    return close (fd) == 0 || varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                                                 "Image '%s' could not be created", path);
  if (errno != EEXIST)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Image '%s' could not be created",
                              path);
  if (stat (path, &info) == 0 &&
      (S_ISBLK (info.st_mode) || (S_ISREG (info.st_mode) && info.st_size == 0)))
    return true;
  return varve_throw (error, VARVE_ERROR_EXISTS,
                      "Image '%s' could not be created: there is a file of that name.", path);
}

static void
add_create_options (GPtrArray *argv, const VarveImage *image, const char *backing_file,
                    const char *backing_format)
{
  add_argument (argv, "-q");
  add_argument (argv, "-f");
  add_argument (argv, image->format);
  if (image->key_file) {
    add_secret_object (argv, image);
    add_argument (argv, "-o");
    add_argument (argv, g_str_equal (image->format, "luks")
                            ? "key-secret=" SECRET_ID
                            : "encrypt.format=luks,encrypt.key-secret=" SECRET_ID);
  }
  if (backing_file) {
    /* Not opened now: what is below may be encrypted, or be large. */
    add_argument (argv, "-u");
    add_argument (argv, "-F");
    add_argument (argv, backing_format);
    add_argument (argv, "-b");
    add_argument (argv, backing_file);
  }
}

static bool
check_backing (const VarveImage *image, const char *backing_file, const char *backing_format,
               GError **error)
{
  if (!backing_file)
    return true;
  if (g_str_has_prefix (backing_file, "json:") && backing_format)
    return true;
  if (!backing_format)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Image '%s' cannot be created on '%s' without the format of that.",
                        image->path, backing_file);
  if (backing_file[strcspn (backing_file, ":/")] == ':')
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "Image '%s' cannot be created on '%s': QEMU takes what is before the colon "
                        "for a protocol. Write './' in front.",
                        image->path, backing_file);

  g_autofree char *directory = g_path_get_dirname (image->path);
  g_autofree char *full = g_canonicalize_filename (backing_file, directory);
  if (access (full, F_OK) != 0)
    return varve_throw_errno (error, errno == ENOENT ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_FAILED,
                              errno, "Image '%s' cannot be created on '%s'", image->path, full);
  return true;
}

bool
varve_image_create (const VarveImage *image, uint64_t size, const char *backing_file,
                    const char *backing_format, GCancellable *cancellable, GError **error)
{
  /* Absolute: so no part of it is taken for a protocol. */
  g_autofree char *path = g_canonicalize_filename (image->path, NULL);
  g_autofree char *bytes = g_strdup_printf ("%" G_GUINT64_FORMAT, size);
  g_autoptr (GPtrArray) argv = start_argv ("create");
  bool made = false;

  if (!check_backing (image, backing_file, backing_format, error) ||
      !reserve_file (path, &made, error))
    return false;
  add_create_options (argv, image, backing_file, backing_format);
  add_argument (argv, "--");
  add_argument (argv, path);
  add_argument (argv, bytes);

  g_autoptr (VarveChildResult) result = run_argv (argv, VARVE_CHILD_FINISHES, cancellable, error);
  if (result && result->status == 0)
    return true;

  if (result) {
    g_autofree char *words = plain_words (result->complaint, path, image->path);

    throw_complaint (image, "Creating", words, error);
  }
  if (made)
    unlink (path);
  return false;
}
