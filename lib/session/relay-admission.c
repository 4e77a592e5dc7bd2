/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/relay-admission.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "session/starttls.h"

struct VarveRelayAdmission {
  VarveTls *tls; /* borrowed */
  int reader;
  gint64 deadline; /* monotonic us */
  VarveStarttls starttls;
  GByteArray *out;          /* clear text that is to be sent */
  VarveTlsSession *session; /* NULL before STARTTLS */
};

VarveRelayAdmission *
varve_relay_admission_new (VarveTls *tls, int reader)
{
  VarveRelayAdmission *admission = g_new0 (VarveRelayAdmission, 1);

  admission->tls = tls;
  admission->reader = reader;
  admission->deadline = g_get_monotonic_time () + VARVE_RELAY_ADMISSION_S * G_USEC_PER_SEC;
  admission->out = g_byte_array_new ();
  varve_starttls_init (&admission->starttls, admission->out);
  return admission;
}

void
varve_relay_admission_free (VarveRelayAdmission *admission)
{
  if (!admission)
    return;
  varve_tls_session_free (admission->session);
  g_byte_array_unref (admission->out);
  g_free (admission);
}

short
varve_relay_admission_events (const VarveRelayAdmission *admission)
{
  if (admission->session)
    return varve_tls_session_writes (admission->session) ? POLLOUT : POLLIN;
  return admission->out->len > 0 ? POLLOUT : POLLIN;
}

/* --- clear text ------------------------------------------------------------------------------- */

/* False when the reader has gone. */
static bool
flush (VarveRelayAdmission *admission)
{
  while (admission->out->len > 0) {
    ssize_t sent =
        send (admission->reader, admission->out->data, admission->out->len, MSG_NOSIGNAL);

    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return errno == EAGAIN;
    g_byte_array_remove_range (admission->out, 0, (guint)sent);
  }
  return true;
}

/* No more is read at once than what could have been sent without waiting for an answer; a reader who sent more
 * in clear text than his STARTTLS is refused for it, and not overheard. */
static bool
listen_to (VarveRelayAdmission *admission)
{
  uint8_t buffer[512];
  ssize_t got = recv (admission->reader, buffer, sizeof buffer, 0);

  if (got < 0)
    return errno == EAGAIN || errno == EINTR;
  if (got == 0)
    return false;
  varve_starttls_feed (&admission->starttls, buffer, (size_t)got, admission->out);
  return true;
}

static VarveAdmission
talk (VarveRelayAdmission *admission)
{
  if (admission->out->len == 0 && !listen_to (admission))
    return VARVE_ADMISSION_DENIED;
  if (!flush (admission) || (admission->starttls.state == VARVE_STARTTLS_REFUSED))
    return VARVE_ADMISSION_DENIED;
  if (admission->starttls.state != VARVE_STARTTLS_READY || admission->out->len > 0)
    return VARVE_ADMISSION_WAITS;
  admission->session = varve_tls_session_new (admission->tls, admission->reader);
  return admission->session ? VARVE_ADMISSION_WAITS : VARVE_ADMISSION_DENIED;
}

/* --- TLS -------------------------------------------------------------------------------------- */

static VarveAdmission
shake_hands (VarveRelayAdmission *admission)
{
  switch (varve_tls_session_handshake (admission->session)) {
  case VARVE_TLS_DONE:
    return VARVE_ADMISSION_GRANTED;
  case VARVE_TLS_WAITS:
    return VARVE_ADMISSION_WAITS;
  case VARVE_TLS_ENDED:
  case VARVE_TLS_LOST:
    break;
  }
  return VARVE_ADMISSION_DENIED;
}

VarveAdmission
varve_relay_admission_turn (VarveRelayAdmission *admission)
{
  if (g_get_monotonic_time () > admission->deadline)
    return VARVE_ADMISSION_DENIED;
  return admission->session ? shake_hands (admission) : talk (admission);
}

VarveTlsSession *
varve_relay_admission_take (VarveRelayAdmission *admission, guint32 *out_flags)
{
  *out_flags = admission->starttls.flags;
  return g_steal_pointer (&admission->session);
}
