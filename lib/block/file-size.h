/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What the two ends of file.h share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Size of a regular file or a block device; false with errno set, ENOTBLK for anything else. */
bool block_file_size (int fd, bool *out_device, uint64_t *out_size);
