/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What every fuzz target defines. libFuzzer calls it with what it makes up, driver.c with the files
 * of a corpus. A target aborts when a property does not hold. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
