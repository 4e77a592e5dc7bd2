/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A reader who must prove himself: NBD's handshake up to STARTTLS, then TLS. Until he is admitted nothing is spent
 * on him but this, and QEMU does not hear of him. Never blocks. */
#pragma once

#include <stdbool.h>

#include "session/tls.h"

/* Behind so much time, whatever came, he is sent away. */
#define VARVE_RELAY_ADMISSION_S 10

typedef struct VarveRelayAdmission VarveRelayAdmission;

typedef enum {
  VARVE_ADMISSION_WAITS,
  VARVE_ADMISSION_GRANTED,
  VARVE_ADMISSION_DENIED,
} VarveAdmission;

/* @reader stays the caller's. */
VarveRelayAdmission *varve_relay_admission_new (VarveTls *tls, int reader);
void varve_relay_admission_free (VarveRelayAdmission *admission);

/* What of the reader is waited for: POLLIN, POLLOUT. */
short varve_relay_admission_events (const VarveRelayAdmission *admission);
VarveAdmission varve_relay_admission_turn (VarveRelayAdmission *admission);
/* Once it is granted: the stream (transfer full), and the flags of the reader's handshake. */
VarveTlsSession *varve_relay_admission_take (VarveRelayAdmission *admission, guint32 *out_flags);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRelayAdmission, varve_relay_admission_free)
