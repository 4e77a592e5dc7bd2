/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* How a store makes the public VarveBackup. */
#pragma once

#include "store/store.h"

/* (transfer full) */
VarveBackup *varve_backup_from_manifest (VarveManifest *manifest, VarveStoreImpl *store);
