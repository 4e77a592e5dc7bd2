/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* XXH3 by the widest vectors that this processor has, where xxHash was built so that it can tell at run time (an x86,
 * DISPATCH=1); its plain functions use what every x86-64 has, and take more than twice the time. Behind this header both
 * go by the plain names. Include config.h first. */
#pragma once

#include <xxhash.h>

#ifdef HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#endif
