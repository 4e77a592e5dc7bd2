/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The chain is opened whole, so that neither a rename nor a removal changes what is read. After that
 * only the cache of tables changes, which has its own lock: reads of many threads do not meet.
 */
#include "config.h"
#include "block/qcow2-source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "block/qcow2-packed.h"
#include "block/qcow2-walk.h"
#include "util/error.h"

#define SOURCE_DEPTH    4
#define SOURCE_MAX_READ (64u << 20)

/* Tables of all links that stay in memory. A sound chain of this store is far below. */
#define MAX_L1_BYTES (UINT64_C (256) << 20)

typedef struct {
  BlockSource base;
  BlockQcow2Chain chain;
  bool alone;
} Qcow2Source;

static bool
read_piece (const Qcow2Source *self, const BlockQcow2Piece *piece, uint8_t *to, GError **error)
{
  const BlockQcow2Link *link = g_ptr_array_index (self->chain.links, piece->link);
  size_t length = (size_t)piece->length;

  switch (piece->kind) {
  case BLOCK_QCOW2_GAP:
  case BLOCK_QCOW2_ZERO:
    memset (to, 0, length);
    return true;
  case BLOCK_QCOW2_PACKED:
    return block_qcow2_packed_read (link, piece->host, piece->guest,
                                    piece->guest & (link->header.cluster_size - 1), to, length,
                                    error);
  case BLOCK_QCOW2_DATA:
  default:
    return block_qcow2_link_pread (link, to, length, piece->host, piece->guest, error);
  }
}

static bool
qcow2_read (BlockSource *source, uint64_t offset, void *buffer, size_t length, GError **error)
{
  const Qcow2Source *self = (const Qcow2Source *)source;
  g_autoptr (GArray) pieces = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));

  if (!block_qcow2_walk (&self->chain, offset, length, true, pieces, error))
    return false;
  for (guint i = 0; i < pieces->len; i++) {
    const BlockQcow2Piece *piece = &g_array_index (pieces, BlockQcow2Piece, i);
    if (!read_piece (self, piece, (uint8_t *)buffer + (piece->guest - offset), error))
      return false;
  }
  return true;
}

static VarveExtentState
extent_state (const Qcow2Source *self, BlockQcow2Kind kind)
{
  if (kind == BLOCK_QCOW2_GAP)
    return self->alone ? VARVE_EXTENT_CLEAN : VARVE_EXTENT_ZERO;
  return kind == BLOCK_QCOW2_DATA ? VARVE_EXTENT_DATA : VARVE_EXTENT_ZERO;
}

static bool
qcow2_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
               GError **error)
{
  const Qcow2Source *self = (const Qcow2Source *)source;
  g_autoptr (GArray) pieces = g_array_new (FALSE, FALSE, sizeof (BlockQcow2Piece));

  if (!block_qcow2_walk (&self->chain, offset, length, false, pieces, error))
    return false;
  for (guint i = 0; i < pieces->len; i++) {
    const BlockQcow2Piece *piece = &g_array_index (pieces, BlockQcow2Piece, i);
    varve_extents_append (out, piece->guest, piece->length, extent_state (self, piece->kind));
  }
  return true;
}

static void
qcow2_free (BlockSource *source)
{
  Qcow2Source *self = (Qcow2Source *)source;

  g_ptr_array_unref (self->chain.links);
  block_qcow2_cache_free (self->chain.cache);
  g_free (self);
}

static const BlockSourceOps qcow2_source_ops = {
  .name = "qcow2",
  .read = qcow2_read,
  .extents = qcow2_extents,
  .free = qcow2_free,
};

const BlockQcow2Chain *
block_qcow2_source_chain (const BlockSource *source)
{
  return source->ops == &qcow2_source_ops ? &((const Qcow2Source *)source)->chain : NULL;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What QEMU would take for a protocol ("nbd:…", "json:…") has a colon before any slash. */
static bool
check_backing_name (const BlockQcow2Link *link, GError **error)
{
  const char *name = link->header.backing_file;
  size_t plain = strcspn (name, ":/");

  if (name[0] != '\0' && name[plain] != ':' && name[0] != '/')
    return true;
  return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                      "The qcow2 image '%s' cannot be read without QEMU: its backing file '%s' is "
                      "not named relative to its directory.",
                      link->path, name);
}

static bool
check_new (const Qcow2Source *self, const BlockQcow2Link *link, GError **error)
{
  uint64_t l1_bytes = (uint64_t)link->l1_length * 8;

  for (guint i = 0; i < self->chain.links->len; i++) {
    const BlockQcow2Link *above = g_ptr_array_index (self->chain.links, i);
    if (above->device == link->device && above->inode == link->inode)
      return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                          "The qcow2 image '%s' is its own backing file, by way of %u others.",
                          link->path, self->chain.links->len - i - 1);
    l1_bytes += (uint64_t)above->l1_length * 8;
  }
  if (self->chain.links->len >= BLOCK_QCOW2_MAX_LINKS)
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                        "%s is a chain of more than %u images: that cannot be right.",
                        self->base.label, BLOCK_QCOW2_MAX_LINKS);
  if (l1_bytes > MAX_L1_BYTES)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "%s has larger L1 tables than varve keeps in memory.", self->base.label);
  return true;
}

static bool
add_link (Qcow2Source *self, int directory, const char *name, const char *shown, GError **error)
{
  BlockQcow2Link *link = block_qcow2_link_open (directory, name, shown, error);

  if (link == NULL)
    return false;
  if (!check_new (self, link, error)) {
    block_qcow2_link_free (link);
    return false;
  }
  g_ptr_array_add (self->chain.links, link);
  return true;
}

/* Names are followed from directory to directory, as all of them joined would outgrow PATH_MAX. */
static bool
enter_directory (int *directory, const char *name, const char *shown, GError **error)
{
  g_autofree char *parent = g_path_get_dirname (name);
  int fd = openat (*directory, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int errnum = errno;

  if (*directory >= 0)
    close (*directory);
  *directory = fd;
  return fd >= 0 || varve_throw_errno (error, VARVE_ERROR_STORE_UNREACHABLE, errnum,
                                       "Cannot open the directory of '%s'", shown);
}

static bool
open_chain (Qcow2Source *self, const char *path, int *directory, GError **error)
{
  g_autofree char *shown = g_canonicalize_filename (path, NULL);
  g_autofree char *name = g_strdup (path);

  for (;;) {
    const BlockQcow2Link *link;
    if (!add_link (self, *directory, name, shown, error))
      return false;
    link = g_ptr_array_index (self->chain.links, self->chain.links->len - 1);
    if (self->alone || link->header.backing_file == NULL)
      return true;
    if (!check_backing_name (link, error) || !enter_directory (directory, name, shown, error))
      return false;

    g_autofree char *above = g_path_get_dirname (shown);
    g_free (shown);
    g_free (name);
    name = g_strdup (link->header.backing_file);
    shown = g_canonicalize_filename (name, above);
  }
}

BlockSource *
block_qcow2_source_open (const char *path, const BlockQcow2SourceOptions *options, GError **error)
{
  Qcow2Source *self = g_new0 (Qcow2Source, 1);
  g_autoptr (BlockSource) source = &self->base;
  int directory = AT_FDCWD;
  bool ok;

  source->ops = &qcow2_source_ops;
  source->label = options != NULL && options->label != NULL
                      ? g_strdup (options->label)
                      : g_strdup_printf ("qcow2 image '%s'", path);
  source->block_size = 1;
  source->max_read = SOURCE_MAX_READ;
  source->depth = SOURCE_DEPTH;
  self->alone = options != NULL && options->alone;
  self->chain.links = g_ptr_array_new_with_free_func ((GDestroyNotify)block_qcow2_link_free);
  self->chain.cache = block_qcow2_cache_new (BLOCK_QCOW2_READ_CACHE);
  ok = open_chain (self, path, &directory, error);
  if (directory >= 0)
    close (directory);
  if (!ok)
    return NULL;
  source->size = ((BlockQcow2Link *)g_ptr_array_index (self->chain.links, 0))->header.size;
  return g_steal_pointer (&source);
}
