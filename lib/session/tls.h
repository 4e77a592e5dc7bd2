/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* TLS as a server, by GnuTLS: what readers must prove before they are let in, and the stream behind it. It is the
 * relay that speaks TLS, and not QEMU: so it is the same for running and stopped machines and for libvirt, the keys do not
 * get into the process that runs the guest, and its main loop, in which the guest's disks are served, does no
 * cryptography.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <gio/gio.h>

typedef struct VarveTls VarveTls;
typedef struct VarveTlsSession VarveTlsSession;

/* From a @directory as QEMU knows it: ca-cert.pem, server-cert.pem and server-key.pem (ca-crl.pem where there is
 * one), and every reader must have a certificate of that authority; or keys.psk, and he must have one of its keys.
 * VARVE_ERROR_UNSUPPORTED where this varve was built without GnuTLS. */
VarveTls *varve_tls_load (const char *directory, GError **error);
void varve_tls_free (VarveTls *tls);
/* "x509" or "psk". */
const char *varve_tls_kind (const VarveTls *tls);

typedef enum {
  VARVE_TLS_DONE,
  VARVE_TLS_WAITS, /* for the socket: varve_tls_session_writes says in which direction */
  VARVE_TLS_ENDED, /* the other side said so */
  VARVE_TLS_LOST,  /* refused, broken or gone */
} VarveTlsResult;

/* On @fd, which does not block and stays the caller's. @tls must outlive it. */
VarveTlsSession *varve_tls_session_new (VarveTls *tls, int fd);
/* Says goodbye where that can be had without waiting. */
void varve_tls_session_free (VarveTlsSession *session);

VarveTlsResult varve_tls_session_handshake (VarveTlsSession *session);
VarveTlsResult varve_tls_session_receive (VarveTlsSession *session, void *buffer, size_t length,
                                          size_t *out_received);
VarveTlsResult varve_tls_session_send (VarveTlsSession *session, const void *buffer, size_t length,
                                       size_t *out_sent);
bool varve_tls_session_writes (const VarveTlsSession *session);
/* There is data that no poll will tell of. */
bool varve_tls_session_pending (const VarveTlsSession *session);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveTls, varve_tls_free)
