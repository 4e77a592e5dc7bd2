/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* libvirt's errors as GErrors. libvirt keeps one error for each thread and the next call overwrites
 * it, so each failing call is followed by one of these at once, in the same thread. */
#pragma once

#include <stdbool.h>
#include <glib.h>

#include "util/error.h"

/* What a caller can decide on, from libvirt's code (virErrorNumber), the part of libvirt that
 * raised it (virErrorDomain) and its words, which are all that tells apart the many kinds of
 * VIR_ERR_INTERNAL_ERROR. */
VarveError varve_libvirt_error_map (int code, int domain, const char *words);

/* The last error of this thread, behind a message without a full stop: "…: libvirt's words (libvirt
 * error 104)." Always returns false. */
bool varve_libvirt_throw (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* The number of this thread's last error (VIR_ERR_…). */
int varve_libvirt_error_code (void);
/* Whether the last error's text contains @words. */
bool varve_libvirt_error_says (const char *words);
/* Whether the last error means that the connection itself is gone. */
bool varve_libvirt_error_is_disconnect (void);
