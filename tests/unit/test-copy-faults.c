/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The copy engine when an end fails, lies or hangs: each operation at each of several calls, and
 * with each of the features that move work about. A copy that failed says so, at once, with disk
 * and offset. */
#include "config.h"

#include <errno.h>

#include "block/fault.h"
#include "block/memory.h"
#include "copy-fixture.h"
#include "util/error.h"
#include "wait.h"

#define MIB (1ull << 20)

/* Eight MiB: data, zero, data, zero …, so that every operation is called several times. */
static BlockSource *
striped_source (void)
{
  g_autofree uint8_t *content = g_malloc0 (8 * MIB);
  g_autoptr (VarveExtents) map = varve_extents_new ();

  for (unsigned i = 0; i < 8; i++) {
    varve_extents_append (map, i * MIB, MIB, i % 2 == 0 ? VARVE_EXTENT_DATA : VARVE_EXTENT_ZERO);
    memset (content + i * MIB, i % 2 == 0 ? 1 + i : 0, MIB);
  }
  BlockSource *source = block_memory_source_new (content, 8 * MIB, map);
  g_free (source->label);
  source->label = g_strdup ("disk 'vda'");
  return source;
}

static BlockSink *
target (void)
{
  BlockSink *sink = block_memory_sink_new (8 * MIB, 65536, 0xff, true);

  g_free (sink->label);
  sink->label = g_strdup ("image 'vda.qcow2'");
  return sink;
}

static bool
fail_sum (const BlockSum *sum, gpointer data, GError **error)
{
  return sum->offset < 4 * MIB || varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "No sums.");
}

static bool
fail_tick (uint64_t done, uint64_t total, gpointer data, GError **error)
{
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST, "The snapshot broke.");
}

typedef struct {
  BlockFaultOp op;
  int errnum;
  VarveError code;
  const char *message;
} Fault;

static const Fault faults[] = {
  { BLOCK_FAULT_READ, EIO, VARVE_ERROR_SOURCE_READ, "Reading disk 'vda' at offset " },
  { BLOCK_FAULT_EXTENTS, EIO, VARVE_ERROR_SOURCE_READ,
    "Asking for the map of disk 'vda' at offset 0: " },
  { BLOCK_FAULT_EXTENTS_OVERRUN, 0, VARVE_ERROR_SOURCE_PROTOCOL,
    "Asking for the map of disk 'vda' at offset 0: " },
  { BLOCK_FAULT_WRITE, EIO, VARVE_ERROR_STORE_UNREACHABLE, "Writing image 'vda.qcow2' at offset " },
  { BLOCK_FAULT_WRITE, ENOSPC, VARVE_ERROR_NO_SPACE, "Writing image 'vda.qcow2' at offset " },
  { BLOCK_FAULT_ZERO, EIO, VARVE_ERROR_STORE_UNREACHABLE,
    "Writing zeros to image 'vda.qcow2' at offset " },
  { BLOCK_FAULT_ZERO, ENOSPC, VARVE_ERROR_NO_SPACE,
    "Writing zeros to image 'vda.qcow2' at offset " },
};

static void
check_fault (const Fault *fault, const BlockFault *plan, BlockSource *base, unsigned depth)
{
  BlockSource *source = block_fault_source_new (striped_source (), plan);
  BlockSink *sink = block_fault_sink_new (target (), plan);
  g_autoptr (GArray) sums = g_array_new (FALSE, FALSE, sizeof (BlockSum));
  BlockCopy copy = {
    .source = source, .sink = sink, .base = base, .sum = collect_sum, .sum_data = sums
  };
  g_autoptr (GError) error = NULL;

  source->depth = depth;
  g_assert_false (block_copy (&copy, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, (int)fault->code);
  if (!g_str_has_prefix (error->message, fault->message))
    g_error ("'%s' does not begin with '%s'", error->message, fault->message);
  for (guint i = 1; i < sums->len; i++)
    g_assert_cmpuint (g_array_index (sums, BlockSum, i - 1).offset, <,
                      g_array_index (sums, BlockSum, i).offset);
  block_source_free (source);
  block_sink_free (sink);
}

static void
test_matrix (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (faults); i++)
    for (unsigned depth = 1; depth <= 8; depth += 7)
      for (unsigned with_base = 0; with_base < 2; with_base++) {
        g_autofree uint8_t *past = g_malloc (8 * MIB);
        memset (past, 0xee, 8 * MIB); /* all of it differs */
        BlockSource *base = with_base ? block_memory_source_new (past, 8 * MIB, NULL) : NULL;
        bool of_map =
            faults[i].op == BLOCK_FAULT_EXTENTS || faults[i].op == BLOCK_FAULT_EXTENTS_OVERRUN;
        for (unsigned nth = 1; nth <= (of_map ? 1 : 4); nth++) {
          BlockFault plan = { .op = faults[i].op, .nth = nth, .errnum = faults[i].errnum };
          check_fault (&faults[i], &plan, base, depth);
        }
        if (base != NULL)
          block_source_free (base);
      }
}

/* The offset in the message is that of the request that failed. */
static void
test_offset (void)
{
  BlockFault plan = {
    .op = BLOCK_FAULT_READ, .by_offset = true, .offset = 4 * MIB + 5, .errnum = EIO
  };
  Fault fault = { BLOCK_FAULT_READ, EIO, VARVE_ERROR_SOURCE_READ,
                  "Reading disk 'vda' at offset 4194304: " };

  check_fault (&fault, &plan, NULL, 8);
}

static void
test_base_fault (void)
{
  static const BlockFaultOp ops[] = { BLOCK_FAULT_READ, BLOCK_FAULT_EXTENTS,
                                      BLOCK_FAULT_EXTENTS_OVERRUN };

  for (size_t i = 0; i < G_N_ELEMENTS (ops); i++) {
    /* By its place, not its turn: which worker comes first is not fixed. */
    BlockFault plan = { .op = ops[i], .by_offset = true, .offset = 0, .errnum = EIO };
    BlockSource *source = striped_source ();
    BlockSource *base = block_fault_source_new (striped_source (), &plan);
    BlockSink *sink = target ();
    BlockCopy copy = { .source = source, .sink = sink, .base = base };
    g_autoptr (GError) error = NULL;

    g_free (base->label);
    base->label = g_strdup ("backup 'b'");
    g_assert_false (block_copy (&copy, NULL, NULL, &error));
    g_assert_nonnull (strstr (error->message, "backup 'b' at offset 0: "));
    block_source_free (source);
    block_source_free (base);
    block_sink_free (sink);
  }
}

/* A false answer of the caller's own functions stops the copy with their error, as it is. */
static void
test_callbacks (void)
{
  BlockFault slow = { .op = BLOCK_FAULT_READ, .delay_ms = 60000 };

  for (unsigned i = 0; i < 2; i++) {
    BlockSource *source = striped_source ();
    BlockSink *sink = target ();
    BlockCopy copy = { .source = source, .sink = sink };
    g_autoptr (GError) error = NULL;

    if (i == 0)
      copy.sum = fail_sum;
    else {
      copy.source = source = block_fault_source_new (source, &slow);
      copy.tick = fail_tick;
    }
    gint64 began = g_get_monotonic_time ();
    g_assert_false (block_copy (&copy, NULL, NULL, &error));
    g_assert_cmpstr (error->message, ==, i == 0 ? "No sums." : "The snapshot broke.");
    g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
    block_source_free (source);
    block_sink_free (sink);
  }
}

static gpointer
cancel_soon (gpointer data)
{
  g_usleep (100000);
  g_cancellable_cancel (data);
  return NULL;
}

/* Whatever hangs, a copy that is cancelled returns at once. */
static void
test_cancel (void)
{
  static const BlockFaultOp ops[] = { BLOCK_FAULT_READ, BLOCK_FAULT_EXTENTS, BLOCK_FAULT_WRITE,
                                      BLOCK_FAULT_ZERO };

  for (size_t i = 0; i < G_N_ELEMENTS (ops); i++) {
    BlockFault plan = { .op = ops[i], .delay_ms = 60000 };
    BlockSource *source = block_fault_source_new (striped_source (), &plan);
    BlockSink *sink = block_fault_sink_new (target (), &plan);
    g_autoptr (GCancellable) cancellable = g_cancellable_new ();
    BlockCopy copy = { .source = source, .sink = sink };
    g_autoptr (GError) error = NULL;
    gint64 began = g_get_monotonic_time ();
    GThread *thread = g_thread_new ("cancel", cancel_soon, cancellable);

    g_assert_false (block_copy (&copy, NULL, cancellable, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
    g_thread_join (thread);
    block_source_free (source);
    block_sink_free (sink);
  }
}

/* Waiting for its turn under a speed limit counts as hanging, too. */
static void
test_cancel_paced (void)
{
  BlockSource *source = striped_source ();
  BlockSink *sink = target ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BlockCopy copy = { .source = source, .sink = sink, .speed = 1 };
  g_autoptr (GError) error = NULL;
  gint64 began = g_get_monotonic_time ();
  GThread *thread = g_thread_new ("cancel", cancel_soon, cancellable);

  g_assert_false (block_copy (&copy, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
  g_thread_join (thread);

  g_clear_error (&error);
  g_assert_false (block_copy (&copy, NULL, cancellable, &error)); /* cancelled before it began */
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  block_source_free (source);
  block_sink_free (sink);
}

/* An error does not wait for the others that are under way. */
static void
test_error_beside_hang (void)
{
  BlockFault hang = { .op = BLOCK_FAULT_READ, .delay_ms = 60000 };
  BlockFault fail = { .op = BLOCK_FAULT_ZERO, .nth = 1, .errnum = EIO };
  BlockSource *source = block_fault_source_new (striped_source (), &hang);
  BlockSink *sink = block_fault_sink_new (target (), &fail);
  BlockCopy copy = { .source = source, .sink = sink };
  g_autoptr (GError) error = NULL;
  gint64 began = g_get_monotonic_time ();

  g_assert_false (block_copy (&copy, NULL, NULL, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_STORE_UNREACHABLE);
  g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
  block_source_free (source);
  block_sink_free (sink);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy-faults/matrix", test_matrix);
  g_test_add_func ("/copy-faults/offset", test_offset);
  g_test_add_func ("/copy-faults/base", test_base_fault);
  g_test_add_func ("/copy-faults/callbacks", test_callbacks);
  g_test_add_func ("/copy-faults/cancel", test_cancel);
  g_test_add_func ("/copy-faults/cancel-paced", test_cancel_paced);
  g_test_add_func ("/copy-faults/error-beside-hang", test_error_beside_hang);
  return g_test_run ();
}
