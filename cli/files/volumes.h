/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where files are: the file systems on the disks, and the operating systems that know how they belong together. */
#pragma once

#include "files/guest.h"

typedef struct {
  char *device; /* of the appliance */
  char *name;   /* for people: see guest_show_device */
  char *type;   /* "ext4"; "unknown": none that is known */
} Volume;

/* What it takes more calls to know. */
typedef struct {
  char *label; /* NULL: none */
  char *uuid;  /* NULL: none */
  gint64 size; /* in bytes; -1: not known */
} VolumeDetails;

typedef struct {
  char *root;         /* device of the appliance */
  char *name;         /* "Debian GNU/Linux 12 (bookworm)" */
  GHashTable *mounts; /* path in the guest -> device */
} System;

/* Both give an array that owns what is in it. */
GPtrArray *volumes_find (Guest *guest, GError **error);
GPtrArray *systems_find (Guest *guest, GError **error);

void volume_look (Guest *guest, const Volume *volume, VolumeDetails *details);
void volume_details_clear (VolumeDetails *details);

/* Makes files reachable: those of the volume that people call @name; NULL: those of the only operating system, or else
 * of the only file system. */
bool volumes_mount (Guest *guest, const char *name, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VolumeDetails, volume_details_clear)
