/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* libvirt's client writes to its socket with plain write(2), so a call after libvirtd has gone
 * raises SIGPIPE, which ends a process that does not ignore it. What a library may change is its
 * own thread's mask only: every op of the driver holds one of these, and takes away a signal that
 * came while it did. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <glib.h>

typedef struct {
  sigset_t old;
  bool was_pending;
} VarveSigpipe;

VarveSigpipe varve_sigpipe_block (void);
void varve_sigpipe_restore (VarveSigpipe *guard);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveSigpipe, varve_sigpipe_restore)

#define VARVE_SIGPIPE_GUARD                                                                        \
  g_auto (VarveSigpipe) sigpipe_guard G_GNUC_UNUSED = varve_sigpipe_block ()
