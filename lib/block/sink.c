/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The checked front door of every sink. A write that is not aligned is refused, never rounded: only
 * the caller knows what belongs into the rest of a cluster, and a guess would hide what a base has
 * there.
 */
#include "config.h"
#include "block/sink.h"

#include "util/checked.h"
#include "util/error.h"

static bool
check_range (const BlockSink *sink, const char *doing, uint64_t offset, uint64_t length,
             GError **error)
{
  uint64_t mask = (uint64_t)sink->alignment - 1;
  uint64_t end;

  if (!varve_add (offset, length, &end) || end > sink->size)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "%s of %" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
                        " of %s was asked for, which has %" G_GUINT64_FORMAT " bytes.",
                        doing, length, offset, sink->label, sink->size);
  if ((offset & mask) != 0 || (end != sink->size && (end & mask) != 0))
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "%s of %" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
                        " of %s was asked for, which takes whole units of %u bytes only.",
                        doing, length, offset, sink->label, sink->alignment);
  return true;
}

bool
block_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                  GError **error)
{
  if (!check_range (sink, "A write", offset, length, error))
    return false;
  return length == 0 || sink->ops->write (sink, offset, buffer, length, error);
}

bool
block_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  if (!check_range (sink, "Zeroing", offset, length, error))
    return false;
  return length == 0 || sink->ops->zero (sink, offset, length, error);
}

bool
block_sink_flush (BlockSink *sink, GError **error)
{
  return sink->ops->flush (sink, error);
}

void
block_sink_interrupt (BlockSink *sink)
{
  if (sink->ops->interrupt != NULL)
    sink->ops->interrupt (sink);
}

void
block_sink_free (BlockSink *sink)
{
  if (sink == NULL)
    return;
  g_free (sink->label);
  sink->ops->free (sink);
}
