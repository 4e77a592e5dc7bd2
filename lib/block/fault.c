/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Filters that fail on purpose. Both ends share one plan (struct plan): it counts the calls of the
 * named operation, lets each take its time, and says whether it is to fail. A call that is being
 * delayed is woken by interrupt, so that a hanging server can be played, too.
 */
#include "config.h"
#include "block/fault.h"

#include "util/error.h"

/* An overrun claims this many bytes more than were asked for. */
#define OVERRUN_BYTES (64u << 10)

typedef struct {
  BlockFault fault;
  GMutex lock;
  GCond woken;
  unsigned calls;   /* of fault.op; by lock */
  bool interrupted; /* by lock */
} Plan;

typedef struct {
  BlockSource base;
  BlockSource *inner;
  Plan plan;
} FaultSource;

typedef struct {
  BlockSink base;
  BlockSink *inner;
  Plan plan;
} FaultSink;

static void
plan_init (Plan *plan, const BlockFault *fault)
{
  plan->fault = *fault;
  g_mutex_init (&plan->lock);
  g_cond_init (&plan->woken);
}

static void
plan_clear (Plan *plan)
{
  g_mutex_clear (&plan->lock);
  g_cond_clear (&plan->woken);
}

static void
plan_interrupt (Plan *plan)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&plan->lock);

  plan->interrupted = true;
  g_cond_broadcast (&plan->woken);
}

/* Passes one call of @op: waits as long as the fault says, then tells whether the fault strikes. */
static bool
plan_strikes (Plan *plan, BlockFaultOp op, uint64_t offset, uint64_t length)
{
  const BlockFault *fault = &plan->fault;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&plan->lock);
  gint64 until = g_get_monotonic_time () + (gint64)fault->delay_ms * G_TIME_SPAN_MILLISECOND;

  if (fault->op != op)
    return false;
  plan->calls++;
  unsigned call = plan->calls;
  while (fault->delay_ms > 0 && !plan->interrupted)
    if (!g_cond_wait_until (&plan->woken, &plan->lock, until))
      break;
  return (fault->nth > 0 && call >= fault->nth) ||
         (fault->by_offset && fault->offset >= offset && fault->offset - offset < length);
}

static bool
plan_is_interrupted (Plan *plan)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&plan->lock);

  return plan->interrupted;
}

static bool
plan_pass (Plan *plan, BlockFaultOp op, VarveError code, const char *what, uint64_t offset,
           uint64_t length, GError **error)
{
  if (plan_strikes (plan, op, offset, length))
    return varve_throw_errno (error, code, plan->fault.errnum, "A fault was injected into %s",
                              what);
  if (plan_is_interrupted (plan))
    return varve_throw (error, code, "It was interrupted.");
  return true;
}

static bool
fault_source_read (BlockSource *source, uint64_t offset, void *buffer, size_t length,
                   GError **error)
{
  FaultSource *self = (FaultSource *)source;

  return plan_pass (&self->plan, BLOCK_FAULT_READ, VARVE_ERROR_SOURCE_READ, "a read", offset,
                    length, error) &&
         block_source_read (self->inner, offset, buffer, length, error);
}

static bool
fault_source_extents (BlockSource *source, uint64_t offset, uint64_t length, VarveExtents *out,
                      GError **error)
{
  FaultSource *self = (FaultSource *)source;

  if (!plan_pass (&self->plan, BLOCK_FAULT_EXTENTS, VARVE_ERROR_SOURCE_READ, "the map", offset,
                  length, error) ||
      !block_source_extents (self->inner, offset, length, out, error))
    return false;
  if (plan_strikes (&self->plan, BLOCK_FAULT_EXTENTS_OVERRUN, offset, length))
    varve_extents_append (out, offset + length, OVERRUN_BYTES, VARVE_EXTENT_DATA);
  return true;
}

static void
fault_source_interrupt (BlockSource *source)
{
  FaultSource *self = (FaultSource *)source;

  plan_interrupt (&self->plan);
  block_source_interrupt (self->inner);
}

static void
fault_source_free (BlockSource *source)
{
  FaultSource *self = (FaultSource *)source;

  block_source_free (self->inner);
  plan_clear (&self->plan);
  g_free (self);
}

static const BlockSourceOps fault_source_ops = {
  .name = "fault",
  .read = fault_source_read,
  .extents = fault_source_extents,
  .interrupt = fault_source_interrupt,
  .free = fault_source_free,
};

BlockSource *
block_fault_source_new (BlockSource *source, const BlockFault *fault)
{
  FaultSource *self = g_new0 (FaultSource, 1);

  self->base = *source;
  self->base.ops = &fault_source_ops;
  self->base.label = g_strdup (source->label);
  self->inner = source;
  plan_init (&self->plan, fault);
  return &self->base;
}

static bool
fault_sink_write (BlockSink *sink, uint64_t offset, const void *buffer, size_t length,
                  GError **error)
{
  FaultSink *self = (FaultSink *)sink;

  return plan_pass (&self->plan, BLOCK_FAULT_WRITE, VARVE_ERROR_STORE_UNREACHABLE, "a write",
                    offset, length, error) &&
         block_sink_write (self->inner, offset, buffer, length, error);
}

static bool
fault_sink_zero (BlockSink *sink, uint64_t offset, uint64_t length, GError **error)
{
  FaultSink *self = (FaultSink *)sink;

  return plan_pass (&self->plan, BLOCK_FAULT_ZERO, VARVE_ERROR_STORE_UNREACHABLE, "zeroing", offset,
                    length, error) &&
         block_sink_zero (self->inner, offset, length, error);
}

static bool
fault_sink_flush (BlockSink *sink, GError **error)
{
  FaultSink *self = (FaultSink *)sink;

  return plan_pass (&self->plan, BLOCK_FAULT_FLUSH, VARVE_ERROR_STORE_UNREACHABLE, "a flush", 0,
                    sink->size, error) &&
         block_sink_flush (self->inner, error);
}

static void
fault_sink_interrupt (BlockSink *sink)
{
  FaultSink *self = (FaultSink *)sink;

  plan_interrupt (&self->plan);
  block_sink_interrupt (self->inner);
}

static void
fault_sink_free (BlockSink *sink)
{
  FaultSink *self = (FaultSink *)sink;

  block_sink_free (self->inner);
  plan_clear (&self->plan);
  g_free (self);
}

static const BlockSinkOps fault_sink_ops = {
  .name = "fault",
  .write = fault_sink_write,
  .zero = fault_sink_zero,
  .flush = fault_sink_flush,
  .interrupt = fault_sink_interrupt,
  .free = fault_sink_free,
};

BlockSink *
block_fault_sink_new (BlockSink *sink, const BlockFault *fault)
{
  FaultSink *self = g_new0 (FaultSink, 1);

  self->base = *sink;
  self->base.ops = &fault_sink_ops;
  self->base.label = g_strdup (sink->label);
  self->inner = sink;
  plan_init (&self->plan, fault);
  return &self->base;
}
