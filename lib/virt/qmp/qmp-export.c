/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What of a disk is exported, and how it is reached. There are two forms; in neither the view tells all by itself on the
 * QEMU at hand (7.2.22), so each has a witness beside it:
 *
 *   for varve          view     snapshot-access on the filter
 *                      witness  a bitmap of the writes to scratch: what has been copied (block/fleece.h)
 *   for other readers  view     the scratch image, as an overlay of the disk (start->foreign_readers)
 *                      witness  snapshot-access on the filter
 *
 * snapshot-access tells of a snapshot that broke: every read fails from then on. But of a range that was copied in
 * part it reads and describes the part that was copied from the guest's disk, as it is now. A reader that does not
 * know of that gets wrong data, and no error.
 *
 * The overlay is exact while the snapshot is whole: the filter copies to it with requests that wait for the reads that
 * overlap them, and both live in one thread, so that between the look into the overlay and the one behind it nothing
 * is copied. But when a copy could not be made (break-snapshot), or when a job was cancelled, it shows the guest's new
 * data without an error. So what was read from it counts only when snapshot-access could still be read behind it:
 * that is the proof which the relay asks for before it passes anything on (proof_uri). When a session is taken down,
 * snapshot-access goes first: from then on there is no proof.
 */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "util/error.h"

static bool
add_access (VarveQmpDomain *domain, const VarveStart *start, guint index, GCancellable *cancellable,
            GError **error)
{
  g_autofree char *access = varve_qmp_name (start->session, 'a', index);
  g_autofree char *filter = varve_qmp_name (start->session, 'c', index);

  return varve_qmp_run (
      domain->qmp, "blockdev-add",
      varve_qmp_args ("{'driver':'snapshot-access','node-name':%s,'file':%s,'discard':'unmap'}",
                      access, filter),
      cancellable, error);
}

void
varve_qmp_export_map (JsonObject *arguments, const char *node, const char *bitmap)
{
  JsonArray *bitmaps = json_array_new ();

  json_array_add_object_element (bitmaps, varve_qmp_args ("{'node':%s,'name':%s}", node, bitmap));
  json_object_set_array_member (arguments, "bitmaps", bitmaps);
}

static void
add_frozen_map (JsonObject *arguments, const VarveStart *start, guint index, const char *node)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *frozen = varve_qmp_name (start->session, 't', index);

  /* A push has a map of its own, merged from this one. */
  if (disk->since && !start->push)
    varve_qmp_export_map (arguments, node, frozen);
}

/* The view has the disk's name and the frozen map of what changed, the witness the name of its node. For varve it is
 * writable for TRIM, which gives scratch back: a write to a frozen view fails. */
static bool
export_access (VarveQmpDomain *domain, const VarveStart *start, guint index, const char *node,
               GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *export = varve_qmp_name (start->session, 'e', index);
  g_autofree char *access = varve_qmp_name (start->session, 'a', index);
  JsonObject *arguments = varve_qmp_args (
      "{'type':'nbd','id':%s,'node-name':%s,'name':%s,'writable':%b}", export, access,
      start->foreign_readers ? access : disk->disk, !start->foreign_readers && !start->push);

  if (!start->foreign_readers)
    add_frozen_map (arguments, start, index, node);
  return varve_qmp_run (domain->qmp, "block-export-add", arguments, cancellable, error);
}

/* QEMU gives the map of what is still written only with an export that may be written to. */
static bool
export_scratch (VarveQmpDomain *domain, const VarveStart *start, guint index, const char *node,
                GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *export = varve_qmp_name (start->session, 'd', index);
  g_autofree char *scratch = varve_qmp_name (start->session, 's', index);
  g_autofree char *witness = varve_qmp_name (start->session, 'w', index);
  JsonObject *arguments = varve_qmp_args (
      "{'type':'nbd','id':%s,'node-name':%s,'name':%s,'writable':%b}", export, scratch,
      start->foreign_readers ? disk->disk : scratch, !start->foreign_readers || start->allow_trim);

  if (start->foreign_readers)
    add_frozen_map (arguments, start, index, node);
  else
    varve_qmp_export_map (arguments, scratch, witness);
  return varve_qmp_run (domain->qmp, "block-export-add", arguments, cancellable, error);
}

bool
varve_qmp_export (VarveQmpDomain *domain, const VarveStart *start, guint index, const char *node,
                  GCancellable *cancellable, GError **error)
{
  return add_access (domain, start, index, cancellable, error) &&
         export_access (domain, start, index, node, cancellable, error) &&
         export_scratch (domain, start, index, node, cancellable, error);
}

int
varve_qmp_index_of (const VarveStart *start, const char *disk)
{
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *found = g_ptr_array_index (start->disks, i);

    if (g_str_equal (found->disk, disk))
      return (int)i;
  }
  return -1;
}

static char *
uri_of (const char *export, const char *path)
{
  g_autofree char *socket = g_uri_escape_string (path, "/", FALSE);
  g_autofree char *name = g_uri_escape_string (export, NULL, FALSE);

  return g_strdup_printf ("nbd+unix:///%s?socket=%s", name, socket);
}

/* Of an overlay every byte can be read: so one call may ask for all contexts. */
static void
fill_witness (VarveEndpoint *out, const VarveStart *start, unsigned index)
{
  g_autofree char *witness =
      varve_qmp_name (start->session, start->foreign_readers ? 'a' : 's', index);
  g_autofree char *copied = varve_qmp_name (start->session, 'w', index);
  char *uri = uri_of (witness, out->socket);

  out->contexts_may_share = start->foreign_readers;
  if (start->foreign_readers) {
    out->proof_uri = uri;
    return;
  }
  out->trim_unit = VARVE_QMP_COPY_UNIT;
  out->copied_uri = uri;
  out->copied_context = g_strconcat ("qemu:dirty-bitmap:", copied, NULL);
}

void
varve_qmp_fill_endpoint (const VarveStart *start, guint index, VarveEndpoint *out)
{
  const VarveStartDisk *found = g_ptr_array_index (start->disks, index);
  const char *disk = found->disk;
  g_autofree char *bitmap = varve_qmp_name (start->session, 't', index);

  out->socket = varve_qmp_socket (start);
  out->export_name = g_strdup (disk);
  out->uri = uri_of (disk, out->socket);
  out->dirty_context = found->since ? g_strconcat ("qemu:dirty-bitmap:", bitmap, NULL) : NULL;
  out->allocation_context = g_strdup ("base:allocation");
  out->connections = 2;
}

bool
varve_qmp_endpoint (VarveSnapshot *snapshot, const char *disk, VarveEndpoint *out,
                    GCancellable *cancellable, GError **error)
{
  int index = varve_qmp_index_of (snapshot->start, disk);

  if (index < 0)
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "Disk '%s' is not part of this snapshot of domain '%s'.", disk,
                        snapshot->domain->name);
  varve_qmp_fill_endpoint (snapshot->start, (guint)index, out);
  fill_witness (out, snapshot->start, (unsigned)index);
  return true;
}
