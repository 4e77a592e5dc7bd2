/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Who QEMU runs as, and whether that user gets where it must: QEMU itself makes the socket (so it
 * must be able to write in its directory), and opens the scratch image that libvirtd has made (so
 * it must be able to pass through the directories above). */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BUFFER 16384

static bool
find_user (const char *name, uid_t *out, GError **error)
{
  g_autofree char *buffer = g_malloc (NAME_BUFFER);
  struct passwd entry, *found = NULL;

  if (getpwnam_r (name, &entry, buffer, NAME_BUFFER, &found) != 0 || !found)
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "libvirt runs QEMU as user '%s', who is not known to this host.", name);
  *out = entry.pw_uid;
  return true;
}

static bool
find_group (const char *name, gid_t *out, GError **error)
{
  g_autofree char *buffer = g_malloc (NAME_BUFFER);
  struct group entry, *found = NULL;

  if (getgrnam_r (name, &entry, buffer, NAME_BUFFER, &found) != 0 || !found)
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "libvirt runs QEMU in group '%s', which is not known to this host.", name);
  *out = entry.gr_gid;
  return true;
}

/* A number, with or without '+'; libvirt always writes the '+', so that a name of digits stays a
 * name. */
static bool
read_id (const char *text, uint32_t *out)
{
  guint64 id;

  if (!g_ascii_string_to_unsigned (*text == '+' ? text + 1 : text, 10, 0, UINT32_MAX - 1, &id,
                                   NULL))
    return false;
  *out = (uint32_t)id;
  return true;
}

bool
varve_libvirt_parse_label (const char *label, uid_t *out_uid, gid_t *out_gid, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (label, ":", 2);

  if (!parts[0] || !*parts[0] || !parts[1] || !*parts[1])
    return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                        "libvirt's label '%s' does not name a user and a group.", label);
  return (read_id (parts[0], out_uid) || find_user (parts[0], out_uid, error)) &&
         (read_id (parts[1], out_gid) || find_group (parts[1], out_gid, error));
}

/* The running domain's own label, else what the host gives to domains of its type. */
static bool
find_label (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition, char **out,
            GError **error)
{
  g_autofree char *xml = NULL;

  *out = g_strdup (definition->dac_label);
  if (*out)
    return true;
  xml = virConnectGetCapabilities (self->connection);
  if (!xml)
    return varve_libvirt_throw (error, "Cannot read the capabilities of this host");
  return varve_libvirt_capabilities_label (xml, definition->type ? definition->type : "kvm", out,
                                           error);
}

/* Without a label QEMU runs as we do; without root's rights nothing can be given away. */
bool
varve_libvirt_qemu_user (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                         bool *out_other, uid_t *out_uid, gid_t *out_gid, GError **error)
{
  g_autofree char *label = NULL;

  *out_other = false;
  if (!find_label (self, definition, &label, error))
    return false;
  if (!label || geteuid () != 0)
    return true;
  *out_other = true;
  return varve_libvirt_parse_label (label, out_uid, out_gid, error);
}

bool
varve_libvirt_open_directory (VarveLibvirtDomain *self, const VarveLibvirtDefinition *definition,
                              const char *directory, GError **error)
{
  struct stat st;
  bool other;
  uid_t uid;
  gid_t gid;

  if (!varve_libvirt_qemu_user (self, definition, &other, &uid, &gid, error))
    return false;
  if (lstat (directory, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot look at the directory '%s' for the sockets of domain '%s'",
                              directory, self->base.name);
  if (!S_ISDIR (st.st_mode))
    return varve_throw (error, VARVE_ERROR_FAILED, "'%s' is not a directory.", directory);
  if (other && (lchown (directory, uid, gid) < 0 || chmod (directory, 0770) < 0))
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot give the directory '%s' to QEMU's user (%u:%u)", directory,
                              (unsigned)uid, (unsigned)gid);
  return true;
}

char *
varve_libvirt_closed_directory (const char *path)
{
  g_autofree char *above = g_path_get_dirname (path);
  char *closed = NULL;
  struct stat st;

  /* From the path upwards, so that the topmost closed one is found last and named. */
  while (!g_str_equal (above, "/") && !g_str_equal (above, ".")) {
    char *next = g_path_get_dirname (above);

    if (stat (above, &st) == 0 && !(st.st_mode & S_IXOTH)) {
      g_free (closed);
      closed = g_strdup (above);
    }
    g_free (above);
    above = next;
  }
  return closed;
}
