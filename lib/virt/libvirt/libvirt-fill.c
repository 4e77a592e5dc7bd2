/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A domain that runs on images which are filled meanwhile. Its definition names these as any disks, and nothing else, so that it
 * is right when they are full and if it is started anew; the document of this one run says what lies below them:
 *
 *   defined       qcow2 image (its header says what it lies above, for as long as it does)
 *   this run      qcow2 image ─▶ NBD export, for which QEMU waits if the server has gone (libvirt older than 9.2 does not
 *                 tell it to); and an access that fails all the same stops the guest, and is no error to it
 *
 * libvirt takes the export out of the run's document when its block job is done. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <sys/stat.h>

#include "util/failpoint.h"
#include "virt/libvirt/libvirt-tree.h"

/* libvirt hears of the end of a job a little later than those who ask QEMU: so many looks are to find that there is none before
 * one is begun, and before one that was begun has failed. */
#define MISSED_MIN 2
#define MISSED_MAX 8

G_DEFINE_AUTOPTR_CLEANUP_FUNC (virDomain, virDomainFree)

/* --- the run's document ----------------------------------------------------------------------- */

static xmlNode *
add_child (xmlNode *node, const char *name)
{
  return xmlNewChild (node, NULL, (const xmlChar *)name, NULL);
}

static void
set (xmlNode *node, const char *name, const char *value)
{
  xmlSetProp (node, (const xmlChar *)name, (const xmlChar *)value);
}

static void
add_backing (xmlNode *disk, const VarveFill *fill, const char *name)
{
  xmlNode *old = varve_libvirt_tree_child (disk, "backingStore");
  xmlNode *driver = varve_libvirt_tree_child (disk, "driver");
  xmlNode *backing, *source, *host;
  g_autofree char *delay = g_strdup_printf ("%d", VARVE_FILL_RECONNECT_S);

  if (old) {
    xmlUnlinkNode (old);
    xmlFreeNode (old);
  }
  if (!driver)
    driver = add_child (disk, "driver");
  /* A write of less than a cluster reads, too. */
  set (driver, "error_policy", "stop");
  set (driver, "rerror_policy", "stop");
  backing = add_child (disk, "backingStore");
  set (backing, "type", "network");
  set (add_child (backing, "format"), "type", "raw");
  source = add_child (backing, "source");
  set (source, "protocol", "nbd");
  set (source, "name", name);
  host = add_child (source, "host");
  set (host, "transport", "unix");
  set (host, "socket", fill->socket);
  set (add_child (source, "reconnect"), "delay", delay);
  add_child (backing, "backingStore");
}

static xmlNode *
find_disk (VarveLibvirtTree *doc, const char *name)
{
  xmlNode *disk = varve_libvirt_tree_find (xmlDocGetRootElement (doc), "devices/disk");

  while (disk &&
         !varve_libvirt_tree_attribute_is (varve_libvirt_tree_child (disk, "target"), "dev", name))
    disk = varve_libvirt_tree_next (disk);
  return disk;
}

char *
varve_libvirt_format_run (const char *xml, const VarveFill *fill, GError **error)
{
  g_autoptr (VarveLibvirtTree) doc = varve_libvirt_tree_parse (xml, "domain", error);
  xmlChar *text = NULL;
  int length = 0;
  char *copy;

  for (guint i = 0; doc && i < fill->disks->len; i++) {
    const char *name = varve_fill_disk (fill, i)->disk;
    xmlNode *disk = find_disk (doc, name);

    if (!disk) {
      varve_throw (error, VARVE_ERROR_NOT_FOUND, "The domain has no disk '%s'.", name);
      return NULL;
    }
    add_backing (disk, fill, name);
  }
  if (!doc)
    return NULL;
  xmlDocDumpMemoryEnc (doc, &text, &length, "UTF-8");
  copy = g_strdup ((const char *)text);
  xmlFree (text);
  return copy;
}

/* --- starting --------------------------------------------------------------------------------- */

static bool
open_way (VarveLibvirtDomain *self, const char *xml, const VarveFill *fill, GError **error)
{
  g_autofree char *directory = g_path_get_dirname (fill->socket);
  g_autoptr (VarveLibvirtDefinition) definition = varve_libvirt_definition_parse (xml, error);

  return definition && varve_libvirt_open_directory (self, definition, directory, error);
}

bool
varve_libvirt_fill_boot (VarveDomain *domain, const VarveFill *fill, GCancellable *cancellable,
                         GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (virDomain) started = NULL;
  g_autofree char *defined = NULL, *run = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_OFF)
    return true;
  defined = virDomainGetXMLDesc (self->domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE);
  if (!defined)
    return varve_libvirt_throw (error, "Cannot read the definition of domain '%s'", domain->name);
  run = varve_libvirt_format_run (defined, fill, error);
  if (!run || !open_way (self, defined, fill, error))
    return false;
  started = virDomainCreateXML (self->connection, run, 0);
  return started || varve_libvirt_throw (error, "libvirt does not start domain '%s'", domain->name);
}

/* --- filling ---------------------------------------------------------------------------------- */

/* What the run has below @name, as libvirt knows it. */
static bool
depends (VarveLibvirtDomain *self, const char *name, bool *out, GError **error)
{
  g_autofree char *xml = virDomainGetXMLDesc (self->domain, 0);
  g_autoptr (VarveLibvirtTree) doc = xml ? varve_libvirt_tree_parse (xml, "domain", error) : NULL;

  if (!xml)
    return varve_libvirt_throw (error, "Cannot read the definition of domain '%s'",
                                self->base.name);
  if (!doc)
    return false;
  *out = varve_libvirt_tree_find (find_disk (doc, name), "backingStore/source") != NULL;
  return true;
}

static bool
begin (VarveLibvirtDomain *self, VarveFillDisk *disk, uint64_t speed, GError **error)
{
  if (++disk->missed < (disk->progress.begun ? MISSED_MAX : MISSED_MIN))
    return true;
  if (!disk->progress.begun) {
    disk->missed = 0;
    disk->progress.begun = virDomainBlockPull (self->domain, disk->disk, speed,
                                               VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES) == 0;
    return disk->progress.begun || varve_libvirt_throw (error, "libvirt does not begin to fill it");
  }
  disk->missed = 0;
  disk->progress.begun = false;
  return varve_throw (error, VARVE_ERROR_FAILED,
                      "libvirt's job ended and the disk is not full: "
                      "/var/log/libvirt/qemu/%s.log may say why.",
                      self->base.name);
}

static bool
step (VarveLibvirtDomain *self, VarveFillDisk *disk, uint64_t speed, GError **error)
{
  virDomainBlockJobInfo info;
  int jobs = virDomainGetBlockJobInfo (self->domain, disk->disk, &info, 0);
  bool below = false;

  if (jobs < 0)
    return varve_libvirt_throw (error, "Cannot ask libvirt how far it is");
  if (jobs > 0) {
    disk->progress.begun = true;
    disk->missed = 0;
    disk->progress.done = info.cur;
    disk->progress.total = info.end;
    return true;
  }
  if (!depends (self, disk->disk, &below, error))
    return false;
  disk->progress.ready = !below;
  return !below || begin (self, disk, speed, error);
}

bool
varve_libvirt_fill_step (VarveDomain *domain, VarveFill *fill, GCancellable *cancellable,
                         GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  for (guint i = 0; i < fill->disks->len; i++) {
    VarveFillDisk *disk = varve_fill_disk (fill, i);

    if (!disk->progress.ready && !step (self, disk, varve_fill_disk_speed (fill), error))
      return varve_prefix (error, "Disk '%s'", disk->disk);
  }
  return true;
}
