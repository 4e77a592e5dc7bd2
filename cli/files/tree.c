/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "files/tree.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

void
entry_free (Entry *entry)
{
  if (entry == NULL)
    return;
  g_free (entry->name);
  g_free (entry->target);
  g_free (entry);
}

const char *
entry_type (const Entry *entry)
{
  switch (entry->mode & S_IFMT) {
  case S_IFREG:
    return "file";
  case S_IFDIR:
    return "directory";
  case S_IFLNK:
    return "symlink";
  case S_IFIFO:
    return "fifo";
  case S_IFSOCK:
    return "socket";
  case S_IFBLK:
    return "block-device";
  case S_IFCHR:
    return "character-device";
  default:
    return "unknown";
  }
}

/* --- names ------------------------------------------------------------------------------------ */

char *
tree_printable (const char *name)
{
  GString *text = g_string_new (NULL);
  const char *p = name;

  while (*p) {
    gunichar c = g_utf8_get_char_validated (p, -1);
    bool is_character = c != (gunichar)-1 && c != (gunichar)-2;
    const char *next = is_character ? g_utf8_next_char (p) : p + 1;

    if (is_character && g_unichar_isprint (c))
      g_string_append_len (text, p, next - p);
    else
      for (; p < next; p++)
        g_string_append_printf (text, "\\%03o", (unsigned char)*p);
    p = next;
  }
  return g_string_free (text, FALSE);
}

char *
tree_join (const char *directory, const char *name)
{
  return g_strconcat (directory, g_str_has_suffix (directory, "/") ? "" : "/", name, NULL);
}

/* A file system can be made to say anything. */
static bool
is_name (const char *name)
{
  return *name != '\0' && strchr (name, '/') == NULL && strcmp (name, ".") != 0 &&
         strcmp (name, "..") != 0;
}

/* --- what is there ---------------------------------------------------------------------------- */

static bool
throw_path (Guest *guest, const char *path, GError **error)
{
  int errnum = guestfs_last_errno (guest->g);
  bool missing = errnum == ENOENT || errnum == ENOTDIR;
  g_autofree char *shown = tree_printable (path);

  if (!missing)
    return guest_throw (guest, VARVE_ERROR_FAILED, error, "'%s' cannot be read", shown);
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "There is no '%s' in the backup.", shown);
  return false;
}

static Entry *
entry_new (const char *name, const struct guestfs_statns *st)
{
  Entry *entry = g_new0 (Entry, 1);

  entry->name = g_strdup (name);
  entry->mode = (guint32)st->st_mode;
  entry->uid = (guint32)st->st_uid;
  entry->gid = (guint32)st->st_gid;
  entry->size = (guint64)st->st_size;
  entry->accessed = (struct timespec){ st->st_atime_sec, st->st_atime_nsec };
  entry->modified = (struct timespec){ st->st_mtime_sec, st->st_mtime_nsec };
  return entry;
}

Entry *
tree_look (Guest *guest, const char *path, GError **error)
{
  g_autofree char *name = g_path_get_basename (path);
  struct guestfs_statns *st = guestfs_statns (guest->g, path);
  Entry *entry;

  if (st == NULL) {
    throw_path (guest, path, error);
    return NULL;
  }
  entry = entry_new (name, st);
  guestfs_free_statns (st);
  return entry;
}

/* The links of all that are some, in one call. */
static bool
read_links (Guest *guest, const char *path, GPtrArray *entries, GError **error)
{
  g_autoptr (GPtrArray) links = g_ptr_array_new ();
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_auto (GStrv) targets = NULL;

  for (guint i = 0; i < entries->len; i++) {
    Entry *entry = g_ptr_array_index (entries, i);

    if (!S_ISLNK (entry->mode))
      continue;
    g_ptr_array_add (links, entry);
    g_ptr_array_add (names, entry->name);
  }
  if (links->len == 0)
    return true;
  g_ptr_array_add (names, NULL);
  targets = guestfs_readlinklist (guest->g, path, (char **)names->pdata);
  if (targets == NULL || g_strv_length (targets) != links->len)
    return throw_path (guest, path, error);
  for (guint i = 0; i < links->len; i++)
    ((Entry *)g_ptr_array_index (links, i))->target = g_strdup (targets[i]);
  return true;
}

/* One that could not be looked at has an inode of -1, and stays as "unknown". */
static bool
add_entries (GPtrArray *entries, char **names, const struct guestfs_statns_list *list)
{
  for (guint i = 0; i < list->len; i++) {
    Entry *entry;

    if (names[i] == NULL || !is_name (names[i]))
      return false;
    entry = entry_new (names[i], &list->val[i]);
    if (list->val[i].st_ino == -1)
      entry->mode = 0;
    g_ptr_array_add (entries, entry);
  }
  return names[list->len] == NULL;
}

static GPtrArray *
make_entries (Guest *guest, const char *path, char **names, GError **error)
{
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func ((GDestroyNotify)entry_free);
  struct guestfs_statns_list *list = guestfs_lstatnslist (guest->g, path, names);
  g_autofree char *shown = NULL;
  bool ok;

  if (list == NULL) {
    throw_path (guest, path, error);
    return NULL;
  }
  ok = add_entries (entries, names, list);
  guestfs_free_statns_list (list);
  if (ok)
    return g_steal_pointer (&entries);
  shown = tree_printable (path);
  g_set_error (error, VARVE_ERROR, VARVE_ERROR_FAILED,
               "The directory '%s' holds names that no file can have.", shown);
  return NULL;
}

GPtrArray *
tree_read (Guest *guest, const char *path, GError **error)
{
  g_auto (GStrv) names = guestfs_ls (guest->g, path);
  g_autoptr (GPtrArray) entries = NULL;

  if (names == NULL) {
    throw_path (guest, path, error);
    return NULL;
  }
  entries = make_entries (guest, path, names, error);
  if (entries == NULL || !read_links (guest, path, entries, error))
    return NULL;
  return g_steal_pointer (&entries);
}

static bool
copied (Guest *guest, int result, const char *path, GError **error)
{
  int errnum = guestfs_last_errno (guest->g);

  if (result == 0)
    return true;
  if (errnum != ENOSPC && errnum != EDQUOT)
    return throw_path (guest, path, error);
  return guest_throw (guest, VARVE_ERROR_NO_SPACE, error, "The target is full");
}

bool
tree_copy (Guest *guest, const char *path, int fd, GError **error)
{
  g_autofree char *local = g_strdup_printf ("/dev/fd/%d", fd);

  return copied (guest, guestfs_download (guest->g, path, local), path, error);
}

/* With owners as numbers: the names are those of the guest, and not known in the appliance. */
bool
tree_archive (Guest *guest, const char *path, int fd, GError **error)
{
  g_autofree char *local = g_strdup_printf ("/dev/fd/%d", fd);

  return copied (
      guest, guestfs_tar_out_opts (guest->g, path, local, GUESTFS_TAR_OUT_OPTS_NUMERICOWNER, 1, -1),
      path, error);
}
