/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* ACLs as the kernel takes them, in an extended attribute: a version, then entries of tag, rights and id, all
 * little-endian, by tag and then by id (linux/posix_acl_xattr.h). Few lines, in place of a library. */
#include "config.h"
#include "util/pass.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "util/error.h"

#define ACL_NAME    "system.posix_acl_access"
#define ACL_VERSION 2
#define ACL_MAX     (64 * 1024) /* XATTR_SIZE_MAX */
#define NO_ID       UINT32_MAX

enum { TAG_OWNER = 0x01, TAG_USER = 0x02, TAG_GROUP = 0x04, TAG_MASK = 0x10, TAG_OTHER = 0x20 };

#define PASS 1u

typedef struct {
  uint16_t tag, rights;
  uint32_t id;
} Entry;

static void
add (GArray *acl, uint16_t tag, uint32_t rights, uint32_t id)
{
  Entry entry = { htole16 (tag), htole16 ((uint16_t)rights), htole32 (id) };

  g_array_append_val (acl, entry);
}

static Entry *
at (GArray *acl, guint i)
{
  return &g_array_index (acl, Entry, i);
}

/* What a mode says in these terms. */
static void
read_mode (GArray *acl, mode_t mode)
{
  add (acl, TAG_OWNER, (mode >> 6) & 7, NO_ID);
  add (acl, TAG_GROUP, (mode >> 3) & 7, NO_ID);
  add (acl, TAG_MASK, (mode >> 3) & 7, NO_ID);
  add (acl, TAG_OTHER, mode & 7, NO_ID);
}

static bool
read_entries (GArray *acl, const char *data, size_t length)
{
  uint32_t version;

  if (length < sizeof version || (length - sizeof version) % sizeof (Entry) != 0)
    return false;
  memcpy (&version, data, sizeof version);
  g_array_append_vals (acl, data + sizeof version,
                       (guint)((length - sizeof version) / sizeof (Entry)));
  return le32toh (version) == ACL_VERSION;
}

/* An ACL without a mask names nobody: it is the mode. */
static bool
has_mask (GArray *acl)
{
  for (guint i = 0; i < acl->len; i++) {
    if (le16toh (at (acl, i)->tag) == TAG_MASK)
      return true;
  }
  return false;
}

static bool
read_acl (const char *directory, mode_t mode, GArray *acl, GError **error)
{
  g_autofree char *data = g_malloc (ACL_MAX);
  ssize_t length = getxattr (directory, ACL_NAME, data, ACL_MAX);

  if (length < 0 && errno != ENODATA && errno != EOPNOTSUPP)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The ACL of '%s' cannot be read",
                              directory);
  if (length >= 0 && !read_entries (acl, data, (size_t)length))
    return varve_throw (error, VARVE_ERROR_FAILED, "The ACL of '%s' cannot be understood.",
                        directory);
  if (!has_mask (acl)) {
    g_array_set_size (acl, 0);
    read_mode (acl, mode);
  }
  return true;
}

/* Behind the entries that sort before it, unless there is one. */
static void
grant (GArray *acl, uint32_t uid)
{
  Entry entry = { htole16 (TAG_USER), htole16 (PASS), htole32 (uid) };
  guint place = 0;

  for (guint i = 0; i < acl->len; i++) {
    Entry *known = at (acl, i);
    uint16_t tag = le16toh (known->tag);
    uint32_t id = le32toh (known->id);

    if (tag == TAG_MASK || (tag == TAG_USER && id == uid))
      known->rights = htole16 (le16toh (known->rights) | PASS);
    if (tag == TAG_USER && id == uid)
      place = G_MAXUINT;
    else if (place != G_MAXUINT && (tag == TAG_OWNER || (tag == TAG_USER && id < uid)))
      place = i + 1;
  }
  if (place != G_MAXUINT)
    g_array_insert_val (acl, place, entry);
}

static bool
write_acl (const char *directory, GArray *acl, GError **error)
{
  uint32_t version = htole32 (ACL_VERSION);
  g_autoptr (GByteArray) data = g_byte_array_new ();

  g_byte_array_append (data, (const guint8 *)&version, sizeof version);
  g_byte_array_append (data, (const guint8 *)acl->data, (guint)(acl->len * sizeof (Entry)));
  if (setxattr (directory, ACL_NAME, data->data, data->len, 0) == 0)
    return true;
  if (errno == EOPNOTSUPP)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The file system of '%s' keeps no ACLs, so that nobody can be let through "
                        "alone.",
                        directory);
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The ACL of '%s' cannot be changed",
                            directory);
}

bool
varve_pass_allow (const char *directory, uid_t uid, GError **error)
{
  g_autoptr (GArray) acl = g_array_new (FALSE, FALSE, sizeof (Entry));
  struct stat st;

  if (stat (directory, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "'%s' cannot be examined",
                              directory);
  if (uid == 0 || (st.st_mode & S_IXOTH) || (st.st_uid == uid && (st.st_mode & S_IXUSR)))
    return true;
  if (!read_acl (directory, st.st_mode, acl, error))
    return false;
  grant (acl, uid);
  return write_acl (directory, acl, error);
}

bool
varve_pass_allow_way (const char *root, const char *path, uid_t uid, GError **error)
{
  g_autofree char *directory = g_path_get_dirname (path);

  while (varve_pass_allow (directory, uid, error)) {
    char *above;

    if (strlen (directory) <= strlen (root))
      return true;
    above = g_path_get_dirname (directory);
    g_free (directory);
    directory = above;
  }
  return false;
}

bool
varve_pass_forget (const char *directory, mode_t mode, GError **error)
{
  if (removexattr (directory, ACL_NAME) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The ACL of '%s' cannot be removed",
                              directory);
  return chmod (directory, mode) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The mode of '%s' cannot be set",
                            directory);
}
