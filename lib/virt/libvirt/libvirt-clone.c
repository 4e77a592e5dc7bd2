/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The definition of a domain turned into that of another, with disks of its own. A pure function of its documents: what
 * the host has of it is libvirt-define.c's.
 *
 *   as it was      all that makes the machine: devices, addresses, firmware, boot order, metadata
 *   its own        name, uuid, generation id, MAC addresses, the vsock's address, firmware variables, TPM state
 *   left out       disks that are not restored, names of host interfaces
 *
 * One that is the old domain, come back, has but the disks and the generation id of its own. */
#include "config.h"

#include "virt/libvirt/libvirt-xml.h"

#include <string.h>
#include <unistd.h>

#include "util/error.h"
#include "virt/libvirt/libvirt-tpm.h"
#include "virt/libvirt/libvirt-tree.h"

#define NVRAM_SUFFIX "_VARS.fd"

static void note (GPtrArray *notes, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
note (GPtrArray *notes, const char *format, ...)
{
  va_list ap;

  va_start (ap, format);
  g_ptr_array_add (notes, g_strdup_vprintf (format, ap));
  va_end (ap);
}

/* --- steps in the tree ------------------------------------------------------------------------ */

static void
drop (xmlNode *node)
{
  if (node == NULL)
    return;
  xmlUnlinkNode (node);
  xmlFreeNode (node);
}

static void
drop_children (xmlNode *node, const char *name)
{
  xmlNode *child;

  while ((child = varve_libvirt_tree_child (node, name)) != NULL)
    drop (child);
}

static void
set_attribute (xmlNode *node, const char *name, const char *value)
{
  xmlSetProp (node, (const xmlChar *)name, (const xmlChar *)value);
}

static void
set_text (xmlNode *node, const char *text)
{
  xmlNodeSetContent (node, NULL);
  if (text)
    xmlNodeAddContent (node, (const xmlChar *)text);
}

static xmlNode *
make_child (xmlNode *node, const char *name)
{
  xmlNode *child = varve_libvirt_tree_child (node, name);

  return child ? child : xmlNewChild (node, NULL, (const xmlChar *)name, NULL);
}

/* --- who it is -------------------------------------------------------------------------------- */

/* What the guest's firmware tells as the machine's uuid must be that of the domain. */
static void
drop_told_uuid (xmlNode *root)
{
  xmlNode *entry = varve_libvirt_tree_find (root, "sysinfo/system/entry");

  while (entry != NULL) {
    xmlNode *next = varve_libvirt_tree_next (entry);

    if (varve_libvirt_tree_attribute_is (entry, "name", "uuid"))
      drop (entry);
    entry = next;
  }
}

static void
rename_domain (xmlNode *root, const char *name, const char *uuid, bool is_new)
{
  xmlNode *generation = varve_libvirt_tree_child (root, "genid");

  xmlUnsetProp (root, (const xmlChar *)"id");
  set_text (make_child (root, "name"), name);
  set_text (make_child (root, "uuid"), uuid);
  /* Empty: a new one is drawn. It tells the guest that it has been set back. */
  if (generation)
    set_text (generation, NULL);
  if (is_new)
    drop_told_uuid (root);
}

/* libvirt draws new addresses for those that have none, and names its own ends of them. */
static void
renew_interfaces (xmlNode *devices)
{
  xmlNode *interface = varve_libvirt_tree_child (devices, "interface");

  for (; interface; interface = varve_libvirt_tree_next (interface)) {
    drop_children (interface, "mac");
    drop_children (interface, "target");
  }
}

static void
renew_vsock (xmlNode *devices)
{
  xmlNode *cid = varve_libvirt_tree_find (devices, "vsock/cid");

  if (cid == NULL)
    return;
  set_attribute (cid, "auto", "yes");
  xmlUnsetProp (cid, (const xmlChar *)"address");
}

/* --- firmware --------------------------------------------------------------------------------- */

/* Beside those of the old domain, which keeps them. */
static char *
nvram_path (const char *old, const char *name)
{
  g_autofree char *directory = g_path_get_dirname (old);
  g_autofree char *file = g_strconcat (name, NVRAM_SUFFIX, NULL);

  return g_build_filename (directory, file, NULL);
}

static void
renew_nvram (xmlNode *root, const VarveNewDomain *wanted, const char *old,
             VarveDefinition *definition)
{
  xmlNode *nvram = varve_libvirt_tree_find (root, "os/nvram");

  if (old == NULL)
    return;
  if (!wanted->has_nvram) {
    /* Without a path libvirt makes them from the template. */
    xmlUnsetProp (nvram, (const xmlChar *)"type");
    set_text (nvram, NULL);
    note (definition->notes,
          "The backup does not have the variables of the domain's firmware: it starts with new "
          "ones, without the boot entries and keys that it had.");
    return;
  }
  definition->nvram = nvram_path (old, wanted->name);
  if (varve_libvirt_tree_child (nvram, "source")) {
    xmlNode *source = varve_libvirt_tree_child (nvram, "source");

    set_attribute (source, "file", definition->nvram);
  } else
    set_text (nvram, definition->nvram);
}

/* --- TPM -------------------------------------------------------------------------------------- */

static void
renew_tpm (xmlNode *devices, const VarveNewDomain *wanted, const VarveLibvirtTpm *old,
           VarveDefinition *definition)
{
  xmlNode *tpm = varve_libvirt_tree_tpm (devices);

  if (old == NULL)
    return;
  /* A place of its own is the old domain's; without one libvirt has a place by the uuid. */
  drop_children (varve_libvirt_tree_child (tpm, "backend"), "source");
  if (wanted->has_tpm)
    definition->tpm = varve_libvirt_tpm_path (wanted->uri, definition->uuid, old);
  if (definition->tpm == NULL)
    note (definition->notes,
          "The TPM of the new domain is empty, as %s: keys that were sealed by the old one "
          "(BitLocker, LUKS) are to be had by their recovery only.",
          wanted->has_tpm ? "it is not known where this libvirt keeps TPM state"
                          : "the backup does not have what was in the old one");
}

/* --- disks ------------------------------------------------------------------------------------ */

static const VarveNewDisk *
find_disk (const VarveNewDomain *wanted, const char *name)
{
  for (guint i = 0; i < wanted->disks->len; i++) {
    const VarveNewDisk *disk = &g_array_index (wanted->disks, VarveNewDisk, i);

    if (g_str_equal (disk->disk, name))
      return disk;
  }
  return NULL;
}

static void
set_source (xmlNode *node, const VarveNewDisk *disk)
{
  static const char *const gone[] = { "source", "backingStore", "mirror", "auth", "encryption" };
  xmlNode *driver = make_child (node, "driver");
  xmlNode *source;

  for (gsize i = 0; i < G_N_ELEMENTS (gone); i++)
    drop_children (node, gone[i]);
  /* Of qcow2 alone. */
  if (!g_str_equal (disk->format, "qcow2"))
    drop_children (driver, "metadata_cache");
  set_attribute (node, "type", disk->device ? "block" : "file");
  set_attribute (driver, "name", "qemu");
  set_attribute (driver, "type", disk->format);
  source = xmlNewChild (node, NULL, (const xmlChar *)"source", NULL);
  set_attribute (source, disk->device ? "dev" : "file", disk->path);
}

/* What is not there keeps a domain from starting. */
static bool
is_there (const VarveLibvirtDisk *disk)
{
  return disk->path == NULL || access (disk->path, F_OK) == 0;
}

static void
keep_medium (xmlNode *node, const VarveLibvirtDisk *disk, GPtrArray *notes)
{
  if (is_there (disk))
    return;
  note (notes, "The medium of drive '%s', '%s', is not there: the drive is empty.", disk->name,
        disk->path);
  drop_children (node, "source");
}

/* False: it is no part of the new domain. */
static bool
take_disk (xmlNode *node, const VarveLibvirtDisk *disk, const VarveNewDomain *wanted,
           GPtrArray *notes)
{
  const VarveNewDisk *restored = find_disk (wanted, disk->name);

  if (restored) {
    set_source (node, restored);
    return true;
  }
  if (g_str_equal (disk->device, "cdrom") || g_str_equal (disk->device, "floppy")) {
    keep_medium (node, disk, notes);
    return true;
  }
  /* What only ever is read may be of both domains. */
  if (disk->readonly && is_there (disk))
    return true;
  note (notes,
        "Disk '%s' is no part of the new domain: it is not restored, and that of the old "
        "one is not touched.",
        disk->name);
  return false;
}

static void
take_disks (xmlNode *devices, const VarveLibvirtDefinition *old, const VarveNewDomain *wanted,
            GPtrArray *notes)
{
  xmlNode *node = varve_libvirt_tree_child (devices, "disk");

  for (guint i = 0; i < old->disks->len; i++) {
    xmlNode *next = varve_libvirt_tree_next (node);

    if (!take_disk (node, g_ptr_array_index (old->disks, i), wanted, notes))
      drop (node);
    node = next;
  }
}

static void
tell_of_strangers (const VarveLibvirtDefinition *old, const VarveNewDomain *wanted,
                   GPtrArray *notes)
{
  for (guint i = 0; i < wanted->disks->len; i++) {
    const VarveNewDisk *disk = &g_array_index (wanted->disks, VarveNewDisk, i);

    if (varve_libvirt_definition_find (old, disk->disk) == NULL)
      note (notes,
            "Disk '%s' is restored, and no part of the new domain: it was attached to the old one "
            "for one run only. 'virsh attach-disk %s %s %s --config' adds it.",
            disk->disk, wanted->name, disk->path, disk->disk);
  }
}

static char *
format (xmlDoc *doc)
{
  xmlChar *text = NULL;
  int length = 0;
  char *copy;

  xmlDocDumpMemoryEnc (doc, &text, &length, "UTF-8");
  copy = g_strdup ((const char *)text);
  xmlFree (text);
  return copy;
}

VarveDefinition *
varve_libvirt_clone (const VarveNewDomain *wanted, GError **error)
{
  g_autoptr (VarveLibvirtDefinition) old = varve_libvirt_definition_parse (wanted->xml, NULL);
  g_autoptr (VarveLibvirtTree) doc =
      old ? varve_libvirt_tree_parse (wanted->xml, "domain", NULL) : NULL;
  VarveDefinition *definition;
  xmlNode *root, *devices;

  if (doc == NULL) {
    varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                 "What the backup keeps as the definition of its domain is none: 'varve verify' "
                 "tells what else is damaged.");
    return NULL;
  }
  definition = g_new0 (VarveDefinition, 1);
  definition->uri = g_strdup (wanted->uri);
  definition->name = g_strdup (wanted->name);
  definition->uuid = wanted->uuid ? g_strdup (wanted->uuid) : g_uuid_string_random ();
  definition->replace = wanted->replace;
  definition->notes = g_ptr_array_new_with_free_func (g_free);
  root = xmlDocGetRootElement (doc);
  devices = varve_libvirt_tree_child (root, "devices");
  rename_domain (root, wanted->name, definition->uuid, !wanted->uuid);
  if (!wanted->uuid) {
    renew_interfaces (devices);
    renew_vsock (devices);
  }
  renew_nvram (root, wanted, old->nvram, definition);
  renew_tpm (devices, wanted, old->tpm, definition);
  take_disks (devices, old, wanted, definition->notes);
  tell_of_strangers (old, wanted, definition->notes);
  definition->xml = format (doc);
  return definition;
}
