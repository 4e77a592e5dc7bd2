/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The disks of a backup in the appliance of libguestfs: a small machine that has nothing else, so that whatever a file
 * system made by a stranger does to its kernel, it does there. All is read-only. Used by one thread. */
#pragma once

#include "cli.h"

#include <guestfs.h>

typedef struct {
  guestfs_h *g;
  GPtrArray *names;   /* of the disks, owned: as in the backup */
  GPtrArray *devices; /* owned: what the appliance calls each of them */
  Cli *cli;
  gulong cancel_id;
} Guest;

/* Boots the appliance, with the exports of the server at @socket: @disks, names of disks. */
Guest *guest_start (Cli *cli, const char *socket, GPtrArray *disks, GError **error);
void guest_free (Guest *guest);

/* @device of the appliance as people know it: "vda1" for partition 1 of disk vda, "/dev/group/volume" as it is.
 * (transfer full) */
char *guest_show_device (const Guest *guest, const char *device);
/* The other way round; what is none of these names stays as it is. (transfer full) */
char *guest_find_device (const Guest *guest, const char *name);
/* The disk that it is on, or NULL: on none, or on several. */
const char *guest_disk_of (const Guest *guest, const char *device);

/* Sets an error: what was being done, and what libguestfs says of its call that just failed. */
bool guest_throw (Guest *guest, VarveError code, GError **error, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

/* Tells of something that is not as it should be, and goes on. */
void guest_warn (Guest *guest, const char *format, ...) G_GNUC_PRINTF (2, 3);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Guest, guest_free)
