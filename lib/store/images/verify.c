/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Each layer against what was written down of it: its sums, its size, its links, and QEMU's own
 * check. */
#include "config.h"

#include "store/images/images.h"

#include <string.h>

#include "block/memory.h"
#include "qemu/qemu-img.h"
#include "util/error.h"

#define MAX_PROBLEMS 20 /* of one layer: one that is all wrong need not fill the screen */

typedef struct {
  const VarveManifest *manifest;
  const char *disk;
  const VarveSums *sums;
  size_t next; /* entry that is to come */
  unsigned told;
  GPtrArray *problems;
} Check;

static void problem (Check *check, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
problem (Check *check, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  if (check->told++ >= MAX_PROBLEMS)
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (check->problems, g_strdup_printf ("backup %s, disk '%s': %s",
                                                     check->manifest->id, check->disk, text));
}

/* The engine cuts what it reads back just as it cut what it wrote, so that both lists are the same
 * when the layer is. Where they part, entries are matched by offset. */
static bool
compare (const BlockSum *sum, gpointer data, GError **error)
{
  Check *check = data;
  const VarveSums *sums = check->sums;

  while (check->next < sums->count && sums->entries[check->next].offset < sum->offset) {
    const BlockSum *lost = &sums->entries[check->next++];

    problem (check, "offset %" G_GUINT64_FORMAT ": %u bytes are no longer in the layer",
             lost->offset, lost->length);
  }
  if (check->next == sums->count || sums->entries[check->next].offset != sum->offset) {
    problem (check, "offset %" G_GUINT64_FORMAT ": %u bytes were never written by varve",
             sum->offset, sum->length);
    return true;
  }
  if (sum->length != sums->entries[check->next].length ||
      sum->state != sums->entries[check->next].state ||
      memcmp (sum->hash, sums->entries[check->next].hash, sizeof sum->hash) != 0)
    problem (check, "offset %" G_GUINT64_FORMAT ": %u bytes differ from their sum", sum->offset,
             sum->length);
  check->next++;
  return true;
}

/* An image that cannot be read is a finding, not a failure to look; being cancelled is one. */
static bool
finding (Check *check, GError **local, GError **error)
{
  if (g_error_matches (*local, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
    g_propagate_error (error, g_steal_pointer (local));
    return false;
  }
  problem (check, "%s", (*local)->message);
  g_clear_error (local);
  return true;
}

static bool
read_layer (Check *check, const char *path, bool increment, BlockTickFunc tick, gpointer tick_data,
            GCancellable *cancellable, GError **error)
{
  g_autoptr (VarveStoreRead) read = NULL;
  g_autoptr (BlockSink) sink = NULL;
  BlockCopy engine = { .sum = compare, .sum_data = check, .tick = tick, .tick_data = tick_data };

  if (!varve_images_read_by_qemu (path, check->disk, 1, true, &read, cancellable, error))
    return false;
  if (read->source->size != check->sums->disk_size)
    return varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                        "the image has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT,
                        read->source->size, check->sums->disk_size);
  sink = block_null_sink_new (read->source->size);
  sink->has_base = increment;
  engine.source = read->source;
  engine.sink = sink;
  if (!block_copy (&engine, NULL, cancellable, error))
    return false;
  for (; check->next < check->sums->count; check->next++)
    problem (check, "offset %" G_GUINT64_FORMAT ": %u bytes are no longer in the layer",
             check->sums->entries[check->next].offset, check->sums->entries[check->next].length);
  return true;
}

static VarveSums *
load_sums (const char *directory, const VarveManifestDisk *layer, GError **error)
{
  g_autofree char *path = g_build_filename (directory, layer->sums_file, NULL);
  g_autoptr (VarveSums) sums = varve_sums_load (path, error);

  if (sums && !g_str_equal (sums->hash, layer->sums_hash)) {
    varve_throw (error, VARVE_ERROR_STORE_DAMAGED,
                 "the sums file '%s' is not the one that the manifest names", path);
    return NULL;
  }
  return g_steal_pointer (&sums);
}

bool
varve_images_verify (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                     BlockTickFunc tick, gpointer tick_data, GPtrArray *problems,
                     GCancellable *cancellable, GError **error)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (manifest, disk);
  g_autofree char *directory = impl->ops->directory (impl, manifest);
  g_autofree char *path = g_build_filename (directory, layer->file, NULL);
  g_autoptr (VarveImage) image = varve_image_new (path, "qcow2", NULL);
  g_autoptr (VarveSums) sums = NULL;
  g_autoptr (GError) local = NULL;
  Check check = { .manifest = manifest, .disk = disk, .problems = problems };

  if (!varve_images_check_base (impl, manifest, disk, cancellable, &local) &&
      !finding (&check, &local, error))
    return false;
  if (!varve_image_check (image, cancellable, &local) && !finding (&check, &local, error))
    return false;
  if (layer->sums_file == NULL) {
    problem (&check, "the layer has no sums, so that its data cannot be verified");
    return true;
  }
  sums = load_sums (directory, layer, &local);
  if (sums == NULL)
    return finding (&check, &local, error);
  check.sums = sums;
  return read_layer (&check, path, layer->base != NULL, tick, tick_data, cancellable, &local) ||
         finding (&check, &local, error);
}
