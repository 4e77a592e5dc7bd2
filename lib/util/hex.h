/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* Two lower-case digits for each byte. (transfer full) */
char *varve_hex (const uint8_t *bytes, size_t length);
