/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-proof.h"

#include "block/nbd-connection.h"
#include "util/error.h"

#define CONTEXT           "base:allocation"
#define CONNECT_TIMEOUT_S 10
/* A QEMU that does not answer for so long serves nobody either. */
#define STALL_TIMEOUT_S 60
/* Whatever lies there: the question is whether there is an answer. Block status, and not a read: it costs no I/O
 * on a disk whose cache is off. */
#define ASKED 512u

typedef struct {
  BlockNbdConnection *connection;
  BlockNbdRequest request;
  char *disk;
} Witness;

struct VarveExportProof {
  GPtrArray *witnesses; /* of Witness */
};

static void
witness_free (gpointer data)
{
  Witness *witness = data;

  block_nbd_connection_free (witness->connection);
  g_free (witness->disk);
  g_free (witness);
}

VarveExportProof *
varve_export_proof_new (void)
{
  VarveExportProof *proof = g_new0 (VarveExportProof, 1);

  proof->witnesses = g_ptr_array_new_with_free_func (witness_free);
  return proof;
}

void
varve_export_proof_free (VarveExportProof *proof)
{
  if (!proof)
    return;
  g_ptr_array_unref (proof->witnesses);
  g_free (proof);
}

bool
varve_export_proof_is_empty (const VarveExportProof *proof)
{
  return proof->witnesses->len == 0;
}

bool
varve_export_proof_add (VarveExportProof *proof, const char *uri, const char *disk,
                        GCancellable *cancellable, GError **error)
{
  g_autofree char *label = g_strdup_printf ("the witness of disk '%s'", disk);
  BlockNbdConnect options = { .uri = uri,
                              .label = label,
                              .contexts = { CONTEXT, NULL },
                              .connect_timeout = CONNECT_TIMEOUT_S,
                              .stall_timeout = STALL_TIMEOUT_S };
  BlockNbdConnection *connection = block_nbd_connection_open (&options, cancellable, error);
  Witness *witness;

  if (!connection)
    return false;
  if (!block_nbd_connection_export (connection)->granted[0]) {
    block_nbd_connection_free (connection);
    return varve_throw (error, VARVE_ERROR_SOURCE_PROTOCOL,
                        "The server does not offer '%s' for %s.", CONTEXT, label);
  }
  witness = g_new0 (Witness, 1);
  witness->connection = connection;
  witness->disk = g_strdup (disk);
  g_ptr_array_add (proof->witnesses, witness);
  return true;
}

static bool
take_any (BlockNbdRequest *request, const char *context, const uint32_t *entries, size_t count)
{
  return true;
}

static void
ask (Witness *witness)
{
  witness->request =
      (BlockNbdRequest){ .command = BLOCK_NBD_STATUS, .length = ASKED, .status = take_any };
  block_nbd_connection_submit (witness->connection, &witness->request);
}

static bool
hear (Witness *witness, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (block_nbd_connection_wait (witness->connection, &witness->request, &local))
    return true;
  return varve_throw (error, VARVE_ERROR_SOURCE_LOST,
                      "The frozen view of disk '%s' broke while it was read: old data found no "
                      "place in scratch in time, or somebody ended it. (%s)",
                      witness->disk, local->message);
}

bool
varve_export_proof_give (gpointer data, GError **error)
{
  VarveExportProof *proof = data;
  bool ok = true;

  for (guint i = 0; i < proof->witnesses->len; i++)
    ask (g_ptr_array_index (proof->witnesses, i));
  /* Each that was asked is to be heard. */
  for (guint i = 0; i < proof->witnesses->len; i++)
    ok = hear (g_ptr_array_index (proof->witnesses, i), ok ? error : NULL) && ok;
  return ok;
}

void
varve_export_proof_interrupt (gpointer data)
{
  VarveExportProof *proof = data;

  for (guint i = 0; i < proof->witnesses->len; i++) {
    Witness *witness = g_ptr_array_index (proof->witnesses, i);

    block_nbd_connection_interrupt (witness->connection);
  }
}
