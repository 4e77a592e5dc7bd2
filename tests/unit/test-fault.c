/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The filters that fail on purpose must fail when they were told to, and only then. */
#include "config.h"
#include "block/fault.h"

#include <errno.h>

#include "block/memory.h"
#include "util/error.h"
#include "wait.h"

static BlockSource *
source_with (BlockFault fault)
{
  return block_fault_source_new (block_memory_source_new ("abcdefgh", 8, NULL), &fault);
}

static void
test_none (void)
{
  BlockSource *source = source_with ((BlockFault){ .op = BLOCK_FAULT_NONE, .nth = 1 });
  g_autoptr (VarveExtents) out = varve_extents_new ();
  GError *error = NULL;
  char back[8];

  g_assert_cmpuint (source->size, ==, 8);
  g_assert_true (block_source_read (source, 0, back, 8, &error));
  g_assert_cmpmem (back, 8, "abcdefgh", 8);
  g_assert_true (block_source_extents (source, 0, 8, out, &error));
  block_source_free (source);
}

/* From the nth on, not before. */
static void
test_nth (void)
{
  BlockSource *source =
      source_with ((BlockFault){ .op = BLOCK_FAULT_READ, .nth = 3, .errnum = EIO });
  g_autoptr (VarveExtents) out = varve_extents_new ();
  char back[1];

  g_assert_true (block_source_extents (source, 0, 8, out, NULL)); /* is not counted */
  for (unsigned i = 1; i <= 4; i++) {
    g_autoptr (GError) error = NULL;
    g_assert_cmpint (block_source_read (source, 0, back, 1, &error), ==, i < 3);
    if (i >= 3)
      g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_READ);
  }
  block_source_free (source);
}

static void
test_offset (void)
{
  BlockSource *source = source_with (
      (BlockFault){ .op = BLOCK_FAULT_READ, .by_offset = true, .offset = 4, .errnum = EIO });
  char back[8];

  g_assert_true (block_source_read (source, 0, back, 4, NULL));
  g_assert_false (block_source_read (source, 1, back, 4, NULL));
  g_assert_false (block_source_read (source, 4, back, 1, NULL));
  g_assert_true (block_source_read (source, 5, back, 3, NULL));
  block_source_free (source);
}

static void
test_overrun (void)
{
  BlockSource *source = source_with ((BlockFault){ .op = BLOCK_FAULT_EXTENTS_OVERRUN, .nth = 2 });
  g_autoptr (VarveExtents) out = varve_extents_new ();
  g_autoptr (GError) error = NULL;

  g_assert_true (block_source_extents (source, 0, 4, out, &error));
  g_assert_false (block_source_extents (source, 4, 4, out, &error));
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_PROTOCOL);
  block_source_free (source);
}

static void
test_sink (void)
{
  static const struct {
    BlockFaultOp op;
    int errnum;
    VarveError code;
  } cases[] = { { BLOCK_FAULT_WRITE, EIO, VARVE_ERROR_STORE_UNREACHABLE },
                { BLOCK_FAULT_ZERO, ENOSPC, VARVE_ERROR_NO_SPACE },
                { BLOCK_FAULT_FLUSH, EIO, VARVE_ERROR_STORE_UNREACHABLE } };

  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    BlockFault fault = { .op = cases[i].op, .nth = 1, .errnum = cases[i].errnum };
    BlockSink *sink = block_fault_sink_new (block_memory_sink_new (8, 4, 1, true), &fault);
    g_autoptr (GError) error = NULL;

    g_assert_cmpuint (sink->alignment, ==, 4);
    g_assert_true (sink->has_base);
    bool done = block_sink_write (sink, 0, "abcd", 4, &error);
    g_assert_cmpint (done, ==, cases[i].op != BLOCK_FAULT_WRITE);
    done = done && block_sink_zero (sink, 4, 4, &error);
    g_assert_cmpint (done, ==, cases[i].op == BLOCK_FAULT_FLUSH);
    done = done && block_sink_flush (sink, &error);
    g_assert_false (done);
    g_assert_error (error, VARVE_ERROR, (int)cases[i].code);
    block_sink_free (sink);
  }
}

static gpointer
interrupt_soon (gpointer data)
{
  g_usleep (50000);
  block_source_interrupt (data);
  return NULL;
}

/* A delay is a delay, not a fault, unless it is interrupted; then nothing works any more. */
static void
test_delay (void)
{
  BlockSource *source = source_with ((BlockFault){ .op = BLOCK_FAULT_READ, .delay_ms = 60 });
  gint64 began = g_get_monotonic_time ();
  char back[1];

  g_assert_true (block_source_read (source, 0, back, 1, NULL));
  g_assert_cmpint (g_get_monotonic_time () - began, >=, 55 * G_TIME_SPAN_MILLISECOND);
  block_source_free (source);

  source = source_with ((BlockFault){ .op = BLOCK_FAULT_READ, .delay_ms = 60000 });
  began = g_get_monotonic_time ();
  GThread *thread = g_thread_new ("interrupt", interrupt_soon, source);
  g_assert_false (block_source_read (source, 0, back, 1, NULL));
  g_assert_false (block_source_read (source, 0, back, 1, NULL));
  g_assert_cmpint (g_get_monotonic_time () - began, <, AT_ONCE);
  g_thread_join (thread);
  block_source_free (source);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fault/none", test_none);
  g_test_add_func ("/fault/nth", test_nth);
  g_test_add_func ("/fault/offset", test_offset);
  g_test_add_func ("/fault/overrun", test_overrun);
  g_test_add_func ("/fault/sink", test_sink);
  g_test_add_func ("/fault/delay", test_delay);
  return g_test_run ();
}
