/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* TLS where varve was built without GnuTLS: there are no credentials, and so nothing else is ever called. */
#include "config.h"
#include "session/tls.h"

#include "util/error.h"

VarveTls *
varve_tls_load (const char *directory, GError **error)
{
  varve_throw (error, VARVE_ERROR_UNSUPPORTED,
               "The credentials in '%s' cannot be used, as this varve was built without TLS.",
               directory);
  return NULL;
}

void
varve_tls_free (VarveTls *tls)
{
}

const char *
varve_tls_kind (const VarveTls *tls)
{
  g_return_val_if_reached ("none");
}

VarveTlsSession *
varve_tls_session_new (VarveTls *tls, int fd)
{
  g_return_val_if_reached (NULL);
}

void
varve_tls_session_free (VarveTlsSession *session)
{
}

VarveTlsResult
varve_tls_session_handshake (VarveTlsSession *session)
{
  g_return_val_if_reached (VARVE_TLS_LOST);
}

VarveTlsResult
varve_tls_session_receive (VarveTlsSession *session, void *buffer, size_t length,
                           size_t *out_received)
{
  g_return_val_if_reached (VARVE_TLS_LOST);
}

VarveTlsResult
varve_tls_session_send (VarveTlsSession *session, const void *buffer, size_t length,
                        size_t *out_sent)
{
  g_return_val_if_reached (VARVE_TLS_LOST);
}

bool
varve_tls_session_writes (const VarveTlsSession *session)
{
  g_return_val_if_reached (false);
}

bool
varve_tls_session_pending (const VarveTlsSession *session)
{
  g_return_val_if_reached (false);
}
