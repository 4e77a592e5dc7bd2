/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Everything that libvarve offers.
 *
 * varve backs up and restores the disks of QEMU/KVM virtual machines over NBD. A job document says
 * what to do (VarveJob), a run does it (VarveRun), a store keeps the result (VarveStore). The record of what
 * has changed since, on the domain itself, is in its checkpoints (VarveCheckpoints).
 */
#pragma once

#include "varve-error.h"
#include "varve-event.h"
#include "varve-job.h"
#include "varve-restore-action.h"
#include "varve-verify-action.h"
#include "varve-store.h"
#include "varve-run.h"
#include "varve-checkpoints.h"
#include "varve-exports.h"
