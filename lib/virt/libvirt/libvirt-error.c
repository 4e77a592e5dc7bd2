/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "virt/libvirt/libvirt-error.h"

#include <string.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

typedef struct {
  const char *words;
  VarveError code;
} Phrase;

/* Told apart by text, as libvirt has no code for them. */
static const Phrase phrases[] = {
  { "No space left on device", VARVE_ERROR_NO_SPACE },
  { "Disk quota exceeded", VARVE_ERROR_NO_SPACE },
  { "blockjob", VARVE_ERROR_BUSY },
  { "block job", VARVE_ERROR_BUSY },
  { "Bitmap already exists", VARVE_ERROR_EXISTS },
  { "guest agent is not connected", VARVE_ERROR_UNSUPPORTED },
};

static bool
is_disconnect (int code, int domain)
{
  return domain == VIR_FROM_RPC || domain == VIR_FROM_REMOTE || code == VIR_ERR_RPC ||
         code == VIR_ERR_NO_CONNECT || code == VIR_ERR_INVALID_CONN;
}

VarveError
varve_libvirt_error_map (int code, int domain, const char *words)
{
  for (size_t i = 0; words && i < G_N_ELEMENTS (phrases); i++)
    if (strstr (words, phrases[i].words))
      return phrases[i].code;
  switch (code) {
  case VIR_ERR_NO_DOMAIN:
    return VARVE_ERROR_NOT_FOUND;
  case VIR_ERR_NO_DOMAIN_CHECKPOINT:
  case VIR_ERR_INVALID_DOMAIN_CHECKPOINT:
  case VIR_ERR_CHECKPOINT_INCONSISTENT:
    return VARVE_ERROR_CHECKPOINT;
  case VIR_ERR_OPERATION_TIMEOUT:
  case VIR_ERR_RESOURCE_BUSY:
  case VIR_ERR_BLOCK_COPY_ACTIVE:
    return VARVE_ERROR_BUSY;
  case VIR_ERR_NO_SUPPORT:
  case VIR_ERR_CONFIG_UNSUPPORTED:
  case VIR_ERR_ARGUMENT_UNSUPPORTED:
  case VIR_ERR_OPERATION_UNSUPPORTED:
    return VARVE_ERROR_UNSUPPORTED;
  case VIR_ERR_AGENT_UNRESPONSIVE:
  case VIR_ERR_AUTH_FAILED:
  case VIR_ERR_AUTH_CANCELLED:
  case VIR_ERR_AUTH_UNAVAILABLE:
    return VARVE_ERROR_SOURCE_UNREACHABLE;
  default:
    return is_disconnect (code, domain) ? VARVE_ERROR_SOURCE_UNREACHABLE : VARVE_ERROR_HYPERVISOR;
  }
}

bool
varve_libvirt_throw (GError **error, const char *format, ...)
{
  const virError *last = virGetLastError ();
  const char *words = last && last->message ? last->message : "no reason was given";
  int code = last ? last->code : VIR_ERR_OK;
  int domain = last ? last->domain : VIR_FROM_NONE;
  g_autofree char *text = NULL;
  va_list ap;

  va_start (ap, format);
  text = g_strdup_vprintf (format, ap);
  va_end (ap);
  return varve_throw (error, varve_libvirt_error_map (code, domain, words),
                      "%s: %s (libvirt error %d).", text, words, code);
}

int
varve_libvirt_error_code (void)
{
  return virGetLastErrorCode ();
}

bool
varve_libvirt_error_says (const char *words)
{
  const virError *last = virGetLastError ();

  return last && last->message && strstr (last->message, words) != NULL;
}

bool
varve_libvirt_error_is_disconnect (void)
{
  const virError *last = virGetLastError ();

  return last && is_disconnect (last->code, last->domain);
}
