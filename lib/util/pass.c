/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "util/pass.h"

#include <errno.h>
#include <string.h>
#include <acl/libacl.h>
#include <sys/acl.h>
#include <sys/stat.h>

#include "util/error.h"

G_DEFINE_AUTO_CLEANUP_FREE_FUNC (acl_t, acl_free, NULL)

static bool
fail (GError **error, const char *directory)
{
  if (errno == EOPNOTSUPP)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "The file system of '%s' keeps no ACLs, so that nobody can be let through "
                        "alone.",
                        directory);
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The ACL of '%s' cannot be changed",
                            directory);
}

static bool
is_user (acl_entry_t entry, uid_t uid)
{
  uid_t *named = acl_get_qualifier (entry);
  bool is = named != NULL && *named == uid;

  acl_free (named);
  return is;
}

/* The entry of that user, the mask, or the group that has the directory; NULL: there is none. */
static acl_entry_t
find (acl_t acl, acl_tag_t wanted, uid_t uid)
{
  acl_entry_t entry = NULL;

  for (int which = ACL_FIRST_ENTRY; acl_get_entry (acl, which, &entry) == 1;
       which = ACL_NEXT_ENTRY) {
    acl_tag_t tag;

    if (acl_get_tag_type (entry, &tag) == 0 && tag == wanted &&
        (tag != ACL_USER || is_user (entry, uid)))
      return entry;
  }
  return NULL;
}

static bool
add_pass (acl_entry_t entry)
{
  acl_permset_t rights;

  return acl_get_permset (entry, &rights) == 0 && acl_add_perm (rights, ACL_EXECUTE) == 0;
}

static bool
grant (acl_t *acl, uid_t uid)
{
  acl_entry_t entry = find (*acl, ACL_USER, uid);

  return (entry != NULL ||
          (acl_create_entry (acl, &entry) == 0 && acl_set_tag_type (entry, ACL_USER) == 0 &&
           acl_set_qualifier (entry, &uid) == 0)) &&
         add_pass (entry);
}

/* Not as acl_calc_mask() has it, which would give each group what the mask keeps from it. An ACL without a mask is a mode, which
 * has what the group may in its place. */
static bool
let_through_mask (acl_t *acl)
{
  acl_entry_t mask = find (*acl, ACL_MASK, 0), group;
  acl_permset_t rights;

  if (mask != NULL)
    return add_pass (mask);
  if (acl_create_entry (acl, &mask) < 0 || acl_set_tag_type (mask, ACL_MASK) < 0)
    return false;
  group = find (*acl, ACL_GROUP_OBJ, 0);
  return group != NULL && acl_get_permset (group, &rights) == 0 &&
         acl_set_permset (mask, rights) == 0 && add_pass (mask);
}

bool
varve_pass_allow (const char *directory, uid_t uid, GError **error)
{
  g_auto (acl_t) acl = NULL;
  struct stat st;

  if (stat (directory, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "'%s' cannot be examined",
                              directory);
  if (uid == 0 || (st.st_mode & S_IXOTH) || (st.st_uid == uid && (st.st_mode & S_IXUSR)))
    return true;
  acl = acl_get_file (directory, ACL_TYPE_ACCESS);
  if (acl == NULL || !grant (&acl, uid) || !let_through_mask (&acl) ||
      acl_set_file (directory, ACL_TYPE_ACCESS, acl) < 0)
    return fail (error, directory);
  return true;
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
  g_auto (acl_t) acl = acl_from_mode (mode);

  if (acl == NULL || (acl_set_file (directory, ACL_TYPE_ACCESS, acl) < 0 && errno != EOPNOTSUPP))
    return fail (error, directory);
  return chmod (directory, mode) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "The mode of '%s' cannot be set",
                            directory);
}
