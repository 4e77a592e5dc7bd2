/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What an instant restore and its recovery share: the server, and the images that are filled from it. Held: the domain's lock, and
 * that of the record's session. */
#pragma once

#include "qemu/backup-server.h"
#include "run/context.h"

typedef struct {
  const VarveStateDir *state;
  const VarveEventSink *events;
  const char *action; /* for events */
  VarveRecord *record;
  VarveDomain *domain; /* NULL: gone, or not there yet */
  VarveBackupServer *server;
  VarveFill *fill;
  VarveStorageDaemon *daemon; /* fills what is off; NULL: the domain does */
  gint64 excused; /* monotonic us: up to then what fails is laid to a server that had gone */
} VarveInstantFill;

/* With the images that the record names, of which none need be there. */
void varve_instant_fill_init (VarveInstantFill *work, const VarveStateDir *state,
                              const VarveEventSink *events, const char *action,
                              VarveRecord *record);
/* Lets go; what the guest needs goes on. */
void varve_instant_fill_clear (VarveInstantFill *work);

void varve_instant_fill_emit (const VarveInstantFill *work, VarveEvent event);
/* Whether there is nothing left to fill, as all images are full, or were removed. */
bool varve_instant_fill_is_done (VarveInstantFill *work, bool *out, GError **error);
/* Starts the server, or takes over the one that is there. */
bool varve_instant_fill_serve (VarveInstantFill *work, GCancellable *cancellable, GError **error);
/* The guest runs, and the record says so. */
bool varve_instant_fill_boot (VarveInstantFill *work, GCancellable *cancellable, GError **error);
/* Until the images depend on nothing, and nothing is left but them. */
bool varve_instant_fill_run (VarveInstantFill *work, GCancellable *cancellable, GError **error);
/* Behind that, or where it is done already: ends the server, and removes the record. */
bool varve_instant_fill_finish (VarveInstantFill *work, GError **error);
/* Removes what was made and is not used yet: images above our server, domain, server, record. */
bool varve_instant_fill_undo (VarveInstantFill *work, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveInstantFill, varve_instant_fill_clear)
