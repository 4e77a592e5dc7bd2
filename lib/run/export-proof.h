/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The proof that the frozen views are whole: a question to an export that fails as soon as its snapshot has broken (the
 * proof_uri of an endpoint). One connection a disk; all are asked at once. For one thread, save for interrupt. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

typedef struct VarveExportProof VarveExportProof;

VarveExportProof *varve_export_proof_new (void);
void varve_export_proof_free (VarveExportProof *proof);
bool varve_export_proof_add (VarveExportProof *proof, const char *uri, const char *disk,
                             GCancellable *cancellable, GError **error);
bool varve_export_proof_is_empty (const VarveExportProof *proof);

/* Both take a VarveExportProof, as a relay wants it. */
bool varve_export_proof_give (gpointer proof, GError **error);
void varve_export_proof_interrupt (gpointer proof);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportProof, varve_export_proof_free)
