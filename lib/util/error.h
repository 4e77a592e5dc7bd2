/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Short ways to fail. Each returns false, so that a failing branch is one line:
 *
 *   return varve_throw (error, VARVE_ERROR_BUSY, "Domain '%s' is being backed up by run %s.", …);
 */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

#include "util/varve-error.h"

bool varve_throw (GError **error, VarveError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* As varve_throw, with ": " and the text of errno @errnum behind the message. ENOSPC and EDQUOT
 * turn
 * @code into VARVE_ERROR_NO_SPACE whatever the caller passed. */
bool varve_throw_errno (GError **error, VarveError code, int errnum, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

/* Put "…: " in front of an error that is on its way up. Always returns false. */
bool varve_prefix (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Passes @ok on; where it is false, an error without a class of its own (VARVE_ERROR_FAILED) becomes
 * @code: for steps that do not know what they are done for. */
bool varve_classify (bool ok, VarveError code, GError **error);

/* Gives an error on its way up another class, whatever it had: where the one below is right for the step, and wrong for
 * who asked. Always returns false. */
bool varve_reclassify (GError **error, VarveError code);

/* Keep the first error of several: moves *@from into *@into when that is still unset, else frees
 * it. */
void varve_keep_first (GError **into, GError **from);

bool varve_error_matches (const GError *error, VarveError code);
