/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A new domain on this host: all that it needs is asked for before anything is written, as nobody wants to hear behind hours
 * of copying that a bridge is missing. libvirt itself looks at most of it only when the domain is started. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/failpoint.h"
#include "util/same-file.h"
#include "virt/libvirt/libvirt-tpm.h"
#include "virt/libvirt/libvirt-tree.h"

#define BY_HAND                                                                                    \
  "or restore the disks alone, and define the domain by an edited copy of the backup's domain.xml"

typedef struct {
  virConnectPtr connection;
  const VarveNewDomain *wanted;
  VarveDefinition *definition;
  VarveLibvirtDefinition *parsed;
  VarveLibvirtTree *doc; /* of the new definition */
  char *capabilities;    /* of this host, for its type and machine */
} Check;

static void
check_clear (Check *check)
{
  g_clear_pointer (&check->capabilities, g_free);
  g_clear_pointer (&check->doc, varve_libvirt_tree_free);
  g_clear_pointer (&check->parsed, varve_libvirt_definition_free);
  g_clear_pointer (&check->definition, varve_definition_free);
  g_clear_pointer (&check->connection, virConnectClose);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Check, check_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (virNetwork, virNetworkFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (virStoragePool, virStoragePoolFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (virSecret, virSecretFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (virConnect, virConnectClose)

/* --- its name --------------------------------------------------------------------------------- */

static bool
check_name (const Check *check, GError **error)
{
  g_autoptr (virDomain) domain = virDomainLookupByName (check->connection, check->wanted->name);

  if (domain)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "There is a domain '%s' at '%s' already: choose another name for the new "
                        "one, or undefine that one first (virsh undefine).",
                        check->wanted->name, check->wanted->uri);
  return varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN ||
         varve_libvirt_throw (error, "Cannot tell whether there is a domain '%s'",
                              check->wanted->name);
}

/* Of one that comes back. */
static bool
check_uuid (const Check *check, GError **error)
{
  const char *uuid = check->wanted->uuid;
  g_autoptr (virDomain) domain =
      uuid ? virDomainLookupByUUIDString (check->connection, uuid) : NULL;

  if (domain)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s' at '%s' is the one that was backed up, under another name: "
                        "undefine it first (virsh undefine), or choose another name than '%s'.",
                        virDomainGetName (domain), check->wanted->uri, check->wanted->name);
  return !uuid || varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN ||
         varve_libvirt_throw (error, "Cannot tell whether there is a domain with uuid %s", uuid);
}

/* --- what makes it run ------------------------------------------------------------------------ */

/* Emulator, architecture, machine type, and KVM. */
static bool
check_machine (Check *check, GError **error)
{
  const VarveLibvirtDefinition *d = check->parsed;

  check->capabilities = virConnectGetDomainCapabilities (check->connection, d->emulator, d->arch,
                                                         d->machine, d->type, 0);
  if (check->capabilities)
    return true;
  varve_libvirt_throw (error,
                       "This host cannot run domain '%s' as it was (type %s, machine %s, emulator "
                       "%s). Install what is missing, " BY_HAND,
                       check->wanted->name, d->type, d->machine ? d->machine : "of the default",
                       d->emulator ? d->emulator : "of the default");
  return varve_reclassify (error, VARVE_ERROR_REFUSED);
}

static char *
cpu_document (xmlNode *cpu)
{
  xmlBuffer *buffer = xmlBufferCreate ();
  char *text;

  xmlNodeDump (buffer, cpu->doc, cpu, 0, 0);
  text = g_strdup ((const char *)xmlBufferContent (buffer));
  xmlBufferFree (buffer);
  return text;
}

/* One that is named; the host's own is wherever it is. */
static bool
check_cpu (const Check *check, GError **error)
{
  const VarveLibvirtDefinition *d = check->parsed;
  xmlNode *cpu = varve_libvirt_tree_child (xmlDocGetRootElement (check->doc), "cpu");
  g_autofree char *document = NULL;

  if (!varve_libvirt_tree_attribute_is (cpu, "mode", "custom") ||
      varve_libvirt_tree_attribute_is (cpu, "check", "none"))
    return true;
  document = cpu_document (cpu);
  if (virConnectCompareHypervisorCPU (check->connection, d->emulator, d->arch, d->machine, d->type,
                                      document, 0) != VIR_CPU_COMPARE_INCOMPATIBLE)
    return true;
  return varve_throw (error, VARVE_ERROR_REFUSED,
                      "The processor of this host does not have all that domain '%s' was given "
                      "(its <cpu>): restore to another host, " BY_HAND ".",
                      check->wanted->name);
}

static bool
check_file (const Check *check, const char *what, const char *path, GError **error)
{
  return path == NULL || path[0] != '/' || access (path, R_OK) == 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "%s of domain '%s', '%s', is not on this host: bring it here, " BY_HAND ".",
                      what, check->wanted->name, path);
}

static bool
check_boot (const Check *check, GError **error)
{
  xmlNode *os = varve_libvirt_tree_child (xmlDocGetRootElement (check->doc), "os");
  g_autofree char *loader = varve_libvirt_tree_text (varve_libvirt_tree_child (os, "loader"));
  g_autofree char *kernel = varve_libvirt_tree_text (varve_libvirt_tree_child (os, "kernel"));
  g_autofree char *initrd = varve_libvirt_tree_text (varve_libvirt_tree_child (os, "initrd"));

  return check_file (check, "The firmware", loader, error) &&
         check_file (check, "The kernel", kernel, error) &&
         check_file (check, "The initrd", initrd, error);
}

/* --- what it is connected to ------------------------------------------------------------------ */

static bool
check_network (const Check *check, const char *name, GError **error)
{
  g_autoptr (virNetwork) network = virNetworkLookupByName (check->connection, name);

  return network ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "libvirt has no network '%s' here, which an interface of domain "
                      "'%s' is in: make one of that name (virsh net-define), " BY_HAND ".",
                      name, check->wanted->name);
}

static bool
check_host_interface (const Check *check, const char *name, GError **error)
{
  g_autofree char *path = g_build_filename ("/sys/class/net", name, NULL);

  return access (path, F_OK) == 0 ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "This host has no network interface '%s', which domain '%s' is connected "
                      "to: make one of that name, " BY_HAND ".",
                      name, check->wanted->name);
}

static bool
check_interfaces (const Check *check, xmlNode *devices, GError **error)
{
  static const struct {
    const char *type, *attribute;
    bool (*check) (const Check *, const char *, GError **);
  } kinds[] = {
    { "network", "network", check_network },
    { "bridge", "bridge", check_host_interface },
    { "direct", "dev", check_host_interface },
  };
  xmlNode *interface = varve_libvirt_tree_child (devices, "interface");

  for (; interface; interface = varve_libvirt_tree_next (interface)) {
    xmlNode *source = varve_libvirt_tree_child (interface, "source");

    for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++) {
      g_autofree char *name = varve_libvirt_tree_attribute (source, kinds[i].attribute);

      if (name && varve_libvirt_tree_attribute_is (interface, "type", kinds[i].type) &&
          !kinds[i].check (check, name, error))
        return false;
    }
  }
  return true;
}

/* Of media that stay where they are. */
static bool
check_pools (const Check *check, xmlNode *devices, GError **error)
{
  xmlNode *disk = varve_libvirt_tree_child (devices, "disk");

  for (; disk; disk = varve_libvirt_tree_next (disk)) {
    g_autofree char *name =
        varve_libvirt_tree_attribute (varve_libvirt_tree_child (disk, "source"), "pool");
    g_autoptr (virStoragePool) pool =
        name ? virStoragePoolLookupByName (check->connection, name) : NULL;

    if (name && !pool)
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "libvirt has no storage pool '%s' here, which a medium of domain '%s' is "
                          "in: make one of that name (virsh pool-define), " BY_HAND ".",
                          name, check->wanted->name);
  }
  return true;
}

/* --- what it has to itself -------------------------------------------------------------------- */

static bool
is_used_by (const VarveLibvirtDefinition *other, const char *path)
{
  if (other->nvram && varve_same_file (other->nvram, path))
    return true;
  for (guint i = 0; i < other->disks->len; i++) {
    const VarveLibvirtDisk *disk = g_ptr_array_index (other->disks, i);

    if (disk->path && varve_same_file (disk->path, path))
      return true;
  }
  return false;
}

/* Its definition, and what it runs with: a disk may be of one of both. */
static bool
check_other (const Check *check, virDomainPtr domain, const char *path, GError **error)
{
  for (unsigned i = 0; i < 2; i++) {
    g_autofree char *xml = virDomainGetXMLDesc (domain, i == 0 ? VIR_DOMAIN_XML_INACTIVE : 0);
    g_autoptr (VarveLibvirtDefinition) other =
        xml ? varve_libvirt_definition_parse (xml, NULL) : NULL;

    /* Gone since it was listed. */
    if (other && is_used_by (other, path))
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "'%s' is a disk or firmware file of domain '%s': domain '%s' must have "
                          "its own. Name another place.",
                          path, virDomainGetName (domain), check->wanted->name);
  }
  return true;
}

static bool
check_path (const Check *check, virDomainPtr *domains, const char *path, GError **error)
{
  for (; path && *domains; domains++)
    if (!check_other (check, *domains, path, error))
      return false;
  return true;
}

static void
free_domains (virDomainPtr *domains)
{
  for (virDomainPtr *domain = domains; *domain; domain++)
    virDomainFree (*domain);
  g_free (domains);
}

static bool
check_paths (const Check *check, GError **error)
{
  virDomainPtr *domains = NULL;
  bool ok;

  if (virConnectListAllDomains (check->connection, &domains, 0) < 0)
    return varve_libvirt_throw (error, "Cannot list the domains of '%s'", check->wanted->uri);
  ok = check_path (check, domains, check->definition->nvram, error);
  for (guint i = 0; ok && i < check->wanted->disks->len; i++)
    ok = check_path (check, domains, g_array_index (check->wanted->disks, VarveNewDisk, i).path,
                     error);
  free_domains (domains);
  return ok;
}

/* QEMU opens the disks as its own user; libvirt gives him the files, and not the way to them. */
static bool
check_way (const Check *check, GError **error)
{
  VarveLibvirtDomain host = { .connection = check->connection };
  bool other;
  uid_t uid;
  gid_t gid;

  if (!varve_libvirt_qemu_user (&host, check->parsed, &other, &uid, &gid, error))
    return false;
  for (guint i = 0; other && uid != 0 && i < check->wanted->disks->len; i++) {
    const VarveNewDisk *disk = &g_array_index (check->wanted->disks, VarveNewDisk, i);
    g_autofree char *closed = varve_libvirt_closed_directory (disk->path);

    if (closed)
      return varve_throw (error, VARVE_ERROR_REFUSED,
                          "The QEMU of domain '%s' would run as user %u, who may not pass through "
                          "'%s' to its disk '%s': let others pass (chmod o+x), or name another "
                          "place.",
                          check->wanted->name, (unsigned)uid, closed, disk->disk);
  }
  return true;
}

/* Its name while it may still be wanted back. */
static char *
kept_file (const char *path)
{
  return g_strconcat (path, ".varve-old", NULL);
}

static bool
check_nvram (const Check *check, GError **error)
{
  const char *path = check->definition->nvram;
  g_autofree char *directory = path ? g_path_get_dirname (path) : NULL;
  g_autofree char *old = NULL;

  if (path == NULL)
    return true;
  old = kept_file (path);
  if (!check->wanted->replace && (access (path, F_OK) == 0 || access (old, F_OK) == 0))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "The file for the variables of the new domain's firmware, '%s', exists "
                        "already. Remove it, or use --force (force='yes' in a document) to replace "
                        "it.",
                        access (path, F_OK) == 0 ? path : old);
  return g_file_test (directory, G_FILE_TEST_IS_DIR) ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "The directory for the variables of the new domain's firmware, '%s', is not "
                      "there: make it, " BY_HAND ".",
                      directory);
}

/* Whether its value is the one of then can only be seen by swtpm. */
static bool
check_secret (const Check *check, const char *uuid, GError **error)
{
  g_autoptr (virSecret) secret = virSecretLookupByUUIDString (check->connection, uuid);
  unsigned char *value;
  size_t length = 0;

  if (!secret)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "libvirt has no secret %s here, which the state of the TPM of domain '%s' "
                        "is encrypted with: bring it here (virsh secret-define, "
                        "secret-set-value), " BY_HAND ".",
                        uuid, check->wanted->name);
  value = virSecretGetValue (secret, &length, 0);
  if (value)
    explicit_bzero (value, length);
  g_free (value);
  /* A private one is told to nobody. */
  return value || varve_libvirt_error_code () != VIR_ERR_NO_SECRET ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "libvirt's secret %s, which the state of the TPM of domain '%s' is encrypted "
                      "with, has no value here: set it (virsh secret-set-value), " BY_HAND ".",
                      uuid, check->wanted->name);
}

static bool
check_tpm (const Check *check, GError **error)
{
  const VarveLibvirtTpm *tpm = check->parsed->tpm;
  const char *path = check->definition->tpm;

  if (tpm == NULL)
    return true;
  if (!varve_libvirt_capabilities_tpm (check->capabilities, tpm))
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "This host cannot give domain '%s' the TPM that it had (model %s, version "
                        "%s, emulated): install swtpm and swtpm-tools, " BY_HAND ".",
                        check->wanted->name, tpm->model, tpm->version);
  return (!tpm->secret || check_secret (check, tpm->secret, error)) &&
         (!path || varve_libvirt_tpm_check (path, error));
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool
check_all (Check *check, GError **error)
{
  xmlNode *devices = varve_libvirt_tree_child (xmlDocGetRootElement (check->doc), "devices");

  return check_name (check, error) && check_uuid (check, error) && check_machine (check, error) &&
         check_cpu (check, error) && check_boot (check, error) &&
         check_interfaces (check, devices, error) && check_pools (check, devices, error) &&
         check_nvram (check, error) && check_tpm (check, error) && check_paths (check, error) &&
         check_way (check, error);
}

VarveDefinition *
varve_libvirt_define_prepare (const VarveNewDomain *wanted, GCancellable *cancellable,
                              GError **error)
{
  VARVE_SIGPIPE_GUARD;
  g_auto (Check) check = { .wanted = wanted };

  check.definition = varve_libvirt_clone (wanted, error);
  if (check.definition == NULL)
    return NULL;
  check.parsed = varve_libvirt_definition_parse (check.definition->xml, error);
  check.doc = varve_libvirt_tree_parse (check.definition->xml, "domain", error);
  if (!check.parsed || !check.doc || g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  check.connection = varve_libvirt_connect_here (wanted->uri, error);
  return check.connection && check_all (&check, error) ? g_steal_pointer (&check.definition) : NULL;
}

/* --- what belongs to it, and the domain ------------------------------------------------------- */

/* What is replaced keeps a second name until the domain is defined. One that is there already is of somebody who was
 * killed, and what was there before. */
static bool
put_away (const char *path, GError **error)
{
  g_autofree char *old = kept_file (path);

  if (link (path, old) == 0 || errno == ENOENT || errno == EEXIST)
    return true;
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot keep '%s' as '%s'", path,
                            old);
}

static void
put_back (const char *path)
{
  g_autofree char *old = kept_file (path);

  if (rename (old, path) < 0)
    unlink (path);
  varve_sync_parent (path, NULL);
}

static bool
write_nvram (const VarveDefinition *definition, GBytes *nvram, GError **error)
{
  const char *path = definition->nvram;
  gsize length;
  const char *data = g_bytes_get_data (nvram, &length);

  if (!definition->replace
          ? varve_durable_create (path, data, length, 0600, error)
          : put_away (path, error) && varve_durable_replace (path, data, length, 0600, error))
    return true;
  if (definition->replace)
    put_back (path);
  return varve_prefix (error, "The variables of the firmware of domain '%s'", definition->name);
}

static bool
write_tpm (virConnectPtr connection, const VarveDefinition *definition, GBytes *tpm, GError **error)
{
  return varve_libvirt_tpm_sweep (connection, definition->tpm, definition->name, error) &&
         varve_libvirt_tpm_write (definition->tpm, definition->name, tpm, error);
}

static bool
define (virConnectPtr connection, const VarveDefinition *definition, GError **error)
{
  g_autoptr (virDomain) domain = NULL;

  if (!varve_failpoint ("define-files", error))
    return false;
  domain = virDomainDefineXML (connection, definition->xml);
  return domain ||
         varve_libvirt_throw (error, "libvirt does not define domain '%s'", definition->name);
}

/* Now that the domain is there, they are its own. */
static void
keep_files (const VarveDefinition *definition, bool nvram, bool tpm)
{
  g_autofree char *old = nvram ? kept_file (definition->nvram) : NULL;

  if (nvram)
    varve_durable_unlink (old, NULL);
  if (tpm)
    varve_libvirt_tpm_keep (definition->tpm);
}

bool
varve_libvirt_define_finish (const VarveDefinition *definition, GBytes *nvram, GBytes *tpm,
                             GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  g_autoptr (virConnect) connection = varve_libvirt_connect_here (definition->uri, error);
  bool has_nvram = definition->nvram && nvram;
  bool has_tpm = definition->tpm && tpm;

  if (!connection || (has_tpm && !write_tpm (connection, definition, tpm, error)))
    return false;
  if (!has_nvram || write_nvram (definition, nvram, error)) {
    if (define (connection, definition, error)) {
      keep_files (definition, has_nvram, has_tpm);
      return true;
    }
    if (has_nvram)
      put_back (definition->nvram);
  }
  if (has_tpm)
    varve_libvirt_tpm_drop (definition->tpm);
  return false;
}

static bool
has_disk (virDomainPtr domain, const char *path)
{
  g_autofree char *xml = virDomainGetXMLDesc (domain, VIR_DOMAIN_XML_INACTIVE);
  g_autoptr (VarveLibvirtDefinition) definition =
      xml ? varve_libvirt_definition_parse (xml, NULL) : NULL;

  return definition && is_used_by (definition, path);
}

/* Of a domain that has never been there. A TPM's state without our note is somebody's. */
static bool
remove_files (const char *nvram, const char *tpm, GError **error)
{
  if (tpm && varve_libvirt_tpm_is_pending (tpm))
    varve_libvirt_tpm_drop (tpm);
  return !nvram || access (nvram, F_OK) < 0 || varve_durable_unlink (nvram, error);
}

bool
varve_libvirt_define_undo (const char *uri, const char *uuid, const char *path, const char *nvram,
                           const char *tpm, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  g_autoptr (virConnect) connection = varve_libvirt_connect_here (uri, error);
  g_autoptr (virDomain) domain = connection ? virDomainLookupByUUIDString (connection, uuid) : NULL;

  if (!connection)
    return false;
  if (!domain && varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN)
    return remove_files (nvram, tpm, error);
  if (domain && (virDomainIsActive (domain) > 0 || !has_disk (domain, path)))
    return true;
  return (domain && virDomainUndefineFlags (domain, VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
                                                        VIR_DOMAIN_UNDEFINE_NVRAM) == 0) ||
         varve_libvirt_throw (error, "Cannot undefine the new domain with uuid %s", uuid);
}
