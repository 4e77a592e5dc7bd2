/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The guest's disks and their bitmaps, from query-block (what each device uses) and
 * query-named-block-nodes (what the nodes are). While a session of varve runs, the device uses that
 * session's filter: the disk is still the node below it, which the session's bitmap marks. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "qemu/json-get.h"
#include "util/error.h"
#include "virt/qemu-bitmaps.h"

#define PERIPHERAL "/machine/peripheral/"
#define BACKEND    "/virtio-backend"

void
varve_qmp_disk_free (VarveQmpDisk *disk)
{
  if (!disk)
    return;
  varve_disk_free (disk->disk);
  g_free (disk->device);
  g_free (disk->node);
  g_free (disk->top);
  g_free (disk);
}

VarveQmpDisk *
varve_qmp_disks_find (GPtrArray *disks, const char *name)
{
  for (guint i = 0; i < disks->len; i++) {
    VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    if (g_str_equal (disk->disk->name, name))
      return disk;
  }
  return NULL;
}

GHashTable *
varve_qmp_nodes (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  return varve_qemu_nodes (domain->qmp, cancellable, error);
}

JsonArray *
varve_qmp_drives (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  return varve_qmp_list (domain, "query-block", cancellable, error);
}

static bool
has_bitmap (JsonObject *node, const char *name)
{
  JsonArray *bitmaps = varve_json_array (node, "dirty-bitmaps");

  for (guint i = 0; bitmaps && i < json_array_get_length (bitmaps); i++) {
    const char *found = varve_json_string (varve_json_array_object (bitmaps, i), "name");

    if (g_strcmp0 (found, name) == 0)
      return true;
  }
  return false;
}

const char *
varve_qmp_node_with_bitmap (GHashTable *nodes, const char *bitmap)
{
  GHashTableIter iter;
  gpointer name, node;

  g_hash_table_iter_init (&iter, nodes);
  while (g_hash_table_iter_next (&iter, &name, &node)) {
    if (has_bitmap (node, bitmap))
      return name;
  }
  return NULL;
}

/* Below a filter of any session of varve (varve-SESSION-c-N) lies the node with varve-SESSION-t-N.
 */
static const char *
node_below (GHashTable *nodes, const char *top)
{
  const char *kind = strstr (top, "-c-");

  if (!g_str_has_prefix (top, "varve-") || !kind)
    return top;
  g_autofree char *bitmap =
      g_strdup_printf ("%.*s-t-%s", (int)(kind - top), top, kind + strlen ("-c-"));
  const char *below = varve_qmp_node_with_bitmap (nodes, bitmap);
  return below ? below : top;
}

/* "/machine/peripheral/vd0/virtio-backend" and "vd0" are the device vd0. */
static void
set_device (VarveQmpDisk *disk, const char *qdev)
{
  g_autofree char *path = qdev[0] == '/' ? g_strdup (qdev) : g_strconcat (PERIPHERAL, qdev, NULL);

  if (g_str_has_suffix (path, BACKEND))
    path[strlen (path) - strlen (BACKEND)] = '\0';
  disk->has_id = g_str_has_prefix (path, PERIPHERAL);
  disk->device = g_steal_pointer (&path);
}

static const char *
device_id (const VarveQmpDisk *disk)
{
  return disk->has_id ? disk->device + strlen (PERIPHERAL) : NULL;
}

/* What the address calls this disk, by qdev id or by node. */
static const char *
given_name (VarveQmpDomain *domain, const VarveQmpDisk *disk)
{
  const char *id = device_id (disk);
  GHashTableIter iter;
  gpointer name, wanted;

  g_hash_table_iter_init (&iter, domain->qdevs);
  while (g_hash_table_iter_next (&iter, &name, &wanted)) {
    if (g_strcmp0 (wanted, id) == 0 || g_strcmp0 (wanted, disk->node) == 0 ||
        g_strcmp0 (wanted, disk->device) == 0)
      return name;
  }
  return NULL;
}

static void
set_name (VarveQmpDomain *domain, VarveQmpDisk *disk, const char *drive)
{
  const char *name = given_name (domain, disk);

  if (!name)
    name = device_id (disk);
  if (!name && drive && *drive)
    name = drive;
  disk->disk = varve_disk_new (name ? name : disk->device);
  disk->disk->can_back_up = name != NULL;
  if (!name)
    disk->disk->why_not =
        g_strdup_printf ("the device %s has no id: start QEMU with -device …,id=NAME, or name the "
                         "disk in the job with qdev='%s'",
                         disk->device, disk->node ? disk->node : disk->device);
}

static void
refuse (VarveDisk *disk, const char *why)
{
  if (!disk->can_back_up)
    return;
  disk->can_back_up = false;
  disk->why_not = g_strdup (why);
}

/* The file as QEMU opened it; a relative name starts where QEMU does. NULL for json: and protocols.
 */
static char *
image_path (VarveQmpDomain *domain, JsonObject *node)
{
  const char *file = varve_json_string (node, "file");
  char cwd[PATH_MAX];

  if (!file || (file[0] != '/' && strchr (file, ':')))
    return NULL;
  if (file[0] == '/')
    return g_strdup (file);
  g_autofree char *link = g_strdup_printf ("/proc/%d/cwd", (int)domain->pid);
  ssize_t length = domain->pid > 0 ? readlink (link, cwd, sizeof cwd - 1) : -1;
  if (length <= 0)
    return NULL;
  cwd[length] = '\0';
  return g_build_filename (cwd, file, NULL);
}

static void
set_persistence (VarveDisk *disk, JsonObject *image)
{
  JsonObject *specific = varve_json_object (varve_json_object (image, "format-specific"), "data");
  const char *compat = varve_json_string (specific, "compat");

  if (g_strcmp0 (disk->format, "qcow2") != 0)
    disk->why_not_persist =
        g_strdup_printf ("a %s image cannot store bitmaps: they die with QEMU", disk->format);
  else if (g_strcmp0 (compat, "1.1") != 0)
    disk->why_not_persist = g_strdup ("a qcow2 image of version 2 cannot store bitmaps: convert it "
                                      "with qemu-img amend -o compat=1.1 while the guest is off");
  disk->can_persist = !disk->why_not_persist;
  disk->transient_ok = true;
}

/* Filters of block jobs: a bitmap or a job of ours would meet theirs. */
static bool
is_job_filter (const char *format)
{
  static const char *const drivers[] = { "copy-before-write", "backup-top", "mirror_top",
                                         "commit_top", NULL };

  return g_strv_contains (drivers, format);
}

static void
describe (VarveQmpDomain *domain, VarveQmpDisk *disk, JsonObject *node)
{
  VarveDisk *out = disk->disk;
  JsonObject *image = varve_json_object (node, "image");
  const char *format = varve_json_string (node, "drv");
  int64_t size = varve_json_int (image, "virtual-size", 0);

  out->format = g_strdup (format ? format : "unknown");
  out->size = size > 0 ? (uint64_t)size : 0;
  out->path = image_path (domain, node);
  set_persistence (out, image);
  if (varve_json_bool (node, "ro", false))
    refuse (out, "it is read-only");
  if (is_job_filter (out->format))
    refuse (out, "a block job of another program works on it: wait until that has ended");
}

/* NULL without an error for what is no disk of the guest. */
static VarveQmpDisk *
disk_from_drive (VarveQmpDomain *domain, JsonObject *drive, GHashTable *nodes)
{
  const char *qdev = varve_json_string (drive, "qdev");
  const char *top = varve_json_string (varve_json_object (drive, "inserted"), "node-name");

  if (!qdev || !*qdev)
    return NULL;
  VarveQmpDisk *disk = g_new0 (VarveQmpDisk, 1);
  set_device (disk, qdev);
  disk->top = g_strdup (top);
  disk->node = top ? g_strdup (node_below (nodes, top)) : NULL;
  set_name (domain, disk, varve_json_string (drive, "device"));
  if (varve_json_bool (drive, "removable", false))
    refuse (disk->disk, "its medium is removable");
  JsonObject *node = disk->node ? g_hash_table_lookup (nodes, disk->node) : NULL;
  if (node)
    describe (domain, disk, node);
  else
    refuse (disk->disk, "there is no medium in it");
  return disk;
}

/* Every name that the address gives must be found: a typing error must not leave a disk out. */
static bool
check_given_names (VarveQmpDomain *domain, GPtrArray *disks, GError **error)
{
  GHashTableIter iter;
  gpointer name, wanted;

  g_hash_table_iter_init (&iter, domain->qdevs);
  while (g_hash_table_iter_next (&iter, &name, &wanted)) {
    if (!varve_qmp_disks_find (disks, name))
      return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                          "Disk '%s' of domain '%s' is said to be '%s', and its QEMU has no disk "
                          "with such a device id or node: see info block of its monitor.",
                          (char *)name, domain->base.name, (char *)wanted);
  }
  return true;
}

GPtrArray *
varve_qmp_disks (VarveQmpDomain *domain, GHashTable *nodes, GCancellable *cancellable,
                 GError **error)
{
  g_autoptr (JsonArray) drives = varve_qmp_drives (domain, cancellable, error);
  g_autoptr (JsonArray) iothreads =
      drives ? varve_qmp_list (domain, "query-iothreads", cancellable, error) : NULL;
  if (!iothreads)
    return NULL;

  bool any_iothread = json_array_get_length (iothreads) > 0;
  g_autoptr (GPtrArray) disks =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_qmp_disk_free);
  for (guint i = 0; i < json_array_get_length (drives); i++) {
    VarveQmpDisk *disk = disk_from_drive (domain, varve_json_array_object (drives, i), nodes);

    if (!disk)
      continue;
    if (varve_qmp_disks_find (disks, disk->disk->name))
      refuse (disk->disk, "another disk has the same name: give its device an id of its own");
    disk->disk->iothread =
        any_iothread && varve_qmp_uses_iothread (domain, disk->device, cancellable);
    g_ptr_array_add (disks, disk);
  }
  if (!check_given_names (domain, disks, error))
    return NULL;
  return g_steal_pointer (&disks);
}

bool
varve_qmp_inventory (VarveDomain *base, GPtrArray **out_disks, GCancellable *cancellable,
                     GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (GPtrArray) disks = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;

  if (!disks)
    return false;
  *out_disks = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_disk_free);
  for (guint i = 0; i < disks->len; i++) {
    VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    g_ptr_array_add (*out_disks, g_steal_pointer (&disk->disk));
  }
  return true;
}

bool
varve_qmp_bitmaps (VarveDomain *base, GPtrArray **out_bitmaps, GCancellable *cancellable,
                   GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autoptr (GHashTable) nodes = varve_qmp_nodes (domain, cancellable, error);
  g_autoptr (GPtrArray) disks = nodes ? varve_qmp_disks (domain, nodes, cancellable, error) : NULL;

  if (!disks)
    return false;
  *out_bitmaps = g_ptr_array_new_with_free_func ((GDestroyNotify)varve_bitmap_free);
  for (guint i = 0; i < disks->len; i++) {
    VarveQmpDisk *disk = g_ptr_array_index (disks, i);

    if (disk->node)
      varve_qemu_node_bitmaps (g_hash_table_lookup (nodes, disk->node), disk->disk->name,
                               *out_bitmaps);
  }
  return true;
}
