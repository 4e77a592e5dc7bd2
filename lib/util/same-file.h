/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <stdbool.h>
#include <glib.h>

/* Whether both paths lead to one file or device, by whatever names, also where it is yet to be made. */
bool varve_same_file (const char *a, const char *b);
