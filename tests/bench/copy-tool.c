/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The copy engine alone, between an NBD export and a new file, so that it can be set against
 * nbdcopy and qemu-img on equal terms: no domain, no store, no sums. Not installed.
 *
 * usage: copy-tool NBD-URI raw|qcow2 PATH */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "block/copy.h"
#include "block/file.h"
#include "block/nbd.h"
#include "block/qcow2.h"

static BlockSink *
open_sink (const char *format, const char *path, uint64_t size, GError **error)
{
  BlockQcow2Options options = { .size = size };

  if (strcmp (format, "qcow2") == 0)
    return block_qcow2_sink_create (path, &options, error);
  return block_file_sink_open (path, size, BLOCK_FILE_CREATE, error);
}

static bool
copy (const char *uri, const char *format, const char *path, GError **error)
{
  BlockNbdOptions options = {
    .uri = uri,
    .label = "the export",
    .allocation_context = "base:allocation",
    .contexts_may_share = true,
    .connections = 2,
  };
  g_autoptr (BlockSource) source = block_nbd_source_open (&options, NULL, error);
  g_autoptr (BlockSink) sink = NULL;
  BlockCopyStats stats;

  if (source == NULL)
    return false;
  sink = open_sink (format, path, source->size, error);
  if (sink == NULL)
    return false;
  if (!block_copy (&(BlockCopy){ .source = source, .sink = sink }, &stats, NULL, error) ||
      !block_sink_flush (sink, error))
    return false;
  printf ("read %" G_GUINT64_FORMAT " bytes, wrote %" G_GUINT64_FORMAT "\n", stats.read,
          stats.written);
  return true;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  if (argc != 4) {
    fprintf (stderr, "usage: copy-tool NBD-URI raw|qcow2 PATH\n");
    return 2;
  }
  if (!copy (argv[1], argv[2], argv[3], &error)) {
    fprintf (stderr, "copy-tool: %s\n", error->message);
    return 1;
  }
  return 0;
}
