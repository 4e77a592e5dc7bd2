/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Which connection asks for which context:
 *
 *   contexts          first        second   more
 *   none              -                     -
 *   one               it                    -
 *   two, may share    both                  -
 *   two               allocation   dirty    -
 *
 * More than the contexts need are opened only where the server allows several clients to count as
 * one, and are done without where it does not take them.
 */
#include "config.h"
#include "block/nbd-pool.h"

#include "util/error.h"

#define DEFAULT_CONNECT_TIMEOUT 10u
#define DEFAULT_STALL_TIMEOUT   60u

enum { ALLOCATION, DIRTY }; /* in BlockNbdConnect.contexts */

static BlockNbdConnection *
open_one (BlockNbdPool *pool, const BlockNbdConnect *connect, GCancellable *cancellable,
          GError **error)
{
  g_autoptr (BlockNbdConnection) connection =
      block_nbd_connection_open (connect, cancellable, error);

  if (connection == NULL)
    return NULL;
  const BlockNbdExport *export = block_nbd_connection_export (connection);
  if (pool->connections->len == 0)
    pool->export = *export;
  if (export->size != pool->export.size || export->block_size != pool->export.block_size) {
    varve_throw (error,
                 connect->target ? VARVE_ERROR_STORE_UNREACHABLE : VARVE_ERROR_SOURCE_PROTOCOL,
                 "The NBD server of %s says %" G_GUINT64_FORMAT
                 " bytes to one connection and %" G_GUINT64_FORMAT " to the next.",
                 pool->label, pool->export.size, export->size);
    return NULL;
  }
  if (export->granted[ALLOCATION])
    pool->allocation = connection;
  if (export->granted[DIRTY])
    pool->dirty = connection;
  g_ptr_array_add (pool->connections, connection);
  return g_steal_pointer (&connection);
}

/* A bitmap that is not there must never look like "nothing has changed" or "all has". */
static bool
check_dirty (const BlockNbdPool *pool, const BlockNbdOptions *options, GError **error)
{
  if (options->dirty_context == NULL || pool->dirty != NULL)
    return true;
  return varve_throw (error, VARVE_ERROR_CHECKPOINT,
                      "The NBD server of %s does not have the context '%s': the bitmap is not "
                      "exported, so what changed since the checkpoint is not known.",
                      pool->label, options->dirty_context);
}

static bool
open_needed (BlockNbdPool *pool, BlockNbdConnect *connect, const BlockNbdOptions *options,
             GCancellable *cancellable, GError **error)
{
  bool two = options->dirty_context != NULL && options->allocation_context != NULL &&
             !options->contexts_may_share;

  connect->contexts[ALLOCATION] = options->allocation_context;
  connect->contexts[DIRTY] = two ? NULL : options->dirty_context;
  if (open_one (pool, connect, cancellable, error) == NULL)
    return false;
  if (two) {
    connect->contexts[ALLOCATION] = NULL;
    connect->contexts[DIRTY] = options->dirty_context;
    if (open_one (pool, connect, cancellable, error) == NULL)
      return false;
  }
  return check_dirty (pool, options, error);
}

static bool
open_more (BlockNbdPool *pool, BlockNbdConnect *connect, unsigned wanted, GCancellable *cancellable,
           GError **error)
{
  connect->contexts[ALLOCATION] = NULL;
  connect->contexts[DIRTY] = NULL;
  while (pool->export.multi_conn && pool->connections->len < wanted) {
    g_autoptr (GError) local = NULL;
    if (open_one (pool, connect, cancellable, &local) != NULL)
      continue;
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return false;
    g_debug ("%s is read by %u connections, not by %u: %s", pool->label, pool->connections->len,
             wanted, local->message);
    break;
  }
  pool->data = pool->export.multi_conn ? pool->connections->len : 1;
  return true;
}

BlockNbdPool *
block_nbd_pool_open (const BlockNbdOptions *options, bool target, GCancellable *cancellable,
                     GError **error)
{
  g_autoptr (BlockNbdPool) pool = g_new0 (BlockNbdPool, 1);
  BlockNbdConnect connect = {
    .uri = options->uri,
    .target = target,
    .connect_timeout =
        options->connect_timeout != 0 ? options->connect_timeout : DEFAULT_CONNECT_TIMEOUT,
    .stall_timeout = options->stall_timeout != 0 ? options->stall_timeout : DEFAULT_STALL_TIMEOUT,
  };

  pool->connections = g_ptr_array_new_with_free_func ((GDestroyNotify)block_nbd_connection_free);
  pool->label = options->label != NULL ? g_strdup_printf ("%s at %s", options->label, options->uri)
                                       : g_strdup_printf ("the export at %s", options->uri);
  connect.label = pool->label;
  if (!open_needed (pool, &connect, options, cancellable, error) ||
      !open_more (pool, &connect, options->connections, cancellable, error))
    return NULL;
  return g_steal_pointer (&pool);
}

void
block_nbd_pool_interrupt (BlockNbdPool *pool)
{
  for (guint i = 0; i < pool->connections->len; i++)
    block_nbd_connection_interrupt (g_ptr_array_index (pool->connections, i));
}

void
block_nbd_pool_free (BlockNbdPool *pool)
{
  if (pool == NULL)
    return;
  g_ptr_array_unref (pool->connections);
  g_free (pool->label);
  g_free (pool);
}

static BlockNbdConnection *
least_loaded (const BlockNbdPool *pool)
{
  BlockNbdConnection *best = NULL;
  unsigned least = G_MAXUINT;

  for (unsigned i = 0; i < pool->data && least > 0; i++) {
    BlockNbdConnection *connection = g_ptr_array_index (pool->connections, i);
    unsigned load = block_nbd_connection_load (connection);
    if (load < least) {
      best = connection;
      least = load;
    }
  }
  return best;
}

bool
block_nbd_pool_perform (BlockNbdPool *pool, BlockNbdRequest *request, GError **error)
{
  BlockNbdConnection *connection = least_loaded (pool);

  block_nbd_connection_submit (connection, request);
  return block_nbd_connection_wait (connection, request, error);
}

/* All that was submitted is waited for, whatever becomes of the first: the buffer is in use until
 * then. Parts of one transfer go by one connection. */
static bool
transfer_some (BlockNbdPool *pool, const BlockNbdRequest *model, size_t part, size_t length,
               GError **error)
{
  BlockNbdRequest requests[BLOCK_NBD_DEPTH];
  BlockNbdConnection *connection = least_loaded (pool);
  unsigned count = 0;
  bool ok = true;

  for (size_t done = 0; done < length; done += part, count++) {
    requests[count] = *model;
    requests[count].offset += done;
    requests[count].buffer = (uint8_t *)model->buffer + done;
    requests[count].length = MIN (part, length - done);
    block_nbd_connection_submit (connection, &requests[count]);
  }
  for (unsigned i = 0; i < count; i++)
    ok = block_nbd_connection_wait (connection, &requests[i], ok ? error : NULL) && ok;
  return ok;
}

bool
block_nbd_pool_transfer (BlockNbdPool *pool, BlockNbdCommand command, uint64_t offset, void *buffer,
                         size_t length, GError **error)
{
  size_t part = MIN (BLOCK_NBD_PART, pool->export.max_transfer);
  BlockNbdRequest model = { .command = command, .offset = offset, .buffer = buffer };

  while (length > 0) {
    size_t some = MIN (length, part * BLOCK_NBD_DEPTH);
    if (!transfer_some (pool, &model, part, some, error))
      return false;
    model.offset += some;
    model.buffer = (uint8_t *)model.buffer + some;
    length -= some;
  }
  return true;
}
