/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The real thing: two disks of a machine that has no guest system, by one of varve's drivers. What a
 * guest would write is written by QEMU's own qemu-io: through the device while QEMU runs, else into
 * the image. Whatever cannot fail in this ends the process. */
#pragma once

#include "qemu/qmp.h"
#include "session/session.h"
#include "virt/domain.h"

#include "model.h"

typedef enum { WORLD_IMAGE, WORLD_QMP, WORLD_LIBVIRT } WorldKind;

typedef struct {
  WorldKind kind;
  char *dir;  /* all of it */
  char *name; /* of the domain */
  bool raw_b; /* vdb is raw: its bitmaps die with QEMU */
  bool running;
  GPid pid;            /* bare QEMU */
  VarveQmp *qmp;       /* its second monitor */
  VarveDomain *domain; /* NULL while a worker has it */
  VarveStateDir *state;
} World;

/* "image", "qmp" or "libvirt". */
bool world_kind_parse (const char *text, WorldKind *out);
const char *world_kind_name (WorldKind kind);

/* Makes directory and disks, and starts the machine where the kind has one. Says what they are
 * called ("# world DIR NAME"), for whoever has to take them away. */
World *world_new (WorldKind kind, bool raw_b);
/* Another process's view of the same: nothing is made, nothing taken away. */
World *world_attach (WorldKind kind, const char *dir, const char *name, bool raw_b);
void world_free (World *world);
/* Ends the machine and removes the directory. */
void world_remove (World *world);

/* Connects the driver anew; after any change of power, and after a worker. */
void world_open (World *world);
void world_close (World *world);

void world_boot (World *world);
void world_shut_down (World *world);
/* With SIGKILL. A stopped image is killed in the hands of a qemu-io that writes to it. */
void world_kill (World *world);

void world_write (World *world, unsigned disk, unsigned offset, unsigned length, guint8 pattern);
/* All of a disk of a machine that is off. (transfer full) */
guint8 *world_read (World *world, unsigned disk);

/* An older tool's step on vda: @last (may be NULL) stops recording, @next begins to. */
void world_rotate (World *world, const char *last, const char *next);

/* Runs a program that must succeed; its output. (transfer full) */
char *world_run (const World *world, const char *const *argv);

#define run_tool(world, ...) g_free (world_run (world, (const char *const[]){ __VA_ARGS__, NULL }))

G_DEFINE_AUTOPTR_CLEANUP_FUNC (World, world_free)
