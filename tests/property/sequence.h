/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* One random sequence: what is done follows from the seed alone, but for the moments at which workers
 * are killed without a failure point. Ends the process where the property does not hold; prints each
 * step. */
#pragma once

#include "defect.h"

#define STEP_KINDS 12u

/* What a step of a kind is called. */
const char *sequence_step_name (unsigned kind);

/* @counts: of each kind the steps that were taken are added. */
void sequence_run (WorldKind kind, guint32 seed, unsigned steps, Defect defect,
                   unsigned counts[STEP_KINDS]);
