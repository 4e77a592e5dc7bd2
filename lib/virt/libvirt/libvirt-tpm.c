/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "virt/libvirt/libvirt-tpm.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/durable.h"

#define SYSTEM_BASE "/var/lib/libvirt/swtpm"
#define QEMU_CONF   "/etc/libvirt/qemu.conf"
/* libvirt's default, where there is such a user; else root. */
#define SWTPM_USER "tss"
/* Beside the directory of the state: for whom it is, as long as that is not defined. */
#define PENDING "varve-pending"
/* swtpm's own limit is far below. */
#define STATE_MAX (16 * 1024 * 1024)

/* --- where it is ------------------------------------------------------------------------------ */

static char *
find_base (const char *uri)
{
  g_autoptr (GUri) parsed = g_uri_parse (uri, G_URI_FLAGS_NON_DNS, NULL);
  const char *path = parsed ? g_uri_get_path (parsed) : "";

  if (g_str_equal (path, "/system"))
    return g_strdup (SYSTEM_BASE);
  if (g_str_equal (path, "/session"))
    return g_build_filename (g_get_user_config_dir (), "libvirt", "qemu", "swtpm", NULL);
  return NULL;
}

static bool
is_old (const VarveLibvirtTpm *tpm)
{
  return g_strcmp0 (tpm->version, "1.2") == 0;
}

static const char *
file_name (const VarveLibvirtTpm *tpm)
{
  return is_old (tpm) ? "tpm-00.permall" : "tpm2-00.permall";
}

char *
varve_libvirt_tpm_path (const char *uri, const char *uuid, const VarveLibvirtTpm *tpm)
{
  g_autofree char *base = find_base (uri);

  return base ? g_build_filename (base, uuid, is_old (tpm) ? "tpm1.2" : "tpm2", file_name (tpm),
                                  NULL)
              : NULL;
}

/* BASE/UUID of BASE/UUID/tpm2/tpm2-00.permall. (transfer full) */
static char *
domain_directory (const char *path)
{
  g_autofree char *state = g_path_get_dirname (path);

  return g_path_get_dirname (state);
}

static char *
base_directory (const char *path)
{
  g_autofree char *directory = domain_directory (path);

  return g_path_get_dirname (directory);
}

/* --- of a domain that is backed up ------------------------------------------------------------ */

void
varve_libvirt_tpm_read (const VarveDomain *domain, const VarveLibvirtTpm *tpm, GBytes **out_state,
                        char **out_why_not)
{
  g_autofree char *path = tpm->place ? g_build_filename (tpm->place, file_name (tpm), NULL)
                                     : varve_libvirt_tpm_path (domain->uri, domain->uuid, tpm);
  g_autoptr (GError) error = NULL;
  char *data;
  size_t length;

  if (!domain->local)
    *out_why_not = g_strdup ("it is on another host");
  else if (tpm->place && tpm->is_file)
    *out_why_not = g_strdup_printf ("a state in a single file, '%s', is not supported", tpm->place);
  else if (!path)
    *out_why_not = g_strdup_printf ("where '%s' keeps it is not known", domain->uri);
  else if (varve_read_file (path, STATE_MAX, &data, &length, &error))
    *out_state = g_bytes_new_take (data, length);
  else if (varve_error_matches (error, VARVE_ERROR_NOT_FOUND))
    *out_why_not = g_strdup_printf ("there is none yet in '%s'", path);
  else
    *out_why_not = g_strdup (error->message);
}

/* --- of one that is defined ------------------------------------------------------------------- */

/* The value of a line NAME = "VALUE", as libvirt itself has it in that file. (transfer full) */
static char *
read_setting (const char *conf, const char *name)
{
  g_autofree char *pattern = g_strdup_printf ("^[ \\t]*%s[ \\t]*=[ \\t]*\"?([^\"\\s]*)\"?", name);
  g_autoptr (GRegex) regex = g_regex_new (pattern, G_REGEX_MULTILINE, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;

  return g_regex_match (regex, conf, 0, &match) ? g_match_info_fetch (match, 1) : NULL;
}

/* Who swtpm runs as. A session's runs as we do, and so does all that is not root's to give away. */
static bool
find_owner (uid_t *out_uid, gid_t *out_gid, GError **error)
{
  g_autofree char *conf = NULL;
  g_autofree char *user = NULL;
  g_autofree char *group = NULL;
  g_autofree char *label = NULL;
  const char *usual;

  *out_uid = geteuid ();
  *out_gid = getegid ();
  if (*out_uid != 0)
    return true;
  if (g_file_get_contents (QEMU_CONF, &conf, NULL, NULL)) {
    user = read_setting (conf, "swtpm_user");
    group = read_setting (conf, "swtpm_group");
  }
  usual = varve_libvirt_parse_label (SWTPM_USER ":" SWTPM_USER, out_uid, out_gid, NULL) ? SWTPM_USER
                                                                                        : "+0";
  label = g_strdup_printf ("%s:%s", user ? user : usual, group ? group : usual);
  return varve_libvirt_parse_label (label, out_uid, out_gid, error) ||
         varve_prefix (error, "The user of swtpm in " QEMU_CONF);
}

bool
varve_libvirt_tpm_is_pending (const char *path)
{
  g_autofree char *directory = domain_directory (path);
  g_autofree char *pending = g_build_filename (directory, PENDING, NULL);

  return access (pending, F_OK) == 0;
}

/* One that was begun and came to nothing has our note, and goes before another is begun. */
static bool
check_free (const char *path, GError **error)
{
  g_autofree char *directory = domain_directory (path);

  return access (directory, F_OK) < 0 || varve_libvirt_tpm_is_pending (path) ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The directory for the state of the new domain's TPM, '%s', exists already: "
                      "it may be all that is left of another TPM, so move it away",
                      directory);
}

bool
varve_libvirt_tpm_check (const char *path, GError **error)
{
  g_autofree char *base = base_directory (path);
  g_autofree char *above = g_path_get_dirname (base);
  const char *there = access (base, F_OK) == 0 ? base : above;
  uid_t uid;
  gid_t gid;

  if (!check_free (path, error))
    return false;
  if (access (there, W_OK) < 0)
    return varve_throw_errno (error, VARVE_ERROR_REFUSED, errno,
                              "The directory for the state of the new domain's TPM, '%s', cannot "
                              "be written",
                              there);
  return find_owner (&uid, &gid, error);
}

/* As libvirt makes them: others may pass to the directory of the state, and only swtpm's user into it. */
static bool
make_directory (const char *path, mode_t mode, uid_t uid, gid_t gid, GError **error)
{
  if (mkdir (path, mode) == 0 && chown (path, uid, gid) == 0 && chmod (path, mode) == 0)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot make the directory '%s'",
                            path);
}

static bool
write_state (const char *path, GBytes *state, uid_t uid, gid_t gid, GError **error)
{
  gsize length;
  const char *data = g_bytes_get_data (state, &length);

  if (!varve_write_synced (path, data, length, 0600, error))
    return false;
  return chown (path, uid, gid) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot give '%s' to swtpm's user",
                            path);
}

/* The note comes first: there is no state without it. */
static bool
fill_directory (const char *path, const char *name, GBytes *state, uid_t uid, gid_t gid,
                GError **error)
{
  g_autofree char *inner = g_path_get_dirname (path);
  g_autofree char *directory = g_path_get_dirname (inner);
  g_autofree char *pending = g_build_filename (directory, PENDING, NULL);

  return varve_write_synced (pending, name, strlen (name), 0600, error) &&
         make_directory (inner, 0700, uid, gid, error) &&
         write_state (path, state, uid, gid, error) && varve_sync_path (inner, error) &&
         varve_sync_path (directory, error) && varve_sync_parent (directory, error);
}

bool
varve_libvirt_tpm_write (const char *path, const char *name, GBytes *state, GError **error)
{
  g_autofree char *directory = domain_directory (path);
  g_autofree char *base = g_path_get_dirname (directory);
  uid_t uid;
  gid_t gid;

  if (find_owner (&uid, &gid, error) && varve_make_directories (base, 0711, error) &&
      make_directory (directory, 0711, geteuid (), getegid (), error)) {
    if (fill_directory (path, name, state, uid, gid, error))
      return true;
    varve_libvirt_tpm_drop (path);
  }
  return varve_prefix (error, "The state of the TPM of domain '%s'", name);
}

void
varve_libvirt_tpm_keep (const char *path)
{
  g_autofree char *directory = domain_directory (path);
  g_autofree char *pending = g_build_filename (directory, PENDING, NULL);

  varve_durable_unlink (pending, NULL);
}

void
varve_libvirt_tpm_drop (const char *path)
{
  g_autofree char *directory = domain_directory (path);

  varve_remove_tree (directory, NULL);
}

/* --- left by somebody who was killed ---------------------------------------------------------- */

static bool
is_pending (const char *directory, const char *name)
{
  g_autofree char *pending = g_build_filename (directory, PENDING, NULL);
  g_autofree char *whose = NULL;

  return g_file_get_contents (pending, &whose, NULL, NULL) && g_str_equal (whose, name);
}

/* A kill behind the definition leaves the note, too. */
static bool
is_defined (virConnectPtr connection, const char *uuid)
{
  virDomainPtr domain = virDomainLookupByUUIDString (connection, uuid);
  bool unknown = !domain && varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN;

  if (domain)
    virDomainFree (domain);
  return !unknown;
}

bool
varve_libvirt_tpm_sweep (virConnectPtr connection, const char *path, const char *name,
                         GError **error)
{
  g_autofree char *base = base_directory (path);
  g_autoptr (GDir) dir = g_dir_open (base, 0, NULL);
  const char *uuid;

  while (dir && (uuid = g_dir_read_name (dir)) != NULL) {
    g_autofree char *directory = g_build_filename (base, uuid, NULL);

    if (is_pending (directory, name) && !is_defined (connection, uuid) &&
        !varve_remove_tree (directory, error))
      return false;
  }
  return true;
}
