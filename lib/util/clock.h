/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Time and names made of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* A backup id: YYYYMMDDThhmmssZ-<16 random hex>, UTC, which sorts behind the id @after (or NULL),
 * however soon it comes and whatever was done to the clock. (transfer full) */
char *varve_backup_id_new (const char *after);
bool varve_backup_id_is_valid (const char *id);
/* Seconds since the epoch that the id was drawn at, or -1. */
int64_t varve_backup_id_time (const char *id);

/* @bytes random bytes as lower-case hex, from the kernel. (transfer full) */
char *varve_random_hex (size_t bytes);

/* YYYY-MM-DDThh:mm:ssZ. (transfer full) */
char *varve_format_time (int64_t unix_seconds);
/* Reads what varve_format_time writes, and YYYY-MM-DD alone; -1 when it is neither. */
int64_t varve_parse_time (const char *text);
