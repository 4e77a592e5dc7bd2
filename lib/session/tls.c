/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <unistd.h>

#include "util/error.h"

/* Certificates cannot be chosen where there are none, so that only keys are left for PSK. */
#define PRIORITY_X509 "NORMAL"
#define PRIORITY_PSK  "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK"

struct VarveTls {
  bool psk;
  gnutls_certificate_credentials_t x509_credentials;
  gnutls_psk_server_credentials_t psk_credentials;
};

struct VarveTlsSession {
  const VarveTls *tls;
  gnutls_session_t session;
  /* What a reader's certificate must be for. GnuTLS keeps the pointer, not the value. */
  gnutls_typed_vdata_st purpose;
  bool writes;  /* what waits, waits to write */
  bool flushes; /* a record that was begun must be finished before anything else is sent */
};

/* --- credentials ------------------------------------------------------------------------------ */

static bool
has_file (const char *directory, const char *name, char **out_path)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  if (access (path, F_OK) != 0)
    return false;
  *out_path = g_steal_pointer (&path);
  return true;
}

static bool
throw_gnutls (const char *doing, const char *path, int code, GError **error)
{
  return varve_throw (error, VARVE_ERROR_USAGE, "%s '%s': %s", doing, path, gnutls_strerror (code));
}

static bool
check_readable (const char *path, GError **error)
{
  return access (path, R_OK) == 0 ||
         varve_throw_errno (error, VARVE_ERROR_USAGE, errno,
                            "Cannot read '%s', which TLS for readers needs", path);
}

static bool
load_psk (VarveTls *tls, const char *keys, GError **error)
{
  int code;

  if (!check_readable (keys, error))
    return false;
  gnutls_psk_allocate_server_credentials (&tls->psk_credentials);
  tls->psk = true;
  code = gnutls_psk_set_server_credentials_file (tls->psk_credentials, keys);
  return code >= 0 || throw_gnutls ("Cannot use the keys in", keys, code, error);
}

static bool
load_revoked (VarveTls *tls, const char *directory, GError **error)
{
  g_autofree char *path = NULL;
  int code;

  if (!has_file (directory, "ca-crl.pem", &path))
    return true;
  code = gnutls_certificate_set_x509_crl_file (tls->x509_credentials, path, GNUTLS_X509_FMT_PEM);
  return code >= 0 ||
         throw_gnutls ("Cannot use the list of revoked certificates", path, code, error);
}

static bool
load_x509 (VarveTls *tls, const char *directory, const char *authority, GError **error)
{
  g_autofree char *certificate = g_build_filename (directory, "server-cert.pem", NULL);
  g_autofree char *key = g_build_filename (directory, "server-key.pem", NULL);
  int code;

  /* GnuTLS does not say which of them it is. */
  if (!check_readable (authority, error) || !check_readable (certificate, error) ||
      !check_readable (key, error))
    return false;
  gnutls_certificate_allocate_credentials (&tls->x509_credentials);
  code = gnutls_certificate_set_x509_trust_file (tls->x509_credentials, authority,
                                                 GNUTLS_X509_FMT_PEM);
  if (code < 0)
    return throw_gnutls ("Cannot use the certificate of the authority", authority, code, error);
  if (code == 0)
    return varve_throw (error, VARVE_ERROR_USAGE, "'%s' has no certificate in it.", authority);
  code = gnutls_certificate_set_x509_key_file (tls->x509_credentials, certificate, key,
                                               GNUTLS_X509_FMT_PEM);
  if (code < 0)
    return throw_gnutls (
        "Cannot use the server's certificate with its key, which must belong together, in",
        directory, code, error);
  return load_revoked (tls, directory, error);
}

static bool
load (VarveTls *tls, const char *directory, GError **error)
{
  g_autofree char *keys = NULL;
  g_autofree char *authority = NULL;
  bool psk = has_file (directory, "keys.psk", &keys);
  bool x509 = has_file (directory, "ca-cert.pem", &authority);

  if (access (directory, R_OK | X_OK) != 0)
    return varve_throw_errno (error, VARVE_ERROR_USAGE, errno,
                              "Cannot look for TLS credentials in the directory '%s'", directory);
  if (psk && x509)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "'%s' has both keys.psk and ca-cert.pem, so that it is not clear which of "
                        "them readers are to have: keep them in directories of their own.",
                        directory);
  if (psk)
    return load_psk (tls, keys, error);
  if (x509)
    return load_x509 (tls, directory, authority, error);
  return varve_throw (error, VARVE_ERROR_USAGE,
                      "'%s' has no TLS credentials: it must have ca-cert.pem, server-cert.pem and "
                      "server-key.pem, or keys.psk.",
                      directory);
}

VarveTls *
varve_tls_load (const char *directory, GError **error)
{
  g_autoptr (VarveTls) tls = g_new0 (VarveTls, 1);

  return load (tls, directory, error) ? g_steal_pointer (&tls) : NULL;
}

void
varve_tls_free (VarveTls *tls)
{
  if (!tls)
    return;
  if (tls->x509_credentials)
    gnutls_certificate_free_credentials (tls->x509_credentials);
  if (tls->psk_credentials)
    gnutls_psk_free_server_credentials (tls->psk_credentials);
  g_free (tls);
}

const char *
varve_tls_kind (const VarveTls *tls)
{
  return tls->psk ? "psk" : "x509";
}

/* --- a session -------------------------------------------------------------------------------- */

static bool
set_up (VarveTlsSession *self)
{
  const VarveTls *tls = self->tls;
  gnutls_session_t session = self->session;

  if (tls->psk)
    return gnutls_priority_set_direct (session, PRIORITY_PSK, NULL) >= 0 &&
           gnutls_credentials_set (session, GNUTLS_CRD_PSK, tls->psk_credentials) >= 0;
  if (gnutls_priority_set_direct (session, PRIORITY_X509, NULL) < 0 ||
      gnutls_credentials_set (session, GNUTLS_CRD_CERTIFICATE, tls->x509_credentials) < 0)
    return false;
  gnutls_certificate_server_set_request (session, GNUTLS_CERT_REQUIRE);
  /* Any certificate of the authority, whoever it names; one that says what it is for must say "client". */
  self->purpose.type = GNUTLS_DT_KEY_PURPOSE_OID;
  self->purpose.data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT;
  gnutls_session_set_verify_cert2 (session, &self->purpose, 1, 0);
  return true;
}

VarveTlsSession *
varve_tls_session_new (VarveTls *tls, int fd)
{
  VarveTlsSession *self = g_new0 (VarveTlsSession, 1);

  self->tls = tls;
  if (gnutls_init (&self->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) >= 0 &&
      set_up (self)) {
    gnutls_transport_set_int (self->session, fd);
    return self;
  }
  varve_tls_session_free (self);
  return NULL;
}

void
varve_tls_session_free (VarveTlsSession *self)
{
  if (!self)
    return;
  if (self->session) {
    gnutls_bye (self->session, GNUTLS_SHUT_WR);
    gnutls_deinit (self->session);
  }
  g_free (self);
}

bool
varve_tls_session_writes (const VarveTlsSession *self)
{
  return self->writes;
}

bool
varve_tls_session_pending (const VarveTlsSession *self)
{
  return gnutls_record_check_pending (self->session) > 0;
}

static VarveTlsResult
judge (VarveTlsSession *self, ssize_t code)
{
  self->writes = false;
  if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED) {
    self->writes = gnutls_record_get_direction (self->session) == 1;
    return VARVE_TLS_WAITS;
  }
  if (code < 0 && !gnutls_error_is_fatal ((int)code) && code != GNUTLS_E_REHANDSHAKE)
    return VARVE_TLS_WAITS;
  return code < 0 ? VARVE_TLS_LOST : VARVE_TLS_DONE;
}

/* GnuTLS has checked it all by now; this is what must be true whatever it was told to check. */
static bool
is_known (const VarveTlsSession *self)
{
  unsigned count = 0;

  if (self->tls->psk)
    return gnutls_auth_get_type (self->session) == GNUTLS_CRD_PSK;
  return gnutls_auth_get_type (self->session) == GNUTLS_CRD_CERTIFICATE &&
         gnutls_certificate_get_peers (self->session, &count) != NULL && count > 0 &&
         gnutls_session_get_verify_cert_status (self->session) == 0;
}

VarveTlsResult
varve_tls_session_handshake (VarveTlsSession *self)
{
  VarveTlsResult result = judge (self, gnutls_handshake (self->session));

  return result == VARVE_TLS_DONE && !is_known (self) ? VARVE_TLS_LOST : result;
}

VarveTlsResult
varve_tls_session_receive (VarveTlsSession *self, void *buffer, size_t length, size_t *out_received)
{
  ssize_t got = gnutls_record_recv (self->session, buffer, length);

  *out_received = got > 0 ? (size_t)got : 0;
  return got == 0 ? VARVE_TLS_ENDED : judge (self, got);
}

/* What was not taken at once has been taken all the same: it is only not out yet. */
VarveTlsResult
varve_tls_session_send (VarveTlsSession *self, const void *buffer, size_t length, size_t *out_sent)
{
  ssize_t sent = self->flushes ? gnutls_record_send (self->session, NULL, 0)
                               : gnutls_record_send (self->session, buffer, length);
  VarveTlsResult result = judge (self, sent);

  *out_sent = sent > 0 ? (size_t)sent : 0;
  self->flushes = result == VARVE_TLS_WAITS;
  return result;
}
