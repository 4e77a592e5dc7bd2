/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The error domain, and the one place that maps a code to an exit status. Invariant: a function
 * that returns false here has set *error whenever the caller gave one. */
#include "config.h"
#include "util/error.h"

#include <errno.h>

GQuark
varve_error_quark (void)
{
  return g_quark_from_static_string ("varve-error-quark");
}

G_DEFINE_ENUM_TYPE (VarveError, varve_error, G_DEFINE_ENUM_VALUE (VARVE_ERROR_FAILED, "failed"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_USAGE, "usage"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_DOCUMENT, "document"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_NOT_FOUND, "not-found"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_UNSUPPORTED, "unsupported"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_PARTIAL, "partial"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_REFUSED, "refused"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_HYPERVISOR, "hypervisor"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_SOURCE_UNREACHABLE, "source-unreachable"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_SOURCE_LOST, "source-lost"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_SOURCE_READ, "source-read"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_SOURCE_PROTOCOL, "source-protocol"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_STORE_UNREACHABLE, "store-unreachable"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_NO_SPACE, "no-space"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_STORE_DAMAGED, "store-damaged"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_EXISTS, "exists"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_BUSY, "busy"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_CHECKPOINT, "checkpoint"),
                    G_DEFINE_ENUM_VALUE (VARVE_ERROR_NOT_PROVED, "not-proved"))

static int
exit_status_of_code (VarveError code)
{
  switch (code) {
  case VARVE_ERROR_USAGE:
  case VARVE_ERROR_DOCUMENT:
    return 2;
  case VARVE_ERROR_PARTIAL:
    return 3;
  case VARVE_ERROR_REFUSED:
    return 4;
  case VARVE_ERROR_SOURCE_UNREACHABLE:
  case VARVE_ERROR_SOURCE_LOST:
  case VARVE_ERROR_SOURCE_READ:
  case VARVE_ERROR_SOURCE_PROTOCOL:
    return 5;
  case VARVE_ERROR_STORE_UNREACHABLE:
  case VARVE_ERROR_NO_SPACE:
    return 6;
  case VARVE_ERROR_STORE_DAMAGED:
    return 7;
  case VARVE_ERROR_BUSY:
    return 8;
  case VARVE_ERROR_NOT_PROVED:
    return 9;
  case VARVE_ERROR_FAILED:
  case VARVE_ERROR_NOT_FOUND:
  case VARVE_ERROR_UNSUPPORTED:
  case VARVE_ERROR_HYPERVISOR:
  case VARVE_ERROR_EXISTS:
  case VARVE_ERROR_CHECKPOINT:
    return 1;
  }
  return 1;
}

int
varve_error_exit_status (const GError *error)
{
  if (!error)
    return 0;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return 130;
  if (error->domain != VARVE_ERROR)
    return 1;
  return exit_status_of_code ((VarveError)error->code);
}

bool
varve_throw (GError **error, VarveError code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error)
    g_propagate_error (error, g_error_new_valist (VARVE_ERROR, code, format, args));
  va_end (args);
  return false;
}

bool
varve_throw_errno (GError **error, VarveError code, int errnum, const char *format, ...)
{
  if (!error)
    return false;
  if (errnum == ENOSPC || errnum == EDQUOT)
    code = VARVE_ERROR_NO_SPACE;

  va_list args;
  va_start (args, format);
  g_autofree char *doing = g_strdup_vprintf (format, args);
  va_end (args);

  g_set_error (error, VARVE_ERROR, code, "%s: %s", doing, g_strerror (errnum));
  return false;
}

bool
varve_prefix (GError **error, const char *format, ...)
{
  if (!error || !*error)
    return false;

  va_list args;
  va_start (args, format);
  g_autofree char *doing = g_strdup_vprintf (format, args);
  va_end (args);

  g_prefix_error (error, "%s: ", doing);
  return false;
}

bool
varve_classify (bool ok, VarveError code, GError **error)
{
  if (!ok && error && varve_error_matches (*error, VARVE_ERROR_FAILED))
    (*error)->code = (int)code;
  return ok;
}

bool
varve_reclassify (GError **error, VarveError code)
{
  if (error && *error) {
    (*error)->domain = VARVE_ERROR;
    (*error)->code = (int)code;
  }
  return false;
}

void
varve_keep_first (GError **into, GError **from)
{
  if (!*from)
    return;
  if (*into)
    g_clear_error (from);
  else
    g_propagate_error (into, g_steal_pointer (from));
}

bool
varve_error_matches (const GError *error, VarveError code)
{
  return g_error_matches (error, VARVE_ERROR, (int)code);
}
