/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What record.c needs of the text form of a record. */
#pragma once

#include "state/record.h"

bool varve_record_id_is_valid (const char *id);

/* Whether varve_record_parse would take what varve_record_format makes of @record. */
bool varve_record_check (const VarveRecord *record, GError **error);
