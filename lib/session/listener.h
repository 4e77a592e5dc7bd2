/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where readers that are not varve connect: a socket that others may open, as far as its owner says. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

typedef struct VarveListener VarveListener;

/* Nobody but us gets in before @mode and @group (a name, or NULL: ours) are in place. A socket that nobody
 * listens on any more is replaced; whatever else is at @path is VARVE_ERROR_EXISTS. */
VarveListener *varve_listener_unix (const char *path, unsigned mode, const char *group,
                                    GError **error);

/* @host is an address, or a name whose first address is meant; @port 0: one that is free. With @loopback_only an
 * address of another kind is VARVE_ERROR_REFUSED. */
VarveListener *varve_listener_tcp (const char *host, unsigned port, bool loopback_only,
                                   GError **error);

/* Closes it, and removes a UNIX socket that is still this one. */
void varve_listener_free (VarveListener *listener);

int varve_listener_fd (const VarveListener *listener);
unsigned varve_listener_port (const VarveListener *listener);

/* Removes the UNIX socket that a dead process left at @path; anything else there, and one that somebody listens
 * on, is left alone. */
bool varve_listener_remove_dead (const char *path, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveListener, varve_listener_free)
